//! When the queue is due, and how much of it goes into one request: pure decisions.
//!
//! The batcher stands behind the queue, not before it: when a sender is free it takes as much
//! as fits of what has gathered. So batches are small when it is quiet and large when it is
//! busy, and nobody waits for a timer unless `linger` asks for it.

use std::time::Duration;

use tokio::time::Instant;

use super::config::BatchConfig;
use super::queue::Class;
use crate::batch::Batch;
use crate::net::compression::Encoding;
use crate::otlp::Signal;

/// The bounds of one request.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Uncompressed bytes.
    pub max_bytes: usize,
    /// Items; `u64::MAX` is no limit.
    pub max_items: u64,
    /// How long the first may wait for others.
    pub linger: Duration,
    /// What the destination takes as it is: a request that came so compressed goes out alone.
    pub passes: Option<Encoding>,
}

/// Below this many uncompressed bytes a compressed request is worth merging with others and
/// compressing again.
const WORTH_PASSING: usize = 32 << 10;

/// How long small requests gather behind the one before them.
const GATHER: Duration = Duration::from_millis(5);

/// With this many bytes what waits is not small.
const GATHER_BYTES: usize = 64 << 10;

impl Limits {
    /// The bounds that this configuration sets.
    pub fn new(config: &BatchConfig, passes: Option<Encoding>) -> Self {
        Self {
            max_bytes: config.max_bytes.as_usize(),
            max_items: if config.max_items == 0 {
                u64::MAX
            } else {
                config.max_items
            },
            linger: config.linger,
            passes,
        }
    }

    /// How many of these batches, from the first on, go into one request: at least one.
    pub fn count<'a>(&self, batches: impl Iterator<Item = &'a Batch>) -> usize {
        let mut batches = batches.peekable();
        let Some(first) = batches.next() else {
            return 0;
        };
        if first.signal == Signal::Profiles || self.passes(first) {
            return 1;
        }
        let (mut bytes, mut items, mut count) = (first.bytes(), first.items, 1);
        for batch in batches {
            bytes += batch.bytes();
            items += batch.items;
            let fits = bytes <= self.max_bytes && items <= self.max_items;
            if !fits || batch.context != first.context || self.passes(batch) {
                break;
            }
            count += 1;
        }
        count
    }

    /// Whether the batch goes out in the compressed form in which it came.
    pub fn passes(&self, batch: &Batch) -> bool {
        let same = |(encoding, _): &(Encoding, _)| Some(*encoding) == self.passes;
        batch.encoded.as_ref().is_some_and(same)
            && batch.bytes() >= WORTH_PASSING
            && self.fits(batch)
    }

    /// Whether the batch is within the bounds of one request.
    pub fn fits(&self, batch: &Batch) -> bool {
        batch.bytes() <= self.max_bytes && batch.items <= self.max_items
    }

    /// When a request is due; `None` if nothing waits.
    ///
    /// The first small request after a quiet moment leaves at once; those that follow the `last`
    /// departure closely gather, since one request of many costs a fraction of many requests.
    pub fn due(&self, queue: &Class, now: Instant, last: Option<Instant>) -> Option<Due> {
        let signal = queue.oldest()?;
        let lingered = queue.front(signal)?.batch.received + self.linger;
        let gathered = last
            .filter(|_| queue.bytes() < GATHER_BYTES)
            .map(|last| last + GATHER);
        let until = gathered.map_or(lingered, |gathered| gathered.max(lingered));
        if until <= now || self.is_full(queue, signal) {
            return Some(Due::Now);
        }
        let enough_bytes = if lingered > now {
            self.max_bytes
        } else {
            GATHER_BYTES
        };
        Some(Due::At {
            until,
            enough_bytes,
        })
    }

    /// Whether a request of this signal would not get any larger by waiting.
    fn is_full(&self, queue: &Class, signal: Signal) -> bool {
        queue.bytes() >= self.max_bytes
            || queue.items() >= self.max_items
            || self.count(queue.iter(signal).map(|parcel| &parcel.batch))
                < queue.iter(signal).count()
    }
}

/// When a request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Not before this, unless so many bytes wait earlier.
    At {
        /// When it is due at the latest.
        until: Instant,
        /// What makes it due at once.
        enough_bytes: usize,
    },
}
