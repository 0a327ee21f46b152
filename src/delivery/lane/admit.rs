//! The way into a lane: a batch finds room, is stored where the queue is on disk, and is taken
//! over with the duty to say what becomes of it.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Lane, State};
use crate::batch::{Batch, Priority};
use crate::budget::{Budget, Reservation};
use crate::delivery::config::{Order, QueueKind, WhenFull};
use crate::delivery::queue::Parcel;
use crate::delivery::record;
use crate::receipt::{Receipt, Settlement};
use crate::storage::{StorageError, Ticket};
use crate::telemetry::ledger::{Fate, Reason};

/// Room that a batch has found.
#[derive(Debug)]
pub enum Place {
    /// In memory.
    Memory(Reservation),
    /// On disk: it must be stored before it is pushed.
    Disk(Reservation),
}

impl Place {
    /// Splits off the share of one of the batches that it was found for.
    pub fn split_off(&mut self, batch: &Batch) -> Self {
        match self {
            Self::Memory(room) => Self::Memory(room.split_off(batch.bytes())),
            Self::Disk(room) => Self::Disk(room.split_off(record::room(batch))),
        }
    }
}

/// Where a batch lies when it is pushed.
#[derive(Debug)]
pub enum Spot {
    /// In memory.
    Memory(Reservation),
    /// On disk, and for as long as there is room for that in memory as well.
    Disk(Ticket),
    /// Nowhere: it is given up, for this reason.
    Nowhere(Reason),
}

/// How full a queue may be, in percent, for a batch of each priority to find room: the higher
/// ones have some that the lower cannot take.
const SHARES: [u64; Priority::ALL.len()] = [70, 90, 100];

/// How often a batch of low priority looks again for room.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

impl Lane {
    /// Room for all of these batches, waiting until `deadline` (for ever, with `wait`) in a
    /// lane that refuses.
    pub async fn find_room(&self, batches: &[&Batch], deadline: Instant) -> Option<Place> {
        if let Some(place) = self.try_room(batches) {
            return Some(place);
        }
        let found = async {
            while !self.has_share(batches) {
                sleep(LOOK_AGAIN).await;
            }
            match self.config.queue.kind {
                QueueKind::Memory => Place::Memory(self.room.reserve_most(plain(batches)).await),
                _ => Place::Disk(self.room.reserve_most(stored(batches)).await),
            }
        };
        match self.when_full {
            WhenFull::Wait => Some(found.await),
            _ => timeout_at(deadline, found).await.ok(),
        }
    }

    /// Room for a batch in a lane that refuses nobody: others are given up for it where the
    /// policy says so.
    pub async fn make_room(&self, batch: &Batch) -> Option<Place> {
        if let Some(place) = self.try_room(&[batch]) {
            return Some(place);
        }
        if self.when_full != WhenFull::DropOldest {
            return None;
        }
        // One after the other: a file that is given up makes room for many.
        let _turn = self.shedding.lock().await;
        loop {
            if let Some(place) = self.try_room(&[batch]) {
                return Some(place);
            }
            if !self.give_up_oldest(batch).await {
                return None;
            }
        }
    }

    fn try_room(&self, batches: &[&Batch]) -> Option<Place> {
        if !self.has_share(batches) {
            return None;
        }
        let reserve = |room: &Budget, bytes| room.try_reserve_most(bytes).ok();
        let Some(durable) = &self.durable else {
            return reserve(&self.room, plain(batches)).map(Place::Memory);
        };
        if self.config.queue.kind == QueueKind::Spill && self.spill_is_well() {
            let memory = durable.resident.try_reserve(plain(batches)).ok();
            if let Some(room) = memory {
                return Some(Place::Memory(room));
            }
        }
        reserve(&self.room, stored(batches)).map(Place::Disk)
    }

    /// Whether a batch of this priority may take what is free.
    fn has_share(&self, batches: &[&Batch]) -> bool {
        // Where others are given up, the higher ones take what they need from the lower.
        let shares = self.classed && self.when_full != WhenFull::DropOldest;
        let Some(batch) = batches.first().filter(|_| shares) else {
            return true;
        };
        let share = SHARES.get(batch.context.priority as usize);
        let mark = self.room.limit() / 100 * share.copied().unwrap_or(100);
        share == Some(&100) || self.room.used() < mark
    }

    /// Whether memory alone serves a lane that spills: nothing waits on disk, and attempts are
    /// made.
    fn spill_is_well(&self) -> bool {
        let backlog = self.durable.as_ref().is_some_and(|d| d.has_backlog());
        let now = Instant::now();
        let blocked = self.lock().blocked_until.is_some_and(|until| until > now);
        (!backlog || self.config.queue.order == Order::FreshFirst) && !blocked
    }

