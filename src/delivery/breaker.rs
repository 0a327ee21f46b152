//! The circuit breaker, as a pure decider: it takes `now` and the outcome of attempts, and says
//! whether the next may go.
//!
//! - **closed**: attempts pass. So many failures in a row open it.
//! - **open**: attempts wait until a time.
//! - **half-open**: that time has come, and one attempt, the probe, has been let through; the
//!   others wait. It closes the breaker, or opens it for twice as long.

use std::time::Duration;

use tokio::time::Instant;

use super::config::BreakerConfig;
use crate::telemetry::lanes::Breaker as BreakerState;

/// No configured time is taken for longer than this, so that sums of times cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// One destination's breaker.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
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
    },
    /// It closed: attempts pass again.
    Closed,
}

impl Breaker {
    /// A closed breaker. `failures = 0` makes one that never opens.
    pub fn new(config: &BreakerConfig) -> Self {
        Self {
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
    pub fn success(&mut self, pass: Pass) -> Option<Change> {
        match (self.state, pass) {
            (State::Closed { .. }, _) => {
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
                if self.config.failures > 0 && failures >= self.config.failures {
                    return Some(self.open(0, now, jitter));
                }
                self.state = State::Closed { failures };
                None
            }
            (State::HalfOpen { openings }, Pass::Probe) => {
                Some(self.open(openings.saturating_add(1), now, jitter))
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

    fn open(&mut self, openings: u32, now: Instant, jitter: f64) -> Change {
        let until = now + self.open_time(openings, jitter);
        self.state = State::Open { until, openings };
        Change::Opened { until }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GO: Permit = Permit::Pass(Pass::Go);
    const PROBE: Permit = Permit::Pass(Pass::Probe);

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(&BreakerConfig {
            failures,
            open_time: SECOND,
            max_open_time: 10 * SECOND,
        })
    }

    /// A breaker that has just opened, and until when.
    fn opened(now: Instant) -> (Breaker, Instant) {
        let mut breaker = breaker(1);
        let Some(Change::Opened { until }) = breaker.failure(Pass::Go, now, 1.0) else {
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
                assert_eq!(breaker.success(Pass::Go), None);
            }
        }
        let until = now + SECOND;
        assert_eq!(
            breaker.failure(Pass::Go, now, 1.0),
            Some(Change::Opened { until })
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
        assert_eq!(breaker.success(Pass::Probe), Some(Change::Closed));
        assert_eq!(breaker.permit(until), GO);
        assert_eq!(breaker.next_probe(), None);
        // The next opening is a first one again.
        let expected = until + SECOND;
        assert_eq!(
            breaker.failure(Pass::Go, until, 1.0),
            Some(Change::Opened { until: expected })
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
                Some(Change::Opened { until })
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
                Some(Change::Opened { until })
            );
        }
    }

    #[test]
    fn attempts_from_before_it_opened_change_nothing() {
        let now = Instant::now();
        let (mut breaker, until) = opened(now);
        assert_eq!(breaker.failure(Pass::Go, now, 1.0), None);
        assert_eq!(breaker.success(Pass::Go), None);
        breaker.abandon(Pass::Go, now);
        assert_eq!(breaker.permit(now), Permit::Wait(Some(until)));

        assert_eq!(breaker.permit(until), PROBE);
        assert_eq!(breaker.failure(Pass::Go, until, 1.0), None);
        assert_eq!(breaker.success(Pass::Go), None);
        breaker.abandon(Pass::Go, until);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.success(Pass::Probe), Some(Change::Closed));
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
            Some(Change::Opened { until: next })
        );
    }

    #[test]
    fn no_configured_time_is_too_long_to_reckon_with() {
        let mut breaker = Breaker::new(&BreakerConfig {
            failures: 1,
            open_time: Duration::MAX,
            max_open_time: Duration::MAX,
        });
        let now = Instant::now();
        let until = now + LONGEST;
        assert_eq!(
            breaker.failure(Pass::Go, now, 1.0),
            Some(Change::Opened { until })
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
