//! What is missing in a queue on disk is told once, with how much it is, and nothing else is.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::delivery::left;
use otlpd::storage::{
    Fsync, Log, LogOptions, NewRecord, ReadOrder, Recovery, Storage, StorageOptions, inspect,
};

const LOG: &str = "queue/backend/normal";
/// What each record counts for, under the kind 2.
const WEIGHT: u64 = 10;

fn open(directory: &Path) -> (Storage, Log, Recovery) {
    let storage = Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_secs(60),
        keys: Vec::new(),
    })
    .unwrap();
    let options = LogOptions {
        fsync: Fsync::Never,
        room: Budget::new(512 << 10),
    };
    let (log, recovery) = storage.log(LOG, options, &mut |_, _| {}).unwrap();
    (storage, log, recovery)
}

async fn append(log: &Log, records: usize) {
    for _ in 0..records {
        let record = NewRecord {
            kind: 2,
            weight: WEIGHT,
            head: Bytes::from_static(b"head"),
            body: [Bytes::from(vec![7; 1000])].into_iter().collect(),
        };
        let written = log.append(record, Reservation::default());
        written.await.unwrap().keep();
    }
}

/// Three segments of 10 records that nobody has read.
async fn three_segments(directory: &Path) -> Vec<PathBuf> {
    for _ in 0..3 {
        let (storage, log, recovery) = open(directory);
        assert_eq!(recovery.holes, []);
        append(&log, 10).await;
        storage.close();
    }
    let segments = segments(directory);
    assert_eq!(segments.len(), 3);
    segments
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(directory.join(LOG)).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    segments.sort();
    segments
}

