//! What flows: the bytes of one or more OTLP requests of one signal, and what goes with them.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::budget::Reservation;
use crate::net::compression::Encoding;
use crate::otlp::Signal;

/// The bytes of one or more requests. Each chunk is a whole, valid request body by itself, and
/// so is their concatenation (every OTLP request but profiles has one repeated top-level field).
pub type Chunks = SmallVec<[Bytes; 1]>;

/// One or more OTLP requests of one signal, as bytes. Cloning it shares them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What kind of request it is.
    pub signal: Signal,
    /// The uncompressed bytes.
    pub chunks: Chunks,
    /// Spans, data points, log records or profiles.
    pub items: u64,
    /// When the oldest of it was received.
    pub received: Instant,
    /// Batches of different contexts are never merged.
    pub context: Context,
    /// When a client that waits for delivery must have its answer.
    pub deadline: Option<Instant>,
    /// The client's own compressed body, while the batch is that one request, unchanged.
    pub encoded: Option<(Encoding, Bytes)>,
    /// What pays for the bytes; given back when the last clone is gone.
    pub reservations: SmallVec<[Arc<Reservation>; 1]>,
}

/// What of a request's surroundings stays with its items. Equality is what merging asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Whose it is, where tenants are told apart.
    pub tenant: Option<Arc<str>>,
    /// How much it matters.
    pub priority: Priority,
}

/// How much a batch matters: what is served more often, and given up last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Given up first.
    Low,
    /// What nobody has said anything of.
    #[default]
    Normal,
    /// Served most often.
    High,
}

impl Priority {
    /// Every priority, the least first; `as usize` is the index into it.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The word for it in TOML, metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.name().as_bytes() == name)
    }
}

/// How often each priority is served, beside the others: `weights = { high = 8, ... }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Turns of what matters most.
    pub high: u32,
    /// Turns of what nobody has said anything of.
    pub normal: u32,
    /// Turns of what is given up first.
    pub low: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            high: 8,
            normal: 3,
            low: 1,
        }
    }
}

impl Weights {
    /// How many turns this priority has, of the sum of all.
    pub const fn of(self, priority: Priority) -> u32 {
        match priority {
            Priority::Low => self.low,
            Priority::Normal => self.normal,
            Priority::High => self.high,
        }
    }
}

impl Batch {
    /// The number of uncompressed bytes.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Replaces the bytes by what `edit` makes of each chunk; `None` leaves a chunk as it is.
    pub fn rewrite(&mut self, mut edit: impl FnMut(&Bytes) -> Option<Bytes>) {
        for chunk in &mut self.chunks {
            if let Some(edited) = edit(chunk) {
                *chunk = edited;
                self.encoded = None;
            }
        }
    }
}
