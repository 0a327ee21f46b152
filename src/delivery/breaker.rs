//! The circuit breaker, as a pure decider: it takes `now` and the outcome of attempts, and says
//! whether the next may go.
//!
//! - **closed**: attempts pass. So many failures in a row open it, and so does such a share of
//!   failures among the attempts of a window, if there were enough of them: a destination that
//!   takes every other request never fails five times in a row, and is unwell all the same.
//! - **open**: attempts wait until a time.
//! - **half-open**: that time has come, and one attempt, the probe, has been let through; the
//!   others wait. It closes the breaker, or opens it for twice as long.

use std::time::Duration;

use tokio::time::Instant;

use super::config::BreakerConfig;
use crate::telemetry::lanes::Breaker as BreakerState;
use crate::telemetry::lanes::OpenedBy;

/// No configured time is taken for longer than this, so that sums of times cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// One destination's breaker.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, openings: u32 },
    HalfOpen { openings: u32 },
}

/// Whether an attempt may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Permit {
    /// It may. Its outcome is told to the breaker with this pass.
    Pass(Pass),
    /// Not before this time; `None` while a probe is under way, whose outcome will tell.
    Wait(Option<Instant>),
}

/// What an attempt was let through as. With several in flight, those that started before the
/// breaker opened end after it, and must not be taken for the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the outcome of a probe must be told, or no other will ever start"]
pub enum Pass {
    /// One attempt among many.
    Go,
    /// The one attempt that decides.
    Probe,
}

/// What an outcome changed; worth a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened, or stays open: attempts wait until this time.
    Opened {
        /// When the next probe may start.
        until: Instant,
        /// What opened it.
        by: OpenedBy,
    },
    /// It closed: attempts pass again.
    Closed,
}

impl Breaker {
    /// A closed breaker. `failures = 0` with `failure_rate = 0` makes one that never opens.
    pub fn new(config: &BreakerConfig) -> Self {
        Self {
            window: Window::new(config.window),
            config: config.clone(),
            state: State::Closed { failures: 0 },
        }
    }

