//! A log against a model of it in memory, over random operations, restarts and crashes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::storage::{
    Fsync, Log, LogOptions, NewRecord, ReadOrder, Storage, StorageOptions, Ticket, inspect,
};
use proptest::prelude::*;
use tempfile::TempDir;

const LOG: &str = "model";

#[derive(Clone, Debug)]
enum Operation {
    Append(usize),
    Next(usize, bool),
    Settle(usize),
    Unload(usize),
    Keep(usize),
    DropOldest,
    Restart,
    Crash,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0usize..40_000).prop_map(Operation::Append),
        3 => (0usize..100_000, any::<bool>()).prop_map(|(size, newest)| Operation::Next(size, newest)),
        4 => any::<usize>().prop_map(Operation::Settle),
        4 => any::<usize>().prop_map(Operation::Unload),
        1 => any::<usize>().prop_map(Operation::Keep),
        1 => Just(Operation::DropOldest),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Crash),
    ]
}

/// What the model knows of a record that is not settled.
#[derive(Debug)]
enum Known {
    Waiting,
    Out(Ticket),
    Kept,
}

/// The log, and what it must be.
struct Pair {
    place: TempDir,
    storage: Storage,
    log: Log,
    room: Budget,
    model: BTreeMap<u64, Known>,
    sizes: BTreeMap<u64, usize>,
    written: u64,
}

impl Pair {
    fn open(place: TempDir) -> Self {
        let storage = Storage::open(StorageOptions {
            directory: place.path().to_owned(),
            sync_interval: Duration::from_millis(5),
            keys: Vec::new(),
        })
        .unwrap();
        let room = Budget::new(1 << 20);
        let options = LogOptions {
            fsync: Fsync::Interval,
            room: room.clone(),
        };
        let (log, recovery) = storage.log(LOG, options, &mut |_, _| {}).unwrap();
        assert_eq!((recovery.torn_bytes, recovery.lost().records), (0, 0));
        assert!(recovery.holes.is_empty());
        Self {
            place,
            storage,
            log,
            room,
            model: BTreeMap::new(),
            sizes: BTreeMap::new(),
            written: 0,
        }
    }

    async fn act(mut self, operation: Operation) -> Self {
        match operation {
            Operation::Append(size) => self.append(size).await,
            Operation::Next(size, newest) => self.next(size, newest).await,
            Operation::Settle(which) => {
                if let Some((number, ticket)) = self.take(which) {
                    drop(ticket);
                    self.sizes.remove(&number);
                }
            }
            Operation::Unload(which) => {
                if let Some((number, ticket)) = self.take(which) {
                    ticket.unload();
                    self.model.insert(number, Known::Waiting);
                }
            }
            Operation::Keep(which) => {
                if let Some((number, ticket)) = self.take(which) {
                    ticket.keep();
                    self.model.insert(number, Known::Kept);
                }
            }
            Operation::DropOldest => self.drop_oldest().await,
            Operation::Restart => self = self.again(false).await,
            Operation::Crash => self = self.again(true).await,
        }
        self.check();
        self
    }

    async fn append(&mut self, size: usize) {
        let number = self.written;
        let record = NewRecord {
            kind: 0,
            weight: number,
            head: Bytes::new(),
            body: [Bytes::from(vec![number as u8; size])]
                .into_iter()
                .collect(),
        };
        let room = Reservation::default();
        let ticket = self.log.append(record, room).await.unwrap();
        self.model.insert(number, Known::Out(ticket));
        self.sizes.insert(number, size);
        self.written += 1;
    }

