//! Reads files of OTLP: JSON lines, or binary protobuf behind its length; files that grow, that
//! are rotated, and that are compressed.
//!
//! One request is read at a time and carried through the same door as those of other receivers.
//! Only when it was taken, the position moves on; while the door is shut nothing is read. So after
//! a crash some requests come again, and none is passed over. What is broken is counted, named
//! with its place in the log, and passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::otlp::ValidationConfig;
use crate::intake::Intake;
use crate::otlp::walk::{ItemPolicy, Rules};
use crate::otlp::{Format, Signal};
use crate::shutdown::Drain;
use crate::telemetry::metrics::{ReadingMetrics, ReceiverMetrics, Registry};
use crate::units::{self, ByteSize};

mod follow;
mod following;
mod glob;
mod known;
mod request;
mod source;

pub use glob::Pattern;
use known::Known;

/// `type = "file"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Which files: patterns of paths.
    pub include: Vec<String>,
    /// Which of them not.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How requests stand in them.
    #[serde(default = "default_format")]
    pub format: Format,
    /// What kind of requests they are. JSON lines say so themselves; others are at fault then.
    #[serde(default)]
    pub signal: Option<Signal>,
    /// Where reading begins in files that are there when otlpd first looks.
    #[serde(default)]
    pub start_at: StartAt,
    /// How often to look for what is new.
    #[serde(default = "default_poll_interval", with = "units::duration")]
    pub poll_interval: Duration,
    /// The largest request, as it stands in the file, uncompressed.
    #[serde(default = "default_limit")]
    pub max_log_size: ByteSize,
    /// How many files are open at once.
    #[serde(default = "default_files")]
    pub max_concurrent_files: usize,
    /// How far the walk at the door goes.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// What becomes of an item that has a string that is not UTF-8.
    #[serde(default)]
    pub invalid_utf8: ItemPolicy,
    /// What becomes of an item that has an id of the wrong length.
    #[serde(default)]
    pub invalid_ids: ItemPolicy,
}

fn default_format() -> Format {
    Format::Json
}

fn default_poll_interval() -> Duration {
    Duration::from_millis(200)
}

fn default_limit() -> ByteSize {
    ByteSize::mib(64)
}

fn default_files() -> usize {
    1024
}

/// `start_at = "beginning" | "end"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// All of each file is read.
    #[default]
    Beginning,
    /// Only what is written from now on.
    End,
}

/// How far files were read, by the name of the receiver: what a receiver knows that goes on where
/// another one in this process has stopped.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<Mutex<BTreeMap<String, Vec<Known>>>>);

impl Positions {
    fn put(&self, receiver: &str, known: Vec<Known>) {
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        of.insert(receiver.to_owned(), known);
    }

    fn take(&self, receiver: &str) -> Option<Vec<Known>> {
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        of.remove(receiver)
    }
}

/// A receiver that reads files.
pub struct FileReceiver {
    name: String,
    config: FileConfig,
    metrics: ReceiverMetrics,
    reading: ReadingMetrics,
}

impl FileReceiver {
    /// Nothing is opened before it runs.
    pub fn new(name: &str, config: &FileConfig, registry: &Registry) -> Self {
        Self {
            name: name.to_owned(),
            config: config.clone(),
            metrics: ReceiverMetrics::new(registry, name, "file"),
            reading: ReadingMetrics::new(registry, name),
        }
    }

    /// By what the walk at the door judges.
    pub fn rules(&self) -> Rules {
        Rules {
            validation: self.config.validation.into(),
            invalid_utf8: self.config.invalid_utf8,
            invalid_ids: self.config.invalid_ids,
        }
    }

    /// Reads until the drain begins. Positions are kept in `positions`, and below the folder
    /// `storage` where there is one.
    pub async fn run(
        self,
        intake: Intake,
        storage: Option<PathBuf>,
        positions: Positions,
        drain: Drain,
    ) {
        follow::run(self, intake, known::Shelf::new(storage, positions), drain).await;
    }
}
