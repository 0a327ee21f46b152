//! What a queue on disk promises: what was stored is delivered, by this process or the next, in
//! order, within its memory; and the disk is given back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test may panic"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use otlpd::batch::{Batch, Chunks, Context, Priority};
use otlpd::budget::Budget;
use otlpd::component::{Delivered, Exporter, Failure};
use otlpd::delivery::batcher::Limits;
use otlpd::delivery::config::{
    BatchConfig, InFlight, LaneConfig, Order, QueueConfig, QueueKind, WhenFull,
};
use otlpd::delivery::lane::{Durable, Lane, Place, Spot};
use otlpd::delivery::sender::Sender;
use otlpd::otlp::Signal;
use otlpd::shutdown::Trigger;
use otlpd::storage::{Fsync, LogOptions, Storage, StorageOptions};
use otlpd::telemetry::lanes::Lanes;
use otlpd::telemetry::ledger::{Accounts, Counts, Reason};
use otlpd::units::ByteSize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Takes what it is sent while it is open, and remembers the first bytes of each request.
#[derive(Default)]
struct Destination {
    open: AtomicBool,
    tried: AtomicU64,
    taken: Mutex<Vec<u32>>,
}

impl Destination {
    fn taken(&self) -> Vec<u32> {
        self.taken.lock().unwrap().clone()
    }
}

impl Exporter for Destination {
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        Box::pin(async move {
            self.tried.fetch_add(1, Ordering::SeqCst);
            if !self.open.load(Ordering::SeqCst) {
                let cause = "closed".to_owned();
                return Err(Failure::Retryable { after: None, cause });
            }
            let mut taken = self.taken.lock().unwrap();
            for chunk in &batch.chunks {
                taken.push(u32::from_be_bytes(chunk[..4].try_into().unwrap()));
            }
            Ok(Delivered::default())
        })
    }
}

/// A lane on disk whose sender runs.
struct Running {
    storage: Storage,
    lane: Arc<Lane>,
    destination: Arc<Destination>,
    accounts: Accounts,
    trigger: Trigger,
    sender: JoinHandle<()>,
}

const REQUEST: usize = 100_000;

fn config(kind: QueueKind) -> LaneConfig {
    let mut config = LaneConfig {
        queue: QueueConfig {
            kind,
            max_bytes: Some(ByteSize::mib(256)),
            ..QueueConfig::default()
        },
        // One request at a time, so that their order is seen.
        batch: BatchConfig {
            max_items: 1,
            ..BatchConfig::default()
        },
        ..LaneConfig::default()
    };
    config.retry_on_failure.initial_interval = Duration::from_millis(1);
    config.retry_on_failure.max_interval = Duration::from_millis(10);
    config.breaker.failures = 0;
    config
}

fn start(directory: &Path, config: LaneConfig) -> Running {
    let storage = Storage::open(StorageOptions {
        directory: directory.to_owned(),
        sync_interval: Duration::from_millis(500),
        keys: Vec::new(),
    })
    .unwrap();
    let accounts = Accounts::default();
    let limits = Limits::new(&config.batch, None);
    let lane = Lane::new("out", config, limits, accounts.clone(), &Lanes::default());
    let logs = Priority::ALL.map(|priority| {
        let options = LogOptions {
            fsync: Fsync::Interval,
            room: lane.room().clone(),
        };
        let name = format!("queue/out/{}", priority.name());
        storage.log(&name, options, &mut |_, _| {}).unwrap().0
    });
    let paid = Budget::new(8 << 20).try_reserve(8 << 20).unwrap();
    // Room for ten requests in memory.
    let durable = Durable::new(logs, 10 * REQUEST as u64, paid);
    let lane = Arc::new(lane.with_durable(durable));
    let destination = Arc::new(Destination::default());
    let trigger = Trigger::default();
    let sender = Sender::new(Arc::clone(&lane), Arc::clone(&destination) as _);
    let sender = tokio::spawn(sender.run(trigger.drain()));
    Running {
        storage,
        lane,
        destination,
        accounts,
        trigger,
        sender,
    }
}

fn batch(number: u32, priority: Priority) -> Batch {
    let mut body = vec![7; REQUEST];
    body[..4].copy_from_slice(&number.to_be_bytes());
    Batch {
        signal: Signal::Logs,
        chunks: Chunks::from_elem(Bytes::from(body), 1),
        items: 1,
        received: Instant::now(),
        context: Context {
            priority,
            ..Context::default()
        },
        deadline: None,
        encoded: None,
        reservations: smallvec::SmallVec::new(),
    }
}

impl Running {
    /// What the fan-out does with a batch.
    async fn offer(&self, batch: Batch) {
        let place = match self.lane.refuses() {
            true => self.lane.find_room(&[&batch], Instant::now()).await,
            false => self.lane.make_room(&batch).await,
        };
        let spot = match place {
            Some(Place::Memory(room)) => Spot::Memory(room),
            Some(Place::Disk(room)) => Spot::Disk(self.lane.store(&batch, room).await.unwrap()),
            None => Spot::Nowhere(Reason::QueueFull),
        };
        assert!(self.lane.push(batch, spot, None));
    }

