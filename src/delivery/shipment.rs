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
use crate::telemetry::ledger::{Fate, Reason};

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
    /// One request of all these parcels, by joining their lists of chunks; `None` if there are
    /// none.
    pub fn merge(parcels: SmallVec<[Parcel; 1]>, now: Instant) -> Option<Self> {
        let mut parcels = parcels.into_iter();
        let Parcel {
            batch,
            receipt,
            room,
        } = parcels.next()?;
        let mut whole = Self {
            batch,
            receipt,
            rooms: Rooms::from_elem(room, 1),
            attempts: 0,
            due: now,
        };
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

    /// The two halves of a shipment of several requests; one of a single request stays whole.
    pub fn halve(mut self) -> (Self, Option<Self>) {
        let requests = self.batch.chunks.len();
        if requests < 2 || self.receipt.claims() != requests {
            return (self, None);
        }
        let receipt = self.receipt.split_off_claims(requests / 2);
        let batch = Batch {
            chunks: self.batch.chunks.drain(..requests / 2).collect(),
            items: receipt.items(),
            ..self.batch.clone()
        };
        self.batch.items = self.receipt.items();
        let front = Self {
            batch,
            receipt,
            rooms: self.rooms.clone(),
            ..self
        };
        (front, Some(self))
    }
}

/// Parts of a shipment that is above the limits of one request. An item that is above them
/// alone is given up here.
pub fn split(shipment: Shipment, limits: &Limits) -> VecDeque<Shipment> {
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
            if part.oversize {
                limited!(
                    error,
                    bytes = part.bytes.len(),
                    max_bytes = limits.max_bytes,
                    signal = batch.signal.name(),
                    "one item alone is above batch.max_bytes; it can not be sent and is dropped"
                );
                duty.settle(Fate::Dropped(Reason::TooLarge));
                continue;
            }
            let batch = Batch {
                chunks: Chunks::from_elem(part.bytes, 1),
                items: part.items,
                encoded: None,
                ..batch.clone()
            };
            let rooms = rooms.clone();
            parts.push_back(Shipment {
                batch,
                receipt: duty,
                rooms,
                attempts: 0,
                due,
            });
        }
    }
    // Requests without items are not worth sending on their own. Anything else that is left was
    // counted at the door and is in no part: dropped here, it is counted as a bug.
    if receipt.items() == 0 {
        receipt.settle(Fate::Delivered);
    }
    parts
}
