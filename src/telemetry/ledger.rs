//! The ledger: what became of every item, for each signal and each exporter.
//!
//! For every exporter, at every moment:
//! `received = delivered + rejected + sum(dropped) + kept + in_process`. Each change moves items from
//! one column to another under one lock, so a reader never sees them in flight between two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::otlp::Signal;

/// Why items were given up by us. The label of `dropped` in `/status`, metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The lane's queue was full and its policy gave up the oldest or the newest.
    QueueFull,
    /// The destination refused them for good, not item by item.
    Permanent,
    /// One item alone is above the destination's size limit.
    TooLarge,
    /// Tried for as long as `retry_on_failure.max_elapsed_time` allows.
    RetriesExhausted,
    /// Older than the queue's `max_age`.
    TooOld,
    /// Stored, and damaged on the disk since.
    Damaged,
    /// Could not be stored, in a queue that refuses nobody.
    StorageFailed,
    /// Still undelivered when the shutdown deadline was reached.
    Shutdown,
    /// A `fault` processor lost them on purpose.
    FaultInjected,
    /// A receipt was dropped unsettled: a fault in otlpd itself.
    Bug,
}

impl Reason {
    /// Every reason, in the order of the table; `as usize` is the index into it.
    pub const ALL: [Self; 10] = [
        Self::QueueFull,
        Self::Permanent,
        Self::TooLarge,
        Self::RetriesExhausted,
        Self::TooOld,
        Self::Damaged,
        Self::StorageFailed,
        Self::Shutdown,
        Self::FaultInjected,
        Self::Bug,
    ];

    /// The word for it in `/status`, metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Permanent => "permanent",
            Self::TooLarge => "too_large",
            Self::RetriesExhausted => "retries_exhausted",
            Self::TooOld => "too_old",
            Self::Damaged => "damaged",
            Self::StorageFailed => "storage_failed",
            Self::Shutdown => "shutdown",
            Self::FaultInjected => "fault_injected",
            Self::Bug => "bug",
        }
    }
}

/// What became of some items at one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The destination has them.
    Delivered,
    /// The destination refused them one by one (`partial_success`).
    Rejected,
    /// We gave them up.
    Dropped(Reason),
    /// They stay on disk for the next start.
    Kept,
}

/// The counts of one exporter for one signal, in items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken over by the exporter's lane.
    pub received: u64,
    /// Of those, what was on disk at the start.
    pub recovered: u64,
    /// Taken by the destination.
    pub delivered: u64,
    /// Refused by the destination item by item.
    pub rejected: u64,
    /// Neither delivered nor given up yet.
    pub in_process: u64,
    /// Left on disk for the next start.
    pub kept: u64,
    /// Of the dropped, what stands in the dead letters.
    pub dead_lettered: u64,
    /// Given up, by reason; indexed by `Reason as usize`.
    pub dropped: [u64; Reason::ALL.len()],
}

impl Counts {
    /// All that was given up, for whatever reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether the columns add up.
    pub fn balances(&self) -> bool {
        self.received
            == self.delivered + self.rejected + self.dropped_total() + self.kept + self.in_process
    }
}

/// One exporter's account for one signal.
#[derive(Debug, Default)]
pub struct Account {
    counts: Mutex<Counts>,
}

impl Account {
    /// Takes over `items`: they are in process from now on.
    pub fn receive(&self, items: u64) {
        let mut counts = self.lock();
        counts.received += items;
        counts.in_process += items;
    }

    /// Takes over `items` that were on disk at the start.
    pub fn recover(&self, items: u64) {
        self.receive(items);
        self.lock().recovered += items;
    }

    /// Ends the process of `items`.
    pub fn settle(&self, items: u64, fate: Fate) {
        let mut counts = self.lock();
        counts.in_process = counts.in_process.saturating_sub(items);
        match fate {
            Fate::Delivered => counts.delivered += items,
            Fate::Rejected => counts.rejected += items,
            Fate::Kept => counts.kept += items,
            Fate::Dropped(reason) => {
                if let Some(column) = counts.dropped.get_mut(reason as usize) {
                    *column += items;
                }
            }
        }
    }

    /// Of what was dropped, `items` stand in the dead letters.
    pub fn dead_letter(&self, items: u64) {
        self.lock().dead_lettered += items;
    }