    async fn offer_all(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.offer(batch(number, Priority::Normal)).await;
        }
    }

    fn counts(&self) -> Counts {
        let counts = self.accounts[Signal::Logs as usize].counts();
        assert!(counts.balances(), "{counts:?}");
        counts
    }

    /// Waits until its sender has ended, or makes attempts still.
    async fn is_tried_on(&self) {
        let before = self.destination.tried.load(Ordering::SeqCst);
        let tried = || self.destination.tried.load(Ordering::SeqCst);
        until(|| self.sender.is_finished() || tried() > before + 10).await;
    }

    async fn settled(&self) {
        until(|| self.counts().in_process == 0).await;
    }

    async fn stop(self) -> Counts {
        self.trigger.begin(Instant::now() + Duration::from_secs(60));
        self.trigger.done().await;
        self.sender.await.unwrap();
        self.storage.close();
        let counts = self.accounts[Signal::Logs as usize].counts();
        assert!(counts.balances(), "{counts:?}");
        counts
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(2)).await;
    }
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => disk_bytes(&entry.path()),
            false => entry.metadata().map_or(0, |file| file.len()),
        })
        .sum()
}

#[tokio::test]
async fn what_is_stored_is_delivered_in_order_and_the_disk_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), config(QueueKind::Disk));
    // Many times what may be in memory.
    running.offer_all(0..300).await;
    assert!(disk_bytes(folder.path()) > 29_000_000);
    assert_eq!(running.counts().in_process, 300);
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let mut taken = running.destination.taken();
    taken.sort_unstable();
    assert_eq!(taken, Vec::from_iter(0..300));
    until(|| disk_bytes(folder.path()) < 1_000_000).await;
    until(|| running.lane.room().used() < 1_000_000).await;
    let counts = running.stop().await;
    assert_eq!((counts.delivered, counts.kept), (300, 0));
}

#[tokio::test]
async fn one_request_in_flight_at_a_time_keeps_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(QueueKind::Disk);
    config.max_in_flight = InFlight::fixed(1);
    let running = start(folder.path(), config);
    running.destination.open.store(true, Ordering::SeqCst);
    running.offer_all(0..200).await;
    running.settled().await;
    assert_eq!(running.destination.taken(), Vec::from_iter(0..200));
    running.stop().await;
}

#[tokio::test]
async fn what_is_left_at_the_end_is_delivered_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), config(QueueKind::Disk));
    running.offer_all(0..50).await;
    let counts = running.stop().await;
    assert_eq!((counts.kept, counts.in_process), (50, 0));
    assert_eq!(counts.dropped_total(), 0);
    let running = start(folder.path(), config(QueueKind::Disk));
    assert_eq!(running.counts().recovered, 50);
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let mut taken = running.destination.taken();
    taken.sort_unstable();
    assert_eq!(taken, Vec::from_iter(0..50));
    assert_eq!(running.stop().await.delivered, 50);
}

#[tokio::test]
async fn with_fresh_first_what_comes_in_does_not_wait_behind_the_backlog() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), config(QueueKind::Disk));
    running.offer_all(0..500).await;
    running.stop().await;
    let mut fresh_first = config(QueueKind::Disk);
    fresh_first.queue.order = Order::FreshFirst;
    let running = start(folder.path(), fresh_first);
    // The backlog is 50 MB, of which 8 MiB are read ahead.
    running.offer_all(1000..1005).await;
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let taken = running.destination.taken();
    let last_fresh = taken.iter().rposition(|number| *number >= 1000).unwrap();
    assert!(last_fresh < 250, "place {last_fresh} of {}", taken.len());
    assert_eq!(taken.len(), 505);
    running.stop().await;
}

#[tokio::test]
async fn a_queue_that_spills_is_in_memory_until_that_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), config(QueueKind::Spill));
    running.offer_all(0..8).await;
    assert!(
        disk_bytes(folder.path()) < 100_000,
        "nothing is on disk yet"
    );
    running.offer_all(8..40).await;
    assert!(disk_bytes(folder.path()) > 2_900_000);
    // At the end what is in memory is spilled too.
    let counts = running.stop().await;
    assert_eq!(counts.kept, 40);
    assert!(disk_bytes(folder.path()) > 3_900_000);
    let running = start(folder.path(), config(QueueKind::Spill));
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let mut taken = running.destination.taken();
    taken.sort_unstable();
    assert_eq!(taken, Vec::from_iter(0..40));
    running.stop().await;
}

