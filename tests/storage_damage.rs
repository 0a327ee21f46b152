//! Whatever happens to the files of a log: what is read was written, nothing panics, and what is
//! lost is counted.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::storage::{
    Fsync, Key, Log, LogOptions, NewRecord, ReadOrder, Recovery, Storage, StorageOptions, Ticket,
    inspect,
};
use proptest::prelude::*;

const LOG: &str = "queue/backend";

fn open(directory: &Path, key: Option<u8>) -> (Storage, Log, Recovery) {
    let storage = Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_secs(60),
        keys: keys(key),
    })
    .unwrap();
    let options = LogOptions {
        fsync: Fsync::Never,
        // Segments of the least size, so that there are several.
        room: Budget::new(512 << 10),
    };
    let (log, recovery) = storage.log(LOG, options, &mut |_, _| {}).unwrap();
    (storage, log, recovery)
}

/// Record `number`, whose every byte follows from it.
fn record(number: u64) -> NewRecord {
    let size = number * 7919 % 12_000;
    let body: Vec<u8> = (0..size).map(|at| (at * 31 + number) as u8).collect();
    NewRecord {
        kind: (number % 8) as u8,
        weight: number,
        head: Bytes::from(number.to_le_bytes().to_vec()),
        body: [Bytes::from(body)].into_iter().collect(),
    }
}

/// The number of a record that was read, after all of it was compared.
fn recognise(kind: u8, weight: u64, head: &[u8], body: &[u8]) -> u64 {
    let written = record(weight);
    assert_eq!(kind, written.kind);
    assert_eq!(head, &written.head[..]);
    assert_eq!(body, &written.body[0][..]);
    weight
}

async fn append(log: &Log, number: u64) -> Ticket {
    let written = log.append(record(number), Reservation::default());
    written.await.unwrap()
}

fn keys(key: Option<u8>) -> Vec<Key> {
    let key = key.map(|byte| Key {
        id: "key".to_owned(),
        secret: [byte; 32],
    });
    key.into_iter().collect()
}

/// How a log came to be as it is found.
#[derive(Clone, Copy, Debug)]
struct Story {
    key: Option<u8>,
    /// Whether its process died, or stopped in order.
    dies: bool,
    /// Whether it is written over files that had been emptied.
    over: bool,
}

/// Writes records 0 to 40, settles each fifth, and stops in order or dies.
async fn written(directory: &Path, Story { key, dies, over }: Story) {
    let work = tempfile::tempdir().unwrap();
    let place = if dies { work.path() } else { directory };
    let (storage, log, _) = open(place, key);
    let emptied = || {
        files(place)
            .iter()
            .any(|path| path.extension() == Some("spare".as_ref()))
    };
    for number in 100.. {
        if !over || emptied() {
            break;
        }
        drop(append(&log, number).await);
    }
    for number in 0..40 {
        let ticket = append(&log, number).await;
        if number % 5 > 0 {
            ticket.keep();
        }
    }
    // Settlements are written in the end.
    let settled = || {
        let segments = inspect::segments(place, LOG).unwrap().0;
        let records = segments
            .iter()
            .map(|segment| segment.records(&keys(key)).unwrap().count());
        records.sum::<usize>() == unsettled().len()
    };
    while !settled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if dies {
        copy_all(place, directory);
    }
    storage.close();
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(directory.join(LOG)).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Reads all there is; settles it.
async fn drain(log: &Log) -> (BTreeSet<u64>, u64) {
    let (mut seen, mut lost) = (BTreeSet::new(), 0);
    loop {
        let page = log.next(20_000, ReadOrder::OldestFirst).await.unwrap();
        lost += page.lost.records;
        if page.records.is_empty() {
            assert_eq!(log.waiting().records, 0);
            return (seen, lost);
        }
        for one in &page.records {
            let number = recognise(one.kind, one.weight, &one.head, &one.body);
            assert!(seen.insert(number), "{number} was read twice");
        }
    }
}

#[derive(Clone, Debug)]
enum Fault {
    Cut(usize),
    Flip(usize, u8),
    Zeros(usize, usize),
    Append(Vec<u8>),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        any::<usize>().prop_map(Fault::Cut),
        (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Fault::Flip(at, bit)),
        // The head of the first record and what follows, where each field counts.
        (0usize..160, 0u8..8).prop_map(|(at, bit)| Fault::Flip(at, bit)),
        (any::<usize>(), 1usize..5000).prop_map(|(at, len)| Fault::Zeros(at, len)),
        proptest::collection::vec(any::<u8>(), 1..200).prop_map(Fault::Append),
    ]
}

