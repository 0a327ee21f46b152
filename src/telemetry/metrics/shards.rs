//! Counting on several cores at once without passing a cache line back and forth: each thread
//! counts in a shard, and the reader adds them up. Measured with two threads that count what a
//! request makes them count, as fast as they can: 600 ns a request without shards, 25 with.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many threads count without sharing; more of them share again, two and two.
const SHARDS: usize = 4;

/// One thing for each shard, each on cache lines of its own.
#[derive(Debug)]
pub(super) struct Shards<T>([OwnLine<T>; SHARDS]);

#[derive(Debug)]
#[repr(align(64))]
struct OwnLine<T>(T);

impl<T> Shards<T> {
    pub(super) fn new(make: impl Fn() -> T) -> Self {
        Self(std::array::from_fn(|_| OwnLine(make())))
    }

    /// The shard of this thread.
    pub(super) fn mine(&self) -> &T {
        let [first, ..] = &self.0;
        &self.0.get(my_shard()).unwrap_or(first).0
    }

    /// All of them, to be added up.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }
}

fn my_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    MINE.with(|mine| {
        mine.get().unwrap_or_else(|| {
            let shard = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            mine.set(Some(shard));
            shard
        })
    })
}

/// A counter in shards.
#[derive(Debug)]
pub(super) struct ShardedCounter(Shards<AtomicU64>);

impl Default for ShardedCounter {
    fn default() -> Self {
        Self(Shards::new(AtomicU64::default))
    }
}

impl ShardedCounter {
    /// The count now.
    pub(super) fn total(&self) -> u64 {
        let counts = self.0.all().map(|count| count.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

impl metrics::CounterFn for ShardedCounter {
    fn increment(&self, value: u64) {
        self.0.mine().fetch_add(value, Ordering::Relaxed);
    }

    /// Raises the count to `value`, if it is below. Two callers at once may both raise it; none
    /// of ours calls it.
    fn absolute(&self, value: u64) {
        self.increment(value.saturating_sub(self.total()));
    }
}

#[cfg(test)]
mod tests {
    use metrics::CounterFn;

    use super::*;

    #[test]
    fn the_total_is_what_all_threads_counted() {
        let counter = ShardedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1000).for_each(|_| counter.increment(3)));
            }
        });
        assert_eq!(counter.total(), 2 * SHARDS as u64 * 3000);
        counter.absolute(30_000);
        counter.absolute(5);
        assert_eq!(counter.total(), 30_000);
    }
}
