//! Lane and sender together, on paused time, with a destination that does as it is told.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::FutureExt;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::batch::{Batch, Chunks, Context};
use crate::delivery::batcher::Limits;
use crate::delivery::config::{
    BatchConfig, BreakerConfig, InFlight, LaneConfig, QueueConfig, RetryConfig, WhenFull,
};
use crate::delivery::dead_letters::DeadLetters;
use crate::delivery::lane::{Place, Spot};
use crate::otlp::Signal;
use crate::receipt::{Settled, Settlement};
use crate::shutdown::Trigger;
use crate::storage::{Storage, StorageOptions};
use crate::telemetry::lanes::{Lanes, OpenedBy};
use crate::telemetry::ledger::{Accounts, Counts};
use crate::units::ByteSize;

mod limits;
mod outages;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// What the destination does with an attempt.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Take,
    TakeAfter(Duration),
    Reject(u64),
    Retry(Option<Duration>),
    Refuse,
    /// Refuse what holds a chunk of this length, take everything else.
    RefuseChunk(usize),
    Hang,
}

/// An attempt that was made.
#[derive(Clone, Copy, Debug)]
struct Call {
    at: Instant,
    items: u64,
    chunks: usize,
    bytes: usize,
}

/// A destination: its answers in order, and the one that follows them for ever.
#[derive(Debug)]
struct Destination {
    script: Mutex<VecDeque<Answer>>,
    then: Answer,
    calls: Mutex<Vec<Call>>,
}

impl Destination {
    fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    fn items(&self) -> Vec<u64> {
        self.lock().iter().map(|call| call.items).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap()
    }
}

impl Exporter for Destination {
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        self.lock().push(Call {
            at: Instant::now(),
            items: batch.items,
            chunks: batch.chunks.len(),
            bytes: batch.bytes(),
        });
        let answer = self.script.lock().unwrap().pop_front();
        let cause = "told to".to_owned();
        let refused = Err(Failure::Permanent {
            cause: cause.clone(),
        });
        Box::pin(async move {
            match answer.unwrap_or(self.then) {
                Answer::Take => Ok(Delivered::default()),
                Answer::TakeAfter(delay) => {
                    sleep(delay).await;
                    Ok(Delivered::default())
                }
                Answer::Reject(rejected) => Ok(Delivered { rejected }),
                Answer::Retry(after) => Err(Failure::Retryable { after, cause }),
                Answer::Refuse => refused,
                Answer::RefuseChunk(length)
                    if batch.chunks.iter().any(|chunk| chunk.len() == length) =>
                {
                    refused
                }
                Answer::RefuseChunk(_) => Ok(Delivered::default()),
                Answer::Hang => std::future::pending().await,
            }
        })
    }
}

/// A lane whose sender runs.
struct Running {
    lane: Arc<Lane>,
    destination: Arc<Destination>,
    accounts: Accounts,
    trigger: Trigger,
    sender: JoinHandle<()>,
}

/// A configuration without chance in it: retries at once, no breaker.
fn config() -> LaneConfig {
    LaneConfig {
        retry_on_failure: RetryConfig {
            initial_interval: Duration::ZERO,
            ..RetryConfig::default()
        },
        breaker: BreakerConfig {
            failures: 0,
            ..BreakerConfig::default()
        },
        ..LaneConfig::default()
    }
}

/// The same with one item in each request.
fn one_by_one(config: LaneConfig) -> LaneConfig {
    LaneConfig {
        batch: BatchConfig {
            max_items: 1,
            ..BatchConfig::default()
        },
        ..config
    }
}

fn start(config: LaneConfig, script: &[Answer], then: Answer) -> Running {
    start_keeping(config, script, then, DeadLetters::default())
}

fn start_keeping(
    config: LaneConfig,
    script: &[Answer],
    then: Answer,
    dead_letters: DeadLetters,
) -> Running {
    let accounts = Accounts::default();
    let limits = Limits::new(&config.batch, None);
    let lane = Lane::new("out", config, limits, accounts.clone(), &Lanes::default());
    let lane = Arc::new(lane.with_dead_letters(dead_letters));
    let destination = Arc::new(Destination {
        script: Mutex::new(script.iter().copied().collect()),
        then,
        calls: Mutex::default(),
    });
    let trigger = Trigger::default();
    let exporter: Arc<dyn Exporter> = Arc::clone(&destination) as _;
    let sender = Sender::new(Arc::clone(&lane), exporter);
    let sender = tokio::spawn(sender.run(trigger.drain()));
    Running {
        lane,
        destination,
        accounts,
        trigger,
        sender,
    }
}

