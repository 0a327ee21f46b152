//! What waits in a lane: parcels in order of arrival, by signal. Its bound in bytes is the
//! lane's room, which every parcel has a share of.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::batcher::Limits;
use crate::batch::Batch;
use crate::budget::Reservation;
use crate::otlp::Signal;
use crate::receipt::Receipt;

/// A request's share of the lane's room.
pub type Rooms = SmallVec<[Arc<Reservation>; 1]>;

/// One request's batch as it waits for delivery to one destination.
#[derive(Debug)]
pub struct Parcel {
    /// The bytes.
    pub batch: Batch,
    /// The duty to say what became of them.
    pub receipt: Receipt,
    /// Their share of the queue.
    pub room: Arc<Reservation>,
}

/// Parcels in order of arrival, by signal.
#[derive(Debug, Default)]
pub struct Queue {
    parcels: [VecDeque<Parcel>; Signal::ALL.len()],
    bytes: usize,
    items: u64,
    len: usize,
}

impl Queue {
    /// Takes a parcel in, behind all others of its signal.
    pub fn push(&mut self, parcel: Parcel) {
        self.bytes += parcel.batch.bytes();
        self.items += parcel.batch.items;
        self.len += 1;
        if let Some(lane) = self.parcels.get_mut(parcel.batch.signal as usize) {
            lane.push_back(parcel);
        }
    }

    /// The signal whose first parcel has waited longest.
    pub fn oldest(&self) -> Option<Signal> {
        Signal::ALL
            .into_iter()
            .filter_map(|signal| Some((self.front(signal)?.batch.received, signal)))
            .min()
            .map(|(_, signal)| signal)
    }

    /// The parcel of this signal that has waited longest.
    pub fn front(&self, signal: Signal) -> Option<&Parcel> {
        self.parcels.get(signal as usize)?.front()
    }

    /// All parcels of this signal, the oldest first.
    pub fn iter(&self, signal: Signal) -> impl Iterator<Item = &Parcel> {
        self.parcels.get(signal as usize).into_iter().flatten()
    }

    /// Takes out the parcel of this signal that has waited longest.
    pub fn pop(&mut self, signal: Signal) -> Option<Parcel> {
        let parcel = self.parcels.get_mut(signal as usize)?.pop_front()?;
        self.bytes -= parcel.batch.bytes();
        self.items -= parcel.batch.items;
        self.len -= 1;
        Some(parcel)
    }

    /// Takes out as many parcels of this signal, in order, as `limits` let into one request.
    pub fn pop_batch(&mut self, signal: Signal, limits: &Limits) -> SmallVec<[Parcel; 1]> {
        let count = limits.count(self.iter(signal).map(|parcel| &parcel.batch));
        (0..count).map_while(|_| self.pop(signal)).collect()
    }

    /// Takes out everything.
    pub fn drain(&mut self) -> Vec<Parcel> {
        self.bytes = 0;
        self.items = 0;
        self.len = 0;
        self.parcels
            .iter_mut()
            .flat_map(|lane| lane.drain(..))
            .collect()
    }

    /// Uncompressed bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Items that wait.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Parcels that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When the parcel that has waited longest was received.
    pub fn oldest_received(&self) -> Option<Instant> {
        self.front(self.oldest()?)
            .map(|parcel| parcel.batch.received)
    }
}
