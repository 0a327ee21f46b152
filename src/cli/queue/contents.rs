//! What lies in a log, one thing after the other, and what it means.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;

use super::output::Stop;
use super::place::{Place, Places, Shelf};
use super::summary::Damage;
use crate::delivery::dead_letters::Letter;
use crate::delivery::record::{self, Head};
use crate::otlp::Signal;
use crate::storage::inspect::{self, Segment};
use crate::storage::{Key, StorageError, Tally};

/// One thing in a log.
#[derive(Debug)]
pub(super) enum Seen {
    /// A file, before what is in it.
    File {
        bytes: u64,
        /// The id of the key that it is encrypted with.
        key: Option<String>,
    },
    /// A record that is whole and not settled.
    Record(Record),
    /// Those of a file whose key we do not have: only their sums are known.
    Locked(Tally),
    /// What cannot be read.
    Damage(Damage),
}

/// A record, and what it is.
#[derive(Debug)]
pub(super) struct Record {
    file: PathBuf,
    found: inspect::Record,
    is_letter: bool,
}

impl Record {
    /// What it takes on disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.found.bytes
    }

    /// Spans, data points, log records or profiles.
    pub(super) const fn items(&self) -> u64 {
        self.found.weight
    }

    /// What kind of request it holds.
    pub(super) fn signal(&self) -> Option<Signal> {
        record::signal(self.found.kind)
    }

    /// When the oldest of its request was received.
    ///
    /// # Errors
    /// What is wrong with its head, for a person.
    pub(super) fn received(&self) -> Result<SystemTime, String> {
        if self.is_letter {
            let letter = Letter::decode(&self.found.head).map_err(|error| error.to_string())?;
            return Ok(letter.received);
        }
        Ok(Head::decode(&self.found.head)?.received)
    }

    /// The request in plain bytes, where bodies are read.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(super) fn request(&self) -> Result<(Signal, Bytes), String> {
        let signal = self
            .signal()
            .ok_or_else(|| format!("no signal has the number {}", self.found.kind))?;
        let request = if self.is_letter {
            Letter::decode(&self.found.head).map_err(|error| error.to_string())?;
            self.found.body.clone()
        } else {
            Head::decode(&self.found.head)?.inflate(&self.found.body)?
        };
        Ok((signal, request))
    }

    /// That something is wrong with it.
    pub(super) fn damage(&self, what: String) -> Damage {
        Damage {
            file: self.file.clone(),
            offset: self.found.offset,
            what,
        }
    }
}

/// What to do about files whose key we do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// To add them up is enough.
    Sum,
    /// They are what was asked for.
    Fail,
}

/// What the files of all logs take, in bytes, as of now.
pub(super) fn bytes(places: &Places) -> u64 {
    let logs = places.logs.iter();
    let segments = logs.filter_map(|place| inspect::segments(&places.directory, &place.log).ok());
    let sizes = segments.flat_map(|(segments, _)| segments);
    sizes.map(|segment| segment.bytes).sum()
}

/// Hands all that lies in a log, and is not settled, to `each`.
///
/// # Errors
/// What `each` ends it with; a folder or file that cannot be read; a key that is not there.
pub(super) fn read(
    places: &Places,
    place: &Place,
    locked: Locked,
    each: &mut dyn FnMut(Seen) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for segment in segments(places, place, each)? {
        let bytes = segment.bytes;
        let key = segment.key_id.clone();
        each(Seen::File { bytes, key })?;
        if locked == Locked::Sum && !places.has_key_of(&segment) {
            let Some(survey) = unless_gone(&segment, segment.survey())? else {
                continue;
            };
            each(Seen::Locked(survey.unsettled))?;
            for damage in survey.damage {
                each(Seen::Damage(damage.into()))?;
            }
        } else {
            records(place, &segment, &places.keys, each)?;
        }
    }
    Ok(())
}

/// The files of a log; those of which nothing can be read go to `each`.
pub(super) fn segments(
    places: &Places,
    place: &Place,
    each: &mut dyn FnMut(Seen) -> Result<(), Stop>,
) -> Result<Vec<Segment>, Stop> {
    let found = inspect::segments(&places.directory, &place.log);
    let (segments, damaged) = found.map_err(failed)?;
    for damage in damaged {
        each(Seen::Damage(damage.into()))?;
    }
    Ok(segments)
}