    /// Asks to start an attempt. After a [`Pass`], exactly one of `success`, `failure` and
    /// `abandon` must follow.
    pub fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::Pass(Pass::Go),
            State::Open { until, .. } if now < until => Permit::Wait(Some(until)),
            State::Open { openings, .. } => {
                self.state = State::HalfOpen { openings };
                Permit::Pass(Pass::Probe)
            }
            State::HalfOpen { .. } => Permit::Wait(None),
        }
    }

    /// The destination took the attempt, or answered in a way that shows it is well.
    pub fn success(&mut self, pass: Pass, now: Instant) -> Option<Change> {
        match (self.state, pass) {
            (State::Closed { .. }, _) => {
                self.window.count(now, false);
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::HalfOpen { .. }, Pass::Probe) => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            // A late success of before it opened: the probe will tell.
            _ => None,
        }
    }

    /// The attempt failed in a way that another may not. `jitter` is drawn from 0 to 1.
    pub fn failure(&mut self, pass: Pass, now: Instant, jitter: f64) -> Option<Change> {
        match (self.state, pass) {
            (State::Closed { failures }, _) => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                self.window.count(now, true);
                let by = self.opened_by(failures)?;
                // What it held is over: after the outage it begins anew.
                self.window = Window::new(self.config.window);
                let until = self.open(0, now, jitter);
                Some(Change::Opened { until, by })
            }
            (State::HalfOpen { openings }, Pass::Probe) => {
                let until = self.open(openings.saturating_add(1), now, jitter);
                let by = OpenedBy::Probe;
                Some(Change::Opened { until, by })
            }
            _ => None,
        }
    }

    /// The attempt was given up without an outcome; an abandoned probe frees the place for
    /// another at once.
    pub fn abandon(&mut self, pass: Pass, now: Instant) {
        if let (State::HalfOpen { openings }, Pass::Probe) = (self.state, pass) {
            self.state = State::Open {
                until: now,
                openings,
            };
        }
    }

    /// When the next probe may start, while the breaker is open.
    pub const fn next_probe(&self) -> Option<Instant> {
        match self.state {
            State::Open { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Its state. An open breaker stays open, whatever the time, until an attempt asks.
    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// What opens it, after so many failures in a row.
    fn opened_by(&self, failures: u32) -> Option<OpenedBy> {
        let config = &self.config;
        if config.failures > 0 && failures >= config.failures {
            return Some(OpenedBy::Failures);
        }
        let Counts { failed, all } = self.window.counts();
        let too_many = f64::from(failed) >= config.failure_rate * f64::from(all);
        let judged = config.failure_rate > 0.0 && all >= config.min_requests;
        (judged && too_many).then_some(OpenedBy::FailureRate)
    }

    fn open(&mut self, openings: u32, now: Instant, jitter: f64) -> Instant {
        let until = now + self.open_time(openings, jitter);
        self.state = State::Open { until, openings };
        until
    }

    /// `open_time`, doubled with each opening in a row up to `max_open_time`, and of that
    /// between three quarters and all: daemons that lost one destination at one moment must not
    /// probe it at one moment.
    fn open_time(&self, openings: u32, jitter: f64) -> Duration {
        let doubled = 2_u32
            .checked_pow(openings)
            .and_then(|factor| self.config.open_time.checked_mul(factor))
            .unwrap_or(Duration::MAX);
        doubled
            .min(self.config.max_open_time)
            .min(LONGEST)
            .mul_f64(0.75 + 0.25 * jitter.clamp(0.0, 1.0))
    }
}

/// A window slides in so many steps.
const SLOTS: usize = 10;

/// The outcomes of the last while.
#[derive(Debug)]
struct Window {
    slot: Duration,
    slots: [Counts; SLOTS],
    /// The slot that is being filled, and when it began.
    current: usize,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    failed: u32,
    all: u32,
}

impl Window {
    fn new(length: Duration) -> Self {
        Self {
            slot: (length.min(LONGEST) / SLOTS as u32).max(Duration::from_nanos(1)),
            slots: [Counts::default(); SLOTS],
            current: 0,
            since: None,
        }
    }

    fn count(&mut self, now: Instant, failed: bool) {
        self.slide(now);
        if let Some(slot) = self.slots.get_mut(self.current) {
            slot.failed = slot.failed.saturating_add(failed.into());
            slot.all = slot.all.saturating_add(1);
        }
    }

    fn slide(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= self.slot * SLOTS as u32 {
            self.slots = [Counts::default(); SLOTS];
            self.since = Some(now);
            return;
        }
        let mut since = since;
        while now >= since + self.slot {
            since += self.slot;
            self.current = (self.current + 1) % SLOTS;
            if let Some(slot) = self.slots.get_mut(self.current) {
                *slot = Counts::default();
            }
        }
        self.since = Some(since);
    }

    fn counts(&self) -> Counts {
        let sum = |sum: Counts, slot: &Counts| Counts {
            failed: sum.failed.saturating_add(slot.failed),
            all: sum.all.saturating_add(slot.all),
        };
        self.slots.iter().fold(Counts::default(), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GO: Permit = Permit::Pass(Pass::Go);
    const PROBE: Permit = Permit::Pass(Pass::Probe);

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(&BreakerConfig {
            failures,
            failure_rate: 0.0,
            ..config()
        })
    }

    fn config() -> BreakerConfig {
        BreakerConfig {
            open_time: SECOND,
            max_open_time: 10 * SECOND,
            ..BreakerConfig::default()
        }
    }

    /// One that opens at half of at least twenty attempts of ten seconds, and by nothing else.
    fn by_rate() -> Breaker {
        Breaker::new(&BreakerConfig {
            failures: 0,
            ..config()
        })
    }

    /// Makes attempts of which every `nth` fails, one each `gap`; what opened it, and how many
    /// that took.
    fn every(nth: u32, breaker: &mut Breaker, gap: Duration) -> Option<(OpenedBy, u32)> {
        let mut now = Instant::now();
        for attempt in 1..=1000 {
            assert_eq!(breaker.permit(now), GO);
            if attempt % nth > 0 {
                assert_eq!(breaker.success(Pass::Go, now), None);
            } else if let Some(Change::Opened { by, .. }) = breaker.failure(Pass::Go, now, 1.0) {
                return Some((by, attempt));
            }
            now += gap;
        }
        None
    }

    #[test]
    fn a_share_of_failures_opens_it_though_none_follows_another() {
        let gap = Duration::from_millis(100);
        let opened = every(2, &mut by_rate(), gap);
        assert_eq!(opened, Some((OpenedBy::FailureRate, 20)));
        assert_eq!(every(3, &mut by_rate(), gap), None, "a third is below half");
    }

    #[test]
    fn too_few_attempts_in_the_window_say_nothing_of_a_share() {
        // 19 at most in any ten seconds.
        let gap = Duration::from_millis(540);
        assert_eq!(every(1, &mut by_rate(), gap), None);
        let enough = Duration::from_millis(450);
        let opened = every(1, &mut by_rate(), enough);
        assert_eq!(opened.map(|(by, _)| by), Some(OpenedBy::FailureRate));
    }

    #[test]
    fn what_is_older_than_the_window_no_longer_counts() {
        let mut breaker = by_rate();
        let begun = Instant::now();
        for _ in 0..19 {
            assert_eq!(breaker.failure(Pass::Go, begun, 1.0), None);
        }
        let mut now = begun + 10 * SECOND;
        assert_eq!(breaker.failure(Pass::Go, now, 1.0), None);
        for _ in 0..18 {
            now += Duration::from_millis(10);
            assert_eq!(breaker.failure(Pass::Go, now, 1.0), None);
        }
        let last = breaker.failure(Pass::Go, now, 1.0);
        assert!(matches!(last, Some(Change::Opened { .. })), "{last:?}");
    }

    #[test]
    fn after_it_closed_the_window_begins_anew() {
        let mut breaker = by_rate();
        let mut now = Instant::now();
        for _ in 0..20 {
            let _change = breaker.failure(Pass::Go, now, 1.0);
        }
        now += SECOND;
        assert_eq!(breaker.permit(now), PROBE);
        assert_eq!(breaker.success(Pass::Probe, now), Some(Change::Closed));
        assert_eq!(breaker.failure(Pass::Go, now, 1.0), None);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_share_of_nought_switches_that_off() {
        let mut breaker = breaker(0);
        assert_eq!(every(1, &mut breaker, Duration::ZERO), None);
    }

    #[test]
    fn a_clock_that_goes_back_is_borne() {
        let mut breaker = by_rate();
        let now = Instant::now() + 60 * SECOND;
        for at in [now, now - 30 * SECOND, now + SECOND, now - SECOND] {
            assert_eq!(breaker.success(Pass::Go, at), None);
        }
        assert_eq!(breaker.window.counts().all, 4);
    }

    /// A breaker that has just opened, and until when.
    fn opened(now: Instant) -> (Breaker, Instant) {
        let mut breaker = breaker(1);
        let Some(Change::Opened { until, .. }) = breaker.failure(Pass::Go, now, 1.0) else {
            panic!("one failure must open it");
        };
        (breaker, until)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_starts_the_row_anew() {
        let now = Instant::now();
        let mut breaker = breaker(3);
        for pass in [0, 1] {
            for _ in 0..2 {
                assert_eq!(breaker.permit(now), GO);
                assert_eq!(breaker.failure(Pass::Go, now, 1.0), None);
            }
            if pass == 0 {
                assert_eq!(breaker.success(Pass::Go, now), None);
            }
        }
        let until = now + SECOND;
        assert_eq!(
            breaker.failure(Pass::Go, now, 1.0),
            Some(Change::Opened {
                until,
                by: OpenedBy::Failures
            })
        );
        assert_eq!(breaker.permit(now), Permit::Wait(Some(until)));
        assert_eq!(breaker.next_probe(), Some(until));
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn exactly_one_probe_goes_when_the_open_time_is_over() {
        let (mut breaker, until) = opened(Instant::now());
        assert_eq!(
            breaker.permit(until - Duration::from_nanos(1)),
            Permit::Wait(Some(until))
        );
        assert_eq!(breaker.permit(until), PROBE);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        for later in [until, until + SECOND, until + 100 * SECOND] {
            assert_eq!(breaker.permit(later), Permit::Wait(None));
        }
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_the_row_starts_at_nought() {
        let (mut breaker, until) = opened(Instant::now());
        assert_eq!(breaker.permit(until), PROBE);
        assert_eq!(breaker.success(Pass::Probe, until), Some(Change::Closed));
        assert_eq!(breaker.permit(until), GO);
        assert_eq!(breaker.next_probe(), None);
        // The next opening is a first one again.
        let expected = until + SECOND;
        assert_eq!(
            breaker.failure(Pass::Go, until, 1.0),
            Some(Change::Opened {
                until: expected,
                by: OpenedBy::Failures
            })
        );
    }

    #[test]
    fn the_open_time_doubles_with_each_failed_probe_up_to_its_maximum() {
        let (mut breaker, mut until) = opened(Instant::now());
        for seconds in [2, 4, 8, 10, 10, 10] {
            assert_eq!(breaker.permit(until), PROBE);
            let now = until + SECOND;
            until = now + seconds * SECOND;
            assert_eq!(
                breaker.failure(Pass::Probe, now, 1.0),
                Some(Change::Opened {
                    until,
                    by: OpenedBy::Probe
                })
            );
        }
    }

    #[test]
    fn a_hundred_openings_do_not_overflow() {
        let (mut breaker, mut now) = opened(Instant::now());
        for _ in 0..100 {
            assert_eq!(breaker.permit(now), PROBE);
            breaker.failure(Pass::Probe, now, 1.0);
            now = breaker.next_probe().unwrap();
        }
    }

    #[test]
    fn jitter_takes_up_to_a_quarter_off_the_open_time() {
        let now = Instant::now();
        for (jitter, millis) in [(0.0, 750), (0.5, 875), (1.0, 1000), (f64::INFINITY, 1000)] {
            let mut breaker = breaker(1);
            let until = now + Duration::from_millis(millis);
            assert_eq!(
                breaker.failure(Pass::Go, now, jitter),
                Some(Change::Opened {
                    until,
                    by: OpenedBy::Failures
                })
            );
        }
    }

    #[test]
    fn attempts_from_before_it_opened_change_nothing() {
        let now = Instant::now();
        let (mut breaker, until) = opened(now);
        assert_eq!(breaker.failure(Pass::Go, now, 1.0), None);
        assert_eq!(breaker.success(Pass::Go, now), None);
        breaker.abandon(Pass::Go, now);
        assert_eq!(breaker.permit(now), Permit::Wait(Some(until)));

        assert_eq!(breaker.permit(until), PROBE);
        assert_eq!(breaker.failure(Pass::Go, until, 1.0), None);
        assert_eq!(breaker.success(Pass::Go, now), None);
        breaker.abandon(Pass::Go, until);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.success(Pass::Probe, until), Some(Change::Closed));
    }

    #[test]
    fn an_abandoned_probe_lets_another_go_at_once() {
        let (mut breaker, until) = opened(Instant::now());
        assert_eq!(breaker.permit(until), PROBE);
        breaker.abandon(Pass::Probe, until);
        assert_eq!(breaker.permit(until), PROBE);
        // It counts neither as a failed probe nor as a success.
        let next = until + 2 * SECOND;
        assert_eq!(
            breaker.failure(Pass::Probe, until, 1.0),
            Some(Change::Opened {
                until: next,
                by: OpenedBy::Probe
            })
        );
    }

    #[test]
    fn no_configured_time_is_too_long_to_reckon_with() {
        let mut breaker = Breaker::new(&BreakerConfig {
            failures: 1,
            open_time: Duration::MAX,
            max_open_time: Duration::MAX,
            window: Duration::MAX,
            ..config()
        });
        let now = Instant::now();
        let until = now + LONGEST;
        assert_eq!(
            breaker.failure(Pass::Go, now, 1.0),
            Some(Change::Opened {
                until,
                by: OpenedBy::Failures
            })
        );
    }

    #[test]
    fn nought_failures_switch_it_off() {
        let now = Instant::now();
        let mut breaker = breaker(0);
        for _ in 0..1000 {
            assert_eq!(breaker.permit(now), GO);
            assert_eq!(breaker.failure(Pass::Go, now, 0.5), None);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
