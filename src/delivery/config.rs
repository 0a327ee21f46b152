//! What an operator can set for the lane of any exporter. These keys stand in the exporter's
//! own table, beside those of its type.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::storage::Fsync;
use crate::units::{self, ByteSize};

/// One exporter's lane.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaneConfig {
    /// Whether it takes part in the acknowledgement.
    pub required: bool,
    /// The longest that one attempt may take.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// How many attempts run at once.
    #[serde(deserialize_with = "in_flight")]
    pub max_in_flight: InFlight,
    /// What waits for delivery.
    pub queue: QueueConfig,
    /// How requests are merged into one.
    pub batch: BatchConfig,
    /// What follows a retryable failure.
    pub retry_on_failure: RetryConfig,
    /// When to stop trying for a while.
    pub breaker: BreakerConfig,
}

impl LaneConfig {
    /// The keys of a lane, as they stand in an exporter's table.
    pub const KEYS: [&'static str; 7] = [
        "required",
        "timeout",
        "max_in_flight",
        "queue",
        "batch",
        "retry_on_failure",
        "breaker",
    ];
}

impl LaneConfig {
    /// What happens when the queue is full, said or not.
    pub fn when_full(&self) -> WhenFull {
        let default = if self.required {
            WhenFull::Refuse
        } else {
            WhenFull::DropOldest
        };
        self.queue.when_full.unwrap_or(default)
    }
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            required: true,
            timeout: Duration::from_secs(10),
            max_in_flight: InFlight::fixed(8),
            queue: QueueConfig::default(),
            batch: BatchConfig::default(),
            retry_on_failure: RetryConfig::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

/// `max_in_flight = 8`, `"adaptive"`, or `{ min = 1, max = 64 }`, which is adaptive too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InFlight {
    /// Where the limit begins, and the least that it comes down to.
    pub min: usize,
    /// The most that it grows to.
    pub max: usize,
}

impl InFlight {
    /// So many, whatever attempts tell.
    pub const fn fixed(limit: usize) -> Self {
        Self {
            min: limit,
            max: limit,
        }
    }

    /// `"adaptive"`: the most is well below the 100 streams that gRPC servers allow a connection.
    pub const ADAPTIVE: Self = Self { min: 1, max: 64 };
}

/// The bounds of `"adaptive"`, which a table may change.
impl Default for InFlight {
    fn default() -> Self {
        Self::ADAPTIVE
    }
}

/// Reads the three ways to write it.
fn in_flight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InFlight, D::Error> {
    deserializer.deserialize_any(InFlightVisitor)
}

struct InFlightVisitor;

const WANTED_IN_FLIGHT: &str =
    "a whole number, \"adaptive\", or a table such as { min = 1, max = 64 }";

impl<'de> Visitor<'de> for InFlightVisitor {
    type Value = InFlight;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED_IN_FLIGHT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<InFlight, E> {
        match text {
            "adaptive" => Ok(InFlight::ADAPTIVE),
            _ => Err(E::custom(format_args!("wants {WANTED_IN_FLIGHT}"))),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<InFlight, E> {
        usize::try_from(number)
            .map(InFlight::fixed)
            .map_err(|_negative| E::custom(format_args!("wants {WANTED_IN_FLIGHT}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InFlight, A::Error> {
        InFlight::deserialize(MapAccessDeserializer::new(map))
    }
}

/// `queue = { ... }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Where what waits is kept.
    pub kind: QueueKind,
    /// The most that waits or is under way: uncompressed bytes in memory, or with `disk` and
    /// `spill` the bytes of files. By the kind, if not said.
    pub max_bytes: Option<ByteSize>,
    /// With `disk`: what of the queue is in memory as well, so that it need not be read back.
    /// With `spill`: what is in memory only, before the disk is used.
    pub memory_bytes: ByteSize,
    /// When what was written is synced to the disk itself.
    pub fsync: Fsync,
    /// What goes first when the disk holds a backlog.
    pub order: Order,
    /// The age at which data is given up, undelivered; 0 is never.
    #[serde(with = "units::duration")]
    pub max_age: Duration,
    /// What happens to a batch when `max_bytes` is reached. `refuse` where the lane is required,
    /// else `drop_oldest`, if not said.
    pub when_full: Option<WhenFull>,
}

impl QueueConfig {
    /// The bound of the queue, said or not.
    pub fn max_bytes(&self) -> ByteSize {
        let default = match self.kind {
            QueueKind::Memory => ByteSize::mib(64),
            QueueKind::Disk | QueueKind::Spill => ByteSize::mib(1024),
        };
        self.max_bytes.unwrap_or(default)
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            kind: QueueKind::Memory,
            max_bytes: None,
            memory_bytes: ByteSize::mib(32),
            fsync: Fsync::Interval,
            order: Order::OldestFirst,
            max_age: Duration::ZERO,
            when_full: None,
        }
    }
}

/// Where what waits is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueKind {
    /// In memory: a crash loses it.
    Memory,
    /// On disk, before it is acknowledged: a crash loses none of it.
    Disk,
    /// In memory while all is well; on disk when that is full or the breaker is open, and what is
    /// left at shutdown.
    Spill,
}

impl QueueKind {
    /// The word for it in TOML and `/status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Spill => "spill",
        }
    }
}

