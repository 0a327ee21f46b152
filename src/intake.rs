//! Admission: what a client's request passes through before anything of it is kept.
//!
//! First the door ([`Intake::admit`]): bytes are reserved out of the budget, and no required
//! lane's queue is full; else the request is held, unread, in order of arrival. Then, with the
//! body read, [`Intake::submit`] carries it on into the pipelines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rand::Rng;
use tokio::sync::{Semaphore, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::budget::{Budget, Reservation, Unpaid};
use crate::net::compression::Encoding;
use crate::otlp::Signal;
use crate::telemetry::metrics::Refusal;

mod config;
pub mod priority;

pub use config::{Acknowledge, IntakeConfig, MemoryBudget};

/// The door of one receiver: cloning it shares it.
#[derive(Clone)]
pub struct Intake {
    /// Paid from by everything that is held.
    pub budget: Budget,
    door: Arc<Door>,
    gates: Arc<[Vec<Gate>; Signal::ALL.len()]>,
    takes: Arc<[Signal]>,
    expected: Arc<AtomicUsize>,
    onward: Onward,
}

/// The least that is paid before a request of unknown length is read, in bytes.
const MIN_EXPECTED: usize = 4 << 10;

/// The most: a large frame. What is above it is paid when the length is known.
const MAX_EXPECTED: usize = 1 << 20;

/// What all receivers' doors have in common.
#[derive(Debug)]
pub struct Door {
    max_wait: Duration,
    held: Semaphore,
    max_held: usize,
    closed: watch::Sender<bool>,
}

/// A queue that a request of some signal must find room in.
pub struct Gate {
    /// The room of the queue.
    pub room: Budget,
    /// Whether it holds clients for as long as they wait themselves.
    pub waits: bool,
    /// How long until there is likely room again.
    pub retry_after: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Told that a client found no room in time.
    pub is_full: Box<dyn Fn() + Send + Sync>,
    /// Waits for a moment while the queue gathers faster than it is emptied.
    pub pace: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

/// The way into the pipelines.
pub type Onward =
    Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Accepted, Refused>> + Send + Sync>;

/// A request that was admitted and read.
#[derive(Debug)]
pub struct Request {
    /// What kind of request it is.
    pub signal: Signal,
    /// Its body as it came.
    pub body: Bytes,
    /// How the body is compressed.
    pub encoding: Option<Encoding>,
    /// The most that it may inflate to, in bytes.
    pub limit: usize,
    /// What pays for it.
    pub reservation: Reservation,
    /// When the client must have its answer.
    pub deadline: Instant,
}

/// The request was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items that were taken.
    pub items: u64,
    /// Items that were refused because they themselves are bad.
    pub rejected: u64,
    /// The uncompressed bytes of the request.
    pub bytes: usize,
    /// Why, for a person; empty if none were.
    pub message: String,
}

/// The request was not taken. Receivers put it into their protocol's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room within the time that the client waits: come back after `retry_after`.
    Overloaded {
        /// When there is likely room.
        retry_after: Duration,
        /// What is full.
        why: Refusal,
    },
    /// Shutting down: come back after `retry_after`, to whoever listens then.
    Draining {
        /// When somebody may listen again.
        retry_after: Duration,
    },
    /// Above the limit of one request; no retry helps.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body does not inflate; no retry helps.
    Damaged {
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes are not what they claim to be; no retry helps.
    Invalid {
        /// Where, as a path of field names; empty for the body as a whole.
        field: String,
        /// What is wrong there.
        problem: String,
    },
    /// A destination refused it for good (`acknowledge = "delivered"`).
    Undeliverable,
}

/// A request that may be read.
#[derive(Debug)]
pub struct Admission {
    /// What pays for its body.
    pub reservation: Reservation,
    /// When the client must have its answer.
    pub deadline: Instant,
}

impl Door {
    /// A door with these settings.
    pub fn new(config: &IntakeConfig) -> Self {
        Self {
            max_wait: config.max_wait,
            held: Semaphore::new(config.max_held),
            max_held: config.max_held,
            closed: watch::Sender::new(false),
        }
    }

    /// Refuses every request from now on, and those that wait for room or for delivery.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// How many requests are held now.
    pub fn held(&self) -> usize {
        self.max_held - self.held.available_permits().min(self.max_held)
    }
}

impl Intake {
    /// A receiver's door: `gates` are the queues that can refuse, by signal.
    pub fn new(
        budget: Budget,
        door: Arc<Door>,
        gates: [Vec<Gate>; Signal::ALL.len()],
        takes: Vec<Signal>,
        onward: Onward,
    ) -> Self {
        let expected = Arc::new(AtomicUsize::new(MIN_EXPECTED));
        Self {
            budget,
            door,
            gates: Arc::new(gates),
            takes: takes.into(),
            expected,
            onward,
        }
    }

    /// When a client that waits for `timeout` must have its answer: in `max_wait`, and never
    /// past 80 % of its own patience.
    pub fn deadline(&self, timeout: Option<Duration>) -> Instant {
        let patience = timeout.map_or(self.door.max_wait, |t| t.mul_f64(0.8));
        Instant::now() + patience.min(self.door.max_wait)
    }

    /// Lets a request of `bytes` in; holds it until there is room or `deadline` is reached.
    pub async fn admit(
        &self,
        signal: Signal,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Admission, Refused> {
        if *self.door.closed.borrow() {
            return Err(draining());
        }
        if bytes > self.budget.most() {
            return Err(self.above_budget());
        }
        let gates = self
            .gates
            .get(signal as usize)
            .map_or(&[][..], Vec::as_slice);
        for gate in gates {
            (gate.pace)().await;
        }
        if gates.iter().all(|gate| gate.room.has_room()) {
            match self.budget.try_reserve(bytes) {
                Ok(reservation) => {
                    return Ok(Admission {
                        reservation,
                        deadline,
                    });
                }
                Err(Unpaid::TooLarge) => return Err(self.above_budget()),
                Err(Unpaid::Spent) => {}
            }
        }
        let Ok(_held) = self.door.held.try_acquire() else {
            return Err(self.overloaded(Refusal::TooManyHeld, gates));
        };
        let mut closed = self.door.closed.subscribe();
        let held = tokio::select! {
            held = self.hold(gates, bytes, deadline) => held,
            _ = closed.wait_for(|closed| *closed) => return Err(draining()),
        };
        match held {
            Ok(Ok(reservation)) => Ok(Admission {
                reservation,
                deadline,
            }),
            Ok(Err(_too_large)) => Err(self.above_budget()),
            Err(_elapsed) => {
                for gate in gates.iter().filter(|gate| !gate.room.has_room()) {
                    (gate.is_full)();
                }
                let full = gates.iter().any(|gate| !gate.room.has_room());
                let why = if full {
                    Refusal::QueueFull
                } else {
                    Refusal::Budget
                };
                Err(self.overloaded(why, gates))
            }
        }
    }

    /// Whether any pipeline takes this signal.
    pub fn takes(&self, signal: Signal) -> bool {
        self.takes.contains(&signal)
    }

    /// What the next request is likely to measure, in bytes: paid before it is read, where its
    /// length is not declared.
    pub fn expected(&self) -> usize {
        self.expected.load(Ordering::Relaxed)
    }

    /// Pays exactly for a request whose length is now known.
    pub async fn settle_length(
        &self,
        admission: &mut Admission,
        bytes: usize,
    ) -> Result<(), Refused> {
        let paid = admission.reservation.bytes();
        // Rises at once and falls slowly, so that a mixture is paid for by its largest.
        let expected = self.expected().saturating_mul(7) / 8;
        let expected = expected.max(bytes).clamp(MIN_EXPECTED, MAX_EXPECTED);
        self.expected.store(expected, Ordering::Relaxed);
        if bytes > paid {
            if let Ok(more) = self.budget.try_reserve(bytes - paid) {
                admission.reservation.merge(more);
                return Ok(());
            }
            // It waits for the whole of it with empty hands: requests that each hold a part
            // would wait for each other.
            admission.reservation.shrink_to(0);
            return self.grow(admission, bytes, bytes).await;
        }
        admission.reservation.shrink_to(bytes);
        Ok(())
    }

    /// Carries a request that was read into the pipelines; returns when it is acknowledged, or
    /// when the door is closed before it is.
    pub async fn submit(&self, request: Request) -> Result<Accepted, Refused> {
        let mut closed = self.door.closed.subscribe();
        tokio::select! {
            biased;
            outcome = (self.onward)(request) => outcome,
            _ = closed.wait_for(|closed| *closed) => Err(draining()),
        }
    }

    /// Pays for `needed` bytes more, and for as many as are `wished` if one request may have
    /// so much.
    pub async fn grow(
        &self,
        admission: &mut Admission,
        needed: usize,
        wished: usize,
    ) -> Result<(), Refused> {
        let paid = admission.reservation.bytes();
        let allowed = self.budget.most().saturating_sub(paid);
        if needed > allowed {
            return Err(self.above_budget());
        }
        let more = self.budget.reserve(wished.clamp(needed, allowed));
        match timeout_at(admission.deadline, more).await {
            Ok(Ok(more)) => {
                admission.reservation.merge(more);
                Ok(())
            }
            Ok(Err(_too_large)) => Err(self.above_budget()),
            Err(_elapsed) => Err(self.overloaded(Refusal::Budget, &[])),
        }
    }

    async fn hold(
        &self,
        gates: &[Gate],
        bytes: usize,
        deadline: Instant,
    ) -> Result<Result<Reservation, Unpaid>, Elapsed> {
        for gate in gates.iter().filter(|gate| gate.waits) {
            // As long as the client itself waits: it ends this by going away.
            drop(gate.room.reserve(1).await);
        }
        let room_and_budget = async {
            for gate in gates.iter().filter(|gate| !gate.waits) {
                drop(gate.room.reserve(1).await?);
            }
            self.budget.reserve(bytes).await
        };
        timeout_at(deadline.max(Instant::now()), room_and_budget).await
    }

    fn above_budget(&self) -> Refused {
        Refused::TooLarge {
            limit: self.budget.most(),
        }
    }

    fn overloaded(&self, why: Refusal, gates: &[Gate]) -> Refused {
        let retry_after = gates
            .iter()
            .filter(|gate| !gate.room.has_room())
            .map(|gate| (gate.retry_after)())
            .max()
            .unwrap_or(Duration::from_secs(1));
        Refused::Overloaded {
            retry_after: jittered(retry_after),
            why,
        }
    }
}

/// The refusal of a process that is shutting down.
pub fn draining() -> Refused {
    Refused::Draining {
        retry_after: jittered(Duration::from_secs(1)),
    }
}

/// Up to a quarter more, so that clients that were refused together do not return together.
pub fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(1.0 + rand::rng().random_range(0.0..0.25))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// A door in front of nothing: what passes it is never acknowledged.
    fn intake(budget: u64) -> (Intake, Arc<Door>) {
        let door = Arc::new(Door::new(&IntakeConfig::default()));
        let onward: Onward = Arc::new(|request| {
            let kept = async move {
                let _request = request;
                std::future::pending().await
            };
            kept.boxed()
        });
        let gates = Signal::ALL.map(|_| Vec::new());
        let budget = Budget::new(budget);
        let intake = Intake::new(budget, Arc::clone(&door), gates, vec![], onward);
        (intake, door)
    }

    async fn admit(intake: &Intake, bytes: usize) -> Result<Admission, Refused> {
        let deadline = intake.deadline(None);
        intake.admit(Signal::Logs, bytes, deadline).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_held_until_there_is_room() {
        let (intake, door) = intake(1000);
        let first = admit(&intake, 700).await.unwrap();
        let mut second = Box::pin(admit(&intake, 700));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(door.held(), 1);
        drop(first);
        assert_eq!(second.await.unwrap().reservation.bytes(), 700);
        assert_eq!(door.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_refused_when_it_was_held_for_as_long_as_may_be() {
        let (intake, _door) = intake(1000);
        let _first = admit(&intake, 700).await.unwrap();
        let begun = Instant::now();
        let refused = admit(&intake, 700).await.unwrap_err();
        assert_eq!(Instant::now() - begun, Duration::from_secs(8));
        let why = |refused| match refused {
            Refused::Overloaded { why, .. } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(refused), Refusal::Budget);
        // And within 80 % of a client's own patience.
        let deadline = intake.deadline(Some(Duration::from_secs(5)));
        assert_eq!(deadline - Instant::now(), Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_turn_out_larger_do_not_wait_for_each_other() {
        let (intake, _door) = intake(1000);
        let mut first = admit(&intake, 400).await.unwrap();
        let mut second = admit(&intake, 400).await.unwrap();
        let mut one = Box::pin(intake.settle_length(&mut first, 700));
        let mut other = Box::pin(intake.settle_length(&mut second, 700));
        assert!(futures_util::poll!(&mut one).is_pending());
        assert!(futures_util::poll!(&mut other).is_pending());
        assert_eq!(one.await, Ok(()));
        drop(first);
        assert_eq!(other.await, Ok(()));
        assert_eq!(second.reservation.bytes(), 700);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_can_never_be_paid_for_stops_nobody() {
        let (intake, _door) = intake(1000);
        let mut admission = admit(&intake, 400).await.unwrap();
        let too_large = Refused::TooLarge { limit: 750 };
        let grown = intake.grow(&mut admission, 351, 351).await;
        assert_eq!(grown, Err(too_large.clone()));
        assert_eq!(intake.grow(&mut admission, 300, 5000).await, Ok(()));
        assert_eq!(admission.reservation.bytes(), 750);
        assert_eq!(admit(&intake, 751).await.unwrap_err(), too_large);
        assert!(admit(&intake, 250).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_the_door_refuses_whoever_waits() {
        let (intake, door) = intake(1000);
        let admission = admit(&intake, 700).await.unwrap();
        let mut held = Box::pin(admit(&intake, 700));
        let mut submitted = Box::pin(intake.submit(Request {
            signal: Signal::Logs,
            body: Bytes::new(),
            encoding: None,
            limit: 0,
            reservation: admission.reservation,
            deadline: admission.deadline,
        }));
        assert!(futures_util::poll!(&mut held).is_pending());
        assert!(futures_util::poll!(&mut submitted).is_pending());
        door.close();
        let is_draining = |refused| matches!(refused, Refused::Draining { .. });
        assert!(is_draining(held.await.unwrap_err()));
        assert!(is_draining(submitted.await.unwrap_err()));
        assert!(is_draining(admit(&intake, 1).await.unwrap_err()));
    }
}
