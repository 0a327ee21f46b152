//! A lane: one exporter's queue and the way into it. What one destination does, no other feels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::batcher::Limits;
use super::config::{LaneConfig, WhenFull};
use super::dead_letters::DeadLetters;
use super::queue::Queue;
use super::shipment::Shipment;
use crate::batch::{Batch, Priority};
use crate::budget::Budget;
use crate::otlp::Signal;
use crate::telemetry::lanes::{LaneFacts, LaneStats, Lanes};
use crate::telemetry::ledger::{Account, Accounts};
use crate::telemetry::limited::Gate;

mod admit;
mod durable;
mod given_up;
mod kept;
mod take;

pub use admit::{Place, Spot};
pub use durable::Durable;
use given_up::Pile;
pub(super) use take::Next;

/// One exporter's queue, and all that its sender shares with those who fill it.
pub struct Lane {
    /// The exporter's name in the configuration.
    pub name: Arc<str>,
    /// The lane's settings.
    pub config: LaneConfig,
    /// What happens to a batch that finds the queue full.
    pub when_full: WhenFull,
    /// The bounds of one request to this destination.
    pub limits: Limits,
    room: Budget,
    durable: Option<Durable>,
    pub(super) dead_letters: DeadLetters,
    /// Priorities are told apart, and leave room for those above them.
    classed: bool,
    accounts: Accounts,
    state: Mutex<State>,
    pub(super) wake: Notify,
    /// Told when something is given up.
    posted: Notify,
    /// Its dead letter cannot be written for now.
    held: AtomicBool,
    /// What the admin side reads.
    pub(super) stats: Arc<LaneStats>,
    /// The destination takes what it is sent.
    flowing: AtomicBool,
    /// Told when the lane is no longer crowded.
    eased: Notify,
    /// Held by the one who gives something up to make room.
    shedding: tokio::sync::Mutex<()>,
    /// What is said of a full queue, a disk that fails, and data too old: once in ten seconds.
    said_full: Gate,
    said_disk: Gate,
    said_old: Gate,
}

/// With this many bytes in a lane that flows it is crowded, and clients are paced; or with a
/// quarter of its room.
const CROWDED_BYTES: u64 = 8 << 20;

/// The longest that one request is paced. Short, so that a burst is taken in, not stretched.
const PACE: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Formed requests that wait for an attempt: parts of what was split, and those that failed.
    shipments: VecDeque<Shipment>,
    /// What waits for its dead letter to be written.
    given_up: Pile,
    /// The sender wants to hear when so many bytes wait.
    wanted_bytes: Option<usize>,
    /// No attempt is made before this.
    blocked_until: Option<Instant>,
    /// The sender has ended: nothing that comes now would ever leave.
    closed: bool,
}

impl Lane {
    /// The lane of the exporter of this name, all in memory.
    pub fn new(
        name: &str,
        config: LaneConfig,
        limits: Limits,
        accounts: Accounts,
        lanes: &Lanes,
    ) -> Self {
        let when_full = config.when_full();
        let max_bytes = config.queue.max_bytes().bytes();
        let stats = lanes.open(LaneFacts {
            exporter: name.to_owned(),
            required: config.required,
            when_full: when_full.name(),
            full_refuses: when_full.refuses(),
            queue_kind: config.queue.kind.name(),
            queue_capacity_bytes: max_bytes,
        });
        let gate = || Gate::new(Duration::from_secs(10));
        Self {
            name: name.into(),
            when_full,
            stats,
            room: Budget::new(max_bytes),
            durable: None,
            dead_letters: DeadLetters::default(),
            classed: false,
            config,
            limits,
            accounts,
            state: Mutex::new(State {
                queue: Queue::new([1; Priority::ALL.len()]),
                shipments: VecDeque::new(),
                given_up: Pile::default(),
                wanted_bytes: None,
                blocked_until: None,
                closed: false,
            }),
            wake: Notify::new(),
            posted: Notify::new(),
            held: AtomicBool::new(false),
            flowing: AtomicBool::new(true),
            eased: Notify::new(),
            shedding: tokio::sync::Mutex::default(),
            said_full: gate(),
            said_disk: gate(),
            said_old: gate(),
        }
    }

