//! The state of each lane, kept by delivery as it goes, read by the admin side when asked.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

pub use attempt::Attempt;
pub use snapshot::LaneSnapshot;

use super::metrics::Histogram;
use super::metrics::table::ATTEMPT_SECONDS;
use crate::storage::Log;

mod attempt;
mod snapshot;

/// Where a lane's breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breaker {
    /// Attempts pass.
    #[default]
    Closed,
    /// Attempts are not made.
    Open,
    /// One attempt is made, to see whether the destination is back.
    HalfOpen,
}

impl Breaker {
    /// Every state; `as usize` is the index into it.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The word for it in `/status`, metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// So many failures in a row.
    Failures,
    /// The share of failures in a window.
    FailureRate,
    /// A probe that failed: it was open, and stays so.
    Probe,
}

impl OpenedBy {
    /// Every cause; `as usize` is the index into it.
    pub const ALL: [Self; 3] = [Self::Failures, Self::FailureRate, Self::Probe];

    /// The word for it in `/status`, metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::FailureRate => "failure_rate",
            Self::Probe => "probe",
        }
    }
}

/// What does not change about a lane.
#[derive(Clone, Debug)]
pub struct LaneFacts {
    /// The exporter's name.
    pub exporter: String,
    /// Whether it takes part in the acknowledgement.
    pub required: bool,
    /// What happens when its queue is full, as it is written in TOML.
    pub when_full: &'static str,
    /// Whether a full queue turns clients away; not so where its policy gives something up.
    pub full_refuses: bool,
    /// Where what waits is kept, as it is written in TOML.
    pub queue_kind: &'static str,
    /// The most that waits or is under way, in bytes.
    pub queue_capacity_bytes: u64,
}

/// The counts of a lane: plain atomics, of which each is right and no two need agree.
#[derive(Debug)]
pub struct LaneStats {
    facts: LaneFacts,
    /// What the times below are counted from, in milliseconds; 0 in them is "never".
    origin: Instant,
    queue_items: AtomicU64,
    queue_bytes: AtomicU64,
    oldest_ms: AtomicU64,
    full_since_ms: AtomicU64,
    /// What its queue has on disk: files leave it at any time, so that it is asked when it is told.
    logs: OnceLock<Vec<Log>>,
    disk_fails: AtomicBool,
    removed_files: AtomicU64,
    unsafe_requests: AtomicU64,
    damaged_files: AtomicU64,
    lost_requests: AtomicU64,
    in_flight: AtomicU64,
    in_flight_limit: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    bisections: AtomicU64,
    retries_put_off: AtomicU64,
    failures: AtomicU64,
    sent_bytes: AtomicU64,
    breaker: AtomicU8,
    breaker_since_ms: AtomicU64,
    breaker_until_ms: AtomicU64,
    breaker_openings: [AtomicU64; OpenedBy::ALL.len()],
    paused_until_ms: AtomicU64,
    last_success_ms: AtomicU64,
    last_error: Mutex<Option<(Instant, String)>>,
    attempt_seconds: Histogram,
}

impl LaneStats {
    /// A lane that has seen nothing yet.
    pub fn new(facts: LaneFacts) -> Self {
        Self {
            facts,
            origin: Instant::now(),
            queue_items: AtomicU64::new(0),
            queue_bytes: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(0),
            full_since_ms: AtomicU64::new(0),
            logs: OnceLock::new(),
            disk_fails: AtomicBool::new(false),
            removed_files: AtomicU64::new(0),
            unsafe_requests: AtomicU64::new(0),
            damaged_files: AtomicU64::new(0),
            lost_requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_limit: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bisections: AtomicU64::new(0),
            retries_put_off: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            breaker: AtomicU8::new(Breaker::Closed as u8),
            breaker_since_ms: AtomicU64::new(0),
            breaker_until_ms: AtomicU64::new(0),
            breaker_openings: Default::default(),
            paused_until_ms: AtomicU64::new(0),
            last_success_ms: AtomicU64::new(0),
            last_error: Mutex::new(None),
            attempt_seconds: Histogram::new(ATTEMPT_SECONDS),
        }
    }

    /// What does not change about it.
    pub fn facts(&self) -> &LaneFacts {
        &self.facts
    }

    /// What waits now: `items` of `bytes`, the oldest received at `oldest`.
    pub fn set_queue(&self, items: u64, bytes: u64, oldest: Option<Instant>) {
        self.queue_items.store(items, Ordering::Relaxed);
        self.queue_bytes.store(bytes, Ordering::Relaxed);
        let oldest_ms = oldest.map_or(0, |oldest| self.stamp(oldest));
        self.oldest_ms.store(oldest_ms, Ordering::Relaxed);
    }

    /// A batch found no room (`true`), or found some again (`false`). Cheap to repeat.
    pub fn set_full(&self, full: bool) {
        if full != (self.full_since_ms.load(Ordering::Relaxed) != 0) {
            let since = if full { self.stamp(Instant::now()) } else { 0 };
            self.full_since_ms.store(since, Ordering::Relaxed);
        }
    }

