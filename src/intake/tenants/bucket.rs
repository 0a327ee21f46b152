//! A token bucket that may go into debt: what a request costs is known only when it has been
//! read, so it is let in while anything is left, and what it cost is taken afterwards.

use std::time::Duration;

use tokio::time::Instant;

/// Fills at a rate, up to a burst. It knows no clock: every call is told what time it is.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Tokens a second, which are as many billionths of one a nanosecond: nothing is rounded.
    rate: i128,
    /// The most that is saved up, in billionths of a token.
    burst: i128,
    /// What is left, in billionths of a token; less than nothing is debt.
    left: i128,
    filled: Instant,
}

/// The billionths of a token.
const BILLION: i128 = 1_000_000_000;

impl Bucket {
    /// A full bucket of `rate` tokens a second (more than 0), which saves up those of `burst`.
    pub(super) fn new(rate: u64, burst: Duration, now: Instant) -> Self {
        let rate = i128::from(rate);
        // Never less than a token, or nothing would ever pass.
        let burst = (rate * nanos(burst)).max(BILLION);
        Self {
            rate,
            burst,
            left: burst,
            filled: now,
        }
    }

    /// How long until there is something in it: zero if there is now. In whole milliseconds,
    /// rounded up, so that whoever waits that long finds it so.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.left > 0 {
            return Duration::ZERO;
        }
        let millis = -self.left / self.rate / 1_000_000 + 1;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Takes `cost` tokens out, however little there is. Less than nothing gives them back.
    pub(super) fn take(&mut self, cost: i64, now: Instant) {
        self.fill(now);
        self.left = (self.left - i128::from(cost) * BILLION).min(self.burst);
    }

    /// Whether it can hold no more.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.burst
    }

    fn fill(&mut self, now: Instant) {
        let passed = nanos(now.saturating_duration_since(self.filled));
        self.left = (self.left + passed * self.rate).min(self.burst);
        self.filled = self.filled.max(now);
    }
}

/// Fits for every duration: they have less than 94 bits of nanoseconds.
fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn it_lets_the_last_request_go_into_debt_and_says_how_long_that_takes() {
        let now = Instant::now();
        let mut bucket = Bucket::new(100, seconds(2), now);
        bucket.take(199, now);
        assert_eq!(bucket.wait(now), Duration::ZERO, "one is left");
        bucket.take(501, now);
        assert_eq!(bucket.wait(now), Duration::from_millis(5001));
        let later = now + seconds(4);
        assert_eq!(bucket.wait(later), Duration::from_millis(1001));
        assert_eq!(
            bucket.wait(later + Duration::from_millis(1001)),
            Duration::ZERO
        );
    }

    #[test]
    fn it_saves_up_no_more_than_its_burst() {
        let now = Instant::now();
        let mut bucket = Bucket::new(100, seconds(2), now);
        let later = now + seconds(3600);
        assert!(bucket.is_full(later));
        bucket.take(-50, later);
        bucket.take(200, later);
        assert!(!bucket.is_full(later));
        assert_eq!(bucket.wait(later), Duration::from_millis(1));
    }

    #[test]
    fn a_clock_that_is_read_late_gives_nothing_twice() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, seconds(1), now);
        bucket.take(20, now + seconds(5));
        let owed = bucket.wait(now + seconds(5));
        assert_eq!(bucket.wait(now), owed);
    }

    proptest! {
        /// Whatever comes when: what was let in is never more than the rate, the burst and the
        /// last request allow.
        #[test]
        fn over_any_time_the_rate_holds(
            rate in 1_u64..1000,
            burst_ms in 1_u64..5000,
            requests in prop::collection::vec((0_u64..2000, 1_i64..5000), 1..60),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = Bucket::new(rate, Duration::from_millis(burst_ms), start);
            let (mut taken, mut last) = (0, 0);
            for (pause, cost) in requests {
                now += Duration::from_millis(pause);
                let wait = bucket.wait(now);
                if wait > Duration::ZERO {
                    prop_assert_eq!(bucket.wait(now + wait), Duration::ZERO);
                    now += wait;
                }
                taken += last;
                last = cost;
                let saved = (u128::from(rate * burst_ms) * 1_000_000).max(1_000_000_000);
                let allowed = u128::from(rate) * (now - start).as_nanos() + saved;
                prop_assert!(taken as u128 * 1_000_000_000 <= allowed, "{taken} of {allowed}");
                bucket.take(last, now);
            }
        }
    }
}
