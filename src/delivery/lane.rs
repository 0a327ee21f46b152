//! A lane: one exporter's queue and the way into it. What one destination does, no other feels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::batcher::{Due, Limits};
use super::config::{LaneConfig, WhenFull};
use super::dead_letters::{Cause, DeadLetters};
use super::queue::{Parcel, Queue};
use super::shipment::{self, Shipment};
use crate::batch::Batch;
use crate::budget::{Budget, Reservation};
use crate::otlp::Signal;
use crate::receipt::{Receipt, Settlement};
use crate::telemetry::lanes::{LaneFacts, LaneStats, Lanes};
use crate::telemetry::ledger::{Account, Accounts, Fate, Reason};
use crate::telemetry::limited::Gate;

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
    pub(super) dead_letters: DeadLetters,
    room: Budget,
    accounts: Accounts,
    state: Mutex<State>,
    pub(super) wake: Notify,
    /// What the admin side reads.
    pub(super) stats: Arc<LaneStats>,
    /// The destination takes what it is sent.
    flowing: AtomicBool,
    /// Told when the lane is no longer crowded.
    eased: Notify,
    /// What is said of a full queue, once in ten seconds.
    said_full: Gate,
}

/// With this many bytes in a lane that flows it is crowded, and clients are paced; or with a
/// quarter of its room.
const CROWDED_BYTES: u64 = 8 << 20;

/// The longest that one request is paced. Short, so that a burst is taken in, not stretched.
const PACE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// Formed requests that wait for an attempt: parts of what was split, and those that failed.
    shipments: VecDeque<Shipment>,
    /// The sender wants to hear when so many bytes wait.
    wanted_bytes: Option<usize>,
    /// No attempt is made before this.
    blocked_until: Option<Instant>,
    /// The sender has ended: nothing that comes now would ever leave.
    closed: bool,
}

/// What the sender can do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Something can be sent now.
    Ready,
    /// Nothing can be sent before this.
    At(Instant),
    /// Nothing waits.
    Empty,
}

impl Lane {
    /// The lane of the exporter of this name.
    pub fn new(
        name: &str,
        config: LaneConfig,
        limits: Limits,
        accounts: Accounts,
        lanes: &Lanes,
    ) -> Self {
        let when_full = config.when_full();
        let stats = lanes.open(LaneFacts {
            exporter: name.to_owned(),
            required: config.required,
            when_full: when_full.name(),
            full_refuses: when_full.refuses(),
            queue_capacity_bytes: config.queue.max_bytes.bytes(),
        });
        Self {
            name: name.into(),
            when_full,
            stats,
            room: Budget::new(config.queue.max_bytes.bytes()),
            config,
            limits,
            dead_letters: DeadLetters::default(),
            accounts,
            state: Mutex::default(),
            wake: Notify::new(),
            flowing: AtomicBool::new(true),
            eased: Notify::new(),
            said_full: Gate::new(Duration::from_secs(10)),
        }
    }