impl Fault {
    fn strike(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Cut(at) => bytes.truncate(at % (bytes.len() + 1)),
            Self::Flip(at, bit) if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
            }
            Self::Zeros(at, len) if !bytes.is_empty() => {
                let at = at % bytes.len();
                let end = (at + len).min(bytes.len());
                bytes[at..end].fill(0);
            }
            Self::Append(more) => bytes.extend_from_slice(more),
            Self::Flip(..) | Self::Zeros(..) => {}
        }
        fs::write(path, bytes).unwrap();
    }
}

/// What is unsettled, as it was written.
fn unsettled() -> BTreeSet<u64> {
    (0..40).filter(|number| number % 5 > 0).collect()
}

#[tokio::test]
async fn what_is_left_of_an_older_file_is_no_damage() {
    for key in [None, Some(7)] {
        let (dies, over) = (true, true);
        let place = tempfile::tempdir().unwrap();
        written(place.path(), Story { key, dies, over }).await;
        let found = files(place.path());
        let lengths: u64 = found
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .sum();
        for segment in inspect::segments(place.path(), LOG).unwrap().0 {
            let survey = segment.survey().unwrap();
            assert_eq!((survey.torn_bytes, survey.missing), (0, 0));
            assert!(survey.damage.is_empty());
        }
        let (_storage, log, recovery) = open(place.path(), key);
        assert_eq!((recovery.torn_bytes, recovery.lost().records), (0, 0));
        assert!(recovery.holes.is_empty());
        assert!(log.disk_bytes() < lengths, "what was older is cut away");
        assert_eq!(drain(&log).await, (unsettled(), 0));
    }
}

async fn damaged_while_stopped(story: Story, which: usize, fault: &Fault) {
    let key = story.key;
    let place = tempfile::tempdir().unwrap();
    written(place.path(), story).await;
    let mut files = files(place.path());
    files.retain(|path| path.extension() != Some("spare".as_ref()));
    let struck = &files[which % files.len()];
    let intact = fs::read(struck).unwrap();
    fault.strike(struck);
    let changed = fs::read(struck).unwrap() != intact;

    // A tool sees no more than was written either.
    for segment in inspect::segments(place.path(), LOG).unwrap().0 {
        for record in segment.records(&keys(key)).unwrap().flatten() {
            recognise(record.kind, record.weight, &record.head, &record.body);
        }
    }

    let (storage, log, recovery) = open(place.path(), key);
    let waited = log.waiting().records;
    let (seen, lost) = drain(&log).await;
    assert_eq!(
        seen.len() as u64 + lost,
        waited,
        "all that waited is told of"
    );
    let is_segment = struck
        .extension()
        .is_some_and(|extension| extension == "seg");
    if is_segment {
        assert!(
            seen.is_subset(&unsettled()),
            "what was settled does not come back"
        );
        if seen.len() < unsettled().len() && !matches!(fault, Fault::Cut(_)) {
            let noticed = lost + recovery.lost().records + recovery.torn_bytes > 0;
            let named = !recovery.holes.is_empty();
            assert!(noticed || named, "a loss in silence");
        }
    } else {
        assert!(
            seen.is_superset(&unsettled()),
            "settlements that are damaged cost no record"
        );
    }
    assert!(changed || seen == unsettled());
    // All of it is settled now: nothing comes back, but for what the log has set aside.
    let again = append(&log, 40).await;
    again.unload();
    storage.close();
    let (_storage, log, _) = open(place.path(), key);
    let (seen, lost) = drain(&log).await;
    assert_eq!((seen, lost), (BTreeSet::from([40]), 0));
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_makes_a_record_that_was_not_written(
        key in proptest::option::of(any::<u8>()),
        (dies, over) in any::<(bool, bool)>(),
        which in any::<usize>(),
        fault in fault(),
    ) {
        block_on(damaged_while_stopped(Story { key, dies, over }, which, &fault));
    }

    #[test]
    fn damage_under_a_running_log_is_counted(which in any::<usize>(), fault in fault()) {
        block_on(async {
            let place = tempfile::tempdir().unwrap();
            let (_storage, log, _) = open(place.path(), None);
            for number in 0..40 {
                append(&log, number).await.unload();
            }
            let segments = files(place.path());
            let segments: Vec<_> =
                segments.iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
            fault.strike(segments[which % segments.len()]);
            let (seen, lost) = drain(&log).await;
            assert_eq!(seen.len() as u64 + lost, 40);
            assert_eq!(log.unsettled().records, 0);
            append(&log, 40).await.unload();
            assert_eq!(drain(&log).await.0, BTreeSet::from([40]));
        });
    }
}
