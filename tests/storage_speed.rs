//! What the log on disk costs: `cargo test --release --test storage_speed -- --ignored --nocapture`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and this one is there to print"
)]

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::storage::{Fsync, Key, Log, LogOptions, NewRecord, ReadOrder, Storage, StorageOptions};

/// User and system time of this process, in seconds.
fn cpu_seconds() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks = |at: usize| -> f64 { rest.split_whitespace().nth(at).unwrap().parse().unwrap() };
    (ticks(11) / 100.0, ticks(12) / 100.0)
}

fn measured<T>(what: &str, bytes: u64, clock: (Instant, (f64, f64)), value: T) -> T {
    let (since, before) = clock;
    let (seconds, now) = (since.elapsed().as_secs_f64(), cpu_seconds());
    println!(
        "{what}: {:.0} MB/s, {:.2} CPU s ({:.2} user, {:.2} system)",
        bytes as f64 / 1e6 / seconds,
        now.0 - before.0 + now.1 - before.1,
        now.0 - before.0,
        now.1 - before.1,
    );
    value
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time that passes is what is measured"
)]
fn clock() -> (Instant, (f64, f64)) {
    (Instant::now(), cpu_seconds())
}

fn open(directory: &Path, encrypted: bool) -> (Storage, Log) {
    let key = Key {
        id: "key".to_owned(),
        secret: [7; 32],
    };
    let storage = Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_millis(500),
        keys: encrypted.then_some(key).into_iter().collect(),
    })
    .unwrap();
    let options = LogOptions {
        fsync: Fsync::Interval,
        room: Budget::new(100 << 30),
    };
    let start = clock();
    let (log, recovery) = storage.log("log", options, &mut |_, _| {}).unwrap();
    let what = format!("open with {} records", recovery.waiting.records);
    (storage, measured(&what, recovery.waiting.bytes, start, log))
}

fn body(size: usize) -> Bytes {
    let byte = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8;
    Bytes::from((0..size).map(byte).collect::<Vec<u8>>())
}

fn record(body: &Bytes) -> NewRecord {
    NewRecord {
        kind: 0,
        weight: 1,
        head: Bytes::from_static(&[1; 40]),
        body: [body.clone()].into_iter().collect(),
    }
}

/// Writes with eight appends under way, and gives each ticket to `then`.
async fn write(log: &Log, count: usize, size: usize, mut then: impl FnMut(otlpd::storage::Ticket)) {
    let body = body(size);
    let mut under_way = VecDeque::new();
    for _ in 0..count {
        let (log, record) = (log.clone(), record(&body));
        under_way.push_back(tokio::spawn(async move {
            log.append(record, Reservation::default()).await.unwrap()
        }));
        if under_way.len() == 8 {
            then(under_way.pop_front().unwrap().await.unwrap());
        }
    }
    for last in under_way {
        then(last.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn two_gigabytes_written_and_read_back() {
    for encrypted in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let (storage, log) = open(place.path(), encrypted);
        println!("encrypted: {encrypted}");
        let (count, size) = (20_000, 100 << 10);
        let bytes = (count * size) as u64;
        let start = clock();
        write(&log, count, size, |ticket| ticket.unload()).await;
        measured("write 20,000 of 100 KiB", bytes, start, ());
        storage.close();
        let (_storage, log) = open(place.path(), encrypted);
        let start = clock();
        let mut read = 0;
        while read < count {
            let page = log.next(4 << 20, ReadOrder::OldestFirst).await.unwrap();
            read += page.records.len();
        }
        while log.disk_bytes() > 0 {
            tokio::task::yield_now().await;
        }
        measured("read and settle them", bytes, start, ());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn what_is_settled_at_once() {
    for (count, size) in [(1000, 539_000), (10_000, 53_900), (100_000, 1000)] {
        for _ in 0..3 {
            let place = tempfile::tempdir().unwrap();
            let (_storage, log) = open(place.path(), false);
            let start = clock();
            write(&log, count, size, drop).await;
            let bytes = (count * size) as u64;
            measured(
                &format!("{count} of {size}, settled at once"),
                bytes,
                start,
                (),
            );
        }
    }
}