    /// Keeps what is given up for good in the dead letters.
    #[must_use]
    pub fn with_dead_letters(mut self, dead_letters: DeadLetters) -> Self {
        self.dead_letters = dead_letters;
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
        let mark = CROWDED_BYTES.min(self.room.limit() / 4);
        self.flowing.load(Ordering::Relaxed) && self.room.used() > mark
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

    /// Takes a batch over; false if the lane is closed and does not. `room` is its share of the
    /// queue where the lane refuses; the other policies make room here, or give the batch up.
    #[must_use = "a batch that was not taken must not be acknowledged"]
    pub fn push(
        &self,
        batch: Batch,
        room: Option<Reservation>,
        settlement: Option<&Arc<Settlement>>,
    ) -> bool {
        let open = || Receipt::open(batch.items, self.account(batch.signal), settlement.cloned());
        let room = room.or_else(|| self.make_room(batch.bytes()));
        let Some(room) = room else {
            self.stats.set_full(true);
            self.give_up_full(open());
            return true;
        };
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        let receipt = open();
        state.queue.push(Parcel {
            batch,
            receipt,
            room: Arc::new(room),
        });
        self.show(&state);
        let enough =
            |wanted| state.queue.bytes() >= wanted || state.queue.items() >= self.limits.max_items;
        if state.wanted_bytes.is_some_and(enough) {
            state.wanted_bytes = None;
            drop(state);
            self.wake.notify_one();
        }
        true
    }

    fn account(&self, signal: Signal) -> Arc<Account> {
        self.accounts
            .get(signal as usize)
            .cloned()
            .unwrap_or_default()
    }

    /// Room for `bytes`, by giving up the oldest where the policy says so.
    fn make_room(&self, bytes: usize) -> Option<Reservation> {
        loop {
            if let Ok(room) = self.room.try_reserve_most(bytes) {
                return Some(room);
            }
            if self.when_full != WhenFull::DropOldest || !self.give_up_oldest() {
                return None;
            }
        }
    }

    /// Gives up the oldest that is not under way; false if there is none.
    fn give_up_oldest(&self) -> bool {
        let mut state = self.lock();
        let waiting = state
            .shipments
            .iter()
            .map(|shipment| shipment.batch.received)
            .min();
        let queued = state.queue.oldest_received();
        let receipt = match (waiting, queued) {
            (None, None) => return false,
            (Some(waiting), queued) if queued.is_none_or(|queued| waiting <= queued) => {
                let oldest = state
                    .shipments
                    .iter()
                    .position(|s| s.batch.received == waiting);
                oldest
                    .and_then(|index| state.shipments.remove(index))
                    .map(|s| s.receipt)
            }
            _ => {
                let signal = state.queue.oldest();
                signal
                    .and_then(|signal| state.queue.pop(signal))
                    .map(|parcel| parcel.receipt)
            }
        };
        drop(state);
        receipt.is_some_and(|receipt| {
            self.give_up_full(receipt);
            true
        })
    }

    /// What finds no room, or makes it for others, is given up.
    fn give_up_full(&self, receipt: Receipt) {
        if let Some(repeated) = self.said_full.pass() {
            tracing::warn!(
                repeated,
                exporter = %self.name,
                items = receipt.items(),
                when_full = self.when_full.name(),
                "the queue is full: requests are given up, and counted in the ledger as queue_full"
            );
        }
        receipt.settle(Fate::Dropped(Reason::QueueFull));
    }

    /// What the sender can do next; if nothing, it is woken by the next parcel.
    /// With `flush` nothing lingers or gathers.
    pub(super) fn next(&self, now: Instant, last: Option<Instant>, flush: bool) -> Next {
        let mut state = self.lock();
        if flush && !state.queue.is_empty() {
            return Next::Ready;
        }
        if state.shipments.iter().any(|shipment| shipment.is_due(now)) {
            return Next::Ready;
        }
        let waiting = state.shipments.iter().filter(|s| !s.is_behind());
        let retry = waiting.map(|shipment| shipment.due).min();
        let fresh = match self.limits.due(&state.queue, now, last) {
            Some(Due::Now(_)) => return Next::Ready,
            Some(Due::At {
                until,
                enough_bytes,
            }) => {
                state.wanted_bytes = Some(enough_bytes);
                Some(until)
            }
            None => {
                state.wanted_bytes = Some(0);
                None
            }
        };
        match [retry, fresh].into_iter().flatten().min() {
            Some(at) => Next::At(at),
            None => Next::Empty,
        }
    }

    /// Takes out what is to be sent next: what failed before and is due, else the oldest.
    pub(super) fn take(&self, now: Instant) -> Option<Shipment> {
        let mut state = self.lock();
        if let Some(index) = state
            .shipments
            .iter()
            .position(|shipment| shipment.is_due(now))
        {
            let shipment = state.shipments.remove(index);
            self.show(&state);
            return shipment;
        }
        let signal = state.queue.oldest()?;
        let parcels = state.queue.pop_batch(signal, &self.limits);
        self.show(&state);
        drop(state);
        let shipment = Shipment::merge(parcels, now)?;
        if self.limits.fits(&shipment.batch) || signal == Signal::Profiles {
            return Some(shipment);
        }
        let mut parts = shipment::split(shipment, &self.limits, |batch, receipt| {
            self.give_up(&batch, receipt, Reason::TooLarge, shipment::OVERSIZE);
        });
        let first = parts.pop_front();
        self.lock().shipments.extend(parts);
        first
    }

    /// Gives a batch up for good: into the dead letters where its bytes are worth keeping.
    pub(super) fn give_up(&self, batch: &Batch, receipt: Receipt, reason: Reason, cause: &str) {
        let cause = Cause {
            reason,
            text: cause,
        };
        self.dead_letters.give_up(&self.name, batch, receipt, cause);
    }

    /// Takes back what is to be tried again at `shipment.due`.
    pub(super) fn put_back(&self, shipment: Shipment) {
        let mut state = self.lock();
        state.shipments.push_back(shipment);
        self.show(&state);
    }

    /// Takes back the halves of what was refused, to be tried before all that waits but the
    /// other half of what they are a half of.
    pub(super) fn put_back_halves(&self, front: Shipment, back: Shipment) {
        let mut state = self.lock();
        let behind = state
            .shipments
            .front()
            .is_some_and(|next| next.is_larger_part(&front));
        let index = usize::from(behind);
        state.shipments.insert(index, back);
        state.shipments.insert(index, front);
        self.show(&state);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && state.shipments.is_empty()
    }

    /// Gives up all that waits, and takes nothing more; how many items that were.
    pub(super) fn close(&self, reason: Reason) -> u64 {
        let (parcels, shipments) = {
            let mut state = self.lock();
            state.closed = true;
            (state.queue.drain(), std::mem::take(&mut state.shipments))
        };
        let receipts = parcels
            .into_iter()
            .map(|parcel| parcel.receipt)
            .chain(shipments.into_iter().map(|shipment| shipment.receipt));
        let mut items = 0;
        for receipt in receipts {
            items += receipt.items();
            receipt.settle(Fate::Dropped(reason));
        }
        items
    }

    fn show(&self, state: &State) {
        let shipments = state.shipments.iter().map(|shipment| &shipment.batch);
        let items = state.queue.items() + shipments.clone().map(|batch| batch.items).sum::<u64>();
        let bytes = state.queue.bytes() + shipments.clone().map(Batch::bytes).sum::<usize>();
        let waiting = shipments.map(|batch| batch.received);
        let oldest = waiting.chain(state.queue.oldest_received()).min();
        self.stats.set_queue(items, bytes as u64, oldest);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