/// The records of a file that are not settled, and the damage between them.
pub(super) fn records(
    place: &Place,
    segment: &Segment,
    keys: &[Key],
    each: &mut dyn FnMut(Seen) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let is_letter = place.shelf == Shelf::DeadLetters;
    let Some(records) = unless_gone(segment, segment.records(keys))? else {
        return Ok(());
    };
    for record in records {
        each(match record {
            Ok(found) => Seen::Record(Record {
                file: segment.path.clone(),
                found,
                is_letter,
            }),
            Err(damage) => Seen::Damage(damage.into()),
        })?;
    }
    Ok(())
}

/// What was found, unless the file is gone: then all of it was settled meanwhile.
pub(super) fn unless_gone<T>(
    segment: &Segment,
    found: Result<T, StorageError>,
) -> Result<Option<T>, Stop> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(_) if segment.path.metadata().is_err_and(|error| gone(&error)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: StorageError) -> Stop {
    Stop::Failed(error.to_string())
}

impl From<inspect::Damage> for Damage {
    fn from(damage: inspect::Damage) -> Self {
        Self {
            file: damage.path,
            offset: damage.offset,
            what: damage.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::batch::{Batch, Chunks, Context, Priority};
    use crate::budget::{Budget, Reservation};
    use crate::storage::{Fsync, LogOptions, Storage, StorageOptions};

    const LOG: &str = "queue/backend/normal";

    fn key(id: &str) -> Key {
        Key {
            id: id.to_owned(),
            secret: [7; 32],
        }
    }

    /// A storage, encrypted with this key, that holds one settled and one waiting request.
    async fn write(directory: &Path, keys: Vec<Key>) {
        let storage = Storage::open(StorageOptions {
            directory: directory.to_owned(),
            sync_interval: Duration::from_millis(1),
            keys,
        })
        .unwrap();
        let options = LogOptions {
            fsync: Fsync::Never,
            room: Budget::new(1 << 20),
        };
        let (log, _) = storage.log(LOG, options, &mut |_, _| ()).unwrap();
        for items in [3, 5] {
            let batch = Batch {
                signal: Signal::Logs,
                chunks: Chunks::from_elem(Bytes::from_static(&[10, 0]), 1),
                items,
                received: Instant::now(),
                context: Context::default(),
                deadline: None,
                encoded: None,
                reservations: Default::default(),
            };
            let record = record::encode(&batch);
            let ticket = log.append(record, Reservation::default()).await.unwrap();
            if items == 5 {
                ticket.keep();
            }
        }
        storage.close();
    }

    fn places(directory: &Path, keys: Vec<Key>) -> Places {
        let shelf = Shelf::Queue {
            exporter: "backend".to_owned(),
            priority: Priority::Normal,
        };
        let log = LOG.to_owned();
        Places {
            directory: directory.to_owned(),
            keys,
            logs: vec![Place { shelf, log }],
        }
    }

    fn read_all(places: &Places, locked: Locked) -> Result<Vec<Seen>, Stop> {
        let mut all = Vec::new();
        for place in &places.logs {
            read(places, place, locked, &mut |seen| {
                all.push(seen);
                Ok(())
            })?;
        }
        Ok(all)
    }

    #[tokio::test]
    async fn what_waits_is_handed_on_and_what_is_settled_is_not() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Vec::new()).await;
        let places = places(folder.path(), Vec::new());
        let all = read_all(&places, Locked::Fail).unwrap();
        let [Seen::File { bytes, key: None }, Seen::Record(record)] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!(*bytes, super::bytes(&places));
        assert_eq!(record.items(), 5);
        let expected = (Signal::Logs, Bytes::from_static(&[10, 0]));
        assert_eq!(record.request(), Ok(expected));
        let age = SystemTime::now().duration_since(record.received().unwrap());
        assert!(age.unwrap() < Duration::from_secs(600));
    }

    #[tokio::test]
    async fn what_is_encrypted_is_added_up_without_its_key_and_read_with_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), vec![key("new")]).await;
        let without = places(folder.path(), vec![key("old")]);
        let all = read_all(&without, Locked::Sum).unwrap();
        let [Seen::File { key: Some(id), .. }, Seen::Locked(tally)] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!(id, "new");
        let logs = Signal::Logs as usize;
        assert_eq!((tally.records, tally.weight[logs]), (1, 5));
        let Err(Stop::Failed(problem)) = read_all(&without, Locked::Fail) else {
            panic!("there is no key");
        };
        assert!(problem.contains("new"), "{problem}");
        let with = places(folder.path(), vec![key("old"), key("new")]);
        let all = read_all(&with, Locked::Fail).unwrap();
        let [_, Seen::Record(record)] = &all[..] else {
            panic!("{all:?}");
        };
        assert!(record.request().is_ok());
    }
}
