//! The sink's counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::cli::bench::account::{Accounts, Acknowledged, Comparison, RunReport};
use crate::cli::bench::item::Run;
use crate::cli::bench::scan::{Seen, Stretch};
use crate::otlp::Signal;

/// All that has arrived.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    requests: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<String, u64>,
    items: BTreeMap<Signal, u64>,
    foreign: u64,
    rejected: u64,
    wire_bytes: u64,
    plain_bytes: u64,
    largest_request_bytes: usize,
    largest_frame_bytes: usize,
    accounts: Accounts,
}

/// What `/stats` answers.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Requests of which at least the head has arrived.
    requests: u64,
    /// Answers by `grpc-status N`, `http N`, `hang`.
    answers: BTreeMap<String, u64>,
    /// Items of acknowledged requests by signal, duplicates and rejected ones included.
    items: BTreeMap<Signal, u64>,
    unique: u64,
    duplicate: u64,
    /// Items without an id of `bench load`.
    foreign: u64,
    /// Items with a sequence number or in a run beyond what is accounted for.
    beyond: u64,
    /// Items that were rejected by `partial_success`; they count as not arrived.
    rejected: u64,
    /// Bytes of acknowledged bodies as they came, and uncompressed.
    wire_bytes: u64,
    plain_bytes: u64,
    largest_request_bytes: usize,
    /// The largest piece in which a body came: over HTTP/2 the largest DATA frame.
    largest_frame_bytes: usize,
    runs: Vec<RunReport>,
}

/// The sizes of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) wire: usize,
    pub(super) plain: usize,
    pub(super) largest_frame: usize,
}

impl Ledger {
    /// Counts a request and says how many there have been.
    pub(super) fn request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn answer(&self, name: String) {
        *self.counts().answers.entry(name).or_default() += 1;
    }

    /// Accounts for the items of an acknowledged request but its first `partial`, and says how
    /// many of them were rejected.
    pub(super) fn accept(&self, signal: Signal, sizes: Sizes, seen: &Seen, partial: u64) -> u64 {
        let mut counts = self.counts();
        counts.wire_bytes += sizes.wire as u64;
        counts.plain_bytes += sizes.plain as u64;
        counts.largest_request_bytes = counts.largest_request_bytes.max(sizes.wire);
        counts.largest_frame_bytes = counts.largest_frame_bytes.max(sizes.largest_frame);
        let identified: u64 = seen.stretches.iter().map(|stretch| stretch.length).sum();
        *counts.items.entry(signal).or_default() += identified + seen.foreign;
        let mut left = partial;
        for &stretch in &seen.stretches {
            let skip = left.min(stretch.length);
            left -= skip;
            counts.accounts.mark(Stretch {
                first: stretch.first + skip,
                length: stretch.length - skip,
                ..stretch
            });
        }
        let foreign_rejected = left.min(seen.foreign);
        counts.foreign += seen.foreign - foreign_rejected;
        let rejected = partial - left + foreign_rejected;
        counts.rejected += rejected;
        rejected
    }

    pub(super) fn report(&self) -> Report {
        let counts = self.counts();
        let (unique, duplicate) = counts.accounts.totals();
        Report {
            requests: self.requests.load(Ordering::Relaxed),
            answers: counts.answers.clone(),
            items: counts.items.clone(),
            unique,
            duplicate,
            foreign: counts.foreign,
            beyond: counts.accounts.beyond,
            rejected: counts.rejected,
            wire_bytes: counts.wire_bytes,
            plain_bytes: counts.plain_bytes,
            largest_request_bytes: counts.largest_request_bytes,
            largest_frame_bytes: counts.largest_frame_bytes,
            runs: counts.accounts.report(),
        }
    }

    /// Compares with the lines that `bench load --acked` writes; the error names the line.
    pub(super) fn check(&self, lines: &str) -> Result<Comparison, String> {
        let acknowledged: Result<Vec<_>, _> = lines.lines().map(acknowledged).collect();
        Ok(self.counts().accounts.compare(&acknowledged?))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole between statements; a panic elsewhere does not spoil them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn acknowledged(line: &str) -> Result<Acknowledged, String> {
    let read = || {
        let mut numbers = line.split_whitespace();
        let run = Run::numbered(numbers.next()?.parse().ok()?);
        let mut number = || numbers.next()?.parse::<u64>().ok();
        let (first, length, rejected) = (number()?, number()?, number()?);
        let stretch = Stretch { run, first, length };
        Some(Acknowledged { stretch, rejected })
    };
    read().ok_or_else(|| format!("`{line}` is not: run first how-many how-many-rejected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_items_are_not_arrived_and_not_missing() {
        let ledger = Ledger::default();
        let run = Run::numbered(2);
        let stretch = |first, length| Stretch { run, first, length };
        let seen = Seen {
            stretches: vec![stretch(0, 3), stretch(10, 7)],
            foreign: 0,
        };
        let sizes = Sizes {
            wire: 10,
            plain: 20,
            largest_frame: 10,
        };
        assert_eq!(ledger.accept(Signal::Logs, sizes, &seen, 4), 4);
        let report = ledger.report();
        assert_eq!((report.unique, report.rejected), (6, 4));
        assert_eq!(report.items[&Signal::Logs], 10);
        let found = ledger.check("2 0 3 3\n2 10 7 1\n").unwrap();
        assert_eq!((found.missing, found.acknowledged), (0, 6));
    }

    #[test]
    fn a_request_of_fewer_items_has_fewer_rejected() {
        let ledger = Ledger::default();
        let seen = Seen {
            stretches: vec![],
            foreign: 2,
        };
        let sizes = Sizes {
            wire: 1,
            plain: 1,
            largest_frame: 1,
        };
        assert_eq!(ledger.accept(Signal::Traces, sizes, &seen, 5), 2);
        assert_eq!(ledger.report().foreign, 0);
    }

    #[test]
    fn a_line_that_is_no_stretch_is_named() {
        let problem = Ledger::default().check("1 2 3 4\nodd\n").unwrap_err();
        assert!(problem.starts_with("`odd` is not"), "{problem}");
    }
}
