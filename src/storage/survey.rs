//! What lies in a log's folder, as found: by a start that takes it over, or a tool that looks.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use super::StorageError;
use super::Tally;
use super::bits::Bits;
use super::crypt::Key;
use super::error::failed;
use super::format;
use super::format::BadHeader;
use super::format::FOOTER_LEN;
use super::format::HEADER_LEN;
use super::format::Header;
use super::format::MAX_KEY_ID;
use super::format::RECORD_LEN;
use super::format::RUN_LEN;
use super::gone::Gone;
use super::scan::Found;
use super::scan::Scan;
use super::scan::Source;
use super::segment::Codec;

/// A segment's file, by its ends.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) path: PathBuf,
    /// What the file takes, in bytes.
    pub(super) size: u64,
    /// Where records begin.
    pub(super) begin: u64,
    pub(super) header: Header,
    pub(super) seed: u32,
    /// The sequence number after its last, and its tally, where it is sealed.
    pub(super) footer: Option<(u64, Tally)>,
    /// What the file of settlements says.
    pub(super) settled: Bits,
}

impl Ends {
    /// Reads them from a file.
    pub(super) fn read(path: &Path) -> io::Result<Result<Self, BadHeader>> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Self::of(&file, size, path)
    }

    /// Reads them from anything of `size` bytes.
    pub(super) fn of(
        source: impl Source,
        size: u64,
        path: &Path,
    ) -> io::Result<Result<Self, BadHeader>> {
        let mut bytes = [0; HEADER_LEN + MAX_KEY_ID];
        let read = source.read(&mut bytes, 0)?;
        let (header, begin, seed) = match Header::decode(bytes.get(..read).unwrap_or_default()) {
            Ok(header) => header,
            Err(bad) => return Ok(Err(bad)),
        };
        match first_in_name(path) {
            Some(first) if first > header.first => {
                return Ok(Err(BadHeader::Earlier(header.first)));
            }
            Some(first) if first < header.first => return Ok(Err(BadHeader::Damaged)),
            _ => {}
        }
        let begin = begin as u64;
        let mut footer = [0; FOOTER_LEN];
        let at = size.saturating_sub(FOOTER_LEN as u64).max(begin);
        let whole = source.read(&mut footer, at)? == FOOTER_LEN;
        let footer = format::decode_footer(&footer, seed);
        Ok(Ok(Self {
            path: path.to_owned(),
            size,
            begin,
            footer: footer.filter(|(next, _)| whole && index_of(header.first, *next).is_some()),
            header,
            seed,
            settled: Bits::default(),
        }))
    }

    /// Whether a file begins as segments do.
    pub(super) fn is_begun(path: &Path) -> bool {
        let mut magic = [0; format::MAGIC.len()];
        let read = File::open(path).and_then(|file| file.read(&mut magic, 0));
        read.is_ok() && magic == format::MAGIC
    }

    /// What the footer of a segment says whose header is damaged, if not where its checksum is.
    pub(super) fn footer_alone(path: &Path) -> Option<(u64, Tally)> {
        let file = File::open(path).ok()?;
        let (mut header, mut footer) = ([0; HEADER_LEN], [0; FOOTER_LEN]);
        let at = file.metadata().ok()?.len().checked_sub(FOOTER_LEN as u64)?;
        file.read(&mut header, 0).ok()?;
        file.read(&mut footer, at).ok()?;
        format::decode_footer(&footer, format::seed_in(&header))
    }

    /// Where records end at the latest.
    pub(super) fn end(&self) -> u64 {
        let footer = self.footer.map_or(0, |_| FOOTER_LEN as u64);
        self.size.saturating_sub(footer).max(self.begin)
    }

    /// How many records it has, where it is sealed.
    pub(super) fn count(&self) -> Option<u32> {
        index_of(self.header.first, self.footer?.0)
    }

    /// What its records are read with, if the key is among `keys`.
    pub(super) fn codec(&self, keys: &[Key]) -> Result<Codec, StorageError> {
        let id = &self.header.key_id;
        let mut codec = Codec {
            seed: self.seed,
            salt: self.header.salt,
            key: None,
        };
        if id.is_empty() {
            return Ok(codec);
        }
        let path = self.path.display();
        let Some(key) = keys.iter().find(|key| key.id == *id) else {
            return Err(StorageError(format!(
                "{path} is encrypted with the key \"{id}\", which is not among those given: add \
                 it for as long as such segments are there"
            )));
        };
        codec.key = Some(std::sync::Arc::new(key.clone()));
        let check = codec.cipher()?.map(|cipher| cipher.check);
        if check != Some(self.header.key_check) {
            return Err(StorageError(format!(
                "{path} was encrypted with another secret than the one now given for the key \
                 \"{id}\": give that one back its id, and the new one an id of its own"
            )));
        }
        Ok(codec)
    }
}

