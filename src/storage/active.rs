//! The segment that is written to.

use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::io;
use std::io::IoSlice;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::NewRecord;
use super::StorageError;
use super::Tally;
use super::crypt::Cipher;
use super::crypt::TAG_LEN;
use super::error::failed;
use super::format;
use super::format::Header;
use super::format::RECORD_LEN;
use super::format::RecordHead;
use super::format::Role;
use super::log::Append;
use super::log::LogCore;
use super::segment::Codec;
use super::spare::Spares;
use super::sync::create_folder;

/// How many records go out in one write: a slice or three for each stay within what one system
/// call takes (1024).
const MAX_GROUP: usize = 256;

/// A segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Arc<File>,
    pub(super) first: u64,
    /// Where its records begin.
    pub(super) begin: u64,
    /// Where its last whole record ends.
    pub(super) end: u64,
    /// What its file takes, but for what is left there of an older one.
    pub(super) file_bytes: u64,
    /// Where an older one's bytes end, if it is written over one.
    old_end: u64,
    pub(super) codec: Codec,
    cipher: Option<Cipher>,
    tally: Tally,
    /// The header, until it is written.
    header: Vec<u8>,
}

/// Records that go out together, what stands before each, and whether they fill the segment.
pub(super) type Plan = (Vec<Append>, Vec<RecordHead>, bool);

