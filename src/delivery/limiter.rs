//! How many attempts may be under way at once: a number, or what attempts tell about it. A pure
//! decider: it takes what landed, and when.
//!
//! By Little's law a destination that can work on C requests at once takes no longer for each
//! while at most C are under way, and L / C times as long with L of them, since they queue there.
//! So the limit is judged by how much slower attempts have become than they are **alone**:
//!
//! - **Rounds.** One decision is made of as many attempts as the limit is (at least eight), all
//!   begun since the last decision: an outcome says something of the limit that it began under.
//! - **Growing.** While attempts are not slow, and the limit was reached, it grows by one a round;
//!   at the start, and up to near the old limit after an outage, it doubles.
//! - **Slow**, that is half as long again as alone: it falls to what Little's law says, and a
//!   quarter below that, so that the queue at the destination is gone in the round that follows.
//! - **Calm.** That round is not judged. It teaches how long attempts take alone, as does the
//!   first, and any in which the limit was hardly reached. So the measure is renewed by itself,
//!   whatever becomes of the destination, and a limit can not sink twice in a row for slowness.
//! - **Failing**, more than a tenth of a round: it is halved.
//!
//! Large requests take longer than small ones, and with a low limit requests are merged into
//! larger ones: a limiter that compared plain latencies would take its own batches for slowness,
//! and sink. Therefore an attempt is compared with others of its size only, by powers of two.
//! Where sizes change within such a class, it may cost one decrease, which the calm round heals.
//!
//! What others do: TCP Vegas and Netflix's first gradient compare with the least latency ever
//! seen, which is far from the mean where service times vary; gradient2 compares with a long
//! average, which drifts upwards with the queue that the limit itself made
//! (Netflix/concurrency-limits, pull request 134); Vector's adds one and takes a tenth off by the
//! deviation from a moving average, which forgets what attempts take alone. Envoy measures it
//! on purpose, a few requests at a time, every so often; the calm round is that, for nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::config::InFlight;

/// Attempts that take this many times as long as alone are slow. Less would take common noise
/// for a queue, more would make requests wait at the destination.
const SLOW: f64 = 1.5;

/// Attempts that take less than this share of what they should take alone prove that measure
/// wrong: it was taken while connections were made, or while others crowded the destination.
const QUICK: f64 = 0.75;

/// What is left of the limit at which nothing would queue, after a decrease.
const CALM_SHARE: f64 = 0.75;

/// No decrease for slowness goes below this share of the limit, before the calm share: one
/// stall is not to cost everything.
const STEEPEST: f64 = 0.5;

/// The share of failures above which a round has failed; a rare one is noise.
const MOST_FAILURES: f64 = 0.1;

/// What a failed round leaves of the limit.
const FAILED_SHARE: f64 = 0.5;

/// How near to the limit of before an outage it comes back by doubling.
const FAST_SHARE: f64 = 0.75;

/// The fewest attempts that a decision is made of.
const LEAST_ROUND: u32 = 8;

/// After so many judged rounds in a row one is made calm, at half the limit, since nothing else
/// renews the measure of a destination that does not become slow: the limit may be at its bound.
const MOST_JUDGED: u32 = 64;

/// How much one attempt moves the measure of its size.
const LEARNING: f64 = 1.0 / 8.0;

/// Powers of two up to 4 GiB.
const SIZES: usize = 33;

/// The limit of one lane.
#[derive(Debug)]
pub struct Limiter {
    bounds: InFlight,
    /// With its fraction; what is allowed is the whole of it.
    limit: f64,
    /// Below this it doubles.
    fast_until: f64,
    /// The round under way teaches, and is not judged.
    calm: bool,
    /// Rounds since the last one that was calm.
    judged: u32,
    /// The last judged round failed.
    failing: bool,
    /// When the limit last changed.
    since: Option<Instant>,
    round: Round,
    /// Seconds that an attempt takes alone, by its size.
    alone: [Option<f64>; SIZES],
}

