//! What is appended to a log comes back, until it is settled.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::storage::{
    Fsync, Key, Log, LogOptions, NewRecord, ReadOrder, Record, Recovery, Storage, StorageOptions,
    Ticket, inspect,
};

fn storage(directory: &Path) -> Storage {
    Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_millis(20),
        keys: Vec::new(),
    })
    .unwrap()
}

fn log(storage: &Storage, fsync: Fsync) -> (Log, Recovery, Budget) {
    let room = Budget::new(1 << 30);
    let options = LogOptions {
        fsync,
        room: room.clone(),
    };
    let (log, recovery) = storage
        .log("queue/backend", options, &mut |_, _| {})
        .unwrap();
    (log, recovery, room)
}

fn record(number: u64, size: usize) -> NewRecord {
    let filled = |len: usize| Bytes::from(vec![number as u8; len]);
    NewRecord {
        kind: (number % 8) as u8,
        weight: number,
        head: Bytes::from(number.to_le_bytes().to_vec()),
        body: [filled(size / 2), filled(size - size / 2)]
            .into_iter()
            .collect(),
    }
}

async fn append(log: &Log, number: u64, size: usize) -> Ticket {
    log.append(record(number, size), Reservation::default())
        .await
        .unwrap()
}

fn check(record: &Record, size: usize) -> u64 {
    let number = u64::from_le_bytes(record.head.as_ref().try_into().unwrap());
    assert_eq!((record.kind, record.weight), ((number % 8) as u8, number));
    assert_eq!(record.body.len(), size);
    assert!(record.body.iter().all(|byte| *byte == number as u8));
    number
}

async fn read_all(log: &Log, size: usize) -> Vec<(u64, Record)> {
    let mut all = Vec::new();
    loop {
        let page = log.next(1 << 20, ReadOrder::OldestFirst).await.unwrap();
        assert_eq!((page.lost.records, page.quarantined.len()), (0, 0));
        if page.records.is_empty() {
            return all;
        }
        all.extend(page.records.into_iter().map(|one| (check(&one, size), one)));
    }
}

/// Waits until `met`, which something on another thread brings about.
async fn until(met: impl Fn() -> bool) {
    while !met() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_was_not_settled_comes_back_after_a_restart_in_order() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        for size in [100, 300_000] {
            let place = tempfile::tempdir().unwrap();
            let first = storage(place.path());
            let (log_before, recovery, _) = log(&first, fsync);
            assert_eq!(recovery.waiting.records, 0);
            for number in 0..60 {
                let ticket = append(&log_before, number, size).await;
                if number % 3 > 0 {
                    ticket.keep();
                }
            }
            assert_eq!(log_before.unsettled().records, 40);
            first.close();

            let second = storage(place.path());
            let (log_after, recovery, room) = log(&second, fsync);
            assert_eq!(recovery.waiting.records, 40);
            assert_eq!(recovery.torn_bytes, 0);
            assert_eq!(room.used(), log_after.disk_bytes());
            let all = read_all(&log_after, size).await;
            let numbers: Vec<u64> = all.iter().map(|(number, _)| *number).collect();
            let kept: Vec<u64> = (0..60).filter(|number| number % 3 > 0).collect();
            assert_eq!(numbers, kept);
            drop(all);
            assert_eq!(log_after.unsettled().records, 0);
            until(|| log_after.disk_bytes() == 0 && room.used() == 0).await;
        }
    }
}

#[tokio::test]
async fn what_is_unloaded_is_read_again_oldest_first() {
    let place = tempfile::tempdir().unwrap();
    let storage = storage(place.path());
    let (log, _, _) = log(&storage, Fsync::Never);
    for number in 0..10 {
        append(&log, number, 50).await.unload();
    }
    let all = read_all(&log, 50).await;
    assert_eq!(all.len(), 10);
    for (number, record) in all {
        if number % 2 == 0 {
            record.ticket.unload();
        }
    }
    let again: Vec<u64> = read_all(&log, 50).await.iter().map(|(n, _)| *n).collect();
    assert_eq!(again, [0, 2, 4, 6, 8]);
}

#[tokio::test]
async fn a_page_keeps_to_its_size_and_the_newest_can_come_first() {
    let place = tempfile::tempdir().unwrap();
    let storage = storage(place.path());
    let (log, _, _) = log(&storage, Fsync::Interval);
    for number in 0..40 {
        append(&log, number, 1 << 20).await.unload();
    }
    let page = log.next(3 << 20, ReadOrder::OldestFirst).await.unwrap();
    assert_eq!(page.records.len(), 2);
    let page = log.next(1, ReadOrder::NewestFirst).await.unwrap();
    assert_eq!(page.records.len(), 1);
    assert!(check(&page.records[0], 1 << 20) >= 36);
    let dropped = log.drop_oldest().await;
    assert_eq!(
        dropped.records, 2,
        "two of the first segment's four were read"
    );
    assert_eq!(dropped.weight[2] + dropped.weight[3], 5);
}

