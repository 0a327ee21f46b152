//! A disk that is full, read-only or gone: appends say so, nothing is lost, and it goes on when
//! the cause is gone.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::storage::{
    Fsync, Log, LogOptions, NewRecord, ReadOrder, Storage, StorageError, StorageOptions, Ticket,
    inspect,
};

const LOG: &str = "queue/backend";

fn open(directory: &Path, fsync: Fsync) -> (Storage, Log, Budget) {
    let storage = Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_millis(20),
        keys: Vec::new(),
    })
    .unwrap();
    let room = Budget::new(1 << 30);
    let options = LogOptions {
        fsync,
        room: room.clone(),
    };
    let (log, _) = storage.log(LOG, options, &mut |_, _| {}).unwrap();
    (storage, log, room)
}

async fn append(log: &Log, number: u64, size: usize) -> Result<Ticket, StorageError> {
    let record = NewRecord {
        kind: 1,
        weight: number,
        head: Bytes::new(),
        body: [Bytes::from(vec![number as u8; size])]
            .into_iter()
            .collect(),
    };
    log.append(record, Reservation::default()).await
}

/// Removes a directory in which something may be made meanwhile.
fn remove(directory: &Path) {
    let gone = directory.with_extension("gone");
    fs::rename(directory, &gone).unwrap();
    fs::remove_dir_all(&gone).unwrap();
}

async fn drain(log: &Log) -> (Vec<u64>, u64) {
    let (mut seen, mut lost) = (Vec::new(), 0);
    loop {
        let page = log.next(1 << 20, ReadOrder::OldestFirst).await.unwrap();
        lost += page.lost.records;
        if page.records.is_empty() {
            return (seen, lost);
        }
        for record in &page.records {
            assert!(record.body.iter().all(|byte| *byte == record.weight as u8));
            seen.push(record.weight);
        }
    }
}

/// A file system of its own; `None` where this user may not mount one.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "otlpd-test"])
            .arg(place)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(place.to_owned()));
        }
        eprintln!("not tested: a small tmpfs cannot be mounted here");
        None
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let status = Command::new("mount")
            .args(["-o", &option])
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_records_again_once_there_is_room() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let place = tempfile::tempdir().unwrap();
        let Some(_disk) = Disk::mount(place.path(), "2m") else {
            return;
        };
        let (storage, log, _) = open(place.path(), fsync);
        let mut tickets = Vec::new();
        let error = loop {
            match append(&log, tickets.len() as u64, 100_000).await {
                Ok(ticket) => tickets.push(ticket),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("free space on that disk"), "{error}");
        assert!(
            error.contains(&place.path().display().to_string()),
            "{error}"
        );
        assert!(tickets.len() > 10);
        assert!(append(&log, 99, 100_000).await.is_err());
        let kept: Vec<u64> = (0..tickets.len() as u64).collect();
        for ticket in &tickets {
            ticket.keep();
        }
        // A small one may still fit; either way it is as it says.
        let small = append(&log, 200, 10).await.is_ok_and(|ticket| {
            ticket.keep();
            true
        });
        storage.close();

        let (storage, log, room) = open(place.path(), fsync);
        let (seen, lost) = drain(&log).await;
        let expected: Vec<u64> = kept.into_iter().chain(small.then_some(200)).collect();
        assert_eq!((seen, lost), (expected, 0));
        while room.used() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        append(&log, 7, 100_000).await.unwrap().unload();
        assert_eq!(drain(&log).await, (vec![7], 0));
        storage.close();
    }
}

#[tokio::test]
async fn a_file_system_that_turns_read_only_is_named_and_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(place.path(), "8m") else {
        return;
    };
    let (storage, log, _) = open(place.path(), Fsync::Interval);
    append(&log, 1, 1000).await.unwrap().unload();
    storage.close();
    disk.remount("ro");
    let refused = Storage::open(StorageOptions {
        directory: place.path().to_owned(),
        sync_interval: Duration::from_secs(1),
        keys: Vec::new(),
    });
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("writable again"), "{error}");
    disk.remount("rw");
    let (_storage, log, _) = open(place.path(), Fsync::Interval);
    assert_eq!(drain(&log).await, (vec![1], 0));
}

#[tokio::test]
async fn a_directory_that_is_deleted_is_made_again_and_what_was_lost_is_counted() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("storage");
    let (storage, log, _) = open(&directory, Fsync::Always);
    // Two sealed segments, and one that is written to.
    for number in 0..12 {
        append(&log, number, 1 << 20).await.unwrap().unload();
    }
    append(&log, 12, 1000).await.unwrap().unload();
    let held = append(&log, 13, 1000).await.unwrap();
    remove(&directory);
    let after = append(&log, 14, 1000).await.unwrap();
    after.keep();
    let (seen, lost) = drain(&log).await;
    assert_eq!(
        (seen, lost),
        (vec![12], 12),
        "what is open can still be read"
    );
    drop(held);
    assert_eq!(log.unsettled().records, 1);
    storage.close();

    let (_storage, log, _) = open(&directory, Fsync::Always);
    assert_eq!(drain(&log).await, (vec![14], 0));
}

#[tokio::test]
async fn a_folder_that_nothing_can_be_created_in_refuses_until_it_can() {
    let place = tempfile::tempdir().unwrap();
    let (_storage, log, _) = open(place.path(), Fsync::Interval);
    let folder = place.path().join(LOG);
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let error = append(&log, 1, 10).await.unwrap_err().to_string();
    assert!(
        error.contains("only otlpd works in that directory"),
        "{error}"
    );
    fs::remove_file(&folder).unwrap();
    append(&log, 2, 10).await.unwrap().unload();
    assert_eq!(drain(&log).await, (vec![2], 0));
}

