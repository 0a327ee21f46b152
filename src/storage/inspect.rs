//! Looking at logs without taking them: what a tool sees of a storage, stopped or running.
//!
//! Nothing is locked or changed. Of a running storage it shows a moment: segments that are
//! settled meanwhile vanish (and are left out), and the end of the one that is written to may be
//! a record that is not there in full yet, which counts as torn, not as damage.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::Key;
use super::QUARANTINE;
use super::StorageError;
use super::Tally;
use super::crypt::Cipher;
use super::error::failed;
use super::format::BadHeader;
use super::holes;
use super::reader::plain;
use super::recovery::later;
use super::scan::Found;
use super::scan::Scan;
use super::scan::Source;
use super::settle;
use super::survey::Ends;
use super::survey::index_of;
use super::survey::note_settled;
use super::survey::segments_in;
use super::survey::survey;

/// A place in a file where something else stands than what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Bytes from its beginning.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// What a segment's file says of itself.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where it lies.
    pub path: PathBuf,
    /// The sequence number of its first record.
    pub first: u64,
    /// What its file takes.
    pub bytes: u64,
    /// When it was begun: no record in it is older.
    pub created: SystemTime,
    /// When it was last written to: no record in it is younger.
    pub modified: SystemTime,
    /// Whether it is complete; if not, it is being written to, or a crash has left it.
    pub sealed: bool,
    /// What its records are encrypted with.
    pub key_id: Option<String>,
    /// Its records, settled or not.
    pub records: Tally,
    /// Those of them that are settled.
    pub settled: u64,
    /// Those that are not settled. `None` where only reading tells ([`Segment::survey`]).
    pub unsettled: Option<Tally>,
    ends: Ends,
}

/// What reading all of a segment has shown.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What is whole, settled or not.
    pub records: Tally,
    /// What is whole and not settled.
    pub unsettled: Tally,
    /// How many records are not found.
    pub missing: u64,
    /// Bytes of a write that was cut short, at the end of a segment that is not sealed.
    pub torn_bytes: u64,
    /// Where.
    pub damage: Vec<Damage>,
}

/// A record as a tool sees it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its sequence number.
    pub seq: u64,
    /// Where it begins in its file.
    pub offset: u64,
    /// What it takes there.
    pub bytes: u64,
    /// As it was written.
    pub kind: u8,
    /// As it was written.
    pub weight: u64,
    /// As it was written.
    pub head: Bytes,
    /// As it was written.
    pub body: Bytes,
}

/// The names of the logs below a storage directory, sorted. Those that are empty and have no
/// file at all are not found.
///
/// # Errors
/// The directory cannot be read.
pub fn logs(directory: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let wrong = |e: io::Error| failed("read the directory", &folder, &e);
        let mut is_log = false;
        for entry in fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.is_dir() {
                if path != directory.join(QUARANTINE) {
                    folders.push(path);
                }
            } else {
                let segment = path.extension().is_some_and(|extension| extension == "seg");
                is_log |= segment || path.ends_with(settle::FILE);
            }
        }
        if let Some(name) = name_below(directory, &folder).filter(|_| is_log) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn name_below(directory: &Path, folder: &Path) -> Option<String> {
    let name = folder.strip_prefix(directory).ok()?.to_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The segments of a log, the oldest first, by their ends alone; and those whose header cannot
/// be read.
///
/// # Errors
/// The directory cannot be read, or a later otlpd wrote to it.
pub fn segments(directory: &Path, log: &str) -> Result<(Vec<Segment>, Vec<Damage>), StorageError> {
    let folder = directory.join(log);
    let mut found = BTreeMap::new();
    let mut damaged = Vec::new();
    let all = segments_in(&folder)?;
    let last = all.last().map(|(first, _)| *first);
    for (first, path) in all {
        match Ends::read(&path) {
            Ok(Ok(ends)) => {
                found.insert(first, ends);
            }
            Ok(Err(BadHeader::Later(version))) => return Err(later(&path, version)),
            // Being created, or left by a crash.
            Ok(Err(BadHeader::Short | BadHeader::Earlier(_))) if Some(first) == last => {}
            Ok(Err(BadHeader::Short)) => damaged.push(Damage {
                path,
                offset: 0,
                reason: "it ends within its header".to_owned(),
            }),
            Ok(Err(BadHeader::Damaged | BadHeader::Earlier(_))) => damaged.push(Damage {
                path,
                offset: 0,
                reason: "the header is damaged".to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => damaged.push(Damage {
                path,
                offset: 0,
                reason: format!("it cannot be read: {error}"),
            }),
        }
    }
    // Read after the names of the files: what goes is noted before it does.
    let gone = note_settled(&folder.join(settle::FILE), &mut found)?;
    let missing = holes::between(&folder, &found, &gone);
    for (path, offset, records) in missing.map_err(|e| failed("read", &folder, &e))? {
        let reason = format!("{records} records are missing from here on");
        damaged.push(Damage {
            path,
            offset,
            reason,
        });
    }
    Ok((found.into_values().map(Segment::new).collect(), damaged))
}

impl Segment {
    /// The segment in a file anywhere, such as one in the quarantine; nothing is known to be
    /// settled in it.
    ///
    /// # Errors
    /// The file cannot be read, or is no segment.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        match Ends::read(path).map_err(|e| failed("read", path, &e))? {
            Ok(ends) => Ok(Self::new(ends)),
            Err(BadHeader::Later(version)) => Err(later(path, version)),
            Err(BadHeader::Short | BadHeader::Damaged | BadHeader::Earlier(_)) => {
                Err(StorageError(format!(
                    "{} is no segment, or its header is damaged",
                    path.display()
                )))
            }
        }
    }

    fn new(ends: Ends) -> Self {
        let records = ends.footer.map_or(Tally::default(), |(_, tally)| tally);
        let settled = u64::from(ends.settled.count());
        let modified = fs::metadata(&ends.path).and_then(|meta| meta.modified());
        let whole = ends.footer.is_some();
        Self {
            path: ends.path.clone(),
            first: ends.header.first,
            bytes: ends.size,
            created: UNIX_EPOCH + Duration::from_millis(ends.header.created_ms),
            modified: modified.unwrap_or(UNIX_EPOCH),
            sealed: whole,
            key_id: Some(ends.header.key_id.clone()).filter(|id| !id.is_empty()),
            records,
            settled,
            unsettled: match settled {
                0 if whole => Some(records),
                settled if whole && settled >= records.records => Some(Tally::default()),
                _ => None,
            },
            ends,
        }
    }

    /// Reads all of it and checks every record's sum, for which no key is needed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn survey(&self) -> Result<Survey, StorageError> {
        let file = self.open_file()?;
        let survey = self.survey_of(&file);
        let survey = survey.map_err(|e| failed("read", &self.path, &e))?;
        if survey.damage.is_empty() || !self.is_gone() {
            return Ok(survey);
        }
        Err(failed("read", &self.path, &io::ErrorKind::NotFound.into()))
    }

    /// Whether all of it was settled meanwhile: its file may be written over, then.
    fn is_gone(&self) -> bool {
        !self.path.exists()
    }

    fn survey_of(&self, source: impl Source) -> io::Result<Survey> {
        let found = survey(source, &self.ends)?;
        let damage = found.damage.iter().map(|offset| self.damage(*offset));
        Ok(Survey {
            records: found.whole,
            unsettled: found.waiting,
            missing: found.missing.len() as u64,
            torn_bytes: found.torn_bytes,
            damage: damage.collect(),
        })
    }

    /// Its unsettled records, in the order in which they were written, and the damage between
    /// them.
    ///
    /// # Errors
    /// The file cannot be read (any more), or its key is not among `keys`.
    pub fn records(&self, keys: &[Key]) -> Result<Records<'_>, StorageError> {
        let codec = self.ends.codec(keys)?;
        let places = (self.ends.begin, self.ends.end());
        Ok(Records {
            segment: self,
            cipher: codec.cipher()?,
            scan: Scan::new(self.open_file()?, codec.seed, places, self.first),
            ended: false,
        })
    }

    fn open_file(&self) -> Result<File, StorageError> {
        File::open(&self.path).map_err(|e| failed("open", &self.path, &e))
    }

    fn damage(&self, offset: u64) -> Damage {
        Damage {
            path: self.path.clone(),
            offset,
            reason: "what is there is not what was written".to_owned(),
        }
    }
}

