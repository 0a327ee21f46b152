//! The sender of a lane: takes what is due, makes attempts, and decides what follows each.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::said::Said;
use super::backoff::Backoff;
use super::breaker::{Breaker, Change, Pass, Permit};
use super::flight::{Flight, Landed};
use super::lane::{Lane, Next};
use super::limiter::{Limiter, Sample};
use super::retry_budget::RetryBudget;
use super::shipment::Shipment;
use crate::component::{Delivered, Exporter, Failure};
use crate::shutdown::Drain;
use crate::telemetry::lanes::Breaker as BreakerState;
use crate::telemetry::ledger::Reason;

mod keep;
mod said;

/// The one task that empties a lane.
pub struct Sender {
    lane: Arc<Lane>,
    exporter: Arc<dyn Exporter>,
    breaker: Breaker,
    backoff: Backoff,
    limiter: Limiter,
    budget: Option<RetryBudget>,
    /// When the last attempt began.
    last: Option<Instant>,
    /// The destination asked for quiet until then.
    paused: Option<Instant>,
    /// The later of that and the breaker's next probe, as the lane knows it.
    blocked: Option<Instant>,
    /// Not all could be left on disk: it is tried again then.
    keep_again: Option<Instant>,
    said: Said,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Set when what is under way is to be given up.
    aborted: watch::Sender<bool>,
}

/// A retry that the budget does not grant asks again after this at the latest, and after half of
/// it at the earliest.
const PUT_OFF: Duration = Duration::from_secs(1);

impl Sender {
    /// The sender of `lane`, by way of `exporter`.
    pub fn new(lane: Arc<Lane>, exporter: Arc<dyn Exporter>) -> Self {
        let limiter = Limiter::new(lane.config.max_in_flight);
        lane.stats.set_in_flight_limit(limiter.limit());
        Self {
            breaker: Breaker::new(&lane.config.breaker),
            limiter,
            budget: RetryBudget::new(&lane.config.retry_on_failure),
            backoff: Backoff::new(&lane.config.retry_on_failure),
            lane,
            exporter,
            last: None,
            paused: None,
            blocked: None,
            keep_again: None,
            said: Said::default(),
            flights: FuturesUnordered::new(),
            aborted: watch::Sender::new(false),
        }
    }

