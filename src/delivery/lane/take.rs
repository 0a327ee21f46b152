//! The way out of a lane: what the sender can do next, what it takes and puts back, and what is
//! left at the end.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::Lane;
use crate::batch::{Batch, Priority};
use crate::delivery::batcher::Due;
use crate::delivery::dead_letters::Cause;
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
        self.expire(now);
        let mut state = self.lock();
        if flush && !state.queue.is_empty() {
            return Next::Ready;
        }
        if state.shipments.iter().any(|shipment| shipment.is_due(now)) {
            return Next::Ready;
        }
        let waiting = state.shipments.iter().filter(|s| !s.is_behind());
        let retry = waiting.map(|shipment| shipment.due).min();
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
        let mut parts = shipment::split(shipment, &self.limits, |batch, receipt| {
            self.give_up(&batch, receipt, Reason::TooLarge, shipment::OVERSIZE);
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

    /// Takes back the halves of what was refused, to be tried before all that waits but the
    /// other half of what they are a half of.
    pub(in crate::delivery) fn put_back_halves(&self, front: Shipment, back: Shipment) {
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

    /// Whether nothing waits in memory.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && state.shipments.is_empty()
    }

    /// Gives up what is older than the queue's `max_age`.
    fn expire(&self, now: Instant) {
        let max_age = self.config.queue.max_age;
        let Some(limit) = now.checked_sub(max_age).filter(|_| !max_age.is_zero()) else {
            return;
        };
        let (parcels, shipments) = {
            let mut state = self.lock();
            let (old, young) = std::mem::take(&mut state.shipments)
                .into_iter()
                .partition::<Vec<_>, _>(|shipment| shipment.batch.received < limit);
            state.shipments = young.into();
            (state.queue.expired(limit), old)
        };
        let parcels = parcels.into_iter().map(|p| (p.batch, p.receipt));
        let shipments = shipments.into_iter().map(|s| (s.batch, s.receipt));
        for (batch, receipt) in parcels.chain(shipments) {
            self.give_up(&batch, receipt, Reason::TooOld, "older than queue.max_age");
        }
    }

    /// Gives a batch up for good: into the dead letters where its bytes are worth keeping.
    pub(in crate::delivery) fn give_up(
        &self,
        batch: &Batch,
        receipt: Receipt,
        reason: Reason,
        cause: &str,
    ) {
        let cause = Cause {
            reason,
            text: cause,
        };
        self.dead_letters.give_up(&self.name, batch, receipt, cause);
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
        let (parcels, mut shipments) = {
            let mut state = self.lock();
            (state.queue.drain(), std::mem::take(&mut state.shipments))
        };
        let mut parcels = VecDeque::from(parcels);
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
        let shipments = shipments.into_iter().map(|s| (s.batch, s.receipt));
        self.look().await;
        let (mut lost, mut why) = (0, String::new());
        for (batch, receipt) in parcels.chain(shipments) {
            if let Err((receipt, cause)) = self.keep(&batch, receipt).await {
                lost += receipt.items();
                why = cause;
                receipt.settle(Fate::Dropped(reason));
            }
        }
        self.keep_unread();
        (lost, why)
    }
}

/// Which of them is due next.
fn soonest(shipments: &VecDeque<Shipment>) -> Option<usize> {
    let waiting = shipments.iter().enumerate();
    let waiting = waiting.filter(|(_, shipment)| !shipment.is_behind());
    let next = waiting.min_by_key(|(_, shipment)| shipment.due);
    next.map(|(index, _)| index)
}
