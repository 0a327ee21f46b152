//! Says on standard error how far it is, where that takes long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::interval;

use crate::cli::complain;

/// How often it says so.
const EVERY: Duration = Duration::from_secs(5);

/// How many scenarios there are, and how many are done.
pub(super) struct Progress {
    all: usize,
    done: AtomicUsize,
}

impl Progress {
    pub(super) fn of(all: usize) -> Self {
        Self {
            all,
            done: AtomicUsize::new(0),
        }
    }

    /// One more is done.
    pub(super) fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Does this, and tells while it lasts.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = interval(EVERY);
        ticks.tick().await;
        loop {
            tokio::select! {
                done = work.as_mut() => return done,
                _ = ticks.tick() => {
                    let done = self.done.load(Ordering::Relaxed);
                    complain(&format!("conform client: {done} of {} scenarios\n", self.all));
                }
            }
        }
    }
}
