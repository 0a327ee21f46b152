//! What is counted of the dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::otlp::Signal;
use crate::telemetry::ledger::Reason;

/// Why items are not, or no longer, among the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// They were displaced by newer ones, or found no room.
    Full,
    /// The request alone is above the size of all dead letters.
    TooLarge,
    /// The disk did not take them.
    StorageFailed,
}

impl Loss {
    /// Every loss, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Full, Self::TooLarge, Self::StorageFailed];

    /// The word for it in metric labels and `/status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "dead_letters_full",
            Self::TooLarge => "too_large",
            Self::StorageFailed => "storage_failed",
        }
    }
}

/// The counts as they grow.
#[derive(Debug, Default)]
pub(super) struct Tallies(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    written: Written,
    lost: Lost,
    /// While writes fail.
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    problem: String,
}

/// For so long after a failure writes are said to fail. What waits to be written is tried again
/// each second; after this nothing waits, and the next letter may go through as well as not.
const FAILS_FOR: Duration = Duration::from_secs(10);

/// The dead letters at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LetterCounts {
    /// Letters on disk.
    pub letters: u64,
    /// Their items.
    pub items: u64,
    /// Their files, in bytes.
    pub disk_bytes: u64,
    /// What they may take.
    pub max_bytes: u64,
    /// Items that this run has written.
    pub written_items: u64,
    /// Items that are not, or no longer, among them, by reason.
    pub lost_items: BTreeMap<&'static str, u64>,
    /// For how long they cannot be written, in seconds.
    pub failing_seconds: Option<f64>,
    /// Why not.
    pub last_error: Option<String>,
    #[serde(skip)]
    written: Written,
    #[serde(skip)]
    lost: Lost,
}

type Written = BTreeMap<(Arc<str>, Reason), u64>;
type Lost = BTreeMap<(Loss, Signal), u64>;

impl LetterCounts {
    /// Items of this exporter that this run has written, for this reason.
    pub fn written(&self, exporter: &str, reason: Reason) -> u64 {
        let of = self.written.iter();
        of.filter(|((name, why), _)| &**name == exporter && *why == reason)
            .map(|(_, items)| items)
            .sum()
    }

    /// Items that are not, or no longer, among them.
    pub fn lost(&self, signal: Signal, loss: Loss) -> u64 {
        self.lost.get(&(loss, signal)).copied().unwrap_or(0)
    }
}

impl Counted {
    fn failing(&self) -> Option<&Failing> {
        let failing = self.failing.as_ref();
        failing.filter(|failing| failing.last.elapsed() < FAILS_FOR)
    }
}

impl Tallies {
    pub(super) fn written(&self, exporter: &Arc<str>, reason: Reason, items: u64) {
        let mut counted = self.lock();
        let key = (Arc::clone(exporter), reason);
        *counted.written.entry(key).or_default() += items;
        counted.failing = None;
    }

    pub(super) fn lost(&self, signal: Signal, loss: Loss, items: u64) {
        if items > 0 {
            *self.lock().lost.entry((loss, signal)).or_default() += items;
        }
    }

    pub(super) fn failed(&self, problem: &str) {
        let mut counted = self.lock();
        let last = Instant::now();
        let since = counted.failing().map_or(last, |failing| failing.since);
        let problem = problem.to_owned();
        counted.failing = Some(Failing {
            since,
            last,
            problem,
        });
    }

    /// What is counted here; what is on disk is not known here.
    pub(super) fn counts(&self) -> LetterCounts {
        let counted = self.lock();
        let mut lost_items = BTreeMap::new();
        for (&(loss, _), items) in &counted.lost {
            *lost_items.entry(loss.name()).or_default() += items;
        }
        let failing = counted.failing();
        LetterCounts {
            written_items: counted.written.values().sum(),
            lost_items,
            failing_seconds: failing.map(|failing| failing.since.elapsed().as_secs_f64()),
            last_error: failing.map(|failing| failing.problem.clone()),
            written: counted.written.clone(),
            lost: counted.lost.clone(),
            ..LetterCounts::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
