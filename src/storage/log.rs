//! A log: what is known of its records, and what callers ask of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::Notify;
use tokio::sync::oneshot;

use crate::budget::Reservation;

use super::Log;
use super::LogOptions;
use super::NewRecord;
use super::News;
use super::Page;
use super::ReadOrder;
use super::StorageError;
use super::Tally;
use super::Ticket;
use super::engine::Engine;
use super::error::closed;
use super::reader;
use super::reader::Reading;
use super::segment::Segment;
use super::survey::segment_in;
use super::writer::Writing;

/// A log, shared by those who use it and the threads.
#[derive(Debug)]
pub(super) struct LogCore {
    pub(super) engine: Arc<Engine>,
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) options: LogOptions,
    /// A segment is sealed once it is this large.
    pub(super) segment_bytes: u64,
    pub(super) state: Mutex<State>,
    /// The writer thread's own.
    pub(super) writing: Mutex<Writing>,
    /// Held by the one who reads.
    pub(super) reading: Mutex<Reading>,
    /// Told when there is something that [`Log::news`] has.
    pub(super) told: Notify,
}

/// What is known of the records. It is locked for moments, never while a file is touched.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Segments with records that wait.
    pub(super) readable: BTreeSet<u64>,
    pub(super) waiting: Tally,
    pub(super) unsettled: Tally,
    pub(super) disk_bytes: u64,
    /// What emptied files take beside it.
    pub(super) spare_bytes: u64,
    /// For the writer thread.
    pub(super) inbox: Inbox,
    /// For the sync thread.
    pub(super) unsynced: Unsynced,
    /// Segments whose files something removed, while records of them are in use.
    pub(super) removed: Vec<u64>,
    /// How many files something removed, so far.
    pub(super) removed_files: u64,
    /// Why nothing can be written, where the directory is not ours any more.
    pub(super) disowned: Option<StorageError>,
    /// Damage that was found for a caller who was gone before it could be told.
    pub(super) untold: Page,
    pub(super) closed: bool,
}

/// What the writer thread is asked for. Bounded by the room that callers reserved.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) appends: Vec<Append>,
    /// Settled records: segment and index.
    pub(super) settled: Vec<(u64, u32)>,
    /// Whether the writer thread was told.
    pub(super) queued: bool,
}

/// What the sync thread finds at its next round.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Segments, by their first sequence number.
    pub(super) segments: Vec<u64>,
    /// Whether files were created in the folder.
    pub(super) folder: bool,
    /// The settlements.
    pub(super) settled: Option<Arc<File>>,
    /// Whether the sync thread was told.
    pub(super) told: bool,
}

/// A record that somebody waits to be written.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) record: NewRecord,
    pub(super) room: Reservation,
    pub(super) done: oneshot::Sender<Result<Ticket, StorageError>>,
}

/// Locks; what a thread left that panicked is as good as any, since no update is half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Says whether records of the segment wait, and how much that changed the sum.
    pub(super) fn note_waiting(&mut self, first: u64) {
        let waits = self
            .segments
            .get(&first)
            .is_some_and(|segment| segment.waiting_tally.records > 0);
        if waits {
            self.readable.insert(first);
        } else {
            self.readable.remove(&first);
        }
    }

    /// How many records are in use whose files are gone.
    pub(super) fn unsafe_records(&self) -> u64 {
        let removed = self.removed.iter();
        let segments = removed.filter_map(|first| self.segments.get(first));
        segments.map(|segment| u64::from(segment.left())).sum()
    }

    /// Settles all that waits in a segment: its tally.
    pub(super) fn settle_waiting(&mut self, first: u64) -> Tally {
        let Some(segment) = self.segments.get_mut(&first) else {
            return Tally::default();
        };
        let (tally, indices) = segment.settle_waiting();
        self.waiting.subtract(&tally);
        self.unsettled.subtract(&tally);
        self.inbox
            .settled
            .extend(indices.into_iter().map(|index| (first, index)));
        self.note_waiting(first);
        tally
    }
}

impl LogCore {
    /// Where the segment with this first record lies.
    pub(super) fn path_of(&self, first: u64) -> PathBuf {
        segment_in(&self.folder, first)
    }

    /// Where it lies for whoever wants to look into it, if it is damaged.
    pub(super) fn quarantine_of(&self, first: u64) -> PathBuf {
        let log = self.name.replace('/', "-");
        let folder = self.engine.directory.join(super::QUARANTINE);
        folder.join(format!("{log}-{first:016x}.seg"))
    }

    /// A name there that no other file has: numbers begin again when a log is empty.
    pub(super) fn free_quarantine_of(&self, first: u64) -> PathBuf {
        let path = self.quarantine_of(first);
        let numbered = (2..100).map(|number| path.with_extension(format!("{number}.seg")));
        let mut names = std::iter::once(path.clone()).chain(numbered);
        names.find(|path| !path.exists()).unwrap_or(path)
    }

    pub(super) fn settle(self: &Arc<Self>, ticket: &Ticket) {
        let mut state = lock(&self.state);
        let settled = state
            .segments
            .get_mut(&ticket.segment)
            .is_some_and(|segment| segment.settle(ticket.index));
        if !settled {
            return;
        }
        state.unsettled.subtract(&ticket.tally());
        if state.closed {
            return;
        }
        state.inbox.settled.push((ticket.segment, ticket.index));
        self.settled_some(state);
    }

