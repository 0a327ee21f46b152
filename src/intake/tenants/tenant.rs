//! One tenant: its buckets, its turn, and its share of what all have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

use super::OTHER;
use super::bucket::Bucket;
use super::config::LimitsConfig;
use crate::budget::Budget;
use crate::intake::{Accepted, Refused, jittered};
use crate::otlp::Signal;
use crate::telemetry::metrics::{Refusal, Registry, table};

/// What one tenant may send, and what it has under way.
#[derive(Debug)]
pub struct Tenant {
    /// Pays for what it sends, out of the budget of all.
    pub budget: Budget,
    /// Its share of the places of requests that are held.
    pub(in crate::intake) held: Semaphore,
    meter: Mutex<Meter>,
    /// Whoever has it is first in line.
    turn: Semaphore,
    /// Told when a request cost less than was thought.
    eased: Notify,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Meter {
    items: Option<Bucket>,
    bytes: Option<Bucket>,
    /// What a request of this tenant costs as a rule; nothing before the first.
    usual: Option<Cost>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    items: i64,
    bytes: i64,
}

/// A request that was let in and must be paid for. What it costs as a rule is taken at once, so
/// that not all who wait rush in together; the difference is settled when it has been read.
/// Dropped unsettled, it gives back what was taken.
#[derive(Debug)]
#[must_use = "what is not settled costs nothing"]
pub struct Charge {
    tenant: Arc<Tenant>,
    taken: Cost,
}

impl Tenant {
    /// Lets a request in if something is left in the buckets and nobody waits.
    pub(in crate::intake) fn try_enter(self: &Arc<Self>) -> Option<Charge> {
        let _turn = self.turn.try_acquire().ok()?;
        self.try_charge().ok()
    }

    /// Lets a request in, in order of arrival, when something is left in the buckets.
    pub(in crate::intake) async fn enter(self: &Arc<Self>) -> Charge {
        let _turn = self.turn.acquire().await;
        loop {
            let eased = self.eased.notified();
            match self.try_charge() {
                Ok(charge) => return charge,
                // Until then, or until somebody gives back what it did not cost.
                Err(wait) => drop(timeout(wait, eased).await),
            }
        }
    }

    /// The refusal of a request that was held in vain: come back when something will be left.
    pub(in crate::intake) fn limited(&self) -> Refused {
        let wait = self.lock().wait(Instant::now());
        Refused::Overloaded {
            // Those in front of it take what comes first.
            retry_after: jittered(wait.max(LEAST_WAIT)),
            why: Refusal::RateLimited,
        }
    }

    /// Counts what was accepted.
    pub(in crate::intake) fn accepted(&self, signal: Signal, accepted: &Accepted) {
        if let Some(items) = self.counters.items.get(signal as usize) {
            items.increment(accepted.items);
        }
        self.counters.bytes.increment(accepted.bytes as u64);
    }

    /// Counts a request that was told to come back.
    pub(in crate::intake) fn refused(&self, why: Refusal) {
        if let Some(count) = self.counters.refused.get(why as usize) {
            count.increment(1);
        }
    }

    /// Whether a new tenant of these limits would be no different.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let mut meter = self.lock();
        let mut buckets = meter.buckets();
        self.budget.used() == 0 && buckets.all(|bucket| bucket.is_full(now))
    }

    fn try_charge(self: &Arc<Self>) -> Result<Charge, Duration> {
        let now = Instant::now();
        let mut meter = self.lock();
        let wait = meter.wait(now);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        let taken = meter.usual.unwrap_or_default();
        meter.take(taken, now);
        Ok(Charge {
            tenant: Arc::clone(self),
            taken,
        })
    }

