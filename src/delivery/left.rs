//! Queues on disk that no exporter of the configuration has: found at a start, told, and left alone.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use crate::storage::inspect::{self, Segment};
use crate::storage::{StorageError, Tally};

/// The queue of one exporter, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftQueue {
    /// The exporter, as its folder is called.
    pub exporter: String,
    /// Where it lies.
    pub folder: String,
    /// Requests that wait.
    pub requests: u64,
    /// Their items.
    pub items: u64,
    /// What its files take.
    pub bytes: u64,
    /// How long ago the oldest file was begun.
    pub age_seconds: u64,
}

/// The queues below a storage directory in which something waits, but for those whose folders are
/// `used`. One that cannot be read is passed over: it is nobody's.
///
/// # Errors
/// The folder of the queues cannot be read.
pub fn find(directory: &Path, used: &[String]) -> Result<Vec<LeftQueue>, StorageError> {
    let queues = directory.join("queue");
    let wrong = |e: io::Error| StorageError(format!("cannot read {}: {e}", queues.display()));
    let entries = match fs::read_dir(&queues) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(wrong)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(wrong)?;
        let exporter = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() || used.contains(&exporter) {
            continue;
        }
        match look_into(directory, exporter) {
            Ok(queue) if queue.requests > 0 => found.push(queue),
            Ok(_) => {}
            Err(error) => tracing::warn!(
                folder = %entry.path().display(),
                "a queue that no exporter has cannot be looked into: {error}"
            ),
        }
    }
    found.sort_by(|a, b| a.exporter.cmp(&b.exporter));
    Ok(found)
}

fn look_into(directory: &Path, exporter: String) -> Result<LeftQueue, StorageError> {
    let folder = directory.join("queue").join(&exporter);
    let mut waiting = Tally::default();
    let mut bytes = 0;
    let mut oldest = SystemTime::now();
    for log in inspect::logs(&folder)? {
        for segment in inspect::segments(&folder, &log)?.0 {
            waiting.add(&unsettled(&segment)?);
            bytes += segment.bytes;
            oldest = oldest.min(segment.created);
        }
    }
    let age = SystemTime::now().duration_since(oldest);
    Ok(LeftQueue {
        exporter,
        folder: folder.display().to_string(),
        requests: waiting.records,
        items: waiting.weight.iter().sum(),
        bytes,
        age_seconds: age.unwrap_or_default().as_secs(),
    })
}

fn unsettled(segment: &Segment) -> Result<Tally, StorageError> {
    match segment.unsettled {
        Some(tally) => Ok(tally),
        None => Ok(segment.survey()?.unsettled),
    }
}
