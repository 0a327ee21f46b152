//! What waits in a lane's memory: parcels in order of arrival, by priority and signal. Its bound
//! in bytes is the lane's room, which every parcel has a share of.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::batcher::Limits;
use crate::batch::{Batch, Priority};
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

/// What waits, by priority. The priorities take turns by weight: smooth weighted round robin, as
/// it is known from load balancers, so that low ones are served in between and never starved.
#[derive(Debug)]
pub struct Queue {
    classes: [Class; Priority::ALL.len()],
    weights: [u32; Priority::ALL.len()],
    credits: [i64; Priority::ALL.len()],
}

impl Queue {
    /// An empty queue; `weights` by priority, the least first.
    pub fn new(weights: [u32; Priority::ALL.len()]) -> Self {
        Self {
            classes: Default::default(),
            weights,
            credits: Default::default(),
        }
    }

    /// Takes a parcel in, behind all others of its priority and signal.
    pub fn push(&mut self, parcel: Parcel) {
        let class = parcel.batch.context.priority;
        if let Some(class) = self.classes.get_mut(class as usize) {
            class.push(parcel);
        }
    }

    /// What waits of each priority, the least first.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter()
    }

    /// The class whose turn it is; `None` if nothing waits.
    pub fn turn(&mut self) -> Option<&mut Class> {
        let mut waiting = self.classes.iter().zip(self.weights).zip(&mut self.credits);
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, ((class, weight), credit)) in waiting.by_ref().enumerate() {
            if class.is_empty() {
                *credit = 0;
                continue;
            }
            *credit += i64::from(weight);
            total += i64::from(weight);
            if best.is_none_or(|(_, most)| *credit >= most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some(credit) = self.credits.get_mut(index) {
            *credit -= total;
        }
        self.classes.get_mut(index)
    }

    /// The lowest class in which anything waits, and its priority.
    pub fn lowest(&mut self) -> Option<(Priority, &mut Class)> {
        let mut classes = Priority::ALL.into_iter().zip(&mut self.classes);
        classes.find(|(_, class)| !class.is_empty())
    }

    /// Takes out the parcels that were received before `limit`.
    pub fn expired(&mut self, limit: Instant) -> Vec<Parcel> {
        let mut expired = Vec::new();
        for class in &mut self.classes {
            for signal in Signal::ALL {
                while class
                    .front(signal)
                    .is_some_and(|p| p.batch.received < limit)
                {
                    expired.extend(class.pop(signal));
                }
            }
        }
        expired
    }

    /// All parcels.
    pub fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        let signals = self.classes.iter().flat_map(|class| &class.parcels);
        signals.flatten()
    }

    /// Takes out the parcels that are `wanted`.
    pub fn take_out(&mut self, wanted: impl Fn(&Parcel) -> bool) -> Vec<Parcel> {
        let (out, stay): (Vec<_>, Vec<_>) = self.drain().into_iter().partition(wanted);
        for parcel in stay {
            self.push(parcel);
        }
        out
    }

    /// Takes out everything.
    pub fn drain(&mut self) -> Vec<Parcel> {
        self.classes.iter_mut().flat_map(Class::drain).collect()
    }

    /// Uncompressed bytes that wait.
    pub fn bytes(&self) -> usize {
        self.classes().map(Class::bytes).sum()
    }

    /// Items that wait.
    pub fn items(&self) -> u64 {
        self.classes().map(Class::items).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.classes().all(Class::is_empty)
    }

    /// When the parcel that has waited longest was received.
    pub fn oldest_received(&self) -> Option<Instant> {
        self.classes().filter_map(Class::oldest_received).min()
    }
}

/// Parcels of one priority in order of arrival, by signal.
#[derive(Debug, Default)]
pub struct Class {
    parcels: [VecDeque<Parcel>; Signal::ALL.len()],
    bytes: usize,
    items: u64,
    len: usize,
}

impl Class {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Chunks, Context};

    fn parcel(priority: Priority) -> Parcel {
        let batch = Batch {
            signal: Signal::Logs,
            chunks: Chunks::new(),
            items: 0,
            received: Instant::now(),
            context: Context {
                priority,
                ..Context::default()
            },
            deadline: None,
            encoded: None,
            reservations: SmallVec::new(),
        };
        Parcel {
            batch,
            receipt: Receipt::default(),
            room: Arc::default(),
        }
    }

    fn served(queue: &mut Queue, turns: usize) -> String {
        let turn = |_| {
            let parcel = queue.turn()?.pop(Signal::Logs)?;
            parcel.batch.context.priority.name().chars().next()
        };
        (0..turns).map_while(turn).collect()
    }

    #[test]
    fn priorities_take_turns_by_weight_and_none_is_starved() {
        let mut queue = Queue::new([1, 3, 8]);
        for _ in 0..24 {
            for priority in Priority::ALL {
                queue.push(parcel(priority));
            }
        }
        let first = served(&mut queue, 12);
        assert_eq!(first, "hnhhlhnhhhnh");
        // What is left alone is served at once.
        let rest = served(&mut queue, 100);
        assert_eq!(rest.len(), 60);
        assert!(rest.ends_with(&"l".repeat(10)), "{rest}");
        assert!(queue.is_empty());
    }

    #[test]
    fn the_lowest_priority_that_waits_is_found() {
        let mut queue = Queue::new([1, 1, 1]);
        assert!(queue.lowest().is_none());
        queue.push(parcel(Priority::High));
        assert_eq!(queue.lowest().map(|(p, _)| p), Some(Priority::High));
        queue.push(parcel(Priority::Low));
        assert_eq!(queue.lowest().map(|(p, _)| p), Some(Priority::Low));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_old_is_taken_out_from_each_priority() {
        let mut queue = Queue::new([1, 1, 1]);
        queue.push(parcel(Priority::High));
        queue.push(parcel(Priority::Low));
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        let now = Instant::now();
        queue.push(parcel(Priority::Low));
        assert_eq!(queue.expired(now).len(), 2);
        assert_eq!(queue.drain().len(), 1);
    }
}