    /// Keeps what is given up for good in the dead letters.
    #[must_use]
    pub fn with_dead_letters(mut self, dead_letters: DeadLetters) -> Self {
        self.dead_letters = dead_letters;
        self
    }

    /// Serves priorities by these weights, the least first, and keeps room for the higher ones.
    #[must_use]
    pub fn with_weights(mut self, weights: [u32; Priority::ALL.len()]) -> Self {
        self.classed = true;
        self.lock().queue = Queue::new(weights);
        self
    }

    /// Waits for a moment while the lane is crowded, though its destination takes what it is
    /// sent: so that memory is for outages, and clients that are faster than the destination
    /// do not fill it in good times.
    pub async fn pace(&self) {
        if !self.is_crowded() {
            return;
        }
        let eased = async {
            loop {
                let eased = self.eased.notified();
                if !self.is_crowded() {
                    return;
                }
                eased.await;
            }
        };
        // Paced long enough: there is room, so the request is let in.
        let _elapsed = timeout(PACE, eased).await;
    }

    fn is_crowded(&self) -> bool {
        let memory = self.durable.as_ref().map(|durable| &durable.resident);
        let memory = memory.unwrap_or(&self.room);
        let mark = CROWDED_BYTES.min(memory.limit() / 4);
        self.flowing.load(Ordering::Relaxed) && memory.used() > mark
    }

    /// The sender says that no attempt is made before this.
    pub(super) fn set_blocked(&self, until: Option<Instant>) {
        self.lock().blocked_until = until;
    }

    /// The sender says whether the destination takes what it is sent.
    pub(super) fn set_flowing(&self, flowing: bool) {
        self.flowing.store(flowing, Ordering::Relaxed);
        if self.room.has_room() {
            self.stats.set_full(false);
        }
        if !self.is_crowded() {
            self.eased.notify_waiters();
        }
    }

    /// Whether attempts are made, and the last one succeeded.
    pub(super) fn is_well(&self) -> bool {
        let now = Instant::now();
        let blocked = self.lock().blocked_until;
        self.flowing.load(Ordering::Relaxed) && blocked.is_none_or(|until| until <= now)
    }

    /// Whether what is not delivered when the process ends stays on disk.
    pub fn is_durable(&self) -> bool {
        self.durable.is_some()
    }

    /// The room of the queue, in bytes; what is under way counts as well.
    pub fn room(&self) -> &Budget {
        &self.room
    }

    /// Whether a full queue holds and refuses clients.
    pub fn refuses(&self) -> bool {
        self.when_full.refuses()
    }

    /// How long until there is likely room again: until the next attempt, where none is made
    /// now. No longer than an SDK would wait at all (five of them give up after 10 s).
    pub fn retry_after(&self) -> Duration {
        let blocked = self.lock().blocked_until;
        let blocked = blocked.map_or(Duration::ZERO, |until| until - Instant::now());
        blocked.clamp(Duration::from_secs(1), Duration::from_secs(5))
    }

    /// A client finds no room.
    pub fn is_full(&self) {
        self.stats.set_full(true);
    }

    fn account(&self, signal: Signal) -> Arc<Account> {
        self.accounts
            .get(signal as usize)
            .cloned()
            .unwrap_or_default()
    }

    fn show(&self, state: &State) {
        let shipments = state.shipments.iter().map(|shipment| &shipment.batch);
        let mut items =
            state.queue.items() + shipments.clone().map(|batch| batch.items).sum::<u64>();
        let bytes = state.queue.bytes() + shipments.clone().map(Batch::bytes).sum::<usize>();
        items += state.given_up.items;
        let mut bytes = (bytes + state.given_up.bytes) as u64;
        if let Some(durable) = &self.durable {
            let waiting = durable.waiting();
            items += waiting.weight.iter().sum::<u64>();
            bytes += waiting.bytes;
            self.stats.set_unsafe_requests(durable.unsafe_requests());
        }
        let waiting = shipments.map(|batch| batch.received);
        let waiting = waiting.chain(state.given_up.received());
        let oldest = waiting.chain(state.queue.oldest_received()).min();
        self.stats.set_queue(items, bytes, oldest);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
