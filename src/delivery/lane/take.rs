//! The way out of a lane: what the sender can do next, what it takes and puts back, and what is
//! left at the end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Lane;
use crate::batch::{Batch, Priority};
use crate::delivery::batcher::Due;
use crate::delivery::shipment::{self, Shipment};
use crate::otlp::Signal;
use crate::receipt::Receipt;
use crate::telemetry::ledger::{Fate, Reason};

/// What the sender can do next.
#[derive(Debug)]
pub(in crate::delivery) enum Next {
    /// Something can be sent now.
    Ready,
    /// Nothing can be sent before this.
    At(Instant),
    /// Nothing waits.
    Empty,
}

impl Lane {
    /// What the sender can do next; if nothing, it is woken by the next parcel.
    /// With `flush` nothing lingers or gathers.
    pub(in crate::delivery) fn next(
        &self,
        now: Instant,
        last: Option<Instant>,
        flush: bool,
    ) -> Next {
        let mut state = self.lock();
        if flush && !state.queue.is_empty() {
            return Next::Ready;
        }
        if state.shipments.iter().any(|shipment| shipment.is_due(now)) {
            return Next::Ready;
        }
        let retry = state.shipments.iter().map(|s| s.due).min();
        let mut fresh: Option<(Instant, usize)> = None;
        for class in state.queue.classes() {
            match self.limits.due(class, now, last) {
                Some(Due::Now) => return Next::Ready,
                Some(Due::At {
                    until,
                    enough_bytes,
                }) => {
                    let (sooner, fewer) = fresh.unwrap_or((until, enough_bytes));
                    fresh = Some((sooner.min(until), fewer.min(enough_bytes)));
                }
                None => {}
            }
        }
        state.wanted_bytes = Some(fresh.map_or(0, |(_, bytes)| bytes));
        match [retry, fresh.map(|(until, _)| until)]
            .into_iter()
            .flatten()
            .min()
        {
            Some(at) => Next::At(at),
            None => Next::Empty,
        }
    }

    /// Takes out what is to be sent next: what failed before and is due, else the oldest of the
    /// priority whose turn it is. A `probe` does not wait: for want of those it is what failed
    /// before and is due next.
    pub(in crate::delivery) fn take(&self, now: Instant, probe: bool) -> Option<Shipment> {
        let mut state = self.lock();
        let mut again = state.shipments.iter().position(|s| s.is_due(now));
        if probe && state.queue.is_empty() {
            again = again.or_else(|| soonest(&state.shipments));
        }
        if let Some(index) = again {
            let shipment = state.shipments.remove(index);
            self.show(&state);
            return shipment;
        }
        let class = state.queue.turn()?;
        let signal = class.oldest()?;
        let parcels = class.pop_batch(signal, &self.limits);
        self.show(&state);
        drop(state);
        let shipment = Shipment::merge(parcels, now)?;
        if self.limits.fits(&shipment.batch) || signal == Signal::Profiles {
            return Some(shipment);
        }
        let mut parts = shipment::split(shipment, &self.limits, |part| {
            self.give_up(part, Reason::TooLarge, shipment::OVERSIZE);
        });
        let first = parts.pop_front();
        self.lock().shipments.extend(parts);
        first
    }

    /// Takes back what is to be tried again at `shipment.due`.
    pub(in crate::delivery) fn put_back(&self, shipment: Shipment) {
        let mut state = self.lock();
        state.shipments.push_back(shipment);
        self.show(&state);
    }

    /// Ends the pauses of all that failed before: the destination takes requests again, and how
    /// often it did not says nothing any more.
    pub(in crate::delivery) fn end_pauses(&self, now: Instant) {
        for shipment in &mut self.lock().shipments {
            shipment.due = shipment.due.min(now);
        }
    }

    /// Takes back the halves of what was refused, to be tried before all else that waits.
    pub(in crate::delivery) fn put_back_halves(&self, front: Shipment, back: Shipment) {
        let mut state = self.lock();
        state.shipments.push_front(back);
        state.shipments.push_front(front);
        self.show(&state);
    }