#[tokio::test]
async fn a_second_storage_on_the_directory_is_told_who_has_it() {
    let place = tempfile::tempdir().unwrap();
    let options = StorageOptions {
        directory: place.path().to_owned(),
        sync_interval: Duration::from_secs(1),
        keys: Vec::new(),
    };
    let first = Storage::open(options.clone()).unwrap();
    let (log, _, _) = log(&first, Fsync::Never);
    let error = Storage::open(options.clone()).unwrap_err().to_string();
    let holder = format!("is in use by process {}", std::process::id());
    assert!(error.contains(&holder), "{error}");
    first.close();
    let refused = log.append(record(1, 1), Reservation::default()).await;
    assert!(refused.is_err());
    assert!(log.next(1, ReadOrder::OldestFirst).await.is_err());
    drop(Storage::open(options.clone()).unwrap());
    drop(Storage::open(options).unwrap());
}

fn keyed(directory: &Path, keys: &[(&str, u8)]) -> Storage {
    let keys = keys.iter().map(|(id, byte)| Key {
        id: (*id).to_owned(),
        secret: [*byte; 32],
    });
    Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_secs(1),
        keys: keys.collect(),
    })
    .unwrap()
}

fn try_log(storage: &Storage) -> Result<(Log, Recovery), String> {
    let options = LogOptions {
        fsync: Fsync::Never,
        room: Budget::new(1 << 30),
    };
    let opened = storage.log("queue/backend", options, &mut |_, _| {});
    opened.map_err(|error| error.to_string())
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(directory.join("queue/backend")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    files.sort();
    files
}

#[tokio::test]
async fn encrypted_records_show_nothing_and_keys_can_be_changed() {
    let place = tempfile::tempdir().unwrap();
    let storage = keyed(place.path(), &[("old", 1)]);
    let (log, _) = try_log(&storage).unwrap();
    for number in 0..20 {
        append(&log, number, 1000).await.keep();
    }
    storage.close();
    let bytes = std::fs::read(&files(place.path())[0]).unwrap();
    for number in 0..20 {
        let plain = [number as u8; 64];
        assert!(!bytes.windows(64).any(|window| window == plain));
    }

    let storage = keyed(place.path(), &[("new", 2)]);
    let missing = try_log(&storage).unwrap_err();
    assert!(
        missing.contains("encrypted with the key \"old\""),
        "{missing}"
    );
    drop(storage);
    let storage = keyed(place.path(), &[("new", 2), ("old", 3)]);
    let wrong = try_log(&storage).unwrap_err();
    assert!(wrong.contains("another secret"), "{wrong}");
    drop(storage);
    assert_eq!(files(place.path()).len(), 1, "a wrong key is no damage");

    let storage = keyed(place.path(), &[("new", 2), ("old", 1)]);
    let (log, recovery) = try_log(&storage).unwrap();
    assert_eq!(recovery.waiting.records, 20);
    append(&log, 20, 1000).await.unload();
    let segments = inspect::segments(place.path(), "queue/backend").unwrap().0;
    let ids: Vec<_> = segments
        .iter()
        .filter_map(|s| s.key_id.as_deref())
        .collect();
    assert_eq!(ids, ["old", "new"]);
    let all = read_all(&log, 1000).await;
    assert_eq!(all.len(), 21);
}

#[tokio::test]
async fn a_running_log_can_be_looked_at() {
    let place = tempfile::tempdir().unwrap();
    let storage = storage(place.path());
    let (log, _, _) = log(&storage, Fsync::Never);
    let mut tickets = Vec::new();
    for number in 0..30 {
        tickets.push(append(&log, number, 400_000).await);
    }
    for at in [25, 13, 12] {
        drop(tickets.remove(at));
    }
    assert_eq!(inspect::logs(place.path()).unwrap(), ["queue/backend"]);
    let look = || inspect::segments(place.path(), "queue/backend").unwrap();
    until(|| look().0.iter().map(|segment| segment.settled).sum::<u64>() == 3).await;
    let (segments, damaged) = look();
    assert_eq!((segments.len(), damaged.len()), (3, 0));
    let sealed: Vec<bool> = segments.iter().map(|segment| segment.sealed).collect();
    assert_eq!(sealed, [true, true, false]);
    assert_eq!(segments[0].unsettled.unwrap().records, 11);
    let mut seen = Vec::new();
    for segment in &segments {
        let survey = segment.survey().unwrap();
        assert!(survey.damage.is_empty());
        let records: Vec<_> = segment.records(&[]).unwrap().collect();
        assert_eq!(survey.unsettled.records, records.len() as u64);
        seen.extend(records.into_iter().map(|record| record.unwrap().weight));
    }
    let expected: Vec<u64> = (0..30).filter(|n| ![12, 13, 25].contains(n)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_its_records_waiting() {
    let place = tempfile::tempdir().unwrap();
    let storage = storage(place.path());
    let (log, _, _) = log(&storage, Fsync::Never);
    for number in 0..10 {
        append(&log, number, 100).await.unload();
    }
    for _ in 0..20 {
        let mut abandoned = Box::pin(log.next(1 << 20, ReadOrder::OldestFirst));
        if let std::task::Poll::Ready(page) = futures_util::poll!(&mut abandoned) {
            for record in page.unwrap().records {
                record.ticket.unload();
            }
        }
    }
    until(|| log.waiting().records == 10).await;
    let mut seen = Vec::new();
    while seen.len() < 10 {
        seen.extend(read_all(&log, 100).await);
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(log.unsettled().records, 10);
}