    /// Sends until the process drains and the lane is empty, or the deadline is reached. What
    /// is then left stays on disk, or is given up with the reason `shutdown`.
    pub async fn run(mut self, mut drain: Drain) {
        let mut deadline = None;
        let mut load = Box::pin(Arc::clone(&self.lane).load());
        let mut letters = Box::pin(Arc::clone(&self.lane).write_letters());
        loop {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                break;
            }
            let expiry = self.lane.expire(now);
            // What is on disk need not be forced on a destination that does not take it.
            let leaves = deadline.is_some() && self.lane.is_durable() && !self.lane.is_well();
            if leaves && self.flights.is_empty() && self.keeps_all(now).await {
                break;
            }
            let step = match leaves && self.keep_again.is_none() {
                true => Step::Wait(None),
                false => self.step(now, deadline.is_some()),
            };
            let until = match step {
                Step::Flown => continue,
                Step::Empty if deadline.is_some() && self.is_done() => break,
                Step::Empty => None,
                Step::Wait(until) => until,
            };
            let again = self.keep_again.filter(|at| *at > now);
            let until = [until, deadline, expiry, again].into_iter().flatten().min();
            tokio::select! {
                Some(landed) = self.flights.next() => self.land(landed),
                () = self.lane.wake.notified() => {}
                () = &mut load => {}
                () = &mut letters => {}
                () = sleep_until(until.unwrap_or(now)), if until.is_some() => {}
                moved = drain.deadline_after(deadline) => deadline = Some(moved),
            }
        }
        drop((load, letters));
        self.give_up().await;
    }

    /// Whether nothing is under way, and nothing is to come.
    fn is_done(&self) -> bool {
        self.flights.is_empty() && !self.lane.reads() && !self.lane.writes()
    }

    /// Starts an attempt if anything can be sent now.
    fn step(&mut self, now: Instant, draining: bool) -> Step {
        if self.flights.len() >= self.limiter.limit() {
            return Step::Wait(None);
        }
        // While it is open, the breaker alone says when the next attempt is made.
        let is_open = self.breaker.state() != BreakerState::Closed;
        match self.lane.next(now, self.last, draining) {
            Next::Empty => return Step::Empty,
            Next::At(at) if !is_open => return Step::Wait(Some(at)),
            Next::At(_) | Next::Ready => {}
        }
        if let Some(paused) = self.paused.filter(|paused| *paused > now) {
            return Step::Wait(Some(paused));
        }
        let pass = match self.breaker.permit(now) {
            Permit::Pass(pass) => pass,
            Permit::Wait(until) => return Step::Wait(until),
        };
        match self.lane.take(now, pass == Pass::Probe) {
            Some(shipment) if !draining && self.exceeds_budget(&shipment, pass, now) => {
                self.put_off(shipment, pass, now);
            }
            Some(shipment) => {
                self.last = Some(now);
                self.fly(shipment, pass);
            }
            None => self.breaker.abandon(pass, now),
        }
        self.show_breaker();
        Step::Flown
    }

    /// The probe needs no budget: it is what tells that the others may go.
    fn exceeds_budget(&mut self, shipment: &Shipment, pass: Pass, now: Instant) -> bool {
        let is_bound = shipment.attempts > 0 && pass == Pass::Go;
        let budget = self.budget.as_mut().filter(|_| is_bound);
        budget.is_some_and(|budget| !budget.withdraw(now))
    }

    fn put_off(&mut self, mut shipment: Shipment, pass: Pass, now: Instant) {
        self.breaker.abandon(pass, now);
        self.lane.stats.put_off_retry();
        shipment.due = now + PUT_OFF.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        self.lane.put_back(shipment);
    }

    fn fly(&mut self, shipment: Shipment, pass: Pass) {
        let flight = Flight {
            attempt: self.lane.stats.attempt(shipment.attempts > 0),
            shipment,
            pass,
            timeout: self.lane.config.timeout,
        };
        let (exporter, aborted) = (Arc::clone(&self.exporter), self.aborted.subscribe());
        self.flights.push(Box::pin(flight.fly(exporter, aborted)));
    }

    fn land(&mut self, landed: Landed) {
        let now = Instant::now();
        let flowing = landed.outcome.is_ok();
        self.learn(&landed, now);
        let Landed {
            shipment,
            pass,
            attempt,
            outcome,
            hasty,
            ..
        } = landed;
        match outcome {
            Ok(Delivered { rejected }) => {
                attempt.succeeded(shipment.batch.bytes() as u64);
                self.succeeded(pass, now);
                self.delivered(shipment, rejected);
            }
            Err(Failure::Permanent { cause }) => {
                attempt.failed(&cause);
                // It answers, so it is there: what is wrong is the request.
                self.succeeded(pass, now);
                self.refused(shipment, &cause);
            }
            Err(Failure::Retryable { after, cause }) => {
                attempt.failed(&cause);
                if hasty {
                    self.breaker.abandon(pass, now);
                } else {
                    let change = self.breaker.failure(pass, now, rand::random());
                    self.tell(change);
                }
                self.failed(shipment, after, &cause);
            }
        }
        self.show_breaker();
        self.lane.set_flowing(flowing);
    }

    fn succeeded(&mut self, pass: Pass, now: Instant) {
        let change = self.breaker.success(pass, now);
        if change == Some(Change::Closed) {
            self.lane.end_pauses(now);
        }
        self.tell(change);
    }

    /// What the limit and the budget make of it. A refusal for good comes sooner than a success
    /// would have, and an attempt that was cut short later: neither is a measure.
    fn learn(&mut self, landed: &Landed, now: Instant) {
        let failed = match &landed.outcome {
            Ok(_) => false,
            Err(Failure::Retryable { .. }) if !landed.hasty => true,
            Err(_) => return,
        };
        if let Some(budget) = self.budget.as_mut().filter(|_| !failed) {
            budget.deposit();
        }
        let sample = Sample {
            latency: landed.latency,
            bytes: landed.shipment.batch.bytes(),
            in_flight: self.flights.len() + 1,
            failed,
        };
        self.limiter.landed(now, sample);
        self.lane.stats.set_in_flight_limit(self.limiter.limit());
    }

    fn delivered(&mut self, shipment: Shipment, rejected: u64) {
        if rejected > 0
            && let Some(repeated) = self.said.rejected.pass()
        {
            tracing::warn!(
                repeated,
                exporter = %self.lane.name,
                rejected,
                "the destination rejected items one by one; they are not sent again"
            );
        }
        shipment.receipt.settle_delivered(rejected);
    }

    /// Of several requests in one, one may have spoiled it for the others: they are tried again
    /// in halves, until each that is at fault stands alone.
    fn refused(&mut self, shipment: Shipment, cause: &str) {
        let (shipment, back) = shipment.halve();
        if let Some(back) = back {
            self.lane.stats.bisect();
            self.lane.put_back_halves(shipment, back);
            return;
        }
        if let Some(repeated) = self.said.refused.pass() {
            tracing::error!(
                repeated,
                exporter = %self.lane.name,
                signal = shipment.batch.signal.name(),
                items = shipment.receipt.items(),
                cause,
                "the destination refused a request for good; {}",
                self.lane.dead_letters.whereabouts()
            );
        }
        self.lane.give_up(shipment, Reason::Permanent, cause);
    }

    fn failed(&mut self, mut shipment: Shipment, after: Option<Duration>, cause: &str) {
        let now = Instant::now();
        if let Some(repeated) = self.said.failed.pass() {
            tracing::warn!(
                repeated,
                exporter = %self.lane.name,
                attempts = shipment.attempts + 1,
                cause,
                "an attempt failed and will be repeated"
            );
        }
        if let Some(after) = after {
            let until = now + after;
            self.paused = self.paused.max(Some(until));
            self.lane.stats.pause_until(until);
        }
        shipment.attempts = shipment.attempts.saturating_add(1);
        let delay = self.backoff.delay(shipment.attempts, rand::random(), after);
        let age = now.saturating_duration_since(shipment.batch.received);
        if self.backoff.gives_up(age, delay) {
            if let Some(repeated) = self.said.exhausted.pass() {
                tracing::error!(
                    repeated,
                    exporter = %self.lane.name,
                    items = shipment.receipt.items(),
                    cause,
                    "a request was tried for as long as retry_on_failure.max_elapsed_time allows; {}",
                    self.lane.dead_letters.whereabouts()
                );
            }
            self.lane.give_up(shipment, Reason::RetriesExhausted, cause);
            return;
        }
        shipment.due = now + delay;
        self.lane.put_back(shipment);
    }

    /// A breaker's change is said each time: it is what an operator looks for.
    fn tell(&self, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::Closed) => tracing::info!(
                exporter = %self.lane.name,
                "breaker closed: the destination takes requests again"
            ),
            Some(Change::Opened { until, by }) => {
                self.lane.stats.breaker_opened(by);
                tracing::warn!(
                    exporter = %self.lane.name,
                    by = by.name(),
                    probe_in = ?until.saturating_duration_since(Instant::now()),
                    "breaker open: no requests are sent until the next probe"
                );
            }
        }
    }

    fn show_breaker(&mut self) {
        let probe = self.breaker.next_probe();
        self.lane.stats.set_breaker(self.breaker.state(), probe);
        if self.blocked != probe.max(self.paused) {
            self.blocked = probe.max(self.paused);
            self.lane.set_blocked(self.blocked);
        }
    }

    /// Gives up what is under way and what waits; nothing is left when all went well.
    async fn give_up(&mut self) {
        self.aborted.send_replace(true);
        while let Some(Landed {
            shipment, outcome, ..
        }) = self.flights.next().await
        {
            match outcome {
                Ok(Delivered { rejected }) => shipment.receipt.settle_delivered(rejected),
                Err(Failure::Permanent { cause }) => {
                    self.lane.give_up(shipment, Reason::Permanent, &cause);
                }
                Err(Failure::Retryable { .. }) => self.lane.put_back(shipment),
            }
        }
        let (items, not_on_disk) = self.lane.close(Reason::Shutdown).await;
        if items > 0 {
            tracing::error!(
                exporter = %self.lane.name,
                items,
                not_on_disk,
                "undelivered at the shutdown deadline, and not left on disk either; dropped"
            );
        }
    }
}

enum Step {
    /// Something changed; look again.
    Flown,
    /// Nothing waits.
    Empty,
    /// Nothing can be sent before this, or before something lands.
    Wait(Option<Instant>),
}

#[cfg(test)]
mod tests;