impl Active {
    /// Takes an emptied file, or creates one, and the folder where it is not there (any more).
    pub(super) fn begin(
        log: &LogCore,
        spares: &mut Spares,
        first: u64,
    ) -> Result<Self, StorageError> {
        let path = log.path_of(first);
        let (file, old_end) = match spares.take(log, &path) {
            Some(taken) => taken,
            None => (create(&path).map_err(|e| failed("create", &path, &e))?, 0),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let salt = rand::random();
        let key = log.engine.keys.first().cloned().map(Arc::new);
        let seed = 0;
        let mut codec = Codec { seed, salt, key };
        let cipher = codec.cipher()?;
        let header = Header {
            first,
            created_ms: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0)),
            salt,
            key_id: codec
                .key
                .as_ref()
                .map_or_else(String::new, |key| key.id.clone()),
            key_check: cipher.as_ref().map_or([0; 8], |cipher| cipher.check),
            written_over: old_end > 0,
        };
        let (header, seed) = header.encode();
        codec.seed = seed;
        Ok(Self {
            file: Arc::new(file),
            first,
            begin: header.len() as u64,
            end: header.len() as u64,
            file_bytes: 0,
            old_end,
            codec,
            cipher,
            tally: Tally::default(),
            header,
        })
    }

    /// The sequence number of the next record.
    pub(super) fn next_seq(&self) -> u64 {
        self.first + self.tally.records
    }

    /// Whether the file has its name still: in a folder that was removed, nobody would find it.
    pub(super) fn is_linked(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() > 0)
    }

    /// Writes all of it to a file of its name again, where something removed that: it is open, so
    /// nothing of it is lost.
    pub(super) fn write_again(&mut self, path: &Path) -> io::Result<Arc<File>> {
        let new = create(path)?;
        let mut from: &File = &self.file;
        from.seek(SeekFrom::Start(0))?;
        io::copy(&mut from.take(self.file_bytes), &mut &new)?;
        new.sync_data()?;
        self.file = Arc::new(new);
        self.old_end = 0;
        Ok(Arc::clone(&self.file))
    }

    /// Whether it can be written on: it has its name, and ends where we left it.
    pub(super) fn is_sound(&self) -> bool {
        let len = self.file_bytes.max(self.old_end);
        let sound = |meta: fs::Metadata| meta.nlink() > 0 && meta.len() == len;
        self.file.metadata().is_ok_and(sound)
    }

    /// Takes from `left` what goes into this segment with one write.
    pub(super) fn plan(&self, left: &mut VecDeque<Append>, segment_bytes: u64) -> Plan {
        let mut group = Vec::new();
        let mut heads = Vec::new();
        let mut end = self.end;
        while end < segment_bytes && group.len() < MAX_GROUP {
            let Some(mut append) = left.pop_front() else {
                break;
            };
            let seq = self.next_seq() + heads.len() as u64;
            let head = match self.head(&mut append.record, seq) {
                Ok(head) => head,
                Err(error) => {
                    drop(append.done.send(Err(error)));
                    continue;
                }
            };
            end += u64::from(head.len);
            heads.push(head);
            group.push(append);
        }
        (group, heads, end >= segment_bytes)
    }

    /// What stands before the record, which is encrypted if it is to be.
    fn head(&self, record: &mut NewRecord, seq: u64) -> Result<RecordHead, StorageError> {
        let body: usize = record.body.iter().map(Bytes::len).sum();
        let tag = if self.cipher.is_some() { TAG_LEN } else { 0 };
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let mut head = RecordHead {
            len: len(RECORD_LEN + record.head.len() + body + tag),
            crc: 0,
            seq,
            weight: record.weight,
            head_len: len(record.head.len()),
            kind: record.kind,
            role: Role::Record,
        };
        if let Some(cipher) = &self.cipher {
            cipher.seal(&head, record)?;
        }
        let mut hasher = crc32fast::Hasher::new_with_initial(head.checksum(self.codec.seed));
        hasher.update(&record.head);
        for chunk in &record.body {
            hasher.update(chunk);
        }
        head.crc = hasher.finalize();
        Ok(head)
    }

    /// Writes them, and the footer after them where that `seals` it; else a mark, where older
    /// bytes follow. On an error the file may have a part of them at its end.
    pub(super) fn write(
        &mut self,
        heads: &[RecordHead],
        group: &[Append],
        seals: bool,
    ) -> io::Result<()> {
        let mut tally = self.tally;
        for head in heads {
            tally.add(&head.tally());
        }
        let next = self.first + tally.records;
        let end = self.end + (tally.bytes - self.tally.bytes);
        let last = if seals {
            format::encode_footer(self.codec.seed, next, &tally)
        } else if end < self.old_end {
            format::encode_mark(self.codec.seed, next).to_vec()
        } else {
            Vec::new()
        };
        let encoded: Vec<_> = heads.iter().map(RecordHead::encode).collect();
        let mut slices = Vec::with_capacity(2 + 3 * group.len());
        slices.push(IoSlice::new(&self.header));
        for (append, head) in group.iter().zip(&encoded) {
            slices.push(IoSlice::new(head));
            slices.push(IoSlice::new(&append.record.head));
            slices.extend(append.record.body.iter().map(|chunk| IoSlice::new(chunk)));
        }
        slices.push(IoSlice::new(&last));
        let file_bytes = end + last.len() as u64;
        if seals && self.old_end > file_bytes {
            // A footer is sought at the end of the file.
            self.file.set_len(file_bytes)?;
            self.old_end = file_bytes;
        }
        self.write_at_end(&mut slices)?;
        self.header = Vec::new();
        self.end = end;
        self.file_bytes = file_bytes;
        self.tally = tally;
        if self.old_end > 0 {
            self.old_end = self.old_end.max(file_bytes);
        }
        Ok(())
    }

    /// Writes where the records end: the header, if it is not there yet, at the beginning.
    fn write_at_end(&self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut file: &File = &self.file;
        // The last write went on to the mark, or failed half-way.
        let end = if self.header.is_empty() { self.end } else { 0 };
        file.seek(SeekFrom::Start(end))?;
        write_all(file, slices)
    }

    /// Takes away what a write that failed has left; the whole file, if there is nothing else.
    pub(super) fn cut_back(&self, path: &Path) {
        let cut = if self.tally.records == 0 {
            fs::remove_file(path)
        } else {
            match self.file.metadata() {
                Ok(meta) if meta.len() > self.end => self.file.set_len(self.end),
                result => result.map(drop),
            }
        };
        if let Err(error) = cut {
            tracing::debug!("{} is not cut back: {error}", path.display());
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                create_folder(folder)?;
            }
            options.open(path)
        }
        // Left by a try that failed, and could not be removed then.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        result => result,
    }
}

/// Writes all of the slices.
fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty ones at the front would make a write of nothing look like a full disk.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
