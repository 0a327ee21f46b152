//! Admission: what a client's request passes through before anything of it is kept.
//!
//! First the door ([`Intake::admit`]): bytes are reserved out of the budget, and no required
//! lane's queue is full; else the request is held, unread, in order of arrival. Then, with the
//! body read, [`Intake::submit`] carries it on into the pipelines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::Rng;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::budget::{Budget, Reservation, Unpaid};
use crate::otlp::Signal;
use crate::telemetry::metrics::Refusal;

mod config;
mod needs;
pub mod priority;
mod request;
pub mod tenants;

pub use config::{Acknowledge, IntakeConfig, MemoryBudget};
pub use needs::{Copies, Kind};
use priority::Priorities;
pub use request::{Accepted, Admission, Caller, InjectedError, Refused, Request};
use tenants::{Charge, Tenant, Tenants};

/// The door of one receiver: cloning it shares it.
#[derive(Clone)]
pub struct Intake {
    /// Paid from by everything that is held.
    pub budget: Budget,
    door: Arc<Door>,
    gates: Arc<[Vec<Gate>; Signal::ALL.len()]>,
    takes: Arc<[Signal]>,
    expected: Arc<AtomicUsize>,
    copies: [Copies; Signal::ALL.len()],
    onward: Onward,
}

/// The least that is paid for a request that is read, in bytes: what it costs to listen to it.
pub const LEAST: usize = 4 << 10;

/// The most that is paid before anything of a request has come: a large frame.
pub const MAX_EXPECTED: usize = 1 << 20;

/// A larger one pays for so much, and for all of it once that has come: or a few who announce much
/// and send nothing would hold all that there is.
pub const SHOWN: usize = 64 << 10;

/// What all receivers' doors have in common.
#[derive(Debug)]
pub struct Door {
    max_wait: Duration,
    held: Semaphore,
    max_held: usize,
    closed: watch::Sender<bool>,
    tenants: Option<Tenants>,
    priorities: Option<Arc<Priorities>>,
}

/// A place among the requests that are held, and one of its tenant's.
struct Place<'a> {
    _one: SemaphorePermit<'a>,
    _of_tenant: Option<SemaphorePermit<'a>>,
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

impl Door {
    /// A door with these settings.
    pub fn new(config: &IntakeConfig) -> Self {
        Self {
            max_wait: config.max_wait,
            held: Semaphore::new(config.max_held),
            max_held: config.max_held,
            closed: watch::Sender::new(false),
            tenants: None,
            priorities: None,
        }
    }

    /// Tells tenants apart from now on, and what matters more.
    pub fn with(mut self, tenants: Option<Tenants>, priorities: Option<Arc<Priorities>>) -> Self {
        self.tenants = tenants;
        self.priorities = priorities;
        self
    }

    /// Refuses every request from now on, and those that wait for room or for delivery.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// How many requests are held now.
    pub fn held(&self) -> usize {
        self.max_held - self.held.available_permits().min(self.max_held)
    }

    /// Refused where as many are held as may be, of all or of this tenant.
    fn place<'a>(&'a self, tenant: Option<&'a Tenant>) -> Option<Place<'a>> {
        Some(Place {
            _of_tenant: match tenant {
                Some(tenant) => Some(tenant.held.try_acquire().ok()?),
                None => None,
            },
            _one: self.held.try_acquire().ok()?,
        })
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
        let expected = Arc::new(AtomicUsize::new(LEAST));
        Self {
            budget,
            copies: Default::default(),
            door,
            gates: Arc::new(gates),
            takes: takes.into(),
            expected,
            onward,
        }
    }

    /// The same, in front of pipelines that hold what they are given so often.
    pub fn with_copies(mut self, copies: [Copies; Signal::ALL.len()]) -> Self {
        self.copies = copies;
        self
    }

    /// When a client that waits for `timeout` must have its answer: in `max_wait`, and never
    /// past nine tenths of its own patience: the rest is for the way there and back.
    pub fn deadline(&self, timeout: Option<Duration>) -> Instant {
        let patience = timeout.map_or(self.door.max_wait, |t| t.mul_f64(0.9));
        Instant::now() + patience.min(self.door.max_wait)
    }

