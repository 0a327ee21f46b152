//! The sync thread: what is written becomes safe from a power failure, as the policy says.

use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Fsync;
use super::StorageError;
use super::Ticket;
use super::engine::Engine;
use super::error::failed;
use super::log::LogCore;
use super::log::lock;
use crate::failures::Failures;

/// The sync thread's work.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    groups: Vec<Group>,
    /// Logs to look after at the next round.
    stirred: Vec<Arc<LogCore>>,
    next_round: Option<Instant>,
    closing: bool,
}

/// Records that are acknowledged once their file is synced.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) log: Arc<LogCore>,
    pub(super) file: Arc<File>,
    pub(super) first: u64,
    pub(super) acks: Vec<Ack>,
}

/// Whom to tell, and what.
pub(super) type Ack = (oneshot::Sender<Result<Ticket, StorageError>>, Ticket);

/// What the thread does next.
struct Turn {
    groups: Vec<Group>,
    round: Vec<Arc<LogCore>>,
    closing: bool,
}

impl Syncs {
    /// Acknowledges the records of a group once they are synced.
    pub(super) fn acknowledge(&self, group: Group) {
        lock(&self.work).groups.push(group);
        self.wake.notify_one();
    }

    /// Has the log looked after within `interval`.
    pub(super) fn stir(&self, log: &Arc<LogCore>, interval: Duration) {
        let told = std::mem::replace(&mut lock(&log.state).unsynced.told, true);
        if told {
            return;
        }
        let mut work = lock(&self.work);
        work.stirred.push(Arc::clone(log));
        if work.next_round.is_none() {
            work.next_round = Some(Instant::now() + interval);
            drop(work);
            self.wake.notify_one();
        }
    }

    /// Has the thread do what there is and end.
    pub(super) fn close(&self) {
        lock(&self.work).closing = true;
        self.wake.notify_one();
    }

    fn next_turn(&self) -> Turn {
        let mut work = lock(&self.work);
        loop {
            let left = work.next_round.map(|at| at - Instant::now());
            let due = left.is_some_and(|left| left.is_zero());
            if due || work.closing || !work.groups.is_empty() {
                let due = due || work.closing;
                let round = if due {
                    std::mem::take(&mut work.stirred)
                } else {
                    Vec::new()
                };
                if due {
                    work.next_round = None;
                }
                return Turn {
                    groups: std::mem::take(&mut work.groups),
                    round,
                    closing: work.closing,
                };
            }
            work = match left {
                Some(left) => {
                    let waited = self.wake.wait_timeout(work, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(work).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The thread.
pub(super) fn run(engine: &Engine) {
    let failed = Failures::default();
    loop {
        let turn = engine.syncs.next_turn();
        finish(turn.groups);
        for log in &turn.round {
            if let Err(error) = round(log)
                && let Some(repeated) = failed.count_one()
            {
                tracing::warn!(repeated, log = %log.name, "{error}; a power failure may lose what was written since");
            }
        }
        if turn.closing {
            break;
        }
        if !turn.round.is_empty() {
            engine.tidy(turn.round);
        }
    }
}

/// Syncs what the groups were written to, each file once, and tells those who wait.
fn finish(groups: Vec<Group>) {
    let mut synced: Vec<(Arc<File>, Result<(), StorageError>)> = Vec::new();
    for group in groups {
        let before = synced
            .iter()
            .find(|(file, _)| Arc::ptr_eq(file, &group.file))
            .map(|(_, result)| result.clone());
        let result = before.unwrap_or_else(|| {
            let result = sync_group(&group);
            synced.push((Arc::clone(&group.file), result.clone()));
            result
        });
        for (done, ticket) in group.acks {
            // Without an answer the ticket is dropped, which settles the record.
            drop(done.send(result.clone().map(|()| ticket)));
        }
    }
}

fn sync_group(group: &Group) -> Result<(), StorageError> {
    let log = &group.log;
    let result = sync_file(&group.file, &log.path_of(group.first)).and_then(|()| {
        let fresh = std::mem::take(&mut lock(&log.state).unsynced.folder);
        if fresh {
            sync_folder(&log.folder)
        } else {
            Ok(())
        }
    });
    if result.is_err() {
        lock(&log.state).unsynced.folder = true;
        spoil(log, group.first);
    }
    result
}

/// Syncs what of a log was not: all that can be, and the first thing that cannot.
fn round(log: &LogCore) -> Result<(), StorageError> {
    let unsynced = std::mem::take(&mut lock(&log.state).unsynced);
    if log.options.fsync == Fsync::Never {
        return Ok(());
    }
    let mut result = Ok(());
    for first in unsynced.segments {
        result = result.and(sync_segment(log, first));
    }
    if let Some(file) = unsynced.settled {
        let path = log.folder.join(super::settle::FILE);
        result = result.and(sync_file(&file, &path));
    }
    if unsynced.folder {
        result = result.and(sync_folder(&log.folder));
    }
    result
}

fn sync_segment(log: &LogCore, first: u64) -> Result<(), StorageError> {
    let file = match lock(&log.state).segments.get_mut(&first) {
        None => return Ok(()),
        Some(segment) => {
            segment.dirty = false;
            segment.file.clone()
        }
    };
    let path = log.path_of(first);
    let result = match file {
        Some(file) => sync_file(&file, &path),
        // Sealed, and closed. It may be unlinked at any moment: then nobody needs it.
        None => match File::open(&path) {
            Ok(file) => sync_file(&file, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("sync", &path, &error)),
        },
    };
    if result.is_err() {
        spoil(log, first);
    }
    result
}

/// What the kernel could not write it forgets: nothing more goes into that segment.
fn spoil(log: &LogCore, first: u64) {
    if let Some(segment) = lock(&log.state).segments.get_mut(&first) {
        segment.spoiled = true;
    }
}

fn sync_file(file: &File, path: &Path) -> Result<(), StorageError> {
    file.sync_data().map_err(|e| failed("sync", path, &e))
}

/// Creates a folder and those above it, and syncs the entry of each: a file that is synced is
/// only as safe as the names on the way to it.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| failed("sync the directory", folder, &e))
}
