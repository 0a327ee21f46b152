//! What all logs below one directory share: the two threads, and how they are woken.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::StorageOptions;
use super::crypt::Key;
use super::log::LogCore;
use super::log::lock;
use super::sync::Syncs;

/// How long settlements may wait for an append to be written with, before they are written by
/// themselves. It bounds what is delivered again after a kill -9.
const NAP: Duration = Duration::from_millis(5);

/// How often it is seen whether the directory is still the one that was opened: what nobody
/// notices is acknowledged in vain.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The directory, and the threads' work.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) directory: PathBuf,
    pub(super) sync_interval: Duration,
    pub(super) keys: Vec<Key>,
    pub(super) logs: Mutex<HashMap<String, Weak<LogCore>>>,
    work: Mutex<Work>,
    wake: Condvar,
    pub(super) syncs: Syncs,
}

#[derive(Debug, Default)]
struct Work {
    ready: Vec<Arc<LogCore>>,
    /// Whether somebody waits for one of them.
    urgent: bool,
    tidy: Vec<Arc<LogCore>>,
    /// Who waits for the end of a turn.
    asked: Vec<oneshot::Sender<()>>,
    /// Whether they want all that is on disk to be looked for in it.
    closely: bool,
    looked: Option<Instant>,
    closing: bool,
    sleep: Sleep,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    /// At work: it looks again before it sleeps.
    #[default]
    Awake,
    /// It wakes by itself soon, or for what is urgent.
    Nap,
    /// It wakes for anything, and to look at what is on disk.
    Deep,
}

/// What the writer thread does next.
#[derive(Debug)]
pub(super) struct Turn {
    /// Logs with something in their inbox.
    pub(super) ready: Vec<Arc<LogCore>>,
    /// Logs that may have a segment which nobody needs.
    pub(super) tidy: Vec<Arc<LogCore>>,
    /// Whether it is time to look at what is on disk.
    pub(super) look: bool,
    /// Whether to look for each file.
    pub(super) closely: bool,
    /// Who waits for the end of this turn.
    pub(super) asked: Vec<oneshot::Sender<()>>,
    /// Whether it is the last.
    pub(super) closing: bool,
}

impl Engine {
    pub(super) fn new(options: StorageOptions) -> Self {
        Self {
            directory: options.directory,
            sync_interval: options.sync_interval,
            keys: options.keys,
            logs: Mutex::default(),
            work: Mutex::default(),
            wake: Condvar::new(),
            syncs: Syncs::default(),
        }
    }

    /// Hands a log to the writer thread, unless it is `queued` already.
    pub(super) fn queue(&self, log: &Arc<LogCore>, queued: bool, urgent: bool) {
        if queued && !urgent {
            return;
        }
        let mut work = lock(&self.work);
        if !queued {
            work.ready.push(Arc::clone(log));
        }
        work.urgent |= urgent;
        if work.sleep == Sleep::Deep || (urgent && work.sleep == Sleep::Nap) {
            self.rouse(work);
        }
    }

    /// Has the writer thread look after logs when it is free.
    pub(super) fn tidy(&self, logs: Vec<Arc<LogCore>>) {
        let mut work = lock(&self.work);
        work.tidy.extend(logs);
        self.rouse(work);
    }

    /// Has the writer thread see, now, whether what was stored lies where it was put.
    pub(super) async fn look(&self) {
        self.ask(true).await;
    }

    /// Has the writer thread do all that it was asked for so far.
    pub(super) async fn catch_up(&self) {
        self.ask(false).await;
    }

    async fn ask(&self, closely: bool) {
        let (done, looked) = oneshot::channel();
        {
            let mut work = lock(&self.work);
            if work.closing {
                return;
            }
            work.asked.push(done);
            work.closely |= closely;
            self.rouse(work);
        }
        // It has ended: there is nothing to be seen any more.
        let _ended = looked.await;
    }

    /// Has the writer thread finish.
    pub(super) fn close(&self) {
        let mut work = lock(&self.work);
        work.closing = true;
        self.rouse(work);
    }

    /// Wakes the writer thread, once.
    fn rouse(&self, mut work: MutexGuard<'_, Work>) {
        work.sleep = Sleep::Awake;
        drop(work);
        self.wake.notify_one();
    }

    /// Waits for work.
    pub(super) fn next_turn(&self) -> Turn {
        let mut work = lock(&self.work);
        work.sleep = Sleep::Nap;
        while work.is_quiet() {
            if work.sleep == Sleep::Deep {
                let waited = self.wake.wait_timeout(work, LOOK_EVERY);
                let (guard, slept) = waited.unwrap_or_else(PoisonError::into_inner);
                work = guard;
                if slept.timed_out() {
                    work.sleep = Sleep::Awake;
                }
                continue;
            }
            let waited = self.wake.wait_timeout(work, NAP);
            let (guard, nap) = waited.unwrap_or_else(PoisonError::into_inner);
            work = guard;
            if nap.timed_out() && work.is_quiet() {
                let rested = work.ready.is_empty();
                work.sleep = if rested { Sleep::Deep } else { Sleep::Awake };
            }
        }
        work.sleep = Sleep::Awake;
        work.urgent = false;
        let now = Instant::now();
        let look = work.closing || work.looked.is_none_or(|last| now >= last + LOOK_EVERY);
        if look {
            work.looked = Some(now);
        }
        Turn {
            look,
            closely: std::mem::take(&mut work.closely),
            asked: std::mem::take(&mut work.asked),
            ready: std::mem::take(&mut work.ready),
            tidy: std::mem::take(&mut work.tidy),
            closing: work.closing,
        }
    }

    /// All logs that are still used.
    pub(super) fn all_logs(&self) -> Vec<Arc<LogCore>> {
        let logs = lock(&self.logs);
        logs.values().filter_map(Weak::upgrade).collect()
    }
}

impl Work {
    fn is_quiet(&self) -> bool {
        let idle = self.tidy.is_empty() && self.asked.is_empty();
        self.sleep != Sleep::Awake && !self.urgent && idle && !self.closing
    }
}
