//! The search for what spoils a merged request: how often its parts are halved, and that they are
//! tried one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// One merged request that was refused for good, shared by its parts.
///
/// A single bad request among n is found with log2(n) halvings, each of which leaves one half
/// that is taken. Twice as many are free, so that the other half is heard before the search goes
/// deeper; further ones are earned by parts that are taken. A destination that takes none of them
/// refuses everything, and costs no more than 4 log2(n) + 1 attempts.
#[derive(Debug)]
pub struct Bisection {
    /// What one search takes, in halvings.
    depth: u32,
    /// Halvings that are still allowed.
    left: AtomicU32,
    /// Halvings that may still be earned.
    unearned: AtomicU32,
    /// One of the parts is under way.
    busy: AtomicBool,
}

/// So many bad requests of one merged request are found whatever lies between them. A merged
/// request with more of them is cut down as far as their searches go, and what is then refused is
/// given up with what is good in it.
const SEARCHES: u32 = 32;

impl Bisection {
    /// The search in a merged request of so many.
    pub(super) fn of(requests: usize) -> Self {
        let depth = requests.max(2).next_power_of_two().ilog2();
        Self {
            depth,
            left: AtomicU32::new(2 * depth),
            unearned: AtomicU32::new(depth * (SEARCHES - 2)),
            busy: AtomicBool::new(false),
        }
    }

    /// Whether one more part may be halved; if so, it is counted.
    pub(super) fn try_halve(&self) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }

    /// A part was taken: so not everything is refused, and another search may begin.
    pub(super) fn part_taken(&self) {
        let earned = self
            .unearned
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unearned| {
                Some(unearned.saturating_sub(self.depth))
            })
            .map_or(0, |unearned| unearned.min(self.depth));
        self.left.fetch_add(earned, Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        self.busy.store(true, Ordering::Relaxed);
        Turn(Arc::clone(self))
    }
}

/// One part is under way; the next may follow when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Bisection>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halvings(bisection: &Bisection) -> usize {
        std::iter::repeat_with(|| bisection.try_halve())
            .take_while(|allowed| *allowed)
            .count()
    }

    #[test]
    fn two_searches_are_free_and_others_are_earned_up_to_a_bound() {
        for (requests, depth) in [(2, 1), (3, 2), (4, 2), (1000, 10), (1024, 10), (1025, 11)] {
            let bisection = Bisection::of(requests);
            assert_eq!(halvings(&bisection), 2 * depth, "{requests} requests");
            bisection.part_taken();
            assert_eq!(halvings(&bisection), depth, "{requests} requests");
            for _ in 0..100 {
                bisection.part_taken();
            }
            let most = depth * (SEARCHES as usize - 3);
            assert_eq!(halvings(&bisection), most, "{requests} requests");
        }
    }

    #[test]
    fn one_part_is_under_way_at_a_time() {
        let bisection = Arc::new(Bisection::of(2));
        let turn = bisection.turn();
        assert!(bisection.is_busy());
        drop(turn);
        assert!(!bisection.is_busy());
    }
}