/// Items of no particular content.
fn batch(items: u64, bytes: usize) -> Batch {
    Batch {
        signal: Signal::Logs,
        chunks: Chunks::from_elem(vec![0; bytes].into(), 1),
        items,
        received: Instant::now(),
        context: Context::default(),
        deadline: None,
        encoded: None,
        reservations: smallvec::SmallVec::new(),
    }
}

/// A request of so many log records that can be split.
fn logs(records: usize) -> Batch {
    let record = LogRecord {
        severity_text: "x".repeat(30),
        ..LogRecord::default()
    };
    let scope = ScopeLogs {
        log_records: vec![record; records],
        ..ScopeLogs::default()
    };
    let resource_logs = vec![ResourceLogs {
        scope_logs: vec![scope],
        ..ResourceLogs::default()
    }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let chunks = Chunks::from_elem(Bytes::from(body), 1);
    Batch {
        chunks,
        ..batch(records as u64, 0)
    }
}

impl Running {
    fn push(&self, batch: Batch) {
        assert!(self.offer(batch, None));
    }

    /// What a batch goes through on its way into a lane that refuses nobody.
    fn offer(&self, batch: Batch, settlement: Option<&Arc<Settlement>>) -> bool {
        // In memory it never waits.
        let place = self.lane.make_room(&batch).now_or_never().unwrap();
        let spot = match place {
            Some(Place::Memory(room)) => Spot::Memory(room),
            Some(Place::Disk(_)) => panic!("this lane has no disk"),
            None => Spot::Nowhere(Reason::QueueFull),
        };
        self.lane.push(batch, spot, settlement)
    }

    fn counts(&self) -> Counts {
        let counts = self.accounts[Signal::Logs as usize].counts();
        assert!(counts.balances(), "{counts:?}");
        counts
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.counts().dropped[reason as usize]
    }

    /// Waits until nothing is in process.
    async fn settled(&self) {
        while self.counts().in_process > 0 {
            sleep(MILLI).await;
        }
    }

    async fn called(&self, times: usize) {
        while self.destination.lock().len() < times {
            sleep(MILLI).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_until_it_is_taken() {
    let running = start(config(), &[Answer::Retry(None); 5], Answer::Take);
    running.push(batch(7, 100));
    running.settled().await;
    assert_eq!(running.destination.items(), [7; 6]);
    assert_eq!(running.counts().delivered, 7);
    assert_eq!(running.lane.room().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_the_destination_asks_for_pauses_the_whole_lane() {
    let after = Answer::Retry(Some(5 * SECOND));
    let running = start(config(), &[after], Answer::Take);
    running.push(batch(1, 100));
    running.called(1).await;
    running.push(batch(2, 100));
    running.settled().await;
    let calls = running.destination.calls();
    let first = calls[0].at;
    assert!(calls[1..].iter().all(|call| call.at >= first + 5 * SECOND));
    // And not for ever.
    assert!(Instant::now() < first + 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_is_ended_and_repeated() {
    let config = LaneConfig {
        timeout: 2 * SECOND,
        ..config()
    };
    let running = start(config, &[Answer::Hang], Answer::Take);
    running.push(batch(1, 100));
    running.settled().await;
    let calls = running.destination.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at >= calls[0].at + 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_was_tried_for_too_long_is_given_up() {
    let config = LaneConfig {
        retry_on_failure: RetryConfig {
            initial_interval: SECOND,
            max_interval: SECOND,
            max_elapsed_time: 10 * SECOND,
            ..RetryConfig::default()
        },
        ..config()
    };
    let running = start(config, &[], Answer::Retry(None));
    let begun = Instant::now();
    running.push(batch(9, 100));
    running.settled().await;
    assert_eq!(running.dropped(Reason::RetriesExhausted), 9);
    assert!(Instant::now() <= begun + 10 * SECOND + MILLI);
    assert!(running.destination.items().len() > 5);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_of_the_drain_the_rest_is_dropped_and_counted() {
    let config = LaneConfig {
        max_in_flight: InFlight::fixed(1),
        timeout: 100 * SECOND,
        ..config()
    };
    let running = start(config, &[Answer::Take], Answer::Hang);
    running.push(batch(1, 100));
    running.settled().await;
    running.push(batch(2, 100));
    running.called(2).await;
    running.push(batch(3, 100));
    let deadline = Instant::now() + 3 * SECOND;
    running.trigger.begin(deadline);
    running.trigger.done().await;
    assert_eq!(Instant::now(), deadline);
    assert_eq!(running.dropped(Reason::Shutdown), 2 + 3);
    assert_eq!(running.counts().delivered, 1);
    assert!(
        !running.offer(batch(4, 100), None),
        "a closed lane takes nothing"
    );
    assert_eq!(running.counts().received, 6, "and counts nothing");
    assert_eq!(running.lane.room().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_told_to_hurry_ends_at_the_new_deadline() {
    let config = LaneConfig {
        timeout: 1000 * SECOND,
        ..config()
    };
    let running = start(config, &[], Answer::Hang);
    running.push(batch(1, 100));
    running.called(1).await;
    running.trigger.begin(Instant::now() + 500 * SECOND);
    sleep(SECOND).await;
    let sooner = Instant::now() + SECOND;
    running.trigger.begin(sooner);
    running.trigger.done().await;
    assert_eq!(Instant::now(), sooner);
    assert_eq!(running.dropped(Reason::Shutdown), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_as_soon_as_the_lane_is_empty_and_does_not_linger() {
    let config = LaneConfig {
        batch: BatchConfig {
            linger: 100 * SECOND,
            ..BatchConfig::default()
        },
        ..config()
    };
    let running = start(config, &[Answer::Retry(None)], Answer::Take);
    running.push(batch(5, 100));
    sleep(SECOND).await;
    assert!(running.destination.calls().is_empty(), "it lingers");
    let begun = Instant::now();
    running.trigger.begin(begun + 50 * SECOND);
    running.sender.await.unwrap();
    assert!(Instant::now() < begun + SECOND);
    assert_eq!(
        running.accounts[Signal::Logs as usize].counts().delivered,
        5
    );
}

fn full_at(max_bytes: u64, when_full: WhenFull) -> LaneConfig {
    LaneConfig {
        max_in_flight: InFlight::fixed(1),
        timeout: 10 * SECOND,
        queue: QueueConfig {
            max_bytes: Some(ByteSize(max_bytes)),
            when_full: Some(when_full),
            ..QueueConfig::default()
        },
        ..config()
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_that_waits_makes_room_and_what_is_under_way_does_not() {
    let config = full_at(1000, WhenFull::DropOldest);
    let running = start(config, &[Answer::TakeAfter(5 * SECOND)], Answer::Take);
    running.push(batch(1, 400));
    running.called(1).await;
    for items in [2, 4, 8] {
        running.push(batch(items, 400));
        sleep(MILLI).await;
    }
    assert_eq!(running.dropped(Reason::QueueFull), 2 + 4);
    running.settled().await;
    assert_eq!(running.destination.items(), [1, 8]);
    assert_eq!(running.counts().delivered, 9);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_that_waits_can_be_the_oldest() {
    let config = full_at(1000, WhenFull::DropOldest);
    let running = start(config, &[Answer::Retry(Some(5 * SECOND))], Answer::Take);
    running.push(batch(1, 600));
    running.called(1).await;
    sleep(MILLI).await;
    running.push(batch(2, 600));
    assert_eq!(running.dropped(Reason::QueueFull), 1);
    running.settled().await;
    assert_eq!(running.destination.items(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_dropped_where_the_policy_says_so_or_nothing_else_waits() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let running = start(full_at(1000, when_full), &[], Answer::TakeAfter(SECOND));
        running.push(batch(1, 700));
        running.called(1).await;
        running.push(batch(2, 700));
        assert_eq!(running.dropped(Reason::QueueFull), 2, "{when_full:?}");
        running.settled().await;
        assert_eq!(running.counts().delivered, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_above_the_limits_leaves_in_parts_and_is_settled_once() {
    let config = LaneConfig {
        batch: BatchConfig {
            max_items: 10,
            ..BatchConfig::default()
        },
        ..config()
    };
    let running = start(config, &[Answer::Retry(None)], Answer::Take);
    let settlement = Arc::<Settlement>::default();
    assert!(running.offer(logs(25), Some(&settlement)));
    assert_eq!(settlement.wait().await, Settled::Delivered);
    let mut items = running.destination.items();
    items.sort_unstable();
    assert_eq!(items, [5, 10, 10, 10], "one of them twice");
    assert_eq!(running.counts().delivered, 25);
    assert_eq!(running.lane.room().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_item_above_the_limits_is_given_up_alone() {
    let config = LaneConfig {
        batch: BatchConfig {
            max_bytes: ByteSize(20),
            ..BatchConfig::default()
        },
        ..config()
    };
    let running = start(config, &[], Answer::Take);
    let settlement = Arc::<Settlement>::default();
    assert!(running.offer(logs(3), Some(&settlement)));
    assert_eq!(settlement.wait().await, Settled::TooLarge);
    assert_eq!(running.dropped(Reason::TooLarge), 3);
    assert!(running.destination.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_gathers_while_the_sender_is_busy_is_merged_up_to_the_limits() {
    let config = LaneConfig {
        max_in_flight: InFlight::fixed(1),
        batch: BatchConfig {
            max_items: 10,
            max_bytes: ByteSize(1000),
            ..BatchConfig::default()
        },
        ..config()
    };
    let running = start(config, &[Answer::TakeAfter(SECOND)], Answer::Take);
    running.push(batch(1, 100));
    running.called(1).await;
    for _ in 0..5 {
        running.push(batch(4, 100));
    }
    for _ in 0..3 {
        running.push(batch(1, 400));
    }
    running.settled().await;
    let calls = running.destination.calls();
    let shape: Vec<_> = calls.iter().map(|c| (c.items, c.chunks, c.bytes)).collect();
    assert_eq!(
        shape,
        [
            (1, 1, 100),
            (8, 2, 200),
            (8, 2, 200),
            (6, 3, 900),
            (1, 1, 400)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn small_requests_gather_behind_one_another_and_the_first_does_not_wait() {
    let running = start(config(), &[], Answer::Take);
    let begun = Instant::now();
    running.push(batch(1, 100));
    running.called(1).await;
    assert!(running.destination.calls()[0].at <= begun + MILLI);
    for _ in 0..3 {
        running.push(batch(2, 100));
        sleep(MILLI).await;
    }
    running.settled().await;
    let calls = running.destination.calls();
    assert_eq!(running.destination.items(), [1, 6]);
    let gathered = calls[1].at - calls[0].at;
    assert!(
        gathered >= 5 * MILLI && gathered < 10 * MILLI,
        "{gathered:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_request_does_not_wait_for_others() {
    let running = start(config(), &[], Answer::Take);
    running.push(batch(1, 100));
    running.called(1).await;
    running.push(batch(2, 1 << 20));
    tokio::task::yield_now().await;
    running.settled().await;
    let calls = running.destination.calls();
    assert!(calls[1].at <= calls[0].at + 2 * MILLI);
}

#[tokio::test(start_paused = true)]
async fn linger_ends_when_a_request_is_full_by_bytes_or_by_items() {
    for (items, bytes) in [(25, 10), (1, 500)] {
        let config = LaneConfig {
            batch: BatchConfig {
                max_items: 100,
                max_bytes: ByteSize(2000),
                linger: 10 * SECOND,
            },
            ..config()
        };
        let running = start(config, &[], Answer::Take);
        let begun = Instant::now();
        for _ in 0..3 {
            running.push(batch(items, bytes));
            sleep(SECOND).await;
        }
        assert!(running.destination.calls().is_empty(), "it lingers");
        running.push(batch(items, bytes));
        running.settled().await;
        assert_eq!(running.destination.items(), [4 * items]);
        assert!(Instant::now() < begun + 5 * SECOND);
        running.push(batch(1, 10));
        running.settled().await;
        assert!(Instant::now() >= begun + 13 * SECOND, "alone it waits");
    }
}

/// Pushes a request for each flag, poisonous or not; which of their clients were refused.
async fn refused_of(running: &Running, poisonous: impl Iterator<Item = bool>) -> Vec<usize> {
    let clients: Vec<_> = poisonous
        .map(|poisonous| {
            let bytes = if poisonous { 13 } else { 100 };
            let settlement = Arc::<Settlement>::default();
            let pushed = running.offer(batch(1, bytes), Some(&settlement));
            assert!(pushed);
            settlement
        })
        .collect();
    let mut refused = Vec::new();
    for (client, settlement) in clients.iter().enumerate() {
        if settlement.wait().await == Settled::Refused {
            refused.push(client);
        }
    }
    // What took the places has landed too.
    sleep(SECOND).await;
    assert_eq!(running.lane.room().used(), 0);
    refused
}

/// A lane whose places in flight are all taken for a second, so that what is pushed meanwhile is
/// merged.
async fn merging(max_in_flight: usize, then: Answer) -> Running {
    let config = LaneConfig {
        max_in_flight: InFlight::fixed(max_in_flight),
        ..config()
    };
    let hold = vec![Answer::TakeAfter(SECOND); max_in_flight];
    let running = start(config, &hold, then);
    for _ in 0..max_in_flight {
        running.push(unmerged(100));
    }
    running.called(max_in_flight).await;
    running
}

/// A request that goes alone.
fn unmerged(bytes: usize) -> Batch {
    Batch {
        signal: Signal::Profiles,
        ..batch(1, bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn one_poisonous_request_among_a_thousand_is_refused_alone() {
    for place in [0, 1, 499, 500, 617, 999] {
        for max_in_flight in [1, 8] {
            let running = merging(max_in_flight, Answer::RefuseChunk(13)).await;
            let poisonous = (0..1000).map(|client| client == place);
            assert_eq!(refused_of(&running, poisonous).await, [place]);
            assert_eq!(running.dropped(Reason::Permanent), 1);
            // The merged one, and two for each of log2(1000) halvings.
            let calls = running.destination.calls().len() - max_in_flight;
            assert!(calls <= 1 + 2 * 10, "{calls} for {place}");
            assert!(running.lane.stats.snapshot().bisections <= 10);
        }
    }
}

fn storage_in(folder: &tempfile::TempDir) -> Storage {
    let options = StorageOptions {
        directory: folder.path().to_owned(),
        sync_interval: SECOND,
        keys: Vec::new(),
    };
    Storage::open(options).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_for_good_is_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage_in(&folder);
    let letters = DeadLetters::open(&storage, 1 << 20, Arc::default()).unwrap();
    let config = LaneConfig {
        max_in_flight: InFlight::fixed(1),
        batch: BatchConfig {
            linger: SECOND,
            ..BatchConfig::default()
        },
        ..config()
    };
    let running = start_keeping(config, &[], Answer::RefuseChunk(13), letters.clone());
    for client in 0..1000 {
        running.push(batch(1, if client == 617 { 13 } else { 100 }));
    }
    running.settled().await;
    letters.finish().await;
    let counts = running.counts();
    assert_eq!((counts.delivered, counts.dead_lettered), (999, 1));
    let of = letters.counts().unwrap();
    assert_eq!((of.letters, of.items), (1, 1));
    assert_eq!(of.written("out", Reason::Permanent), 1);
    storage.close();
}

#[tokio::test(start_paused = true)]
async fn what_grows_too_old_in_one_go_is_kept_to_the_last_request() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage_in(&folder);
    let letters = DeadLetters::open(&storage, 64 << 20, Arc::default()).unwrap();
    let config = LaneConfig {
        max_in_flight: InFlight::fixed(1),
        timeout: 1000 * SECOND,
        queue: QueueConfig {
            max_age: 2 * SECOND,
            ..config().queue
        },
        ..config()
    };
    let hangs = Answer::TakeAfter(100 * SECOND);
    let running = start_keeping(config, &[], hangs, letters.clone());
    running.push(batch(1, 100));
    running.called(1).await;
    for _ in 0..3000 {
        running.push(batch(1, 100));
    }
    // Nothing else happens in the lane meanwhile.
    sleep(3 * SECOND).await;
    letters.finish().await;
    let counts = running.counts();
    assert_eq!(counts.dropped[Reason::TooOld as usize], 3000);
    assert_eq!(counts.dead_lettered, 3000);
    let of = letters.counts().unwrap();
    assert_eq!((of.letters, of.lost_items.len()), (3000, 0));
    let shown = running.lane.stats.snapshot();
    assert_eq!((shown.queue_items, shown.queue_bytes), (0, 0));
    assert_eq!(shown.oldest_age_seconds, None);
    storage.close();
}

#[tokio::test(start_paused = true)]
async fn several_poisonous_requests_are_found_wherever_they_lie() {
    let patterns: [&dyn Fn(usize) -> bool; 5] = [
        &|client| client < 20,
        &|client| (490..510).contains(&client),
        &|client| client >= 980,
        &|client| client % 50 == 7,
        &|client| client % 333 == 0 || client % 333 == 1,
    ];
    for (index, is_poisonous) in patterns.iter().enumerate() {
        let running = merging(1, Answer::RefuseChunk(13)).await;
        let expected: Vec<_> = (0..1000).filter(|client| is_poisonous(*client)).collect();
        let refused = refused_of(&running, (0..1000).map(is_poisonous)).await;
        assert_eq!(refused, expected, "pattern {index}");
        let calls = running.destination.calls().len();
        assert!(calls <= 2 + 2 * 10 * expected.len(), "{calls} of {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_good_request_is_given_up_with_the_bad_however_many_these_are() {
    let patterns: [&dyn Fn(usize) -> bool; 4] = [
        &|client| client % 2 == 0,
        &|client| client % 4 == 1,
        &|client| client % 10 != 3,
        &|client| client != 999,
    ];
    for (index, is_poisonous) in patterns.iter().enumerate() {
        let running = merging(1, Answer::RefuseChunk(13)).await;
        let expected: Vec<_> = (0..1000).filter(|client| is_poisonous(*client)).collect();
        let refused = refused_of(&running, (0..1000).map(is_poisonous)).await;
        assert_eq!(refused, expected, "pattern {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_refuses_everything_is_asked_twice_for_each_request_at_most() {
    for requests in [2, 4, 16, 1000] {
        let running = merging(1, Answer::Refuse).await;
        let refused = refused_of(&running, (0..requests).map(|_| true)).await;
        assert_eq!(refused.len(), requests);
        let calls = running.destination.calls().len() - 1;
        assert_eq!(calls, 2 * requests - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_search_goes_on_after_failures_of_another_kind() {
    let running = merging(1, Answer::RefuseChunk(13)).await;
    running.destination.script.lock().unwrap().extend([
        Answer::Refuse,
        Answer::Retry(None),
        Answer::Retry(Some(SECOND)),
    ]);
    let refused = refused_of(&running, (0..100).map(|client| client == 41)).await;
    assert_eq!(refused, [41]);
}

#[tokio::test(start_paused = true)]
async fn rejected_items_are_counted_as_such_and_the_rest_as_delivered() {
    let running = start(config(), &[Answer::Reject(3)], Answer::Take);
    running.push(batch(10, 100));
    running.settled().await;
    let counts = running.counts();
    assert_eq!((counts.delivered, counts.rejected), (7, 3));
    assert_eq!(running.destination.items(), [10]);
}

#[tokio::test(start_paused = true)]
async fn profiles_are_never_merged() {
    let config = LaneConfig {
        max_in_flight: InFlight::fixed(1),
        ..config()
    };
    let running = start(config, &[Answer::TakeAfter(SECOND)], Answer::Take);
    for _ in 0..4 {
        running.push(Batch {
            signal: Signal::Profiles,
            ..batch(1, 100)
        });
    }
    running.called(4).await;
    assert!(
        running
            .destination
            .calls()
            .iter()
            .all(|call| call.chunks == 1)
    );
}

#[tokio::test(start_paused = true)]
async fn clients_are_paced_only_while_a_crowded_lane_flows() {
    let config = full_at(1000, WhenFull::Refuse);
    let running = start(config, &[Answer::TakeAfter(SECOND)], Answer::Retry(None));
    running.push(batch(1, 300));
    running.called(1).await;
    let begun = Instant::now();
    running.lane.pace().await;
    assert_eq!(Instant::now() - begun, 200 * MILLI, "paced, and let in");
    running.lane.set_flowing(false);
    let begun = Instant::now();
    running.lane.pace().await;
    assert_eq!(Instant::now(), begun, "an outage is what the queue is for");
}