/// An attempt that is over.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How long it took.
    pub latency: Duration,
    /// Its size, uncompressed.
    pub bytes: usize,
    /// Attempts under way when it ended, itself among them.
    pub in_flight: usize,
    /// It failed in a way that another may not.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Round {
    answered: u32,
    failed: u32,
    /// Those that ended while the limit was reached.
    at_limit: u32,
    seconds: f64,
    /// What they would have taken alone.
    seconds_alone: f64,
}

impl Limiter {
    /// By the exporter's `max_in_flight`.
    pub fn new(bounds: InFlight) -> Self {
        Self {
            bounds,
            limit: bounds.min as f64,
            fast_until: f64::INFINITY,
            calm: true,
            judged: 0,
            failing: false,
            since: None,
            round: Round::default(),
            alone: [None; SIZES],
        }
    }

    /// How many attempts may be under way now.
    pub fn limit(&self) -> usize {
        // Within the bounds, which are whole numbers.
        (self.limit as usize).clamp(self.bounds.min, self.bounds.max)
    }

    /// An attempt has ended at `now`.
    pub fn landed(&mut self, now: Instant, sample: Sample) {
        if self.bounds.min == self.bounds.max {
            return;
        }
        let began = now.checked_sub(sample.latency);
        if self.since.is_some_and(|since| began < Some(since)) {
            return;
        }
        self.count(sample);
        let enough = LEAST_ROUND.max(u32::try_from(self.limit()).unwrap_or(u32::MAX));
        if self.round.answered + self.round.failed >= enough {
            let before = self.limit;
            self.judge();
            if self.limit() != before as usize {
                self.since = Some(now);
            }
        }
    }

    fn count(&mut self, sample: Sample) {
        let teaches = self.calm || sample.in_flight * 2 <= self.limit();
        self.round.at_limit += u32::from(sample.in_flight >= self.limit());
        if sample.failed {
            self.round.failed += 1;
            return;
        }
        self.round.answered += 1;
        let seconds = sample.latency.as_secs_f64();
        let size = sample.bytes.checked_ilog2().unwrap_or(0) as usize;
        let Some(alone) = self.alone.get_mut(size.min(SIZES - 1)) else {
            return;
        };
        let alone = alone.get_or_insert(seconds);
        if teaches {
            *alone += (seconds - *alone) * LEARNING;
        }
        self.round.seconds += seconds;
        self.round.seconds_alone += *alone;
    }

    fn judge(&mut self) {
        let round = std::mem::take(&mut self.round);
        let calm = std::mem::replace(&mut self.calm, false);
        let all = f64::from(round.answered + round.failed);
        if f64::from(round.failed) > all * MOST_FAILURES {
            if !self.failing {
                self.fast_until = self.limit * FAST_SHARE;
            }
            self.failing = true;
            self.set(self.limit * FAILED_SHARE);
            return;
        }
        self.failing = false;
        let slowness = match round.seconds_alone > 0.0 && !calm {
            true => round.seconds / round.seconds_alone,
            false => 1.0,
        };
        self.calm = slowness < QUICK;
        self.judged = if calm {
            0
        } else {
            self.judged.saturating_add(1)
        };
        let reached = f64::from(round.at_limit) * 2.0 >= all;
        if slowness > SLOW && reached {
            self.calm = true;
            self.fast_until = 0.0;
            self.set(self.limit * (1.0 / slowness).max(STEEPEST) * CALM_SHARE);
        } else if reached && self.judged >= MOST_JUDGED {
            self.calm = true;
            self.fast_until = self.limit;
            self.set(self.limit / 2.0);
        } else if reached {
            let step = if self.limit < self.fast_until {
                self.limit.min((self.fast_until - self.limit).max(1.0))
            } else {
                1.0
            };
            self.set(self.limit + step);
        }
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.bounds.min as f64, self.bounds.max as f64);
    }
}

#[cfg(test)]
mod tests;