    /// The counts at this moment; they balance.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exporter's accounts, one for each signal.
pub type Accounts = [Arc<Account>; Signal::ALL.len()];

/// The accounts of all exporters, and what came in at the door.
#[derive(Debug, Default)]
pub struct Ledger {
    received: [AtomicU64; Signal::ALL.len()],
    /// Items of the dead letters that were there at the start, and of those that were displaced.
    found: [AtomicU64; Signal::ALL.len()],
    displaced: [AtomicU64; Signal::ALL.len()],
    uncounted: AtomicU64,
    exporters: Mutex<BTreeMap<String, Accounts>>,
}

impl Ledger {
    /// Counts items that were accepted at the door.
    pub fn receive(&self, signal: Signal, items: u64) {
        if let Some(count) = self.received.get(signal as usize) {
            count.fetch_add(items, Ordering::Relaxed);
        }
    }

    /// Counts items of dead letters that are there at the start: the first to be displaced.
    pub fn find_letters(&self, signal: Signal, items: u64) {
        if let Some(count) = self.found.get(signal as usize) {
            count.fetch_add(items, Ordering::Relaxed);
        }
    }

    /// Counts items of dead letters that were given up to make room for others, of this run or
    /// of an earlier one.
    pub fn displace(&self, signal: Signal, items: u64) {
        if let Some(count) = self.displaced.get(signal as usize) {
            count.fetch_add(items, Ordering::Relaxed);
        }
    }

    /// Counts stored requests that are lost, and of whose items nobody knows how many they were.
    pub fn lose_uncounted(&self, requests: u64) {
        self.uncounted.fetch_add(requests, Ordering::Relaxed);
    }

    /// The accounts of the exporter of this name; opened on first use.
    pub fn accounts(&self, exporter: &str) -> Accounts {
        let mut exporters = self
            .exporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        exporters.entry(exporter.to_owned()).or_default().clone()
    }

    /// A copy of all the counts, in the shape of `/status`.
    pub fn snapshot(&self) -> LedgerSnapshot {
        let exporters = self
            .exporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut signals = BTreeMap::new();
        for signal in Signal::ALL {
            let of = |counts: &[AtomicU64; Signal::ALL.len()]| {
                counts
                    .get(signal as usize)
                    .map_or(0, |n| n.load(Ordering::Relaxed))
            };
            let by_exporter = exporters
                .iter()
                .filter_map(|(name, accounts)| {
                    Some((name.clone(), accounts.get(signal as usize)?.counts()))
                })
                .collect();
            signals.insert(
                signal.name(),
                SignalSnapshot {
                    received: of(&self.received),
                    displaced: of(&self.displaced),
                    found: of(&self.found),
                    exporters: by_exporter,
                },
            );
        }
        LedgerSnapshot(signals, self.uncounted.load(Ordering::Relaxed))
    }
}

/// The ledger at one moment, by signal name.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct LedgerSnapshot(
    pub BTreeMap<&'static str, SignalSnapshot>,
    #[serde(skip)] u64,
);

/// One signal of the ledger at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct SignalSnapshot {
    /// Items accepted at the door.
    pub received: u64,
    /// Items of dead letters that were given up to make room for others.
    pub displaced: u64,
    /// Items of dead letters that were there at the start.
    #[serde(skip)]
    pub found: u64,
    /// The counts of each exporter, by name.
    pub exporters: BTreeMap<String, Counts>,
}

impl LedgerSnapshot {
    /// Items that were given up, over all signals and exporters.
    pub fn dropped(&self) -> u64 {
        self.counts().map(Counts::dropped_total).sum()
    }

    /// Items that were given up and stand in the dead letters.
    pub fn dead_lettered(&self) -> u64 {
        self.counts().map(|counts| counts.dead_lettered).sum()
    }

    /// Items of dead letters that were given up to make room for others.
    pub fn displaced(&self) -> u64 {
        self.0.values().map(|signal| signal.displaced).sum()
    }

    /// Items of this run that stand in the dead letters now: the oldest are displaced first, and
    /// those of earlier runs are older.
    pub fn in_dead_letters(&self) -> u64 {
        let own = |signal: &SignalSnapshot| signal.displaced.saturating_sub(signal.found);
        let displaced = self.0.values().map(own).sum();
        self.dead_lettered().saturating_sub(displaced)
    }

