//! What version 1 has written stays readable: `tests/fixtures/storage_v1` was, and is never written
//! again. (`OTLPD_BLESS=1` writes it where it is missing.)

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use otlpd::budget::{Budget, Reservation};
use otlpd::storage::{
    Fsync, Key, Log, LogOptions, NewRecord, ReadOrder, Storage, StorageOptions, Tally, inspect,
};

fn fixture(log: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/storage_v1").join(log)
}

fn key() -> Key {
    Key::parse("2026-11", &"0123456789abcdef".repeat(4)).unwrap()
}

fn open(directory: &Path, log: &str) -> (Storage, Log) {
    let storage = Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_secs(60),
        keys: vec![key()]
            .into_iter()
            .filter(|_| log == "encrypted")
            .collect(),
    })
    .unwrap();
    let options = LogOptions {
        fsync: Fsync::Never,
        room: Budget::new(1 << 30),
    };
    let (opened, recovery) = storage.log(log, options, &mut |_, _| {}).unwrap();
    assert!(recovery.holes.is_empty());
    (storage, opened)
}

fn record(number: u8) -> NewRecord {
    NewRecord {
        kind: number,
        weight: u64::from(number) * 1000,
        head: Bytes::from(format!("head {number}")),
        body: [Bytes::from(format!("body {number} ").repeat(20))]
            .into_iter()
            .collect(),
    }
}

async fn write_fixture(log: &str) {
    let place = tempfile::tempdir().unwrap();
    let (storage, written) = open(place.path(), log);
    for number in 0..4 {
        let ticket = written.append(record(number), Reservation::default());
        let ticket = ticket.await.unwrap();
        if number != 2 {
            ticket.keep();
        }
    }
    storage.close();
    fs::create_dir_all(fixture(log)).unwrap();
    for entry in fs::read_dir(place.path().join(log)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), fixture(log).join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn what_version_1_wrote_is_read() {
    for log in ["plain", "encrypted"] {
        if std::env::var_os("OTLPD_BLESS").is_some() && !fixture(log).is_dir() {
            write_fixture(log).await;
        }
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(log);
        fs::create_dir_all(&folder).unwrap();
        for file in ["0000000000000001.seg", "settled"] {
            fs::copy(fixture(log).join(file), folder.join(file)).unwrap();
        }
        let bytes = fs::read(folder.join("0000000000000001.seg")).unwrap();
        assert!(bytes.starts_with(b"otlpdseg\x01\0"));
        let survey = inspect::survey_bytes(&bytes).unwrap();
        assert_eq!((survey.records.records, survey.missing), (4, 0));

        let (_storage, log) = open(place.path(), log);
        let mut expected = Tally {
            records: 3,
            bytes: log.waiting().bytes,
            ..Tally::default()
        };
        (expected.weight[1], expected.weight[3]) = (1000, 3000);
        assert_eq!(log.waiting(), expected);
        let page = log.next(1 << 20, ReadOrder::OldestFirst).await.unwrap();
        let kinds: Vec<u8> = page.records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [0, 1, 3]);
        for read in page.records {
            let written = record(read.kind);
            assert_eq!((read.weight, &read.head), (written.weight, &written.head));
            assert_eq!(written.body.first(), Some(&read.body));
        }
    }
}

#[tokio::test]
async fn a_later_version_is_an_error_and_no_damage() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("plain");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("0000000000000001.seg");
    let mut bytes = fs::read(fixture("plain").join("0000000000000001.seg")).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let storage = Storage::open(StorageOptions {
        directory: place.path().to_owned(),
        sync_interval: Duration::from_secs(60),
        keys: Vec::new(),
    })
    .unwrap();
    let options = LogOptions {
        fsync: Fsync::Never,
        room: Budget::new(1 << 30),
    };
    let error = storage.log("plain", options, &mut |_, _| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("format version 2, of a later otlpd"),
        "{error}"
    );
    assert_eq!(fs::read(&file).unwrap(), bytes);
}
