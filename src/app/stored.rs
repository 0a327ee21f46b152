//! What the configuration keeps on disk: the folder, and each lane's logs in it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::batch::Priority;
use crate::budget::Budget;
use crate::config::{Config, ExporterEntry};
use crate::delivery::config::{LaneConfig, QueueKind};
use crate::delivery::dead_letters::DeadLetters;
use crate::delivery::lane::Durable;
use crate::delivery::left::{self, LeftQueue};
use crate::storage::{Hole, Log, LogOptions, Recovery, Storage, StorageOptions, Tally};
use crate::telemetry::ledger::Ledger;

/// The folder on disk, which this process alone has open.
pub(super) struct Stored {
    storage: Storage,
    ledger: Arc<Ledger>,
    budget: Budget,
    lanes: u64,
}

/// How often a long start says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// The least and the most that a lane takes out of the memory budget for what it reads back.
const READING: (u64, u64) = (1 << 20, 32 << 20);

impl Stored {
    /// Opens the folder, where there is one.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn open(
        config: &Config,
        budget: &Budget,
        ledger: &Arc<Ledger>,
    ) -> Result<Option<Self>, String> {
        let Some(directory) = config.storage.directory.clone() else {
            return Ok(None);
        };
        let options = StorageOptions {
            directory,
            sync_interval: config.storage.sync_interval,
            keys: config.storage.keys(),
        };
        let lanes = config.exporters.values();
        let lanes = lanes.filter(|entry| entry.lane.queue.kind != QueueKind::Memory);
        let lanes = lanes.count() as u64;
        let storage = blocking(move || Storage::open(options)).await?;
        Ok(Some(Self {
            storage,
            ledger: Arc::clone(ledger),
            budget: budget.clone(),
            lanes,
        }))
    }

    /// One exporter's logs; `room` pays for their bytes on disk.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn lane(
        &self,
        exporter: &str,
        lane: &LaneConfig,
        room: &Budget,
    ) -> Result<Durable, String> {
        let mut logs = Vec::new();
        let mut holes = Vec::new();
        for priority in Priority::ALL {
            let name = format!("queue/{}/{}", folder(exporter), priority.name());
            let options = LogOptions {
                fsync: lane.queue.fsync,
                room: room.clone(),
            };
            let (log, found) = self.log(exporter, name, options).await?;
            logs.push(log);
            holes.extend(found);
        }
        let logs = logs
            .try_into()
            .map_err(|_| "a lane has a log for each priority".to_owned())?;
        let share = self.budget.limit() / self.lanes.max(1);
        let resident = lane.queue.memory_bytes.bytes().min(share / 4);
        let reading = (share / 8).clamp(READING.0, READING.1);
        let reading = usize::try_from(reading).unwrap_or(usize::MAX);
        let paid = self.budget.try_reserve(reading).map_err(|_| {
            format!(
                "exporters.{exporter}: the memory budget ({} bytes) is too small for the disk \
                 queues of {} exporters: raise `intake.memory_budget`",
                self.budget.limit(),
                self.lanes
            )
        })?;
        let durable = Durable::new(logs, resident, paid);
        Ok(durable.with_lost(holes.len() as u64, self.note_lost(&holes)))
    }

    /// What is lost by these, in sum. What is known by its requests alone is noted here.
    fn note_lost(&self, holes: &[Hole]) -> Tally {
        let mut lost = Tally::default();
        for hole in holes {
            lost.add(&hole.lost);
            if hole.lost.weight.iter().all(|items| *items == 0) {
                self.ledger.lose_uncounted(hole.lost.records);
            }
        }
        lost
    }

    /// The queues that lie here and that nobody delivers.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn left_queues(&self, config: &Config) -> Result<Vec<LeftQueue>, String> {
        let on_disk = |(name, entry): (&String, &ExporterEntry)| {
            (entry.lane.queue.kind != QueueKind::Memory).then(|| folder(name))
        };
        let used: Vec<String> = config.exporters.iter().filter_map(on_disk).collect();
        let directory = self.storage.directory().to_owned();
        let left = blocking(move || left::find(&directory, &used)).await?;
        for queue in &left {
            tracing::warn!(
                exporter = queue.exporter,
                folder = queue.folder,
                requests = queue.requests,
                items = queue.items,
                bytes = queue.bytes,
                since_seconds = queue.age_seconds,
                "a queue of an earlier run lies on disk, and no exporter has it now: configure an \
                 exporter of this name with `queue.kind = \"disk\"` to deliver it, look into it with \
                 `otlpd queue export`, or remove the folder"
            );
        }
        Ok(left)
    }

    /// Where requests go that are given up for good.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn dead_letters(
        &self,
        config: &Config,
        ledger: &Arc<Ledger>,
    ) -> Result<DeadLetters, String> {
        let storage = self.storage.clone();
        let max_bytes = config.storage.dead_letters_max_bytes.bytes();
        let ledger = Arc::clone(ledger);
        blocking(move || DeadLetters::open(&storage, max_bytes, ledger)).await
    }

    async fn log(
        &self,
        exporter: &str,
        name: String,
        options: LogOptions,
    ) -> Result<(Log, Vec<Hole>), String> {
        let storage = self.storage.clone();
        let shown = name.clone();
        let (log, recovery) = blocking(move || {
            let mut said = Instant::now();
            let mut progress = |done: u64, of: u64| {
                if said.elapsed() >= SAY_EVERY {
                    said = Instant::now();
                    let percent = done.saturating_mul(100) / of.max(1);
                    tracing::info!(queue = shown, percent, "reading what the queue holds");
                }
            };
            storage.log(&name, options, &mut progress)
        })
        .await?;
        say(exporter, &recovery);
        Ok((log, recovery.holes))
    }

    /// Writes all that is under way, and gives the folder up for another process.
    pub(super) async fn close(self) {
        let closed = spawn_blocking(move || self.storage.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the storage was not closed in order");
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::storage::StorageError> + Send + 'static,
) -> Result<T, String> {
    match spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn say(exporter: &str, recovery: &Recovery) {
    for hole in &recovery.holes {
        say_hole(exporter, hole);
    }
    if recovery.torn_bytes > 0 {
        tracing::warn!(
            exporter,
            bytes = recovery.torn_bytes,
            "the last write was cut short: of a process that was killed it was not acknowledged; \
             where the machine lost power, what was acknowledged since the last sync may be gone \
             (`queue.fsync`)"
        );
    }
    if recovery.waiting.records > 0 {
        let items: u64 = recovery.waiting.weight.iter().sum();
        tracing::info!(
            exporter,
            requests = recovery.waiting.records,
            items,
            bytes = recovery.waiting.bytes,
            "undelivered data of an earlier run is in the queue"
        );
    }
}

fn say_hole(exporter: &str, hole: &Hole) {
    let Hole { file, reason, lost } = hole;
    let items: u64 = lost.weight.iter().sum();
    let items = match items {
        0 => "unknown".to_owned(),
        items => items.to_string(),
    };
    if lost.records == 0 {
        tracing::error!(
            exporter,
            file = %file.display(),
            reason,
            "a file of the queue is damaged; no request is known to be lost by it"
        );
        return;
    }
    tracing::error!(
        exporter,
        file = %file.display(),
        reason,
        requests = lost.records,
        items,
        "stored requests are lost: a file of the queue is damaged or missing. What can be read of \
         it is in the queue; look after the disk, and into the quarantine"
    );
}

/// A name as one folder's: what is no letter, digit, `-` or `_` is written as `%` and two
/// hexadecimal digits.
fn folder(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => {
                let written = write!(out, "%{byte:02x}");
                debug_assert!(written.is_ok(), "a string takes all that is written to it");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_an_exporter_leads_out_of_its_folder() {
        assert_eq!(folder("backend_2-b"), "backend_2-b");
        assert_eq!(folder("../a b/ä"), "%2e%2e%2fa%20b%2f%c3%a4");
    }
}
