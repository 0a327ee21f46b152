//! Dead letters on a real disk.

use std::path::Path;

use smallvec::SmallVec;
use tempfile::TempDir;

use super::*;
use crate::batch::{Chunks, Context, Priority};
use crate::receipt::Receipt;
use crate::storage::{ReadOrder, Record, StorageOptions};
use crate::telemetry::ledger::{Account, Counts, Fate};

/// Dead letters in a folder of their own, and the account of whose items they are.
struct Kept {
    letters: DeadLetters,
    storage: Storage,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    folder: TempDir,
}

fn storage(folder: &Path) -> Storage {
    Storage::open(StorageOptions {
        directory: folder.to_owned(),
        sync_interval: Duration::from_millis(10),
        keys: Vec::new(),
    })
    .unwrap()
}

fn open(max_bytes: u64) -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(folder.path());
    let ledger = Arc::<Ledger>::default();
    let letters = DeadLetters::open(&storage, max_bytes, Arc::clone(&ledger)).unwrap();
    Kept {
        letters,
        storage,
        ledger,
        account: Arc::default(),
        folder,
    }
}

impl Kept {
    /// Gives a request up that has this body and so many items, as a lane in memory does.
    async fn give_up(&self, body: &[u8], items: u64, reason: Reason) {
        let batch = Batch {
            signal: Signal::Metrics,
            chunks: Chunks::from_elem(body.to_vec().into(), 1),
            items,
            received: Instant::now(),
            context: Context {
                tenant: Some("acme".into()),
                priority: Priority::High,
            },
            deadline: None,
            encoded: None,
            reservations: SmallVec::new(),
        };
        let receipt = Receipt::open(items, Arc::clone(&self.account), None);
        if self.letters.announce(reason).is_none() {
            return receipt.settle(Fate::Dropped(reason));
        }
        let cause = Cause { reason, text: "no" };
        let exporter = "backend".into();
        match self.letters.write(&exporter, &batch, cause).await {
            Ok(()) => receipt.settle_dead_lettered(reason),
            Err(unwritten) => {
                self.letters.lose(&exporter, &batch, &unwritten);
                receipt.settle(Fate::Dropped(reason));
            }
        }
    }

    fn account(&self) -> Counts {
        let counts = self.account.counts();
        assert!(counts.balances());
        counts
    }

    fn counts(&self) -> LetterCounts {
        self.letters.counts().unwrap()
    }

    /// What stands there after a restart.
    async fn reopened(self) -> Vec<(Letter, Vec<u8>)> {
        self.storage.close();
        drop((self.letters, self.storage));
        let storage = storage(self.folder.path());
        let options = LogOptions {
            fsync: Fsync::Never,
            room: Budget::new(1 << 40),
        };
        let (log, _) = storage.log(LOG, options, &mut |_, _| ()).unwrap();
        let page = log.next(1 << 30, ReadOrder::OldestFirst).await.unwrap();
        let letter = |record: Record| {
            record.ticket.keep();
            (Letter::decode(&record.head).unwrap(), record.body.to_vec())
        };
        page.records.into_iter().map(letter).collect()
    }
}

#[tokio::test]
async fn a_letter_says_what_it_was_and_why_it_stands_there() {
    let kept = open(1 << 20);
    kept.give_up(b"bytes", 3, Reason::Permanent).await;
    let account = kept.account();
    assert_eq!(account.dropped[Reason::Permanent as usize], 3);
    assert_eq!((account.dead_lettered, account.in_process), (3, 0));
    let counts = kept.counts();
    assert_eq!((counts.letters, counts.items), (1, 3));
    assert_eq!(counts.written("backend", Reason::Permanent), 3);
    assert!(counts.disk_bytes > 0 && counts.lost_items.is_empty());
    let [(letter, body)] = kept.reopened().await.try_into().unwrap();
    assert_eq!(body, b"bytes");
    assert_eq!(
        (letter.exporter.as_str(), letter.reason.as_str()),
        ("backend", "permanent")
    );
    assert_eq!(
        (letter.cause.as_str(), letter.tenant.as_str()),
        ("no", "acme")
    );
    assert_eq!((letter.signal, letter.items), (Signal::Metrics, 3));
    assert_eq!(letter.priority, Priority::High);
    let now = SystemTime::now();
    assert!(letter.received <= letter.given_up && letter.given_up <= now);
    let age = now.duration_since(letter.received).unwrap();
    assert!(age < Duration::from_secs(600), "{age:?}");
}