    /// Takes what a request cost beyond what was taken for it.
    fn correct(&self, taken: Cost, actual: Option<Cost>) {
        let cost = actual.unwrap_or_default();
        let mut meter = self.lock();
        let more = Cost {
            items: cost.items - taken.items,
            bytes: cost.bytes - taken.bytes,
        };
        meter.take(more, Instant::now());
        if let Some(actual) = actual {
            let usual = meter.usual.unwrap_or(actual);
            // A sliding mean, an eighth of the way at a time.
            let nearer = |usual: i64, actual: i64| usual + (actual - usual).div_euclid(8);
            meter.usual = Some(Cost {
                items: nearer(usual.items, actual.items),
                bytes: nearer(usual.bytes, actual.bytes),
            });
        }
        drop(meter);
        if more.items < 0 || more.bytes < 0 {
            self.eased.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is asked to come back sooner, in case others wait in front of it.
const LEAST_WAIT: Duration = Duration::from_millis(100);

impl Meter {
    fn buckets(&mut self) -> impl Iterator<Item = &mut Bucket> {
        [&mut self.items, &mut self.bytes].into_iter().flatten()
    }

    fn wait(&mut self, now: Instant) -> Duration {
        let waits = self.buckets().map(|bucket| bucket.wait(now));
        waits.max().unwrap_or_default()
    }

    fn take(&mut self, cost: Cost, now: Instant) {
        if let Some(items) = &mut self.items {
            items.take(cost.items, now);
        }
        if let Some(bytes) = &mut self.bytes {
            bytes.take(cost.bytes, now);
        }
    }
}

impl Charge {
    /// The request was read: so many items, and so many uncompressed bytes.
    pub fn settle(mut self, items: u64, bytes: usize) {
        let cost = Cost {
            items: i64::try_from(items).unwrap_or(i64::MAX),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        };
        self.tenant.correct(self.taken, Some(cost));
        self.taken = Cost::default();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.taken.items > 0 || self.taken.bytes > 0 {
            self.tenant.correct(self.taken, None);
        }
    }
}

/// Makes tenants, out of what all of them have in common.
#[derive(Debug)]
pub(super) struct Maker {
    whole: Budget,
    share_bytes: u64,
    share_held: usize,
    other: Arc<Counters>,
}

impl Maker {
    /// Each may have this share of the budget, and of the places of requests that are held.
    pub(super) fn new(share: f64, max_held: usize, whole: &Budget, registry: &Registry) -> Self {
        let held = (max_held as f64 * share) as usize;
        Self {
            whole: whole.clone(),
            share_bytes: (whole.limit() as f64 * share) as u64,
            share_held: held.clamp(max_held.min(1), max_held),
            other: Counters::new(OTHER, registry),
        }
    }

    /// One that is counted with the others.
    pub(super) fn make_other(&self, limits: &LimitsConfig) -> Arc<Tenant> {
        self.make(limits, Arc::clone(&self.other))
    }

    /// One that has counters of its own.
    pub(super) fn make(&self, limits: &LimitsConfig, counters: Arc<Counters>) -> Arc<Tenant> {
        let now = Instant::now();
        let bucket = |rate| Bucket::new(rate, limits.burst, now);
        Arc::new(Tenant {
            budget: self.whole.part(self.share_bytes),
            held: Semaphore::new(self.share_held),
            meter: Mutex::new(Meter {
                items: limits.items_per_second.map(bucket),
                bytes: limits.bytes_per_second.map(|rate| bucket(rate.bytes())),
                usual: None,
            }),
            turn: Semaphore::new(1),
            eased: Notify::new(),
            counters,
        })
    }
}

/// What is counted of one tenant, or of all that have no limits of their own.
#[derive(Debug)]
pub(super) struct Counters {
    items: [Counter; Signal::ALL.len()],
    bytes: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

impl Counters {
    pub(super) fn new(tenant: &str, registry: &Registry) -> Arc<Self> {
        let items =
            |s: Signal| registry.counter(&table::TENANT_ACCEPTED_ITEMS, &[tenant, s.name()]);
        let refused =
            |r: Refusal| registry.counter(&table::TENANT_REFUSED_REQUESTS, &[tenant, r.name()]);
        Arc::new(Self {
            items: Signal::ALL.map(items),
            bytes: registry.counter(&table::TENANT_ACCEPTED_BYTES, &[tenant]),
            refused: Refusal::ALL.map(refused),
        })
    }
}
