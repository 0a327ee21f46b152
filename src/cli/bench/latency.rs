//! Latencies in fixed buckets: 32 to each power of two of microseconds, so a quantile is at most
//! 3 % too high, and any number of them takes the same memory.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

const SUB_BUCKET_BITS: u32 = 5;
const SUB_BUCKETS: u64 = 1 << SUB_BUCKET_BITS;
/// Enough for 2^36 microseconds, 19 hours; what is longer counts as that.
const BUCKETS: usize = 32 * SUB_BUCKETS as usize;

/// A histogram of durations.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

/// What a report says of a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            p50,
            p90,
            p99,
            p999,
            max,
        } = self;
        write!(
            f,
            "p50 {p50:.2}, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2}"
        )
    }
}

impl Latency {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: Duration::ZERO,
        }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(micros)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(took);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.quantile_ms(0.5),
            p90: self.quantile_ms(0.9),
            p99: self.quantile_ms(0.99),
            p999: self.quantile_ms(0.999),
            max: self.max.as_secs_f64() * 1e3,
        }
    }

    fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                let upper_ms = upper_micros(bucket) as f64 / 1e3;
                return upper_ms.min(self.max.as_secs_f64() * 1e3);
            }
        }
        0.0
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < SUB_BUCKETS {
        return micros as usize;
    }
    let shift = micros.ilog2() - SUB_BUCKET_BITS;
    let bucket = u64::from(shift + 1) * SUB_BUCKETS + ((micros >> shift) - SUB_BUCKETS);
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest number of microseconds that falls into the bucket.
fn upper_micros(bucket: usize) -> u64 {
    let (power, sub) = (bucket as u64 / SUB_BUCKETS, bucket as u64 % SUB_BUCKETS);
    if power == 0 {
        return sub;
    }
    ((SUB_BUCKETS + sub + 1) << (power - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(upper_micros(bucket)), bucket);
            assert_eq!(bucket_of(upper_micros(bucket) + 1), bucket + 1);
        }
    }

    #[test]
    fn quantiles_are_at_most_three_percent_too_high() {
        let mut latency = Latency::new();
        for micros in 1..=10_000 {
            latency.record(Duration::from_micros(micros));
        }
        let quantiles = latency.quantiles();
        for (found, exact) in [
            (quantiles.p50, 5.0),
            (quantiles.p90, 9.0),
            (quantiles.p99, 9.9),
        ] {
            assert!(
                found >= exact && found <= exact * 1.04,
                "{found} for {exact}"
            );
        }
        assert_eq!(quantiles.max, 10.0);
    }

    #[test]
    fn merging_adds_the_counts_and_keeps_the_larger_maximum() {
        let (mut one, mut two) = (Latency::new(), Latency::new());
        one.record(Duration::from_millis(1));
        two.record(Duration::from_millis(5));
        one.merge(&two);
        assert_eq!(one.quantiles().max, 5.0);
        assert!(one.quantiles().p50 <= 1.04);
    }

    #[test]
    fn an_empty_histogram_has_quantiles_of_zero() {
        assert_eq!(Latency::new().quantiles().p99, 0.0);
    }
}
