//! Draining: one trigger, and as many who hear of it as there are.
//!
//! Each stage of the way has a drain of its own, and they are begun in the order of the data:
//! first the receivers, then the lanes. All share one deadline.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Begins the drain of one stage.
#[derive(Debug)]
pub struct Trigger {
    deadline: watch::Sender<Option<Instant>>,
}

/// Hears of the drain of one stage.
#[derive(Clone, Debug)]
pub struct Drain {
    deadline: watch::Receiver<Option<Instant>>,
}

impl Default for Trigger {
    fn default() -> Self {
        Self {
            deadline: watch::Sender::new(None),
        }
    }
}

impl Trigger {
    /// Somebody who is to hear of it.
    pub fn drain(&self) -> Drain {
        Drain {
            deadline: self.deadline.subscribe(),
        }
    }

    /// Begins the drain; it is to end by `deadline`. Called again, it moves the deadline.
    pub fn begin(&self, deadline: Instant) {
        self.deadline.send_replace(Some(deadline));
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Waits until everybody who heard of it is gone.
    pub async fn done(&self) {
        self.deadline.closed().await;
    }
}

impl Drain {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Waits until the drain begins; returns its deadline.
    pub async fn begun(&mut self) -> Instant {
        self.deadline_after(None).await
    }

    /// Waits until the drain has another deadline than the one that is `known`, and returns it:
    /// somebody who is draining already may be told to hurry. Cancel-safe.
    pub async fn deadline_after(&mut self, known: Option<Instant>) -> Instant {
        let moved = |deadline: &Option<Instant>| deadline.is_some() && *deadline != known;
        match self.deadline.wait_for(moved).await.map(|moved| *moved) {
            Ok(Some(deadline)) => deadline,
            // The trigger is gone: nobody is left who could wait for us.
            Ok(None) | Err(_) => Instant::now(),
        }
    }

    /// Waits until the drain has begun and its deadline is reached, wherever it is moved to
    /// meanwhile.
    pub async fn over(&mut self) {
        let mut deadline = self.begun().await;
        loop {
            tokio::select! {
                () = sleep_until(deadline) => return,
                moved = self.deadline_after(Some(deadline)) => deadline = moved,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_drain_is_done_when_the_last_who_heard_of_it_is_gone() {
        let trigger = Trigger::default();
        let mut drain = trigger.drain();
        let mut begun = Box::pin(drain.begun());
        assert!(futures_util::poll!(&mut begun).is_pending());
        let deadline = Instant::now();
        trigger.begin(deadline);
        assert_eq!(begun.await, deadline);
        let mut done = Box::pin(trigger.done());
        assert!(futures_util::poll!(&mut done).is_pending());
        drop(drain);
        done.await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_drains_already_hears_that_the_deadline_was_moved() {
        let trigger = Trigger::default();
        let mut drain = trigger.drain();
        let begun = Instant::now();
        let late = begun + Duration::from_secs(60);
        trigger.begin(late);
        assert_eq!(drain.begun().await, late);
        let mut over = Box::pin(drain.over());
        assert!(futures_util::poll!(&mut over).is_pending());
        let early = begun + Duration::from_secs(1);
        trigger.begin(early);
        over.await;
        assert_eq!(Instant::now(), early);
    }
}