#[tokio::test]
async fn many_appends_at_once_all_get_their_answer_and_their_order() {
    for fsync in [Fsync::Always, Fsync::Interval] {
        let place = tempfile::tempdir().unwrap();
        let (storage, log, _) = open(place.path(), fsync);
        let appends = (0..2000).map(|number| append(&log, number, 3000));
        for ticket in futures_util::future::join_all(appends).await {
            ticket.unwrap().unload();
        }
        let expected: Vec<u64> = (0..2000).collect();
        let segments = inspect::segments(place.path(), LOG).unwrap().0;
        assert_eq!(segments.len(), 2);
        assert_eq!(drain(&log).await, (expected, 0));
        storage.close();
    }
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_is_settled() {
    let place = tempfile::tempdir().unwrap();
    let (storage, log, _) = open(place.path(), Fsync::Always);
    {
        let mut abandoned = Box::pin(append(&log, 1, 1000));
        assert!(futures_util::poll!(&mut abandoned).is_pending());
    }
    append(&log, 2, 1000).await.unwrap().keep();
    while log.unsettled().records != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    storage.close();
    let (_storage, log, _) = open(place.path(), Fsync::Always);
    assert_eq!(drain(&log).await, (vec![2], 0));
}

#[tokio::test]
async fn an_idle_log_leaves_no_segment_behind() {
    let place = tempfile::tempdir().unwrap();
    let (_storage, log, room) = open(place.path(), Fsync::Never);
    let record = NewRecord {
        kind: 0,
        weight: 1,
        head: Bytes::new(),
        body: [Bytes::from_static(b"body")].into_iter().collect(),
    };
    let reserved = room.try_reserve(record.size()).unwrap();
    let ticket = log.append(record, reserved).await.unwrap();
    assert!(room.used() > 0);
    drop(ticket);
    while room.used() > 0 || log.disk_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let files: Vec<_> = fs::read_dir(place.path().join(LOG)).unwrap().collect();
    assert!(files.len() <= 1, "{files:?}");
    let first = files
        .into_iter()
        .map(|file| file.unwrap().file_name())
        .next();
    assert!(first.is_none_or(|name| name == "settled"));
}

#[tokio::test]
async fn what_was_stored_in_an_open_file_is_written_again_when_the_directory_is_removed() {
    for fsync in [Fsync::Always, Fsync::Interval] {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("storage");
        let (storage, log, _) = open(&directory, fsync);
        for number in 0..20 {
            append(&log, number, 1000).await.unwrap().unload();
        }
        remove(&directory);
        // Whatever it does next, and be it nothing.
        log.look().await;
        assert_eq!(log.news().removed_files, 1);
        // As a process sees it that starts after this one was killed.
        let found = inspect::segments(&directory, LOG).unwrap().0;
        assert_eq!(found.len(), 1);
        append(&log, 20, 1000).await.unwrap().unload();
        storage.close();
        let (_storage, log, _) = open(&directory, fsync);
        assert_eq!(drain(&log).await, ((0..21).collect(), 0));
    }
}

#[tokio::test]
async fn a_lock_that_is_removed_is_taken_again_before_anything_is_written() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("storage");
    let (storage, log, _) = open(&directory, Fsync::Interval);
    append(&log, 1, 1000).await.unwrap().unload();
    fs::remove_file(directory.join("lock")).unwrap();
    append(&log, 2, 1000).await.unwrap().unload();
    let other = Storage::open(StorageOptions {
        directory: directory.clone(),
        sync_interval: Duration::from_secs(1),
        keys: Vec::new(),
    });
    assert!(other.unwrap_err().to_string().contains("is in use by"));
    assert_eq!(log.news().removed_files, 0, "nothing else was touched");
    storage.close();
}

#[tokio::test]
async fn nothing_is_written_while_another_process_has_the_directory_and_nothing_of_its_is_touched()
{
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("storage");
    let (storage, log, _) = open(&directory, Fsync::Interval);
    append(&log, 1, 1000).await.unwrap().unload();
    fs::rename(&directory, place.path().join("elsewhere")).unwrap();
    let (others_storage, others_log, _) = open(&directory, Fsync::Interval);
    append(&others_log, 100, 1000).await.unwrap().unload();
    let error = append(&log, 2, 1000).await.unwrap_err().to_string();
    assert!(error.contains("is in use by"), "{error}");
    assert!(log.news().disowned.is_some());
    others_storage.close();

    append(&log, 3, 1000).await.unwrap().unload();
    assert!(log.news().disowned.is_none());
    assert_eq!(drain(&log).await, (vec![1, 3], 0));
    append(&log, 4, 1000).await.unwrap().keep();
    storage.close();
    let (_storage, log, _) = open(&directory, Fsync::Interval);
    assert_eq!(drain(&log).await, (vec![100, 4], 0), "each has its own");
}

#[tokio::test]
async fn what_is_lost_with_files_that_are_removed_is_told_once_and_the_rest_is_not_safe() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("storage");
    let (_storage, log, _) = open(&directory, Fsync::Interval);
    let held = append(&log, 0, 1 << 20).await.unwrap();
    for number in 1..9 {
        append(&log, number, 1 << 20).await.unwrap().unload();
    }
    assert!(held.is_on_disk());
    remove(&directory);
    log.look().await;
    assert!(!held.is_on_disk());
    assert_eq!(log.unsafe_records(), 1);
    let (seen, lost) = drain(&log).await;
    assert_eq!(lost, log.news().lost.records + lost, "it is told once");
    assert_eq!((seen, lost), (vec![8], 7), "two files were closed");
    drop(held);
    log.look().await;
    assert_eq!(log.unsafe_records(), 0);
    assert_eq!(log.unsettled().records, 0);
}
