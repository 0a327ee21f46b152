//! The segmented log on disk. It knows records of bytes, nothing of telemetry.
//!
//! # Format, version 1
//! Integers are little-endian. A storage directory holds
//!
//! ```text
//! lock                                  flocked while in use; the holder's process id
//! quarantine/LOG-NNNNNNNNNNNNNNNN.seg   damaged segments, for people: nothing here is read again
//! LOG/NNNNNNNNNNNNNNNN.seg              segments, named after their first record's sequence
//!                                       number in hexadecimal (LOG may be several folders deep)
//! LOG/NNNNNNNNNNNNNNNN.spare            up to four emptied segments, to be written over
//! LOG/settled                           which records of the segments that exist are settled
//! ```
//!
//! **A segment** is a header, records, and a footer once it is sealed. It is only ever appended
//! to, by the process that began it, and sealed when it has 4 MiB (or an eighth of the log's
//! room, if that is less); the record that crosses that line is in it in full. It may begin in the
//! file of a segment that was settled, and got another name by that: then a mark stands behind its
//! last record, for as long as older bytes follow; the footer is at the end of the file always.
//!
//! ```text
//! header    0  8  "otlpdseg"
//!           8  2  format version: 1
//!          10  2  size of the header: 64 and the key id
//!          12  1  encryption: 0 none, 1 AES-256-GCM
//!          13  1  length of the key id, up to 64
//!          14  1  1 if it is written over an emptied segment, else 0
//!          15  1  0
//!          16  8  sequence number of the first record
//!          24  8  when it was begun, milliseconds since 1970
//!          32 16  salt, random
//!          48  8  key check (0 without encryption)
//!          56  4  0
//!          60  4  CRC-32 of bytes 0 to 59 and the key id: the seed
//!          64     key id
//! record    0  4  length, these 32 bytes included
//!           4  4  CRC-32 of bytes 0 to 31 (these four as 0), head and body, begun with the seed
//!           8  8  sequence number: its predecessor's and one
//!          16  8  weight
//!          24  4  length of the head
//!          28  1  kind, 0 to 7
//!          29  1  0 record, 1 footer, 2 mark
//!          30  2  0
//!          32     head, body
//! footer          a record of 112 bytes: its sequence number is the one after the last; its head
//!                 is the number of records, their bytes, and their weights by kind, 8 bytes each
//! mark            a record of 32 bytes: its sequence number is that of the next record, which will
//!                 be written in its place
//! ```
//!
//! CRC-32 is that of IEEE 802.3, as zlib has it. The seed binds records to their segment: bytes of
//! another file, or of an older one, in this file's place are damage, however well-formed.
//!
//! **Encryption.** Head and body of a record are one AES-256-GCM ciphertext with its tag of 16
//! bytes at the end; the nonce is 4 zeros and the sequence number, big-endian; the 32 bytes before
//! them (checksum as 0) are authenticated with them. The key is HKDF-SHA256 of the secret, with the
//! salt as salt and `otlpd segment 1: records` as info; the first 8 bytes for `otlpd segment 1:
//! check` are the key check. Lengths, kinds, weights and footers are legible.
//!
//! **`settled`** has 16 bytes for each run of settled records: the first's sequence number (8), how
//! many (4), and the CRC-32 of these, begun with the segment's seed (4). A run whose checksum begins
//! with 0 is of a segment that is no more, since all of it was settled; it is written before the file
//! goes. One of no records says where that begins to be noted: no file before it is missed. A run
//! whose checksum is neither means nothing. The file is written anew (`settled.new`, then renamed)
//! by each process before its first segment, and at 1 MiB or twice the size that it then had.
//!
//! **Versions.** In all versions the magic, the version, the header's size and the header's
//! checksum are where they are. A whole header of a later version is an error at the start, not
//! damage; whoever raises the version keeps the reader of this one.
//!
//! # What a start does
//! 1. Emptied files are removed. Each segment's header and footer are read. A key that is missing, or
//!    has another secret, is an error before anything is changed. If the last file ends within its
//!    header, or has the header of an earlier segment than its name says, it is removed: the power
//!    failed before anything was written to it. Any other whose header is not right goes to the
//!    quarantine. One that cannot be read stays where it is, for the next start.
//! 2. `settled` is read.
//! 3. A segment with a footer and nothing settled is not read further; wholly settled, it is
//!    removed. Any other is read in full: those without a footer (which a crash leaves, one for a
//!    log), and those settled in part (what was in flight).
//! 4. A record that the end of an unsealed file cuts short, or zeros there, is a torn write: cut
//!    off; and so is whatever stands behind the last record of one that is written over, if no
//!    mark follows it. Anything else that is not a right record is damage: the file is copied to the
//!    quarantine, reading goes on at the next right record. What was read then gets its footer.
//! 5. Sequence numbers that no segment has, and of which `settled` does not say that their segment is
//!    no more, are lost records: so a file that is missing, or was cut, is found by its neighbours.
//!    Each is told as a [`Hole`], once: `settled` then says that they are no more.
//!
//! Every later read checks the checksum as well. Damage found then puts the file into the
//! quarantine (as a second name of it, or a copy); the records around it are delivered; those not
//! found are counted in [`Page::lost`].
//!
//! # What something else removes
//! Before each write, and each second, the writer thread sees whether the lock's file is still the
//! one that it locked. If it is not, it is locked again before anything is written; if another
//! process has it, nothing is written. Then, and where a log's folder or the file that is written to
//! is not where it was put, each segment is looked for (`presence.rs`). The one that is written to
//! is open, and is written again from that; what others had and is not in memory is lost, and
//! counted; what is in memory is delivered, or written again at the end.
//!
//! # What can be lost
//! | | the process is killed | the machine loses power |
//! |---|---|---|
//! | [`Fsync::Always`] | nothing that was acknowledged | nothing that was acknowledged |
//! | [`Fsync::Interval`] | nothing that was acknowledged | the last `sync_interval`, and a sync's time |
//! | [`Fsync::Never`] | nothing that was acknowledged | what the kernel had not written (about 30 s) |
//!
//! What is repeated: a settlement is written within 5 ms, or with the next append if that comes
//! before, and synced within `sync_interval` (never, with `Never`). A segment is given up only when
//! all of it is settled and nothing more is written to it, its settlements need not be on disk for
//! that. So a kill repeats what was in flight, and what was settled in its last 5 ms.

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
mod gone;
mod holes;
pub mod inspect;
mod lock;
mod log;
mod presence;
mod reader;
mod recovery;
mod scan;
mod segment;
mod settle;
mod spare;
mod survey;
mod sync;
mod threads;
mod ticket;
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

