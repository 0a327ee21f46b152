//! What an operator writes: one TOML file, read into types that can not be wrong, every mistake
//! in it reported at once.
//!
//! The way of a file: [`load`](Config::load) parses it into a tree that keeps the place of every
//! key, `overrides` lays the `--set` options over it, `substitute` fills in `${env:NAME}` and
//! `${file:PATH}`, `build` reads the tree into the types that the rooms declare, and `check`
//! looks at what only makes sense together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::admin::AdminConfig;
use crate::delivery::config::{LaneConfig, QueueKind};
use crate::exporters::ExporterConfig;
use crate::intake::priority::PriorityConfig;
use crate::intake::tenants::TenantsConfig;
use crate::intake::{Acknowledge, IntakeConfig};
use crate::otlp::Signal;
use crate::processors::ProcessorConfig;
use crate::receivers::ReceiverConfig;
use crate::storage::Key;
use crate::telemetry::logging::LogConfig;
use crate::units::{self, ByteSize};

mod auth;
mod build;
mod check;
mod deserialize;
mod fault;
mod load;
mod not_yet;
mod overrides;
mod problem;
mod secrets;
mod substitute;
mod suggest;
pub mod summary;
mod tree;

pub use load::{Env, Files};
pub use problem::{Problem, Problems};

/// Everything that an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[intake]`: the memory budget, and what a success answer means.
    pub intake: IntakeConfig,
    /// `[tenants]`: whose requests are told apart; nobody's without it.
    pub tenants: Option<TenantsConfig>,
    /// `[priority]`: what matters more, and what less; nothing does without it.
    pub priority: Option<PriorityConfig>,
    /// `[admin]`: the listener for health, status and metrics.
    pub admin: AdminConfig,
    /// `[log]`: what otlpd says about itself on standard error.
    pub log: LogConfig,
    /// `[shutdown]`: how long the drain may take.
    pub shutdown: ShutdownConfig,
    /// `[upgrade]`: how long another process may take to take over.
    pub upgrade: UpgradeConfig,
    /// `[storage]`: where what must survive is kept on disk.
    pub storage: StorageConfig,
    /// `[process]`: how much of the machine is used.
    pub process: ProcessConfig,
    /// `[receivers.NAME]`
    pub receivers: BTreeMap<String, ReceiverConfig>,
    /// `[processors.NAME]`
    pub processors: BTreeMap<String, ProcessorConfig>,
    /// `[exporters.NAME]`
    pub exporters: BTreeMap<String, ExporterEntry>,
    /// `[pipelines.NAME]`
    pub pipelines: BTreeMap<String, PipelineConfig>,
    /// What is allowed but probably not meant; each is one line to log at the start.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// What a success answer means, said or not.
    pub fn acknowledge(&self) -> Acknowledge {
        let default = match self.required_off_disk().next() {
            None if self.required().next().is_some() => Acknowledge::Stored,
            _ => Acknowledge::Queued,
        };
        self.intake.acknowledge.unwrap_or(default)
    }

    /// The required exporters that some pipeline names.
    fn required(&self) -> impl Iterator<Item = (&String, &ExporterEntry)> {
        let used = |name: &String| self.pipelines.values().any(|p| p.exporters.contains(name));
        self.exporters
            .iter()
            .filter(move |(name, entry)| entry.lane.required && used(name))
    }

    /// Those of them whose queue is not on disk.
    fn required_off_disk(&self) -> impl Iterator<Item = &String> {
        self.required()
            .filter(|(_, entry)| entry.lane.queue.kind != QueueKind::Disk)
            .map(|(name, _)| name)
    }
}

/// One `[exporters.NAME]`: the keys of its lane, and those of its type.
#[derive(Clone, Debug)]
pub struct ExporterEntry {
    /// Queue, batches, retries: the same keys for every type.
    pub lane: LaneConfig,
    /// The destination.
    pub kind: ExporterConfig,
}

/// `[shutdown]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// When the drain ends and what is left is dropped and counted.
    #[serde(with = "units::duration")]
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
        }
    }
}

/// `[upgrade]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeConfig {
    /// How long the new process may take until it could take over: it reads its configuration.
    #[serde(with = "units::duration")]
    pub prepare_timeout: Duration,
    /// How long it may take from then on until it accepts: it reads what is on disk.
    #[serde(with = "units::duration")]
    pub start_timeout: Duration,
}

impl Default for UpgradeConfig {
    fn default() -> Self {
        Self {
            prepare_timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(60),
        }
    }
}

/// `[storage]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// The folder of all queues on disk and of the dead letters; nothing is stored without it.
    pub directory: Option<PathBuf>,
    /// The longest that what was written stays unsynced, with `fsync = "interval"`.
    #[serde(with = "units::duration")]
    pub sync_interval: Duration,
    /// The most that the dead letters take on disk; 0 keeps none.
    pub dead_letters_max_bytes: ByteSize,
    /// What is on disk is encrypted with (AES-256-GCM): the first for what is written, all of them
    /// for what is read. None: it is not encrypted.
    pub encryption_keys: Vec<KeyConfig>,
}

/// `{ id = "...", key = "..." }`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// What files remember the key by.
    pub id: String,
    /// 32 bytes in base64 or hexadecimal.
    pub key: String,
}

impl std::fmt::Debug for KeyConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyConfig({})", self.id)
    }
}

impl StorageConfig {
    /// The keys; what is no key was reported when the configuration was read.
    pub fn keys(&self) -> Vec<Key> {
        let keys = self.encryption_keys.iter();
        keys.filter_map(|key| Key::parse(&key.id, &key.key).ok())
            .collect()
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            directory: None,
            sync_interval: Duration::from_millis(500),
            dead_letters_max_bytes: ByteSize::mib(256),
            encryption_keys: Vec::new(),
        }
    }
}

/// `[process]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessConfig {
    /// How many CPUs the threads are sized to.
    pub cpus: Cpus,
}

/// `cpus = "auto"` or a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cpus {
    /// The least of the affinity mask, the cpuset and the cgroup's quota (rounded up).
    #[default]
    Auto,
    /// As said.
    Fixed(std::num::NonZeroU32),
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CpusVisitor)
    }
}

struct CpusVisitor;

impl serde::de::Visitor<'_> for CpusVisitor {
    type Value = Cpus;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"auto\" or a whole number from 1 up")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cpus, E> {
        match text {
            "auto" => Ok(Cpus::Auto),
            _ => Err(E::custom("wants \"auto\" or a whole number from 1 up")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Cpus, E> {
        u32::try_from(number)
            .ok()
            .and_then(std::num::NonZeroU32::new)
            .map(Cpus::Fixed)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }
}

/// `[pipelines.NAME]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// Where it takes its data from; at least one.
    pub receivers: Vec<String>,
    /// What changes the data, in this order.
    pub processors: Vec<String>,
    /// Where the data goes, to all of them at once; at least one.
    pub exporters: Vec<String>,
    /// What it carries; everything if not said.
    pub signals: Option<Vec<Signal>>,
}

impl PipelineConfig {
    /// Whether it carries this signal.
    pub fn carries(&self, signal: Signal) -> bool {
        self.signals
            .as_ref()
            .is_none_or(|signals| signals.contains(&signal))
    }
}
