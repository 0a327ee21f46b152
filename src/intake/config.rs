//! What an operator can set for the intake.

use std::time::Duration;

use serde::Deserialize;

use crate::units::{self, ByteSize};

/// `[intake]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntakeConfig {
    /// All telemetry held in memory, in bytes; `"auto"` is a share of the memory limit.
    pub memory_budget: MemoryBudget,
    /// How long a request is held, when there is no room, before it is refused.
    #[serde(with = "units::duration")]
    pub max_wait: Duration,
    /// What a success answer means; if not said, `stored` where the queue of every required
    /// exporter is on disk, else `queued`.
    pub acknowledge: Option<Acknowledge>,
    /// How many requests may be held at once.
    pub max_held: usize,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            memory_budget: MemoryBudget::Auto,
            max_wait: Duration::from_secs(9),
            acknowledge: None,
            max_held: 1024,
        }
    }
}

/// `memory_budget = "auto"` or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// From the container's memory limit, or the machine's memory.
    Auto,
    /// As said.
    Fixed(ByteSize),
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a size with its unit, such as \"64MiB\", or \"auto\"";
        let text = units::text(deserializer, wanted)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        units::parse_bytes(&text)
            .map(|bytes| Self::Fixed(ByteSize(bytes)))
            .map_err(|problem| serde::de::Error::custom(format!("{problem}, or \"auto\"")))
    }
}

/// What a success answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// It waits in the queue of every required exporter.
    Queued,
    /// It is written to the disk queue of every required exporter.
    Stored,
    /// Every required exporter's destination has it.
    Delivered,
}