#[tokio::test]
async fn a_full_queue_that_drops_its_oldest_drops_those_of_the_lowest_priority_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut drops = config(QueueKind::Disk);
    drops.required = false;
    drops.queue.max_bytes = Some(ByteSize::mib(64));
    drops.queue.when_full = Some(WhenFull::DropOldest);
    let running = start(folder.path(), drops);
    for number in 0..300 {
        running.offer(batch(number, Priority::High)).await;
    }
    for number in 300..900 {
        running.offer(batch(number, Priority::Low)).await;
    }
    for number in 900..1000 {
        running.offer(batch(number, Priority::High)).await;
    }
    assert!(disk_bytes(folder.path()) <= 64 << 20);
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let counts = running.counts();
    let lost = counts.dropped[Reason::QueueFull as usize];
    assert_eq!(counts.delivered + lost, 1000);
    assert!(lost > 300, "{lost}");
    let taken = running.destination.taken();
    let high = taken.iter().filter(|n| **n < 300 || **n >= 900).count();
    assert_eq!(high, 400, "none of high priority is lost");
    running.stop().await;
}

#[tokio::test]
async fn what_is_older_than_the_queue_allows_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut ages = config(QueueKind::Disk);
    ages.queue.max_age = Duration::from_millis(300);
    let running = start(folder.path(), ages);
    running.offer_all(0..100).await;
    // On disk or in memory: all of it grows too old.
    running.settled().await;
    assert_eq!(running.counts().dropped[Reason::TooOld as usize], 100);
    until(|| disk_bytes(folder.path()) < 1_000_000).await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_in_memory_when_its_files_are_removed_is_stored_again_at_the_end() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("storage");
    let running = start(&folder, config(QueueKind::Disk));
    // Ten of them are in memory; a file holds 42.
    running.offer_all(0..100).await;
    let gone = place.path().join("gone");
    std::fs::rename(&folder, &gone).unwrap();
    std::fs::remove_dir_all(&gone).unwrap();
    let counts = running.stop().await;
    let lost = counts.dropped[Reason::Damaged as usize];
    assert_eq!(counts.kept + lost, 100, "{counts:?}");
    // Those that are in memory at least; and what is in files that are open still.
    assert!(counts.kept >= 10, "{counts:?}");

    let running = start(&folder, config(QueueKind::Disk));
    assert_eq!(
        running.counts().recovered,
        counts.kept,
        "what is said to be kept is"
    );
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    assert_eq!(running.stop().await.delivered, counts.kept);
}

/// A lane of 64 MiB whose files have 4 MiB each, that gives up what is oldest.
fn drops_oldest() -> LaneConfig {
    let mut drops = config(QueueKind::Disk);
    drops.required = false;
    drops.queue.max_bytes = Some(ByteSize::mib(64));
    drops.queue.when_full = Some(WhenFull::DropOldest);
    drops
}

#[tokio::test]
async fn low_that_is_in_memory_is_given_up_before_high_that_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), drops_oldest());
    for number in 0..150 {
        running.offer(batch(number, Priority::Low)).await;
    }
    // What is read back is all that can be in memory: most of the low ones are there.
    until(|| running.counts().in_process == 150 && !running.lane.is_empty()).await;
    for number in 150..650 {
        running.offer(batch(number, Priority::High)).await;
    }
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let high = running.destination.taken();
    let high = high.iter().filter(|number| **number >= 150).count();
    assert_eq!(high, 500, "none of high is lost while there is low");
    running.stop().await;
}

#[tokio::test]
async fn no_more_than_a_file_is_given_up_beyond_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), drops_oldest());
    let (fits, file) = (64 * 1024 * 1024 / (REQUEST as u64 + 200), 42);
    for number in 0..1500 {
        running.offer(batch(number, Priority::Normal)).await;
        let lost = running.counts().dropped[Reason::QueueFull as usize];
        let needed = u64::from(number + 1).saturating_sub(fits);
        assert!(lost <= needed + file, "{lost} of {number} are given up");
    }
    assert!(disk_bytes(folder.path()) <= 64 << 20);
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    running.stop().await;
}

/// A lane that is to leave eight requests on disk, and cannot; and what keeps it from that.
async fn ending_with_a_file_in_the_way(place: &Path) -> (Running, PathBuf) {
    let running = start(place, config(QueueKind::Spill));
    running.offer_all(0..8).await;
    // Nothing can be written where a file is in the way.
    let log = place.join("queue/out/normal");
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::write(&log, "in the way").unwrap();
    running
        .trigger
        .begin(Instant::now() + Duration::from_secs(60));
    running.is_tried_on().await;
    (running, log)
}

#[tokio::test]
async fn what_cannot_be_spilled_at_the_end_is_delivered_until_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("storage");
    let (running, _) = ending_with_a_file_in_the_way(&place).await;
    running.destination.open.store(true, Ordering::SeqCst);
    running.settled().await;
    let counts = running.stop().await;
    assert_eq!((counts.delivered, counts.dropped_total()), (8, 0));
}

#[tokio::test]
async fn what_cannot_be_spilled_at_first_is_spilled_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("storage");
    let (running, in_the_way) = ending_with_a_file_in_the_way(&place).await;
    std::fs::remove_file(&in_the_way).unwrap();
    assert_eq!(running.stop().await.kept, 8);
}