/// What became of files that something other than this process removed or replaced.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// What is lost by it, since the last time that this was asked for.
    pub lost: Tally,
    /// How many files it were, since the log was opened.
    pub removed_files: u64,
    /// Why nothing is written: the directory is not this process's any more.
    pub disowned: Option<StorageError>,
}

/// What was found when a log was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// What waits to be read.
    pub waiting: Tally,
    /// Bytes after the last whole record of the last segment, of a write that was cut short.
    pub torn_bytes: u64,
    /// What is damaged, missing, or could not be read.
    pub holes: Vec<Hole>,
}

/// A segment that is damaged or is not there, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where its file lies now, in the quarantine if it could be put there; or where it should be.
    pub file: PathBuf,
    /// What is wrong with it, for a person.
    pub reason: String,
    /// What is lost by it: all of it, as far as that is known. Bytes and weights are 0 where only
    /// the number of records is known.
    pub lost: Tally,
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

impl Recovery {
    /// What is lost, in sum.
    pub fn lost(&self) -> Tally {
        let mut lost = Tally::default();
        for hole in &self.holes {
            lost.add(&hole.lost);
        }
        lost
    }
}

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

    /// So many records, of which nothing else is known.
    pub(crate) fn number(records: u64) -> Self {
        Self {
            records,
            ..Self::default()
        }
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
