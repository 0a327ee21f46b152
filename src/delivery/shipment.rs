//! One request on its way to one destination: parcels merged into it, or a part of one.

use std::collections::VecDeque;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::batcher::Limits;
use super::queue::{Parcel, Rooms};
use crate::batch::{Batch, Chunks};
use crate::limited;
use crate::otlp::split::{self, SplitLimit};
use crate::receipt::Receipt;
use crate::telemetry::ledger::Fate;

/// One request and how often it was tried.
#[derive(Debug)]
pub struct Shipment {
    /// The bytes.
    pub batch: Batch,
    /// The duty to say what became of them.
    pub receipt: Receipt,
    /// Their share of the queue; given back with the shipment.
    pub rooms: Rooms,
    /// Attempts that failed.
    pub attempts: u32,
    /// Not to be tried before this.
    pub due: Instant,
}

impl Shipment {
    /// A request of one parcel.
    pub fn of(parcel: Parcel, now: Instant) -> Self {
        let Parcel {
            batch,
            receipt,
            room,
        } = parcel;
        Self {
            batch,
            receipt,
            rooms: Rooms::from_elem(room, 1),
            attempts: 0,
            due: now,
        }
    }

    /// One request of all these parcels, by joining their lists of chunks; `None` if there are
    /// none.
    pub fn merge(parcels: SmallVec<[Parcel; 1]>, now: Instant) -> Option<Self> {
        let mut parcels = parcels.into_iter();
        let mut whole = Self::of(parcels.next()?, now);
        for Parcel {
            batch,
            receipt,
            room,
        } in parcels
        {
            whole.batch.chunks.extend(batch.chunks);
            whole.batch.items += batch.items;
            whole.batch.reservations.extend(batch.reservations);
            whole.batch.encoded = None;
            // The client that waits the shortest must have its answer in time.
            let deadlines = [whole.batch.deadline, batch.deadline];
            whole.batch.deadline = deadlines.into_iter().flatten().min();
            whole.receipt.merge(receipt);
            whole.rooms.push(room);
        }
        Some(whole)
    }

    /// Whether it is to be tried now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Of how many requests it is merged, as far as these can be told apart.
    fn requests(&self) -> usize {
        let requests = self.batch.chunks.len();
        match self.receipt.claims() == requests {
            true => requests,
            false => 1,
        }
    }

    /// The halves of a shipment of several requests that was refused for good, so that what
    /// spoiled it stands alone in the end; `None` with it where it is one request. All of n
    /// requests are told apart in 2 n - 1 attempts at the most.
    pub fn halve(mut self) -> (Self, Option<Self>) {
        let requests = self.requests();
        if requests < 2 {
            return (self, None);
        }
        let count = requests / 2;
        let receipt = self.receipt.split_off_claims(count);
        let batch = Batch {
            chunks: self.batch.chunks.drain(..count).collect(),
            items: receipt.items(),
            reservations: split_off(&mut self.batch.reservations, count, requests),
            ..self.batch.clone()
        };
        self.batch.items = self.receipt.items();
        let front = Self {
            batch,
            receipt,
            rooms: split_off(&mut self.rooms, count, requests),
            attempts: self.attempts,
            due: self.due,
        };
        (front, Some(self))
    }

    /// The requests that it was merged of, in order.
    pub fn take_apart(self) -> Vec<Self> {
        let mut requests = Vec::new();
        let mut left = vec![self];
        while let Some(part) = left.pop() {
            let (front, back) = part.halve();
            match back {
                Some(back) => left.extend([back, front]),
                None => requests.push(front),
            }
        }
        requests
    }
}

/// What the first `count` of so many requests hold: their own, or where it is not known whose is
/// what, all of it.
fn split_off(held: &mut Rooms, count: usize, requests: usize) -> Rooms {
    match held.len() == requests {
        true => held.drain(..count).collect(),
        false => held.clone(),
    }
}

/// What is said of an item that cannot be sent.
pub const OVERSIZE: &str = "one item alone is above batch.max_bytes; it can not be sent";

/// Parts of a shipment that is above the limits of one request. An item that is above them
/// alone goes to `give_up`.
pub fn split(
    shipment: Shipment,
    limits: &Limits,
    mut give_up: impl FnMut(Shipment),
) -> VecDeque<Shipment> {
    let Shipment {
        batch,
        mut receipt,
        rooms,
        due,
        ..
    } = shipment;
    let max_items = if limits.max_items == u64::MAX {
        0
    } else {
        limits.max_items
    };
    let limit = SplitLimit {
        max_bytes: limits.max_bytes,
        max_items,
    };
    let mut parts = VecDeque::new();
    for chunk in &batch.chunks {
        for part in split::split(batch.signal, chunk, limit) {
            let duty = receipt.split_off_front(part.items);
            let batch = Batch {
                chunks: Chunks::from_elem(part.bytes, 1),
                items: part.items,
                encoded: None,
                ..batch.clone()
            };
            let part_of = Shipment {
                batch,
                receipt: duty,
                rooms: rooms.clone(),
                attempts: 0,
                due,
            };
            if part.oversize {
                limited!(
                    error,
                    bytes = part_of.batch.bytes(),
                    max_bytes = limits.max_bytes,
                    signal = part_of.batch.signal.name(),
                    "{OVERSIZE}"
                );
                give_up(part_of);
            } else {
                parts.push_back(part_of);
            }
        }
    }
    // Requests without items are not worth sending on their own. Anything else that is left was
    // counted at the door and is in no part: dropped here, it is counted as a bug.
    if receipt.items() == 0 {
        receipt.settle(Fate::Delivered);
    }
    parts
}