    /// Items that nobody has any more, and nobody will: given up and not among the dead letters,
    /// displaced from there, or still on their way at the end.
    pub fn lost(&self) -> u64 {
        let unkept = self.dropped().saturating_sub(self.dead_lettered());
        unkept + self.displaced() + self.in_process()
    }

    /// Stored requests that are lost beside that: nobody knows how many items they were.
    pub fn uncounted_requests(&self) -> u64 {
        self.1
    }

    /// Items that are left on disk for the next start.
    pub fn kept(&self) -> u64 {
        self.counts().map(|counts| counts.kept).sum()
    }

    /// Items that are neither delivered nor given up.
    pub fn in_process(&self) -> u64 {
        self.counts().map(|counts| counts.in_process).sum()
    }

    fn counts(&self) -> impl Iterator<Item = &Counts> {
        self.0.values().flat_map(|signal| signal.exporters.values())
    }
}

impl Serialize for Counts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let dropped: BTreeMap<&str, u64> = Reason::ALL
            .into_iter()
            .zip(self.dropped)
            .filter(|(_, items)| *items > 0)
            .map(|(reason, items)| (reason.name(), items))
            .collect();
        // What only a queue on disk has stands there only where it is not nought.
        let on_disk = [
            ("recovered", self.recovered),
            ("dead_lettered", self.dead_lettered),
            ("kept", self.kept),
        ];
        let mut out = serializer.serialize_struct("Counts", 8)?;
        out.serialize_field("received", &self.received)?;
        out.serialize_field("delivered", &self.delivered)?;
        out.serialize_field("rejected", &self.rejected)?;
        out.serialize_field("dropped", &dropped)?;
        for (column, items) in on_disk.into_iter().filter(|(_, items)| *items > 0) {
            out.serialize_field(column, &items)?;
        }
        out.serialize_field("in_process", &self.in_process)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_balances_through_its_whole_life() {
        let account = Account::default();
        account.receive(10);
        account.settle(4, Fate::Delivered);
        account.settle(1, Fate::Rejected);
        account.settle(2, Fate::Dropped(Reason::QueueFull));
        let counts = account.counts();
        assert!(counts.balances());
        assert_eq!(counts.in_process, 3);
    }

    #[test]
    fn what_stands_in_the_dead_letters_or_is_kept_is_not_lost() {
        let ledger = Ledger::default();
        let account = &ledger.accounts("out")[Signal::Logs as usize];
        account.receive(20);
        account.settle(5, Fate::Delivered);
        account.settle(4, Fate::Dropped(Reason::Permanent));
        account.settle(3, Fate::Kept);
        account.settle(2, Fate::Dropped(Reason::QueueFull));
        assert_eq!(ledger.snapshot().lost(), 4 + 2 + 6);
        account.dead_letter(4);
        assert_eq!(ledger.snapshot().lost(), 2 + 6);
        ledger.displace(Signal::Logs, 1);
        assert_eq!(ledger.snapshot().lost(), 1 + 2 + 6);
    }

    #[test]
    fn what_was_displaced_is_not_in_the_dead_letters_and_earlier_runs_go_first() {
        let ledger = Ledger::default();
        let account = &ledger.accounts("out")[Signal::Logs as usize];
        account.receive(10);
        account.settle(10, Fate::Dropped(Reason::Permanent));
        account.dead_letter(10);
        ledger.find_letters(Signal::Logs, 3);
        ledger.displace(Signal::Logs, 2);
        assert_eq!(ledger.snapshot().in_dead_letters(), 10);
        ledger.displace(Signal::Logs, 5);
        assert_eq!(ledger.snapshot().in_dead_letters(), 6);
        assert_eq!(ledger.snapshot().lost(), 7);
    }

    #[test]
    fn the_snapshot_has_the_shape_that_status_promises() {
        let ledger = Ledger::default();
        ledger.receive(Signal::Traces, 5);
        let accounts = ledger.accounts("out");
        accounts[Signal::Traces as usize].receive(5);
        accounts[Signal::Traces as usize].settle(2, Fate::Dropped(Reason::Shutdown));
        let json = serde_json::to_value(ledger.snapshot()).unwrap();
        assert_eq!(json["traces"]["received"], 5);
        let out = &json["traces"]["exporters"]["out"];
        assert_eq!(out["dropped"], serde_json::json!({"shutdown": 2}));
        assert_eq!(out["in_process"], 3);
    }
}