    /// Its queue is on disk, in these logs; said once.
    pub fn set_logs(&self, logs: Vec<Log>) {
        self.logs.get_or_init(|| logs);
    }

    /// How many requests have lost their files on disk.
    pub fn set_unsafe_requests(&self, requests: u64) {
        self.unsafe_requests.store(requests, Ordering::Relaxed);
    }

    /// How many files of its queue something other than otlpd has removed, in all.
    pub fn set_removed_files(&self, files: u64) {
        self.removed_files.store(files, Ordering::Relaxed);
    }

    /// The disk of its queue does not take what is written (`true`), or does again.
    pub fn set_disk_fails(&self, fails: bool) {
        self.disk_fails.store(fails, Ordering::Relaxed);
    }

    /// Files of its queue were found damaged or missing, and these requests with them.
    pub fn add_damage(&self, files: u64, lost_requests: u64) {
        self.damaged_files.fetch_add(files, Ordering::Relaxed);
        self.lost_requests
            .fetch_add(lost_requests, Ordering::Relaxed);
    }

    /// An attempt begins; `retry` if it is not the batch's first. It is under way until the
    /// return value is told how it ended, or is dropped, which counts nothing more.
    pub fn attempt(self: &Arc<Self>, retry: bool) -> Attempt {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if retry {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Attempt {
            lane: Arc::clone(self),
            began: Instant::now(),
        }
    }

    /// A merged request, or a part of one, was refused for good and is halved.
    pub fn bisect(&self) {
        self.bisections.fetch_add(1, Ordering::Relaxed);
    }

    /// How many attempts may be under way at once, from now on.
    pub fn set_in_flight_limit(&self, limit: usize) {
        self.in_flight_limit.store(limit as u64, Ordering::Relaxed);
    }

    /// A retry was due, and waits since the budget for retries is spent.
    pub fn put_off_retry(&self) {
        self.retries_put_off.fetch_add(1, Ordering::Relaxed);
    }

    /// The breaker opened, or a probe failed and it stays open.
    pub fn breaker_opened(&self, by: OpenedBy) {
        if let Some(count) = self.breaker_openings.get(by as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The breaker is in this state from now on, if it is open until `until`.
    pub fn set_breaker(&self, state: Breaker, until: Option<Instant>) {
        let closed = Breaker::Closed as u8;
        let before = self.breaker.swap(state as u8, Ordering::Relaxed);
        // Between open and half-open nothing changes for whoever asks how long it has been down.
        if (before == closed) != (state == Breaker::Closed) {
            let now = self.stamp(Instant::now());
            self.breaker_since_ms.store(now, Ordering::Relaxed);
        }
        let until_ms = until.map_or(0, |until| self.stamp(until));
        self.breaker_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// The destination asked to be left alone until then.
    pub fn pause_until(&self, until: Instant) {
        self.paused_until_ms
            .fetch_max(self.stamp(until), Ordering::Relaxed);
    }

    /// How long attempts take, in seconds.
    pub fn attempt_seconds(&self) -> &Histogram {
        &self.attempt_seconds
    }

    /// The counts now.
    pub fn snapshot(&self) -> LaneSnapshot {
        let now = Instant::now();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let since = |ms: &AtomicU64| self.time(ms).map(|at| seconds(now, at));
        let until = |ms: &AtomicU64| {
            let left = self.time(ms).map(|at| seconds(at, now));
            left.filter(|seconds| *seconds > 0.0)
        };
        let last_error = self.lock_error().clone();
        LaneSnapshot {
            exporter: self.facts.exporter.clone(),
            required: self.facts.required,
            when_full: self.facts.when_full,
            full_refuses: self.facts.full_refuses,
            queue_items: load(&self.queue_items),
            queue_bytes: load(&self.queue_bytes),
            queue_kind: self.facts.queue_kind,
            queue_capacity_bytes: self.facts.queue_capacity_bytes,
            disk_bytes: self
                .logs
                .get()
                .map_or(0, |logs| logs.iter().map(Log::disk_bytes).sum()),
            disk_fails: self.disk_fails.load(Ordering::Relaxed),
            removed_files: self.removed_files.load(Ordering::Relaxed),
            unsafe_requests: self.unsafe_requests.load(Ordering::Relaxed),
            damaged_files: load(&self.damaged_files),
            lost_requests: load(&self.lost_requests),
            queue_full_seconds: since(&self.full_since_ms),
            oldest_age_seconds: since(&self.oldest_ms),
            in_flight: load(&self.in_flight),
            in_flight_limit: load(&self.in_flight_limit),
            attempts: load(&self.attempts),
            retries: load(&self.retries),
            bisections: load(&self.bisections),
            retries_put_off: load(&self.retries_put_off),
            failures: load(&self.failures),
            sent_bytes: load(&self.sent_bytes),
            breaker: self.breaker(),
            breaker_openings: OpenedBy::ALL
                .into_iter()
                .zip(&self.breaker_openings)
                .map(|(by, count)| (by.name(), load(count)))
                .collect(),
            breaker_since_seconds: since(&self.breaker_since_ms),
            breaker_until_seconds: until(&self.breaker_until_ms),
            paused_until_seconds: until(&self.paused_until_ms),
            last_success_age_seconds: since(&self.last_success_ms),
            last_error_age_seconds: last_error.as_ref().map(|(at, _)| seconds(now, *at)),
            last_error: last_error.map(|(_, cause)| cause),
        }
    }

    fn breaker(&self) -> Breaker {
        let state = usize::from(self.breaker.load(Ordering::Relaxed));
        Breaker::ALL.get(state).copied().unwrap_or_default()
    }

    /// Milliseconds since the origin, at least 1.
    fn stamp(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX).max(1)
    }

    fn time(&self, ms: &AtomicU64) -> Option<Instant> {
        match ms.load(Ordering::Relaxed) {
            0 => None,
            ms => self.origin.checked_add(Duration::from_millis(ms)),
        }
    }

    fn lock_error(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(later: Instant, earlier: Instant) -> f64 {
    later.saturating_duration_since(earlier).as_secs_f64()
}

/// The lanes that there are now, in the order in which they were opened.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<Vec<Arc<LaneStats>>>);

impl Lanes {
    /// Opens a lane: from now on it is shown.
    pub fn open(&self, facts: LaneFacts) -> Arc<LaneStats> {
        let lane = Arc::new(LaneStats::new(facts));
        self.lock().push(Arc::clone(&lane));
        lane
    }

    /// A lane that has drained is no longer shown.
    pub fn close(&self, lane: &Arc<LaneStats>) {
        self.lock().retain(|open| !Arc::ptr_eq(open, lane));
    }

    /// The lanes themselves.
    pub fn all(&self) -> Vec<Arc<LaneStats>> {
        self.lock().clone()
    }

    /// All of them at this moment.
    pub fn snapshots(&self) -> Vec<LaneSnapshot> {
        self.all().iter().map(|lane| lane.snapshot()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<LaneStats>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Arc<LaneStats> {
        Lanes::default().open(LaneFacts {
            exporter: "out".to_owned(),
            required: true,
            when_full: "refuse",
            full_refuses: true,
            queue_kind: "memory",
            queue_capacity_bytes: 100,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn ages_and_delays_are_counted_from_now() {
        let lane = lane();
        lane.set_queue(3, 30, Some(Instant::now()));
        lane.set_full(true);
        let in_a_while = Instant::now() + Duration::from_secs(5);
        lane.set_breaker(Breaker::Open, Some(in_a_while));
        lane.pause_until(in_a_while);
        tokio::time::advance(Duration::from_secs(2)).await;
        lane.set_full(true);
        lane.set_breaker(Breaker::Open, Some(in_a_while));
        let now = lane.snapshot();
        let near = |age: Option<f64>, wanted: f64| (age.unwrap() - wanted).abs() < 0.002;
        assert!(near(now.oldest_age_seconds, 2.0), "{now:?}");
        assert!(near(now.queue_full_seconds, 2.0), "{now:?}");
        assert!(near(now.breaker_since_seconds, 2.0), "{now:?}");
        assert!(near(now.breaker_until_seconds, 3.0), "{now:?}");
        tokio::time::advance(Duration::from_secs(4)).await;
        lane.set_full(false);
        let later = lane.snapshot();
        assert_eq!(
            (later.breaker_until_seconds, later.paused_until_seconds),
            (None, None)
        );
        assert_eq!(later.queue_full_seconds, None);
    }

    #[test]
    fn an_attempt_is_under_way_until_it_is_over_however_it_ends() {
        let lane = lane();
        lane.attempt(false).succeeded(10);
        lane.attempt(true).failed("refused");
        let given_up = lane.attempt(true);
        assert_eq!(lane.snapshot().in_flight, 1);
        drop(given_up);
        let now = lane.snapshot();
        assert_eq!(
            (now.in_flight, now.attempts, now.retries, now.failures),
            (0, 3, 2, 1)
        );
        assert_eq!(
            (now.sent_bytes, now.last_error.as_deref()),
            (10, Some("refused"))
        );
        assert_eq!(lane.attempt_seconds().snapshot().count, 2);
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let lane = lane();
        lane.attempt(false).failed(&"ü".repeat(600));
        assert_eq!(lane.snapshot().last_error.unwrap(), "ü".repeat(256));
    }

    #[test]
    fn a_closed_lane_is_no_longer_shown() {
        let lanes = Lanes::default();
        let facts = lane().facts().clone();
        let first = lanes.open(facts.clone());
        let second = lanes.open(facts);
        lanes.close(&first);
        assert_eq!(lanes.all().len(), 1);
        assert!(Arc::ptr_eq(&lanes.all()[0], &second));
    }
}
