//! The segmented log on disk. It knows records of bytes, nothing of telemetry.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::budget::{Budget, Reservation};

/// All logs below one directory, which this process alone has open.
#[derive(Clone, Debug)]
pub struct Storage {}

/// What is the same for all logs.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Where the logs are.
    pub directory: PathBuf,
    /// The longest that what was written stays unsynced, with [`Fsync::Interval`].
    pub sync_interval: Duration,
}

/// When what was written is synced to the disk itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// Before it is acknowledged.
    Always,
    /// Within `sync_interval` after it.
    Interval,
    /// Whenever the kernel likes.
    Never,
}

/// How one log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// When it is synced.
    pub fsync: Fsync,
    /// What its bytes on disk are paid from.
    pub room: Budget,
}

/// One log: records in order, each read and settled on its own. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Log {}

/// What is to be written.
#[derive(Debug)]
pub struct NewRecord {
    /// What the record's `weight` is counted under, 0 to 7.
    pub kind: u8,
    /// What it counts for.
    pub weight: u64,
    /// Opaque.
    pub head: Bytes,
    /// Opaque, and large.
    pub body: SmallVec<[Bytes; 1]>,
}

impl NewRecord {
    /// What it takes on disk, in bytes.
    pub fn size(&self) -> usize {
        self.head.len() + self.body.iter().map(Bytes::len).sum::<usize>() + 64
    }
}

/// The duty to settle a record. Dropped, the record is done with and never seen again; unless it
/// was told to keep it, or to unload it.
#[derive(Debug)]
#[must_use = "a record whose ticket is dropped is done with"]
pub struct Ticket {}

/// A record as it was read back.
#[derive(Debug)]
pub struct Record {
    /// The duty to settle it.
    pub ticket: Ticket,
    /// As it was written.
    pub kind: u8,
    /// As it was written.
    pub weight: u64,
    /// As it was written.
    pub head: Bytes,
    /// As it was written, in one piece.
    pub body: Bytes,
}

/// Records of a log by what was said of them, counted by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Their weights, by kind.
    pub weight: [u64; 8],
}

impl Tally {
    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        for (sum, weight) in self.weight.iter_mut().zip(other.weight) {
            *sum += weight;
        }
    }
}

/// What was read, and what could not be.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order in which they were written.
    pub records: Vec<Record>,
    /// What was found to be damaged, and set aside: it will not be read again.
    pub lost: Tally,
}

/// What was found when a log was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// What waits to be read.
    pub waiting: Tally,
    /// Bytes after the last whole record, of a write that was cut short.
    pub torn_bytes: u64,
    /// Files that were set aside, with the reason.
    pub quarantined: Vec<(PathBuf, String)>,
}

/// Which of the records that wait is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOrder {
    /// The one written first.
    OldestFirst,
    /// Those of the segment written last.
    NewestFirst,
}

/// Why something could not be done, for a person: what failed, on which path, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageError(pub String);

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StorageError {}

impl Storage {
    /// Takes the directory for this process alone, creating it where there is none.
    ///
    /// # Errors
    /// It cannot be created or written to, or another process has it (named by its id).
    pub fn open(_options: StorageOptions) -> Result<Self, StorageError> {
        todo!()
    }

    /// Opens the log of this name (a relative path, such as `queue/backend/normal`), creating it
    /// where there is none. `progress` hears of bytes looked at, of all.
    ///
    /// # Errors
    /// The directory cannot be read or written to.
    pub fn log(
        &self,
        _name: &str,
        _options: LogOptions,
        _progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Log, Recovery), StorageError> {
        todo!()
    }

    /// Writes and syncs all that is under way, and gives the directory up for another process.
    /// Logs that are still used fail from now on.
    pub fn close(&self) {
        todo!()
    }
}

impl Log {
    /// Writes a record; returns when it would survive the end of this process, and with
    /// `Fsync::Always` that of the machine. `room` is given back when its bytes leave the disk.
    ///
    /// # Errors
    /// The disk is full, read-only, gone: nothing was written, and another try may succeed.
    pub async fn append(
        &self,
        _record: NewRecord,
        _room: Reservation,
    ) -> Result<Ticket, StorageError> {
        todo!()
    }

    /// Reads records that wait (those unloaded, and those found at the start), of `max_bytes`
    /// together, but one at least. Empty if none waits.
    ///
    /// # Errors
    /// The disk cannot be read for now; nothing is lost by it.
    pub async fn next(&self, _max_bytes: usize, _order: ReadOrder) -> Result<Page, StorageError> {
        todo!()
    }

    /// What waits to be read.
    pub fn waiting(&self) -> Tally {
        todo!()
    }

    /// What is on disk and not settled, whether it waits to be read or not.
    pub fn unsettled(&self) -> Tally {
        todo!()
    }

    /// The bytes of its files.
    pub fn disk_bytes(&self) -> u64 {
        todo!()
    }

    /// Settles the oldest segment's records that wait to be read, unread; what that were. For
    /// logs that keep the newest.
    pub async fn drop_oldest(&self) -> Tally {
        todo!()
    }
}

impl Ticket {
    /// The record stays for the next start; it is not read again in this one.
    pub fn keep(&self) {
        todo!()
    }

    /// The record goes back to those that wait to be read.
    pub fn unload(self) {
        todo!()
    }
}
