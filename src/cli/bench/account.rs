//! Which ids have arrived, one bit each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::item::Run;
use super::scan::Stretch;

/// Sequence numbers from here on are not accounted for: 2^32 of them take 512 MiB.
const HIGHEST_SEQUENCE: u64 = 1 << 32;
/// A sink for tests and benches sees a handful of runs; noise must not make it grow.
const MOST_RUNS: usize = 256;
/// How many gaps are named; the rest is only counted.
const NAMED_GAPS: usize = 20;

/// The ids of every run.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    runs: BTreeMap<Run, Arrived>,
    /// Items whose ids are beyond what is accounted for.
    pub(crate) beyond: u64,
}

#[derive(Debug, Default)]
struct Arrived {
    bits: Vec<u64>,
    unique: u64,
    duplicate: u64,
    end: u64,
}

/// What is known of one run.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    /// The number that `bench load` was given or chose.
    run: u32,
    unique: u64,
    duplicate: u64,
    /// One more than the highest sequence number that has arrived.
    end: u64,
    /// Numbers below `end` that have not: sent later, refused, or lost.
    missing: u64,
}

/// An acknowledged stretch and how many of its items the answer called rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) stretch: Stretch,
    pub(crate) rejected: u64,
}

/// How what was acknowledged compares with what has arrived.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Comparison {
    pub(crate) acknowledged: u64,
    pub(crate) rejected: u64,
    pub(crate) arrived: u64,
    pub(crate) missing: u64,
    /// The first stretches with missing items: run, first sequence number, how many are missing.
    missing_in: Vec<(u32, u64, u64)>,
}

impl Accounts {
    /// Notes that these items have arrived.
    pub(crate) fn mark(&mut self, stretch: Stretch) {
        let full = self.runs.len() >= MOST_RUNS && !self.runs.contains_key(&stretch.run);
        let end = stretch.first.saturating_add(stretch.length);
        if full || end > HIGHEST_SEQUENCE {
            self.beyond += stretch.length;
            return;
        }
        self.runs
            .entry(stretch.run)
            .or_default()
            .mark(stretch.first, end);
    }

    pub(crate) fn report(&self) -> Vec<RunReport> {
        let report = |(run, arrived): (&Run, &Arrived)| RunReport {
            run: run.number(),
            unique: arrived.unique,
            duplicate: arrived.duplicate,
            end: arrived.end,
            missing: arrived.end - arrived.unique,
        };
        self.runs.iter().map(report).collect()
    }

    /// Unique and duplicate items over all runs.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.runs.values().fold((0, 0), |(unique, duplicate), run| {
            (unique + run.unique, duplicate + run.duplicate)
        })
    }

    pub(crate) fn compare(&self, acknowledged: &[Acknowledged]) -> Comparison {
        let mut found = Comparison::default();
        for Acknowledged { stretch, rejected } in acknowledged {
            let end = stretch.first.saturating_add(stretch.length);
            let arrived = self
                .runs
                .get(&stretch.run)
                .map_or(0, |run| run.count(stretch.first, end));
            let missing = stretch.length.saturating_sub(arrived + rejected);
            found.acknowledged += stretch.length - rejected.min(&stretch.length);
            found.rejected += rejected;
            found.arrived += arrived;
            found.missing += missing;
            if missing > 0 && found.missing_in.len() < NAMED_GAPS {
                found
                    .missing_in
                    .push((stretch.run.number(), stretch.first, missing));
            }
        }
        found
    }
}

impl Arrived {
    fn mark(&mut self, first: u64, end: u64) {
        let words = usize::try_from(end.div_ceil(64)).unwrap_or(usize::MAX);
        if self.bits.len() < words {
            self.bits.resize(words, 0);
        }
        for (word, mask) in masks(first, end) {
            if let Some(bits) = self.bits.get_mut(word) {
                let known = u64::from((*bits & mask).count_ones());
                self.duplicate += known;
                self.unique += u64::from(mask.count_ones()) - known;
                *bits |= mask;
            }
        }
        self.end = self.end.max(end);
    }

    fn count(&self, first: u64, end: u64) -> u64 {
        masks(first, end.min(self.end))
            .filter_map(|(word, mask)| Some((self.bits.get(word)? & mask).count_ones()))
            .map(u64::from)
            .sum()
    }
}

/// The words that hold these bits, with a mask for each.
fn masks(first: u64, end: u64) -> impl Iterator<Item = (usize, u64)> {
    (first / 64..end.div_ceil(64)).filter_map(move |word| {
        let (from, to) = (first.max(word * 64), end.min(word * 64 + 64));
        let length = to.checked_sub(from).filter(|&length| length > 0)?;
        let mask = (u64::MAX >> (64 - length)) << (from % 64);
        Some((word as usize, mask))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(first: u64, length: u64) -> Stretch {
        let run = Run::numbered(5);
        Stretch { run, first, length }
    }

    #[test]
    fn unique_duplicate_and_missing_add_up() {
        let mut accounts = Accounts::default();
        for (first, length) in [(0, 100), (90, 20), (200, 1), (127, 2)] {
            accounts.mark(stretch(first, length));
        }
        let report = &accounts.report()[0];
        assert_eq!((report.unique, report.duplicate), (113, 10));
        assert_eq!((report.end, report.missing), (201, 88));
        assert_eq!(accounts.totals(), (113, 10));
    }

    #[test]
    fn what_was_acknowledged_and_has_not_arrived_is_named() {
        let mut accounts = Accounts::default();
        accounts.mark(stretch(0, 10));
        accounts.mark(stretch(15, 5));
        let acknowledged = |first, length, rejected| Acknowledged {
            stretch: stretch(first, length),
            rejected,
        };
        let found = accounts.compare(&[
            acknowledged(0, 10, 0),
            acknowledged(10, 10, 2),
            acknowledged(1000, 4, 0),
        ]);
        assert_eq!((found.acknowledged, found.rejected), (22, 2));
        assert_eq!((found.arrived, found.missing), (15, 7));
        assert_eq!(found.missing_in, [(5, 10, 3), (5, 1000, 4)]);
    }

    #[test]
    fn numbers_beyond_the_bitmap_are_counted_and_take_no_memory() {
        let mut accounts = Accounts::default();
        accounts.mark(stretch(u64::MAX - 3, 8));
        accounts.mark(stretch(HIGHEST_SEQUENCE, 1));
        assert_eq!((accounts.beyond, accounts.runs.len()), (9, 0));
    }

    #[test]
    fn more_runs_than_a_bench_has_are_counted_and_take_no_memory() {
        let mut accounts = Accounts::default();
        for number in 0..1000 {
            let run = Run::numbered(number);
            accounts.mark(Stretch {
                run,
                first: 0,
                length: 1,
            });
        }
        assert_eq!(accounts.runs.len(), MOST_RUNS);
        assert_eq!(accounts.beyond, 1000 - MOST_RUNS as u64);
    }
}
