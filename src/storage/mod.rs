//! The segmented log on disk. It knows records of bytes, nothing of telemetry.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::budget::Budget;

pub use crypt::Key;

mod active;
mod bits;
mod crypt;
mod engine;
mod error;
mod format;
pub mod inspect;
mod lock;
mod log;
mod reader;
mod recovery;
mod scan;
mod segment;
mod settle;
mod survey;
mod sync;
mod threads;
mod writer;

/// The folder, below the storage directory, of segments that were damaged.
const QUARANTINE: &str = "quarantine";

/// All logs below one directory, which this process alone has open. Dropping the last clone
/// closes it.
#[derive(Clone, Debug)]
pub struct Storage(Arc<threads::Threads>);

/// What is the same for all logs.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Where the logs are.
    pub directory: PathBuf,
    /// The longest that what was written stays unsynced, with [`Fsync::Interval`].
    pub sync_interval: Duration,
    /// What records are encrypted with: the first for what is written, all for what is read. None
    /// if they are not encrypted.
    pub keys: Vec<Key>,
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
pub struct Log(Arc<log::LogCore>);

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
pub struct Ticket {
    log: Arc<log::LogCore>,
    /// The sequence number of its segment's first record.
    segment: u64,
    /// Which of the segment it is.
    index: u32,
    bytes: u32,
    kind: u8,
    weight: u64,
    fate: AtomicU8,
}

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

/// What was read, and what could not be.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order in which they were written.
    pub records: Vec<Record>,
    /// What was found to be damaged, and set aside: it will not be read again.
    pub lost: Tally,
    /// The files that had the damage, newly found, with the reason. Where it could be done, they
    /// are in the quarantine.
    pub quarantined: Vec<(PathBuf, String)>,
}

/// What was found when a log was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// What waits to be read.
    pub waiting: Tally,
    /// Bytes after the last whole record, of a write that was cut short.
    pub torn_bytes: u64,
    /// What was damaged, at the most: some of it may have been settled. Whole files whose header
    /// is damaged are not in it.
    pub lost: Tally,
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

impl Tally {
    pub(crate) fn of(bytes: u64, kind: u8, weight: u64) -> Self {
        let mut tally = Self {
            records: 1,
            bytes,
            ..Self::default()
        };
        if let Some(slot) = tally.weight.get_mut(usize::from(kind)) {
            *slot = weight;
        }
        tally
    }

    /// Counts what `other` counts as well.
    pub fn add(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        self.bytes = self.bytes.saturating_add(other.bytes);
        for (mine, theirs) in self.weight.iter_mut().zip(other.weight) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Counts what `other` counts no more.
    pub fn subtract(&mut self, other: &Self) {
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        for (mine, theirs) in self.weight.iter_mut().zip(other.weight) {
            *mine = mine.saturating_sub(theirs);
        }
    }
}
