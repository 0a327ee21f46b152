//! One request on its way to one destination: parcels merged into it, or a part of one.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::batcher::Limits;
use super::bisection::{Bisection, Turn};
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
    /// What it is a part of, if it was refused together with others.
    pub bisection: Option<Arc<Bisection>>,
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
            bisection: None,
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

    /// Whether it is to be tried now. Of what was refused together, one part after the other is.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due <= now && !self.is_behind()
    }

    /// Whether it waits for another part of what it was refused with.
    pub fn is_behind(&self) -> bool {
        self.bisection.as_ref().is_some_and(|whole| whole.is_busy())
    }

    /// Whether it is a larger part of the same as `other`.
    pub(super) fn is_larger_part(&self, other: &Self) -> bool {
        let same = match (&self.bisection, &other.bisection) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        same && self.batch.chunks.len() > other.batch.chunks.len()
    }

    /// It is under way until the return value is dropped.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.bisection.as_ref().map(Bisection::turn)
    }

    /// The halves of a shipment of several requests that was refused for good, so that what
    /// spoiled it stands alone in the end; `None` with it where it is not to be halved: it is
    /// one request, or everything in it seems to be refused.
    pub fn halve(mut self) -> (Self, Option<Self>) {
        let requests = self.batch.chunks.len();
        if requests < 2 || self.receipt.claims() != requests {
            return (self, None);
        }
        let whole = self
            .bisection
            .get_or_insert_with(|| Arc::new(Bisection::of(requests)));
        if !whole.try_halve() {
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
            bisection: self.bisection.clone(),
            ..self
        };
        (front, Some(self))
    }
}

/// What is said of an item that cannot be sent.
pub const OVERSIZE: &str = "one item alone is above batch.max_bytes; it can not be sent";

/// Parts of a shipment that is above the limits of one request. An item that is above them
/// alone goes to `give_up`.
pub fn split(
    shipment: Shipment,
    limits: &Limits,
    mut give_up: impl FnMut(Batch, Receipt),
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
            if part.oversize {
                limited!(
                    error,
                    bytes = batch.bytes(),
                    max_bytes = limits.max_bytes,
                    signal = batch.signal.name(),
                    "{OVERSIZE}"
                );
                give_up(batch, duty);
                continue;
            }
            let rooms = rooms.clone();
            parts.push_back(Shipment {
                batch,
                receipt: duty,
                rooms,
                attempts: 0,
                due,
                bisection: None,
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