/// How far a record is from its segment's first.
pub(super) fn index_of(first: u64, seq: u64) -> Option<u32> {
    u32::try_from(seq.checked_sub(first)?).ok()
}

/// The segments in a folder, by their first sequence number.
pub(super) fn segments_in(folder: &Path) -> Result<Vec<(u64, PathBuf)>, StorageError> {
    let wrong = |e: io::Error| failed("read the directory", folder, &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if let Some(first) = first_in_name(&path) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What the file of the segment with this first record is called.
pub(super) fn segment_in(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:016x}.seg"))
}

/// The sequence number that a segment's file is named after.
fn first_in_name(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let plain = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(name, 16).ok())?
}

/// Notes what the file of settlements says of segments that are still there; which are gone.
pub(super) fn note_settled(
    path: &Path,
    found: &mut BTreeMap<u64, Ends>,
) -> Result<Gone, StorageError> {
    let mut gone = Gone::default();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(gone),
        Err(error) => return Err(failed("read", path, &error)),
    };
    let (runs, _torn) = bytes.as_chunks::<RUN_LEN>();
    for run in runs {
        if gone.read(run) {
            continue;
        }
        let (seq, count) = format::decode_run(run);
        let Some((first, ends)) = found.range_mut(..=seq).next_back() else {
            continue;
        };
        let Some(index) = index_of(*first, seq) else {
            continue;
        };
        // One that is damaged and right by chance must not take the memory of billions.
        let fit = (ends.end() - ends.begin) / RECORD_LEN as u64;
        let most = ends.count().map_or(fit, u64::from);
        let fits = u64::from(index) + u64::from(count) <= most;
        if fits && format::run_is_of(run, ends.seed) {
            for index in index..index + count {
                ends.settled.insert(index);
            }
        }
    }
    Ok(gone)
}

/// What reading all of a segment has shown.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What was whole and is not settled.
    pub(super) waiting: Tally,
    /// What was whole, settled or not.
    pub(super) whole: Tally,
    /// Where the last whole record ends, and the sequence number of what follows it.
    pub(super) end: (u64, u64),
    /// Bytes behind that of a write that was cut short.
    pub(super) torn_bytes: u64,
    /// The records that were not found.
    pub(super) missing: Vec<u32>,
    /// The places where something else stands than what was written.
    pub(super) damage: Vec<u64>,
}

/// Reads all records of a segment.
pub(super) fn survey(source: impl Source, ends: &Ends) -> io::Result<Survey> {
    let first = ends.header.first;
    let next = ends.footer.map(|(next, _)| next);
    let mut scan = Scan::new(source, ends.seed, (ends.begin, ends.end()), first);
    let mut survey = Survey {
        end: (ends.begin, first),
        ..Survey::default()
    };
    loop {
        let (offset, torn) = match scan.look()? {
            Found::Record(head) if scan.payload(&head)?.is_some() => {
                let index = index_of(first, scan.seq).unwrap_or(u32::MAX);
                survey.whole.add(&head.tally());
                if !ends.settled.contains(index) {
                    survey.waiting.add(&head.tally());
                }
                scan.pass(&head);
                survey.end = (scan.offset, scan.seq);
                continue;
            }
            Found::End if next.is_none_or(|next| scan.seq >= next) => break,
            Found::Torn => (scan.offset, true),
            _ => (scan.offset, false),
        };
        let doubted = scan.find_next()?;
        let last = scan.is_at_end();
        let found = if last {
            next.unwrap_or(doubted)
        } else {
            scan.seq
        };
        if let (Some(from), Some(to)) = (index_of(first, doubted), index_of(first, found)) {
            survey.missing.extend(from..to);
        }
        // The end of an unsealed segment may be a write that was cut short.
        if last && next.is_none() && (torn || ends.header.written_over) {
            survey.torn_bytes = ends.size - survey.end.0;
        } else {
            survey.damage.push(offset);
        }
        if last {
            break;
        }
    }
    Ok(survey)
}