/// What a survey of these bytes would show, were they a segment's file; `None` if they are none.
pub fn survey_bytes(bytes: &[u8]) -> Option<Survey> {
    let ends = Ends::of(bytes, bytes.len() as u64, Path::new("bytes"))
        .ok()?
        .ok()?;
    Segment::new(ends).survey_of(bytes).ok()
}

/// The unsettled records of a segment, one after another.
#[derive(Debug)]
pub struct Records<'a> {
    segment: &'a Segment,
    cipher: Option<Cipher>,
    scan: Scan<File>,
    ended: bool,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let step = self.step().unwrap_or_else(|error| {
                self.ended = true;
                let offset = self.scan.offset;
                Some(Err(Damage {
                    reason: format!("it cannot be read: {error}"),
                    ..self.segment.damage(offset)
                }))
            });
            if step.is_some() {
                return step;
            }
        }
        None
    }
}

impl Records<'_> {
    /// Looks at what stands here and goes on behind it.
    fn step(&mut self) -> io::Result<Option<Result<Record, Damage>>> {
        let (offset, torn) = match self.scan.look()? {
            Found::Record(head) => {
                let offset = self.scan.offset;
                let payload = self.scan.payload(&head)?;
                match plain(payload, &head, self.cipher.as_ref()) {
                    Some(payload) => {
                        self.scan.pass(&head);
                        let index = index_of(self.segment.first, head.seq);
                        let settled = &self.segment.ends.settled;
                        if index.is_some_and(|index| settled.contains(index)) {
                            return Ok(None);
                        }
                        let at = (head.head_len as usize).min(payload.len());
                        return Ok(Some(Ok(Record {
                            seq: head.seq,
                            offset,
                            bytes: u64::from(head.len),
                            kind: head.kind,
                            weight: head.weight,
                            head: payload.slice(..at),
                            body: payload.slice(at..),
                        })));
                    }
                    None => (offset, false),
                }
            }
            Found::End => {
                self.ended = true;
                let next = self.segment.ends.footer.map(|(next, _)| next);
                let short = next.is_some_and(|next| self.scan.seq < next);
                let offset = self.scan.offset;
                return Ok(short.then(|| Err(self.segment.damage(offset))));
            }
            Found::Torn => (self.scan.offset, true),
            Found::Damaged => (self.scan.offset, false),
        };
        self.scan.find_next()?;
        self.ended = self.scan.is_at_end();
        let segment = self.segment;
        let torn = torn || segment.ends.header.written_over;
        let unfinished = self.ended && torn && !segment.sealed;
        if unfinished || segment.is_gone() {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(Err(segment.damage(offset))))
    }
}
