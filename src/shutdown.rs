//! How a stage is told to stop, and how its end is awaited. Each stage of the daemon has a
//! [`Shutdown`] of its own, so that they can be drained in the order of the data.

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Tells a stage to drain, and waits until all of it has.
#[derive(Debug)]
pub struct Shutdown {
    draining: watch::Sender<bool>,
}

impl Shutdown {
    /// Nobody is draining yet, and nobody is at work.
    pub fn new() -> Self {
        Self {
            draining: watch::Sender::new(false),
        }
    }

    /// A signal for one more part of the stage. As long as it is held, that part is at work.
    pub fn signal(&self) -> ShutdownSignal {
        ShutdownSignal {
            draining: self.draining.subscribe(),
        }
    }

    /// Tells all parts to drain. Telling them twice changes nothing.
    pub fn start(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the stage has been told to drain.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until every signal has been dropped.
    ///
    /// # Errors
    /// The number of those that were still held at the deadline.
    pub async fn all_gone(&self, deadline: Instant) -> Result<(), usize> {
        match timeout_at(deadline, self.draining.closed()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.draining.receiver_count()),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Held by each part of a stage while it is at work.
#[derive(Clone, Debug)]
pub struct ShutdownSignal {
    draining: watch::Receiver<bool>,
}

impl ShutdownSignal {
    /// Waits until the stage is told to drain, or nobody is left who could tell it. It may be
    /// awaited again, and dropped while it waits.
    pub async fn wait(&mut self) {
        // The only error is that the other end is gone.
        let told = self.draining.wait_for(|draining| *draining).await;
        drop(told);
    }

    /// Whether the stage has been told to drain.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow() || self.draining.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn every_holder_is_told_and_may_ask_again() {
        let shutdown = Shutdown::new();
        let (mut one, mut other) = (shutdown.signal(), shutdown.signal());
        assert!(one.wait().now_or_never().is_none());
        assert!(!one.is_draining() && !shutdown.is_draining());
        shutdown.start();
        shutdown.start();
        assert!(shutdown.is_draining() && one.is_draining());
        let mut late = shutdown.signal();
        for signal in [&mut one, &mut other, &mut late] {
            for _ in 0..2 {
                assert!(signal.wait().now_or_never().is_some());
            }
        }
    }

    #[tokio::test]
    async fn a_holder_whose_shutdown_is_gone_drains() {
        let mut signal = Shutdown::new().signal();
        assert!(signal.is_draining());
        assert!(signal.wait().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_when_the_last_holder_is_gone() {
        let shutdown = Shutdown::new();
        let mut signal = shutdown.signal();
        let part = tokio::spawn(async move { signal.wait().await });
        assert_eq!(shutdown.all_gone(soon()).await, Err(1));
        shutdown.start();
        assert_eq!(shutdown.all_gone(soon()).await, Ok(()));
        part.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_those_still_at_work() {
        let shutdown = Shutdown::new();
        let one = shutdown.signal();
        let held = [one.clone(), one];
        shutdown.start();
        let started = Instant::now();
        assert_eq!(shutdown.all_gone(soon()).await, Err(held.len()));
        assert_eq!(started.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_stage_without_parts_is_gone_at_once() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.all_gone(soon()).now_or_never(), Some(Ok(())));
    }
}
