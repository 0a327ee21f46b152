//! A histogram with fixed buckets: it takes the same memory whatever passes through it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::shards::Shards;

/// Counts of observations, by upper bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    shards: Shards<Shard>,
}

#[derive(Debug)]
struct Shard {
    /// One for each bound, and one for what is above them all; not cumulative.
    buckets: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// For each upper bound, how many observations are at most that.
    pub cumulative: Vec<(f64, u64)>,
    /// How many observations there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// An empty histogram; `bounds` rise, and are finite.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            shards: Shards::new(|| Shard {
                buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
                sum: AtomicU64::new(0_f64.to_bits()),
            }),
        }
    }

    /// Counts one observation. What is not a number is not counted.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let shard = self.shards.mine();
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = shard.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It ends: each failed exchange is another thread's success. The closure never declines.
        let _previous = shard
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The counts now; `count` is that of the buckets, whatever is observed meanwhile.
    pub fn snapshot(&self) -> Buckets {
        let mut count = 0;
        let mut cumulative = Vec::with_capacity(self.bounds.len());
        for index in 0..=self.bounds.len() {
            let buckets = self.shards.all().filter_map(|s| s.buckets.get(index));
            count += buckets.map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
            cumulative.extend(self.bounds.get(index).map(|bound| (*bound, count)));
        }
        let sums = self.shards.all().map(|s| s.sum.load(Ordering::Relaxed));
        Buckets {
            cumulative,
            count,
            sum: sums.map(f64::from_bits).sum(),
        }
    }
}

impl metrics::HistogramFn for Histogram {
    fn record(&self, value: f64) {
        self.observe(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_what_is_equal_to_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0, f64::NAN] {
            histogram.observe(value);
        }
        let now = histogram.snapshot();
        assert_eq!(now.cumulative, [(1.0, 2), (2.0, 4)]);
        assert_eq!((now.count, now.sum), (5, 14.0));
    }

    #[test]
    fn the_sum_keeps_every_thread_s_share() {
        let histogram = Histogram::new(&[1.0]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| histogram.observe(2.0)));
            }
        });
        assert_eq!(histogram.snapshot().sum, 8000.0);
    }
}