    /// Whether nothing waits in memory.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && state.shipments.is_empty() && state.given_up.is_empty()
    }

    /// Gives up what is older than the queue's `max_age`; when the next of what waits will be.
    pub(in crate::delivery) fn expire(&self, now: Instant) -> Option<Instant> {
        let max_age = self.config.queue.max_age;
        if max_age.is_zero() {
            return None;
        }
        for shipment in self.take_too_old(now.checked_sub(max_age), now) {
            self.say_too_old(&shipment, now);
            self.give_up(shipment, Reason::TooOld, "older than queue.max_age");
        }
        let state = self.lock();
        let waiting = state.shipments.iter().map(|s| s.batch.received);
        let oldest = waiting.chain(state.queue.oldest_received()).min()?;
        oldest.checked_add(max_age + Duration::from_millis(1))
    }

    /// Takes out what was received before `limit`, if there is any such time.
    fn take_too_old(&self, limit: Option<Instant>, now: Instant) -> Vec<Shipment> {
        let Some(limit) = limit else {
            return Vec::new();
        };
        let mut state = self.lock();
        let (mut old, young) = std::mem::take(&mut state.shipments)
            .into_iter()
            .partition::<Vec<_>, _>(|shipment| shipment.batch.received < limit);
        state.shipments = young.into();
        let parcels = state.queue.expired(limit);
        old.extend(parcels.into_iter().map(|p| Shipment::of(p, now)));
        old
    }

    fn say_too_old(&self, shipment: &Shipment, now: Instant) {
        if let Some(repeated) = self.said_old.pass() {
            tracing::warn!(
                repeated,
                exporter = %self.name,
                items = shipment.receipt.items(),
                age = ?now.saturating_duration_since(shipment.batch.received),
                "a request is given up, undelivered: it is older than queue.max_age; {}",
                self.dead_letters.whereabouts()
            );
        }
    }

    /// The oldest, out of memory, of the lowest priority that is not above this one.
    pub(super) fn pop_oldest(&self, most: Priority) -> Option<Receipt> {
        let mut state = self.lock();
        let waiting = state
            .shipments
            .iter()
            .filter(|shipment| shipment.batch.context.priority <= most)
            .map(|shipment| shipment.batch.received)
            .min();
        let queued = state
            .queue
            .lowest()
            .filter(|(priority, _)| *priority <= most)
            .and_then(|(_, class)| class.oldest_received());
        if let Some(waiting) = waiting.filter(|w| queued.is_none_or(|queued| *w <= queued)) {
            let oldest = state
                .shipments
                .iter()
                .position(|s| s.batch.received == waiting && s.batch.context.priority <= most)?;
            return state.shipments.remove(oldest).map(|s| s.receipt);
        }
        let (priority, class) = state.queue.lowest()?;
        if priority > most {
            return None;
        }
        let parcel = class.oldest().and_then(|signal| class.pop(signal))?;
        Some(parcel.receipt)
    }

    /// Leaves all that waits on disk for the next start. From the first on that cannot be written
    /// there, it waits on.
    ///
    /// # Errors
    /// Why that one cannot be.
    pub(in crate::delivery) async fn keep_all(&self) -> Result<(), String> {
        self.look().await;
        let (parcels, shipments) = {
            let mut state = self.lock();
            (state.queue.drain(), std::mem::take(&mut state.shipments))
        };
        let mut parcels = VecDeque::from(parcels);
        // One by one, so that the next start can tell them apart.
        let shipments = shipments.into_iter().flat_map(Shipment::take_apart);
        let mut shipments: VecDeque<Shipment> = shipments.collect();
        let mut result = Ok(());
        while let Some(first) = shipments.front_mut().filter(|_| result.is_ok()) {
            result = self.keep_in_place(&first.batch, &mut first.receipt).await;
            if result.is_ok() {
                shipments.pop_front();
            }
        }
        while let Some(first) = parcels.front_mut().filter(|_| result.is_ok()) {
            result = self.keep_in_place(&first.batch, &mut first.receipt).await;
            if result.is_ok() {
                parcels.pop_front();
            }
        }
        let mut state = self.lock();
        state.shipments.append(&mut shipments);
        for parcel in parcels {
            state.queue.push(parcel);
        }
        self.show(&state);
        result
    }

    async fn keep_in_place(&self, batch: &Batch, receipt: &mut Receipt) -> Result<(), String> {
        let kept = self.keep(batch, std::mem::take(receipt)).await;
        kept.map_err(|(back, cause)| {
            *receipt = back;
            cause
        })
    }

    /// Takes nothing more, and ends the duty for all that waits: it stays on disk where it can,
    /// and else is given up. How many items were lost, and why they are not on disk.
    pub(in crate::delivery) async fn close(&self, reason: Reason) -> (u64, String) {
        let (parcels, shipments) = {
            let mut state = self.lock();
            state.closed = true;
            (state.queue.drain(), std::mem::take(&mut state.shipments))
        };
        let parcels = parcels.into_iter().map(|p| (p.batch, p.receipt));
        // One by one, so that the next start can tell them apart.
        let requests = shipments.into_iter().flat_map(Shipment::take_apart);
        let requests = requests.map(|s| (s.batch, s.receipt));
        self.look().await;
        let (mut lost, mut why) = (0, String::new());
        for (batch, receipt) in parcels.chain(requests) {
            if let Err((receipt, cause)) = self.keep(&batch, receipt).await {
                lost += receipt.items();
                why = cause;
                receipt.settle(Fate::Dropped(reason));
            }
        }
        lost += self.close_given_up().await;
        self.keep_unread();
        (lost, why)
    }
}

/// Which of them is due next.
fn soonest(shipments: &VecDeque<Shipment>) -> Option<usize> {
    let waiting = shipments.iter().enumerate();
    let next = waiting.min_by_key(|(_, shipment)| shipment.due);
    next.map(|(index, _)| index)
}
