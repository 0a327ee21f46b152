//! Threads for work that would keep an I/O thread from its connections: inflating, deflating,
//! walking large bodies, processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of worker threads behind one bounded channel; cloning it shares it.
#[derive(Clone, Debug)]
pub struct Workers {
    jobs: Sender<Job>,
    taker: Receiver<Job>,
    threads: Arc<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    wanted: AtomicUsize,
    running: AtomicUsize,
}

/// How often an idle worker looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_secs(5);

impl Workers {
    /// A pool of `threads` threads and a channel of four jobs a thread. A full channel makes
    /// the caller of [`Workers::run`] do the work itself, which is the backpressure.
    pub fn new(threads: usize) -> Self {
        let (jobs, taker) = bounded(threads.max(1) * 4);
        let workers = Self {
            jobs,
            taker,
            threads: Arc::default(),
        };
        workers.resize(threads);
        workers
    }

    /// Follows the CPU allowance up and down. Surplus threads leave when they are next idle.
    pub fn resize(&self, threads: usize) {
        let wanted = threads.max(1);
        self.threads.wanted.store(wanted, Ordering::Relaxed);
        while self.threads.running.load(Ordering::Relaxed) < wanted {
            let index = self.threads.running.fetch_add(1, Ordering::Relaxed);
            let (taker, threads) = (self.taker.clone(), Arc::clone(&self.threads));
            let spawned = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || work(&taker, &threads));
            if let Err(error) = spawned {
                self.threads.running.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%error, "cannot start a worker thread; going on with fewer");
                return;
            }
        }
    }

    /// How many threads there are now.
    pub fn threads(&self) -> usize {
        self.threads.running.load(Ordering::Relaxed)
    }

    /// How many jobs wait now.
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Runs `work` on a worker thread; on this one if all are busy and the channel is full.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tx, rx) = oneshot::channel();
        let job: Job = Box::new(move || drop(tx.send(work())));
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job(),
        }
        match rx.await {
            Ok(value) => value,
            // The release profile aborts on panic; elsewhere a lost job hangs its caller, as a
            // panic on the caller's own thread would end it.
            Err(_panicked) => std::future::pending().await,
        }
    }
}

fn work(taker: &Receiver<Job>, threads: &Threads) {
    loop {
        match taker.recv_timeout(LOOK_UP) {
            Ok(job) => job(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let surplus = |running: usize| {
            (running > threads.wanted.load(Ordering::Relaxed)).then(|| running - 1)
        };
        if threads
            .running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, surplus)
            .is_ok()
        {
            return;
        }
    }
    threads.running.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_even_when_every_worker_is_busy_and_the_channel_full() {
        let workers = Workers::new(1);
        let (release, held) = bounded::<()>(0);
        for _ in 0..5 {
            let held = held.clone();
            drop(
                workers
                    .jobs
                    .try_send(Box::new(move || assert!(held.recv().is_err()))),
            );
        }
        assert_eq!(workers.run(|| 2 + 2).await, 4, "the caller did it");
        drop(release);
        assert_eq!(workers.run(|| 3).await, 3);
    }

    #[test]
    fn the_pool_grows_at_once() {
        let workers = Workers::new(1);
        workers.resize(3);
        assert_eq!(workers.threads(), 3);
    }
}