    async fn next(&mut self, size: usize, newest: bool) {
        let waiting: Vec<u64> = self.waiting().collect();
        let order = match newest {
            true => ReadOrder::NewestFirst,
            false => ReadOrder::OldestFirst,
        };
        let page = self.log.next(size, order).await.unwrap();
        assert_eq!((page.lost.records, page.quarantined.len()), (0, 0));
        let numbers: Vec<u64> = page.records.iter().map(|record| record.weight).collect();
        assert_eq!(numbers.is_empty(), waiting.is_empty());
        assert!(numbers.is_sorted());
        if !newest {
            assert!(waiting.starts_with(&numbers), "{numbers:?} of {waiting:?}");
        }
        let bytes: usize = page.records.iter().map(|record| record.body.len()).sum();
        assert!(bytes <= size || page.records.len() == 1);
        for record in page.records {
            let number = record.weight;
            assert_eq!(record.body.len(), *self.sizes.get(&number).unwrap());
            assert!(record.body.iter().all(|byte| *byte == number as u8));
            let known = self.model.insert(number, Known::Out(record.ticket));
            assert!(matches!(known, Some(Known::Waiting)), "{number}: {known:?}");
        }
    }

    async fn drop_oldest(&mut self) {
        let dropped = self.log.drop_oldest().await;
        let waiting: Vec<u64> = self.waiting().collect();
        let first: Vec<u64> = waiting.into_iter().take(dropped.records as usize).collect();
        assert_eq!(dropped.weight[0], first.iter().sum::<u64>());
        for number in first {
            self.model.remove(&number);
            self.sizes.remove(&number);
        }
    }

    /// Stops and starts again, or leaves the files as they are at some moment and starts on them.
    async fn again(self, crash: bool) -> Self {
        let Self {
            mut place,
            storage,
            log,
            model,
            sizes,
            written,
            ..
        } = self;
        // Settlements are written soon, not at once.
        while settled_on_disk(place.path(), log.unsettled().records) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if crash {
            let copy = tempfile::tempdir().unwrap();
            copy_all(place.path(), copy.path());
            storage.close();
            place = copy;
        } else {
            storage.close();
        }
        // What had a ticket out is waiting again.
        drop(log);
        let numbers: Vec<u64> = model.keys().copied().collect();
        drop(model);
        let mut next = Self::open(place);
        next.model = numbers
            .into_iter()
            .map(|one| (one, Known::Waiting))
            .collect();
        next.sizes = sizes;
        next.written = written;
        next
    }

    fn check(&self) {
        let waiting = self.log.waiting();
        assert_eq!(waiting.records, self.waiting().count() as u64);
        assert_eq!(waiting.weight[0], self.waiting().sum::<u64>());
        let unsettled = self.log.unsettled();
        assert_eq!(unsettled.records, self.model.len() as u64);
        assert_eq!(unsettled.weight[0], self.model.keys().sum::<u64>());
        assert!(self.log.disk_bytes() >= unsettled.bytes);
        assert!(self.room.used() <= self.room.limit());
    }

    fn waiting(&self) -> impl Iterator<Item = u64> {
        let waits =
            |(number, known): (&u64, &Known)| matches!(known, Known::Waiting).then_some(*number);
        self.model.iter().filter_map(waits)
    }

    fn take(&mut self, which: usize) -> Option<(u64, Ticket)> {
        let out: Vec<u64> = self
            .model
            .iter()
            .filter(|(_, known)| matches!(known, Known::Out(_)))
            .map(|(number, _)| *number)
            .collect();
        let number = *out.get(which % out.len().max(1))?;
        match self.model.remove(&number) {
            Some(Known::Out(ticket)) => Some((number, ticket)),
            _ => None,
        }
    }
}

/// Whether the files still show more unsettled records than there are.
fn settled_on_disk(place: &Path, unsettled: u64) -> bool {
    let shown: u64 = inspect::segments(place, LOG)
        .unwrap()
        .0
        .iter()
        .filter_map(|segment| segment.survey().ok())
        .map(|survey| survey.unsettled.records)
        .sum();
    shown > unsettled
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            // One that is unlinked meanwhile has nothing left that anybody needs.
            let _gone = fs::copy(&path, &target);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_does_what_the_model_does(operations in proptest::collection::vec(operation(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::open(tempfile::tempdir().unwrap());
            for operation in operations {
                pair = pair.act(operation).await;
            }
        });
    }
}
