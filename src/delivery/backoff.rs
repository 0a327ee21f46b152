//! Exponential backoff with full jitter, as a pure decider: a uniform draw from nought to an
//! interval that grows spreads clients best (Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

use super::config::RetryConfig;

/// No time is taken for longer than this, so that sums of times cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long to wait between attempts, and when to give up.
#[derive(Clone, Debug)]
pub struct Backoff {
    config: RetryConfig,
}

impl Backoff {
    /// By the exporter's `retry_on_failure`.
    pub fn new(config: &RetryConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// The delay after the failed attempt of this number, counted from 1. `jitter` is drawn
    /// from 0 to 1. `floor` is what the destination asked for: no less is waited, and up to a
    /// tenth more, since it has asked others for the same.
    pub fn delay(&self, attempt: u32, jitter: f64, floor: Option<Duration>) -> Duration {
        let jitter = jitter.clamp(0.0, 1.0);
        let drawn = self.interval(attempt).mul_f64(jitter);
        match floor {
            Some(floor) => {
                let floor = floor.min(LONGEST);
                drawn.max(floor + floor.mul_f64(jitter / 10.0))
            }
            None => drawn,
        }
    }

    /// Whether a batch of this age is given up rather than tried again after `delay`.
    pub fn gives_up(&self, age: Duration, delay: Duration) -> bool {
        let limit = self.config.max_elapsed_time;
        !limit.is_zero() && age.saturating_add(delay) > limit
    }

    fn interval(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.config.initial_interval.as_secs_f64()
            * self.config.multiplier.max(1.0).powi(exponent);
        Duration::try_from_secs_f64(grown)
            .unwrap_or(Duration::MAX)
            .min(self.config.max_interval)
            .min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(&RetryConfig {
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::from_secs(60),
            ..RetryConfig::default()
        })
    }

    #[test]
    fn the_interval_grows_to_its_maximum_and_stays_there() {
        for (attempt, millis) in [
            (0, 500),
            (1, 500),
            (2, 1000),
            (3, 2000),
            (6, 16_000),
            (7, 30_000),
            (1000, 30_000),
            (u32::MAX, 30_000),
        ] {
            let delay = backoff().delay(attempt, 1.0, None);
            assert_eq!(delay, Duration::from_millis(millis), "attempt {attempt}");
        }
    }

    #[test]
    fn the_delay_is_drawn_from_all_of_the_interval() {
        for (jitter, millis) in [(0.0, 0), (0.25, 500), (0.5, 1000), (7.0, 2000)] {
            let delay = backoff().delay(3, jitter, None);
            assert_eq!(delay, Duration::from_millis(millis));
        }
    }

    #[test]
    fn no_less_is_waited_than_the_destination_asked_for() {
        for (attempt, jitter, floor, millis) in [
            (1, 0.0, 3000, 3000),
            (1, 0.5, 3000, 3150),
            (1, 1.0, 3000, 3300),
            (7, 0.5, 3000, 15_000),
            (1, 0.5, 0, 250),
        ] {
            let delay = backoff().delay(attempt, jitter, Some(Duration::from_millis(floor)));
            assert_eq!(delay, Duration::from_millis(millis));
        }
    }

    #[test]
    fn no_time_is_too_long_to_reckon_with() {
        let backoff = Backoff::new(&RetryConfig {
            initial_interval: Duration::MAX,
            max_interval: Duration::MAX,
            ..backoff().config
        });
        assert_eq!(backoff.delay(1, 1.0, None), LONGEST);
        assert!(backoff.delay(1, 1.0, Some(Duration::MAX)) >= LONGEST);
    }

    #[test]
    fn a_batch_is_given_up_when_its_next_attempt_would_come_too_late() {
        for (age, delay, expected) in [(0, 60, false), (59, 1, false), (59, 2, true), (61, 0, true)]
        {
            let (age, delay) = (Duration::from_secs(age), Duration::from_secs(delay));
            assert_eq!(backoff().gives_up(age, delay), expected);
        }
        let never = Backoff::new(&RetryConfig {
            max_elapsed_time: Duration::ZERO,
            ..backoff().config
        });
        assert!(!never.gives_up(Duration::MAX, Duration::MAX));
    }

    #[test]
    fn a_multiplier_below_one_or_none_at_all_does_not_shrink_the_interval() {
        for multiplier in [0.0, 0.5, -3.0, f64::NAN] {
            let backoff = Backoff::new(&RetryConfig {
                multiplier,
                ..backoff().config
            });
            assert_eq!(backoff.delay(9, 1.0, None), Duration::from_millis(500));
        }
    }
}