    /// Lets a request of `bytes` in; holds it until it is its tenant's turn and there is room, or
    /// the caller's deadline is reached. A large one is let in with a part. Of one that shares its
    /// connection, the turn comes later: [`Intake::turn`].
    pub async fn admit(
        &self,
        signal: Signal,
        bytes: usize,
        caller: Caller,
    ) -> Result<Admission, Refused> {
        match self.let_in(signal, bytes, &caller).await {
            Ok((reservation, charge)) => Ok(Admission {
                reservation,
                caller,
                charge,
            }),
            Err(refused) => Err(caller.refused(refused)),
        }
    }

    async fn let_in(
        &self,
        signal: Signal,
        bytes: usize,
        caller: &Caller,
    ) -> Result<(Reservation, Option<Charge>), Refused> {
        if *self.door.closed.borrow() {
            return Err(draining());
        }
        let budget = caller.budget(&self.budget);
        if bytes > budget.most() {
            return Err(above(budget));
        }
        let tenant = caller.tenant.as_ref().map(|named| &named.tenant);
        let charge = match tenant {
            Some(tenant) if !caller.shares() => Some(self.in_turn(tenant, caller.deadline).await?),
            _ => None,
        };
        let gates = self
            .gates
            .get(signal as usize)
            .map_or(&[][..], Vec::as_slice);
        for gate in gates {
            (gate.pace)().await;
        }
        if gates.iter().all(|gate| gate.room.has_room()) {
            match budget.try_admit(at_first(bytes)) {
                Ok(reservation) => return Ok((reservation, charge)),
                Err(Unpaid::TooLarge) => return Err(above(budget)),
                Err(Unpaid::Spent) => {}
            }
        }
        let Some(_place) = self.door.place(tenant.map(Arc::as_ref)) else {
            return Err(overloaded(Refusal::TooManyHeld, gates));
        };
        let mut closed = self.door.closed.subscribe();
        let held = tokio::select! {
            held = hold(gates, budget, at_first(bytes), caller.deadline) => held,
            _ = closed.wait_for(|closed| *closed) => return Err(draining()),
        };
        match held {
            Ok(Ok(reservation)) => Ok((reservation, charge)),
            Ok(Err(_too_large)) => Err(above(budget)),
            Err(_elapsed) => Err(no_room(gates)),
        }
    }

    /// Whether somebody waits for bytes of the budget, or of this part of it.
    pub fn is_waited_for(&self, part: &Budget) -> bool {
        self.budget.waiting() > 0 || part.waiting() > 0
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

    /// A request was read and has so many bytes, and comes to need so many: what was paid beyond
    /// them is given back.
    pub fn settle_length(&self, admission: &mut Admission, bytes: usize, needs: usize) {
        // Rises at once and falls slowly, so that a mixture is paid for by its largest.
        let expected = self.expected().saturating_mul(7) / 8;
        let expected = expected.max(bytes).clamp(LEAST, MAX_EXPECTED);
        self.expected.store(expected, Ordering::Relaxed);
        admission.reservation.shrink_to(needs);
    }

    /// Carries a request that was read into the pipelines; returns when it is acknowledged, or
    /// when the door is closed before it is.
    pub async fn submit(&self, request: Request) -> Result<Accepted, Refused> {
        let (signal, caller) = (request.signal, request.caller.clone());
        let mut closed = self.door.closed.subscribe();
        let outcome = tokio::select! {
            biased;
            outcome = (self.onward)(request) => outcome,
            _ = closed.wait_for(|closed| *closed) => Err(draining()),
        };
        if let (Ok(accepted), Some(named)) = (&outcome, &caller.tenant) {
            named.tenant.accepted(signal, accepted);
        }
        outcome.map_err(|refused| caller.refused(refused))
    }

    /// What a body of so many bytes comes to need, and no more than one request may have.
    pub fn needs(&self, kind: Kind, caller: &Caller, body: usize) -> usize {
        let copies = self.copies.get(kind.signal as usize).copied();
        let needs = kind.needs(copies.unwrap_or_default(), body, None);
        // What can not be is told once it is seen to be so.
        needs.min(caller.budget(&self.budget).most()).max(body)
    }

    /// Has a request of which `received` bytes have come pay for `soon` bytes in all; where that
    /// is not free, it waits for `all` that it may come to need, and holds nothing meanwhile.
    pub async fn grow(
        &self,
        admission: &mut Admission,
        received: usize,
        (soon, all): (usize, usize),
    ) -> Result<(), Refused> {
        let budget = admission.caller.budget(&self.budget);
        let most = budget.most();
        if received > most {
            return Err(above(budget));
        }
        let wished = (soon.clamp(received, most), all.clamp(received, most));
        let grown = budget.grow(&mut admission.reservation, received, wished);
        match timeout_at(admission.caller.deadline, grown).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Unpaid::TooLarge)) => Err(above(budget)),
            Ok(Err(Unpaid::Spent)) | Err(_) => {
                let refused = overloaded(Refusal::Budget, &[]);
                Err(admission.caller.refused(refused))
            }
        }
    }
}