    /// Has the writer thread see what was settled.
    pub(super) fn settled_some(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let queued = std::mem::replace(&mut state.inbox.queued, true);
        drop(state);
        self.engine.queue(self, queued, false);
    }

    pub(super) fn unload(&self, ticket: &Ticket) {
        let mut state = lock(&self.state);
        let tally = ticket.tally();
        if let Some(segment) = state.segments.get_mut(&ticket.segment) {
            segment.unload(ticket.index, &tally);
            state.waiting.add(&tally);
            state.note_waiting(ticket.segment);
        }
    }
}

impl Log {
    /// Writes a record; returns when it would survive the end of this process, and with
    /// `Fsync::Always` that of the machine. `room` is given back when its bytes leave the disk.
    ///
    /// A caller that is dropped before it has its answer settles the record.
    ///
    /// # Errors
    /// The disk is full, read-only, gone: nothing was written, and another try may succeed.
    pub async fn append(
        &self,
        record: NewRecord,
        room: Reservation,
    ) -> Result<Ticket, StorageError> {
        if record.kind > 7 || u32::try_from(record.size()).is_err() {
            return Err(StorageError(format!(
                "a record of {} bytes and kind {} cannot be written: the format ends at 4 GiB and \
                 kind 7",
                record.size(),
                record.kind
            )));
        }
        let (done, written) = oneshot::channel();
        let queued = {
            let mut state = lock(&self.0.state);
            if state.closed {
                return Err(closed());
            }
            state.inbox.appends.push(Append { record, room, done });
            std::mem::replace(&mut state.inbox.queued, true)
        };
        self.0.engine.queue(&self.0, queued, true);
        written.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Reads records that wait (those unloaded, and those found at the start), of `max_bytes`
    /// together, but one at least. Empty if none waits.
    ///
    /// A caller that is dropped before it has the page leaves its records waiting.
    ///
    /// # Errors
    /// The disk cannot be read for now; nothing is lost by it.
    pub async fn next(&self, max_bytes: usize, order: ReadOrder) -> Result<Page, StorageError> {
        {
            let mut state = lock(&self.0.state);
            if state.waiting.records == 0 && !state.closed {
                return Ok(std::mem::take(&mut state.untold));
            }
        }
        let log = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || {
            let page = reader::read(&log, max_bytes, order)?;
            Ok(reader::Unclaimed::new(log, page))
        });
        let unclaimed = read.await.unwrap_or_else(|_| Err(closed()))?;
        Ok(unclaimed.claim())
    }

    /// Its name, as it was opened.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// What waits to be read.
    pub fn waiting(&self) -> Tally {
        lock(&self.0.state).waiting
    }

    /// What is on disk and not settled, whether it waits to be read or not.
    pub fn unsettled(&self) -> Tally {
        lock(&self.0.state).unsettled
    }

    /// The bytes of its files, emptied ones that are kept for a while included.
    pub fn disk_bytes(&self) -> u64 {
        let state = lock(&self.0.state);
        state.disk_bytes + state.spare_bytes
    }

    /// Waits for news that the disk has without having been asked.
    pub async fn told(&self) {
        self.0.told.notified().await;
    }

    /// Sees, now, whether what was stored lies where it was put.
    pub async fn look(&self) {
        self.0.engine.look().await;
    }

    /// What is known of files that something else removed. Losses are told once.
    pub fn news(&self) -> News {
        let mut state = lock(&self.0.state);
        News {
            lost: std::mem::take(&mut state.untold.lost),
            removed_files: state.removed_files,
            disowned: state.disowned.clone(),
        }
    }

    /// How many records are in use whose files are gone: they do not outlive the process.
    pub fn unsafe_records(&self) -> u64 {
        lock(&self.0.state).unsafe_records()
    }

    /// Waits until the writer thread has seen to all that was settled before.
    pub async fn catch_up(&self) {
        self.0.engine.catch_up().await;
    }

    /// Chooses the oldest file to be given up, and settles what of it waits to be read: which it
    /// is, and what that was. The rest of it, which the caller has tickets for, is for the caller
    /// to settle: `idle` says of how many records of each file that can be done now. No file is
    /// chosen of which anybody else has a ticket: it would stay.
    pub fn give_up_file(&self, idle: &HashMap<u64, u32>) -> Option<(u64, Tally)> {
        let mut state = lock(&self.0.state);
        let first = state.segments.values().find(|segment| {
            let idle = idle.get(&segment.first).copied().unwrap_or(0);
            let left = u64::from(segment.left());
            let is_free = left == segment.waiting_tally.records + u64::from(idle);
            left > 0 && is_free && !segment.removed
        })?;
        let first = first.first;
        let tally = state.settle_waiting(first);
        self.0.settled_some(state);
        Some((first, tally))
    }

    /// Settles the oldest segment's records that wait to be read, unread; what that were. For
    /// logs that keep the newest.
    pub async fn drop_oldest(&self) -> Tally {
        let log = Arc::clone(&self.0);
        let dropped = tokio::task::spawn_blocking(move || {
            let _nobody_reads = lock(&log.reading);
            let mut state = lock(&log.state);
            let Some(first) = state.readable.first().copied() else {
                return Tally::default();
            };
            let tally = state.settle_waiting(first);
            log.settled_some(state);
            tally
        });
        dropped.await.unwrap_or_default()
    }
}