/// What goes first when the disk holds a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What was received first.
    OldestFirst,
    /// What comes in now; the backlog gets what is left.
    FreshFirst,
}

/// What happens to a batch that finds the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The client is held for as long as it waits itself.
    Wait,
    /// The client is held for `intake.max_wait`, then told to come back later.
    Refuse,
    /// The oldest in the queue are given up, counted as `queue_full`.
    DropOldest,
    /// The batch itself is given up, counted as `queue_full`.
    DropNewest,
}

impl WhenFull {
    /// The word for it in TOML and `/status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Refuse => "refuse",
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
        }
    }

    /// Whether a full queue holds clients, and turns them away at last.
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Wait | Self::Refuse)
    }
}

/// `batch = { ... }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// The largest request that is sent, in uncompressed bytes; larger ones are split.
    pub max_bytes: ByteSize,
    /// The most items in a request; 0 is no limit.
    pub max_items: u64,
    /// How long the first request may wait for others to be merged with, though a sender is idle.
    #[serde(with = "units::duration")]
    pub linger: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::mib(4),
            max_items: 0,
            linger: Duration::ZERO,
        }
    }
}

/// `retry_on_failure = { ... }`: exponential backoff with full jitter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// The delay before the second attempt is drawn from 0 to this.
    #[serde(with = "units::duration")]
    pub initial_interval: Duration,
    /// What the interval grows by with each attempt.
    pub multiplier: f64,
    /// Where it stops growing.
    #[serde(with = "units::duration")]
    pub max_interval: Duration,
    /// When a batch is given up, counted from its receipt; 0 is never.
    #[serde(with = "units::duration")]
    pub max_elapsed_time: Duration,
    /// The most retries, as a share of successes; 0 sets no bound.
    pub budget: f64,
    /// Retries a second that the budget allows in any case.
    pub budget_floor: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial_interval: Duration::from_millis(500),
            multiplier: 1.5,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::ZERO,
            budget: 0.0,
            budget_floor: 10,
        }
    }
}

/// `breaker = { ... }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Consecutive failures that open it; 0 switches the breaker off.
    pub failures: u32,
    /// The share of failures in `window` that opens it; 0: it does not.
    pub failure_rate: f64,
    /// How far back `failure_rate` looks.
    #[serde(with = "units::duration")]
    pub window: Duration,
    /// With fewer attempts in `window`, `failure_rate` says nothing.
    pub min_requests: u32,
    /// How long it stays open the first time; doubled with each failed probe, with jitter.
    #[serde(with = "units::duration")]
    pub open_time: Duration,
    /// Where the open time stops growing. By default much shorter than `intake.max_wait`, so that
    /// clients that are held hear in time that the destination is back: with 5 s, a destination
    /// away for 7 s cost the SDKs of three languages data, with 1 s those of one, now and then, on a
    /// busy machine.
    #[serde(with = "units::duration")]
    pub max_open_time: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            failure_rate: 0.5,
            window: Duration::from_secs(10),
            min_requests: 20,
            open_time: Duration::from_millis(250),
            max_open_time: Duration::from_millis(500),
        }
    }
}