/// Reads and settles all that waits: how many.
async fn drain(log: &Log) -> usize {
    let mut read = 0;
    loop {
        let page = log.next(100_000, ReadOrder::OldestFirst).await.unwrap();
        assert_eq!((page.lost.records, page.quarantined.len()), (0, 0));
        if page.records.is_empty() {
            return read;
        }
        read += page.records.len();
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, len: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

/// How many places a tool finds to be damaged.
fn places(directory: &Path) -> usize {
    let (segments, damaged) = inspect::segments(directory, LOG).unwrap();
    let surveys = segments.iter().map(|one| one.survey().unwrap());
    damaged.len() + surveys.map(|survey| survey.damage.len()).sum::<usize>()
}

/// A harm to one of three segments; how many records it costs, and of how many the weight is known.
type Harm = (&'static str, usize, fn(&Path), u64, u64);

const HARMS: [Harm; 9] = [
    ("half is cut off", 1, |p| cut(p, 64 + 5 * 1036 + 100), 5, 0),
    ("all is cut off, first", 0, |p| cut(p, 0), 10, 0),
    ("all is cut off, middle", 1, |p| cut(p, 0), 10, 0),
    ("removed, first", 0, |p| fs::remove_file(p).unwrap(), 10, 0),
    ("removed, middle", 1, |p| fs::remove_file(p).unwrap(), 10, 0),
    ("header", 1, |p| flip(p, 3), 10, 10),
    ("header, last", 2, |p| flip(p, 3), 10, 10),
    ("a folder in its place", 1, folder, 10, 0),
    ("a copy", 1, copy, 0, 0),
];

fn folder(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

fn copy(path: &Path) {
    fs::copy(path, path.with_file_name("00000000000000aa.seg")).unwrap();
}

#[tokio::test]
async fn each_hole_is_told_once_and_what_is_damaged_is_kept_for_people() {
    for (name, which, harm, lost, weighed) in HARMS {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        let segments = three_segments(place).await;
        harm(&segments[which]);
        let is_there = segments[which].exists();
        assert!(name == "a copy" || places(place) > 0, "{name}: verify");
        let (storage, log, recovery) = open(place);
        let told = recovery.lost();
        assert_eq!(recovery.holes.len(), 1, "{name}: {recovery:?}");
        assert_eq!(
            (told.records, told.weight[2]),
            (lost, weighed * WEIGHT),
            "{name}"
        );
        assert_eq!(recovery.torn_bytes, 0, "{name}");
        let kept = place.join("quarantine").exists();
        assert_eq!(kept, is_there, "{name}: {:?}", recovery.holes);
        assert_eq!(recovery.holes[0].file.exists(), kept, "{name}");
        append(&log, 1).await;
        storage.close();
        assert_eq!(places(place), 0, "{name}: it is told once");
        let (_storage, log, recovery) = open(place);
        assert_eq!(recovery.holes, [], "{name}: it is told once");
        assert_eq!(drain(&log).await as u64, 31 - lost, "{name}");
    }
}

#[tokio::test]
async fn what_was_settled_is_no_hole() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    three_segments(place).await;
    // The segment in the middle goes, with what is before and behind it left.
    let (storage, log, _) = open(place);
    let page = log.next(1 << 20, ReadOrder::OldestFirst).await.unwrap();
    for (at, record) in page.records.into_iter().enumerate() {
        match (10..20).contains(&at) {
            true => drop(record.ticket),
            false => record.ticket.keep(),
        }
    }
    storage.close();
    assert_eq!(segments(place).len(), 2);
    for _ in 0..2 {
        assert_eq!(places(place), 0);
        let (storage, log, recovery) = open(place);
        assert_eq!(recovery.holes, []);
        assert_eq!(log.waiting().records, 20);
        append(&log, 0).await;
        storage.close();
    }
    // And where it was cut, only what was not settled is lost.
    let (storage, log, _) = open(place);
    let page = log.next(1 << 20, ReadOrder::OldestFirst).await.unwrap();
    for (at, record) in page.records.into_iter().enumerate() {
        match at {
            7 | 9 => drop(record.ticket),
            _ => record.ticket.keep(),
        }
    }
    storage.close();
    cut(&segments(place)[0], 64 + 5 * 1036);
    let (_storage, _log, recovery) = open(place);
    assert_eq!(recovery.lost().records, 3, "{recovery:?}");
}

#[tokio::test]
async fn a_write_that_was_cut_short_at_the_end_is_no_hole() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let segments = three_segments(place).await;
    cut(&segments[2], 64 + 5 * 1036 + 100);
    let (_storage, log, recovery) = open(place);
    assert_eq!((recovery.holes.len(), recovery.torn_bytes), (0, 100));
    assert_eq!(drain(&log).await, 25);
}

/// Root reads whatever the mode of a file is: then there is nothing to see.
#[tokio::test]
async fn a_file_that_cannot_be_read_stays_and_keeps_nobody_back() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let segments = three_segments(place).await;
    for path in &segments[1..] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
    }
    if fs::read(&segments[1]).is_ok() {
        return;
    }
    let (storage, log, recovery) = open(place);
    assert_eq!((recovery.holes.len(), recovery.lost().records), (2, 0));
    append(&log, 5).await;
    storage.close();
    for path in &segments[1..] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (_storage, log, recovery) = open(place);
    assert_eq!(recovery.holes, []);
    assert_eq!(drain(&log).await, 35);
}

#[tokio::test]
async fn a_file_that_stops_being_readable_keeps_back_nobody_but_itself() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let segments = three_segments(place).await;
    let (_storage, log, _) = open(place);
    let aside = segments[0].with_extension("aside");
    fs::rename(&segments[0], &aside).unwrap();
    fs::create_dir(&segments[0]).unwrap();
    let mut read = 0;
    loop {
        match log.next(5_000, ReadOrder::OldestFirst).await {
            Ok(page) => read += page.records.len(),
            Err(error) => break assert!(error.0.contains("directory"), "{error}"),
        }
    }
    assert_eq!(read, 20);
    fs::remove_dir(&segments[0]).unwrap();
    fs::rename(&aside, &segments[0]).unwrap();
    assert_eq!(drain(&log).await, 10);
}

#[tokio::test]
async fn a_queue_that_nobody_has_is_found_unless_it_is_empty() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    three_segments(place).await;
    fs::create_dir_all(place.join("queue/empty/normal")).unwrap();
    fs::write(place.join("queue/file"), "x").unwrap();
    assert_eq!(left::find(place, &["backend".to_owned()]).unwrap(), []);
    let found = left::find(place, &["renamed".to_owned()]).unwrap();
    let [queue] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(queue.exporter, "backend");
    assert_eq!((queue.requests, queue.items), (30, 30 * WEIGHT));
    assert!(queue.bytes > 30_000 && queue.folder.ends_with("queue/backend"));
    let (_storage, log, _) = open(place);
    drain(&log).await;
}