    /// Writes a batch to disk.
    ///
    /// # Errors
    /// The disk does not take it for now.
    pub async fn store(&self, batch: &Batch, room: Reservation) -> Result<Ticket, StorageError> {
        let Some(durable) = &self.durable else {
            return Err(StorageError("this queue is not on disk".to_owned()));
        };
        let log = durable.log(batch.context.priority);
        let stored = log.append(record::encode(batch), room).await;
        if let Err(error) = &stored
            && let Some(repeated) = self.said_disk.pass()
        {
            tracing::error!(
                repeated,
                exporter = %self.name,
                %error,
                when_full = self.when_full.name(),
                "the queue cannot be written to; it is tried again with each request"
            );
        }
        self.stats.set_disk_fails(stored.is_err());
        if stored.is_err() {
            self.retry_letters();
        }
        stored
    }

    /// Memory for a batch that the disk did not take, in a lane that refuses nobody.
    pub fn instead_of_disk(&self, batch: &Batch) -> Spot {
        let memory = self.durable.as_ref().map(|durable| &durable.resident);
        let room = memory.and_then(|memory| memory.try_reserve_most(batch.bytes()).ok());
        room.map_or(Spot::Nowhere(Reason::StorageFailed), Spot::Memory)
    }

    /// Takes a batch over; false if the lane is closed and does not.
    #[must_use = "a batch that was not taken must not be acknowledged"]
    pub fn push(&self, batch: Batch, spot: Spot, settlement: Option<&Arc<Settlement>>) -> bool {
        match spot {
            Spot::Memory(room) => self.push_parcel(batch, room, None, settlement),
            Spot::Disk(ticket) => self.push_stored(batch, ticket, settlement),
            Spot::Nowhere(reason) => {
                let account = self.account(batch.signal);
                let receipt = Receipt::open(batch.items, account, settlement.cloned());
                if reason == Reason::QueueFull {
                    self.stats.set_full(true);
                    self.give_up_full(receipt);
                } else {
                    receipt.settle(Fate::Dropped(reason));
                }
                true
            }
        }
    }

    fn push_stored(
        &self,
        batch: Batch,
        ticket: Ticket,
        settlement: Option<&Arc<Settlement>>,
    ) -> bool {
        let Some(durable) = &self.durable else {
            return false;
        };
        let in_turn = !durable.has_backlog()
            || self.config.queue.order == Order::FreshFirst
            || settlement.is_some();
        let room = if in_turn {
            durable.resident.try_reserve_most(batch.bytes()).ok()
        } else {
            None
        };
        // A client that waits for delivery must hear of it, so its receipt stays in memory.
        let room = room.or_else(|| settlement.map(|_| Reservation::default()));
        match room {
            Some(room) => self.push_parcel(batch, room, Some(ticket), settlement),
            None => {
                // Under the lock: what comes after the end would be in nobody's count.
                let state = self.lock();
                if state.closed {
                    return false;
                }
                self.account(batch.signal).receive(batch.items);
                durable.unload(ticket);
                true
            }
        }
    }

    fn push_parcel(
        &self,
        batch: Batch,
        room: Reservation,
        ticket: Option<Ticket>,
        settlement: Option<&Arc<Settlement>>,
    ) -> bool {
        let account = self.account(batch.signal);
        let state = self.lock();
        if state.closed {
            return false;
        }
        account.receive(batch.items);
        let receipt = Receipt::resume(
            batch.items,
            account,
            settlement.cloned(),
            ticket.map(Arc::new),
        );
        let room = Arc::new(room);
        self.enqueue(
            state,
            Parcel {
                batch,
                receipt,
                room,
            },
        );
        true
    }

    /// Lets a parcel in, and wakes the sender where it waits for as much as there is now.
    pub(super) fn enqueue(&self, mut state: MutexGuard<'_, State>, parcel: Parcel) {
        // Whoever sends has looked when the next grows too old, and found none.
        let is_first = state.queue.is_empty() && !self.config.queue.max_age.is_zero();
        state.queue.push(parcel);
        self.show(&state);
        let enough =
            |wanted| state.queue.bytes() >= wanted || state.queue.items() >= self.limits.max_items;
        if is_first || state.wanted_bytes.is_some_and(enough) {
            state.wanted_bytes = None;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Gives up the oldest of the lowest priority, unless that is above the batch's own; false if
    /// there is none.
    async fn give_up_oldest(&self, batch: &Batch) -> bool {
        let priority = batch.context.priority;
        if let Some(durable) = &self.durable {
            return self.give_up_file(durable, priority).await;
        }
        let receipt = self.pop_oldest(priority);
        receipt.is_some_and(|receipt| {
            self.give_up_full(receipt);
            true
        })
    }

    /// What finds no room, or makes it for others, is given up.
    pub(super) fn give_up_full(&self, receipt: Receipt) {
        self.say_given_up(receipt.items());
        receipt.settle(Fate::Dropped(Reason::QueueFull));
    }

    pub(super) fn say_given_up(&self, items: u64) {
        if let Some(repeated) = self.said_full.pass() {
            tracing::warn!(
                repeated,
                exporter = %self.name,
                items,
                when_full = self.when_full.name(),
                "the queue is full: requests are given up, and counted in the ledger as queue_full"
            );
        }
    }
}

fn plain(batches: &[&Batch]) -> usize {
    batches.iter().map(|batch| batch.bytes()).sum()
}

fn stored(batches: &[&Batch]) -> usize {
    batches.iter().map(|batch| record::room(batch)).sum()
}
