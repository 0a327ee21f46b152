//! Draining: one trigger, and as many who hear of it as there are.
//!
//! Each stage of the way has a drain of its own, and they are begun in the order of the data:
//! first the receivers, then the lanes. All share one deadline.

use tokio::sync::watch;
use tokio::time::Instant;

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

    /// Begins the drain; it is to end by `deadline`.
    pub fn begin(&self, deadline: Instant) {
        self.deadline.send_replace(Some(deadline));
    }

    /// Waits until everybody who heard of it is gone.
    pub async fn done(&self) {
        self.deadline.closed().await;
    }
}

impl Drain {
    /// When the drain is to end; `None` while it has not begun.
    pub fn deadline(&self) -> Option<Instant> {
        *self.deadline.borrow()
    }

    /// Waits until the drain begins; returns its deadline.
    pub async fn begun(&mut self) -> Instant {
        match self
            .deadline
            .wait_for(Option::is_some)
            .await
            .map(|deadline| *deadline)
        {
            Ok(Some(deadline)) => deadline,
            // The trigger is gone: nobody is left who could wait for us.
            Ok(None) | Err(_) => Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
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
}