#[tokio::test]
async fn what_another_try_does_not_cure_is_no_letter() {
    let kept = open(1 << 20);
    for reason in Reason::ALL {
        kept.give_up(reason.name().as_bytes(), 1, reason).await;
    }
    assert_eq!(kept.account().dropped_total(), Reason::ALL.len() as u64);
    let letters = kept.reopened().await;
    let reasons: Vec<_> = letters.iter().map(|(l, _)| l.reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["permanent", "too_large", "retries_exhausted", "too_old"]
    );
}

#[tokio::test]
async fn the_end_waits_for_letters_that_are_announced() {
    let kept = open(1 << 20);
    kept.letters.finish().await;
    let awaited = kept.letters.announce(Reason::TooOld);
    let finished = kept.letters.finish();
    tokio::pin!(finished);
    assert!(futures_util::poll!(&mut finished).is_pending());
    drop(awaited);
    finished.await;
}

#[tokio::test]
async fn a_disk_that_is_full_takes_letters_in_place_of_the_reserve() {
    let kept = open(1 << 20);
    let reserve = kept.folder.path().join(LOG).join("reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), (1 << 20) / 64);
    // Any failure of the disk will do.
    kept.storage.close();
    kept.give_up(b"bytes", 3, Reason::Permanent).await;
    assert!(!reserve.exists());
}

#[tokio::test]
async fn the_newest_are_kept_within_the_bounds() {
    let kept = open(64 << 10);
    for number in 0..100_u8 {
        kept.give_up(&[number; 2000], 2, Reason::Permanent).await;
        assert!(kept.counts().disk_bytes <= 64 << 10, "{number}");
    }
    kept.give_up(&[0; 100 << 10], 5, Reason::Permanent).await;
    let counts = kept.counts();
    assert_eq!(kept.account().dead_lettered, 200);
    assert_eq!(counts.lost(Signal::Metrics, Loss::TooLarge), 5);
    let displaced = counts.lost(Signal::Metrics, Loss::Full);
    assert_eq!(counts.items + displaced, 200);
    assert_eq!(kept.ledger.snapshot().displaced(), displaced);
    let left = kept.reopened().await;
    assert!(left.len() >= 10, "{} are left", left.len());
    let numbers: Vec<_> = left.iter().map(|(_, body)| body[0]).collect();
    let first = 100 - u8::try_from(numbers.len()).unwrap();
    assert_eq!(numbers, (first..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_disk_that_fails_costs_the_letters_and_is_said() {
    let kept = open(1 << 20);
    kept.storage.close();
    kept.give_up(b"bytes", 3, Reason::Permanent).await;
    let counts = kept.counts();
    assert_eq!(counts.lost(Signal::Metrics, Loss::StorageFailed), 3);
    assert!(counts.last_error.is_some() && counts.failing_seconds.is_some());
    assert_eq!(kept.account().dead_lettered, 0);
    assert_eq!(kept.account().dropped_total(), 3);
}

#[tokio::test]
async fn letters_of_earlier_runs_count_and_make_room_first() {
    let first = open(64 << 10);
    for _ in 0..20 {
        first.give_up(&[1; 2000], 1, Reason::Permanent).await;
    }
    first.storage.close();
    let folder = first.folder;
    drop((first.letters, first.storage));
    let storage = storage(folder.path());
    let ledger = Arc::<Ledger>::default();
    let letters = DeadLetters::open(&storage, 64 << 10, Arc::clone(&ledger)).unwrap();
    assert_eq!(letters.counts().unwrap().letters, 20);
    let second = Kept {
        letters,
        storage,
        ledger,
        account: Arc::default(),
        folder,
    };
    for _ in 0..20 {
        second.give_up(&[2; 2000], 1, Reason::Permanent).await;
    }
    assert_eq!(second.account().dead_lettered, 20);
    let displaced = second.ledger.snapshot().displaced();
    assert!((1..=20).contains(&displaced), "{displaced}");
    let left = second.reopened().await;
    assert_eq!(left.len() as u64, 40 - displaced);
    assert!(left.iter().filter(|(_, body)| body[0] == 2).count() == 20);
}

#[tokio::test]
async fn where_they_are_off_items_are_dropped_as_ever() {
    let kept = open(0);
    assert!(!kept.letters.are_on() && kept.letters.counts().is_none());
    kept.give_up(b"bytes", 3, Reason::Permanent).await;
    assert_eq!(kept.account().dropped[Reason::Permanent as usize], 3);
    assert_eq!(kept.account().dead_lettered, 0);
}