/// What is paid for a request of so many bytes before anything of it has come.
pub fn at_first(bytes: usize) -> usize {
    if bytes > MAX_EXPECTED { SHOWN } else { bytes }
}

async fn hold(
    gates: &[Gate],
    budget: &Budget,
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
        budget.admit(bytes).await
    };
    timeout_at(deadline.max(Instant::now()), room_and_budget).await
}

fn above(budget: &Budget) -> Refused {
    Refused::TooLarge {
        limit: budget.most(),
    }
}

/// The refusal of a request that was held in vain.
fn no_room(gates: &[Gate]) -> Refused {
    for gate in gates.iter().filter(|gate| !gate.room.has_room()) {
        (gate.is_full)();
    }
    let full = gates.iter().any(|gate| !gate.room.has_room());
    let why = if full {
        Refusal::QueueFull
    } else {
        Refusal::Budget
    };
    overloaded(why, gates)
}

fn overloaded(why: Refusal, gates: &[Gate]) -> Refused {
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
    use bytes::Bytes;
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
        let caller = Caller::until(intake.deadline(None));
        intake.admit(Signal::Logs, bytes, caller).await
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
        assert_eq!(Instant::now() - begun, Duration::from_secs(9));
        let why = |refused| match refused {
            Refused::Overloaded { why, .. } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(refused), Refusal::Budget);
        // And within nine tenths of a client's own patience.
        let deadline = intake.deadline(Some(Duration::from_secs(5)));
        assert_eq!(deadline - Instant::now(), Duration::from_millis(4500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_is_let_in_with_a_part_and_waits_for_all() {
        let (intake, _door) = intake(8 << 20);
        let all = 5 << 20;
        let mut first = admit(&intake, all).await.unwrap();
        assert_eq!(first.reservation.bytes(), SHOWN);
        assert_eq!(intake.grow(&mut first, SHOWN, (all, all)).await, Ok(()));
        let mut second = admit(&intake, all).await.unwrap();
        let mut third = admit(&intake, all).await.unwrap();
        let mut grown = Box::pin(intake.grow(&mut second, SHOWN, (all, all)));
        let mut last = Box::pin(intake.grow(&mut third, SHOWN, (all, all)));
        assert!(futures_util::poll!(&mut grown).is_pending());
        assert!(futures_util::poll!(&mut last).is_pending());
        drop(first);
        assert_eq!(grown.await, Ok(()));
        assert!(futures_util::poll!(&mut last).is_pending());
        drop(second);
        assert_eq!(last.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_more_has_little_in_hand_that_is_not_paid_for() {
        let (intake, _door) = intake(100_000);
        let first = admit(&intake, 60_000).await.unwrap();
        let mut second = admit(&intake, 4000).await.unwrap();
        // More than may be unpaid: it is refused, and does not wait.
        let all = (60_000, 60_000);
        let refused = intake.grow(&mut second, 11_000, all).await;
        assert!(matches!(refused, Err(Refused::Overloaded { .. })));
        let mut waits = Box::pin(intake.grow(&mut second, 5000, all));
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(first);
        assert_eq!(waits.await, Ok(()));
        intake.settle_length(&mut second, 50_000, 55_000);
        assert_eq!(intake.budget.used(), 55_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_can_never_be_paid_for_stops_nobody() {
        let (intake, _door) = intake(1000);
        let mut admission = admit(&intake, 400).await.unwrap();
        let too_large = Refused::TooLarge { limit: 750 };
        let grown = intake.grow(&mut admission, 751, (751, 751)).await;
        assert_eq!(grown, Err(too_large.clone()));
        assert_eq!(intake.grow(&mut admission, 700, (5000, 5000)).await, Ok(()));
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
            format: crate::otlp::Format::Protobuf,
            limit: 0,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: None,
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
