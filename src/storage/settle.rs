//! The file that says which records of segments that still exist are settled.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::Fsync;
use super::StorageError;
use super::error::failed;
use super::format;
use super::format::RUN_LEN;
use super::gone::Gone;
use super::log::LogCore;
use super::log::lock;
use super::sync::create_folder;
use crate::failures::Failures;

/// Its name in the log's folder.
pub(super) const FILE: &str = "settled";

/// It is written anew once it is this large, and twice as large as it then was.
const COMPACT_BYTES: u64 = 1 << 20;

/// The writer thread's end of it.
#[derive(Debug, Default)]
pub(super) struct SettledFile {
    file: Option<Arc<File>>,
    bytes: u64,
    compact_at: u64,
    /// Whether it lacks something that is known.
    stale: bool,
    gone: Gone,
    failed: Failures,
}

/// Settled records of one segment: its seed, the first's sequence number, how many.
type Run = (u32, u64, u32);

impl SettledFile {
    /// Has it written anew with the next settlements.
    pub(super) fn note_stale(&mut self) {
        self.stale = true;
    }

    /// Takes over what a start has found; it is written anew with the next settlements.
    pub(super) fn found(gone: Gone) -> Self {
        Self {
            gone,
            stale: true,
            ..Self::default()
        }
    }

    /// Adds what was settled, in any order. What fails is tried again with the next.
    pub(super) fn add(&mut self, log: &LogCore, mut settled: Vec<(u64, u32)>, next_seq: u64) {
        settled.sort_unstable();
        let written = self.write(log, &encode(&runs(log, &settled)), next_seq);
        self.warn_if_failed(log, written);
    }

    /// Adds that a segment goes because all of it is settled. It comes before its file goes.
    pub(super) fn add_gone(&mut self, log: &LogCore, first: u64, count: u32, next_seq: u64) {
        self.gone.note(first..first + u64::from(count));
        let written = self.write(log, &Gone::encode_one(first, count), next_seq);
        self.warn_if_failed(log, written);
    }

    /// These records have no file any more; it is written anew with the next settlements.
    pub(super) fn note_gone(&mut self, records: Range<u64>) {
        self.gone.note(records);
        self.stale = true;
    }

    /// Has a file that says where notes of what is gone begin, before anything can go.
    pub(super) fn begin(&mut self, log: &LogCore, next_seq: u64) {
        // A disk that does not take it will not take the segment either, and that is told.
        if self.needs_compaction()
            && let Err(error) = self.write(log, &[], next_seq)
        {
            tracing::debug!(log = %log.name, "{error}");
        }
    }

    fn write(&mut self, log: &LogCore, bytes: &[u8], next_seq: u64) -> Result<(), StorageError> {
        let result = if self.needs_compaction() {
            self.compact(log, next_seq)
        } else {
            self.append(log, bytes)
        };
        if result.is_ok() {
            lock(&log.state).unsynced.settled.clone_from(&self.file);
        } else {
            self.stale = true;
            self.file = None;
        }
        result
    }

    fn warn_if_failed(&self, log: &LogCore, written: Result<(), StorageError>) {
        if let Err(error) = written
            && let Some(repeated) = self.failed.count_one()
        {
            tracing::warn!(repeated, log = %log.name, "{error}; until it can be written, more is delivered twice after a restart");
        }
    }

    fn needs_compaction(&self) -> bool {
        let lost = |file: &Arc<File>| file.metadata().map_or(true, |meta| meta.nlink() == 0);
        self.stale
            || self.bytes >= self.compact_at.max(COMPACT_BYTES)
            || self.file.as_ref().is_none_or(lost)
    }

    fn append(&mut self, log: &LogCore, bytes: &[u8]) -> Result<(), StorageError> {
        if let Some(file) = &self.file {
            let mut file: &File = file;
            file.write_all(bytes)
                .map_err(|e| failed("write", &log.folder.join(FILE), &e))?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes all that is known to a new file, which takes the old one's place.
    fn compact(&mut self, log: &LogCore, next_seq: u64) -> Result<(), StorageError> {
        let first = lock(&log.state).segments.keys().next().copied();
        // What stood before the first was settled, or is known to be lost.
        self.gone.begin_at(first.unwrap_or(next_seq).min(next_seq));
        let mut bytes = self.gone.encode();
        bytes.extend(encode(&all_runs(log)));
        let new = log.folder.join("settled.new");
        let write = |new: &Path| {
            create_folder(&log.folder)?;
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .open(new)?;
            file.write_all(&bytes)?;
            // A name must not be safe before what it names is. Once for a MiB, so it is cheap.
            if log.options.fsync != Fsync::Never {
                file.sync_data()?;
            }
            fs::rename(new, log.folder.join(FILE))?;
            // Opened again to append: a cut file is then written on at its end.
            File::options().append(true).open(log.folder.join(FILE))
        };
        let file = write(&new).map_err(|e| failed("write", &new, &e))?;
        lock(&log.state).unsynced.folder = true;
        self.file = Some(Arc::new(file));
        self.bytes = bytes.len() as u64;
        self.compact_at = self.bytes * 2;
        self.stale = false;
        Ok(())
    }

    /// Empties it, once there is no segment that it could speak of, but for where notes begin.
    pub(super) fn clear(&mut self, log: &LogCore, next_seq: u64) {
        if self.bytes > RUN_LEN as u64
            && let Some(file) = &self.file
            && file.set_len(0).is_ok()
        {
            self.bytes = 0;
            self.gone.begin_at(next_seq);
            let bytes = self.gone.encode();
            let written = self.write(log, &bytes, next_seq);
            self.warn_if_failed(log, written);
        }
    }
}

fn encode(runs: &[Run]) -> Vec<u8> {
    runs.iter()
        .flat_map(|(seed, first, count)| format::encode_run(*seed, *first, *count))
        .collect()
}

/// The runs of sorted settlements, without those of segments that are gone.
fn runs(log: &LogCore, settled: &[(u64, u32)]) -> Vec<Run> {
    let state = lock(&log.state);
    let same = |a: &(u64, u32), b: &(u64, u32)| a.0 == b.0 && a.1 + 1 == b.1;
    settled
        .chunk_by(same)
        .filter_map(|run| {
            let (segment, index) = run.first()?;
            let seed = state.segments.get(segment)?.codec.seed;
            let count = u32::try_from(run.len()).ok()?;
            Some((seed, segment + u64::from(*index), count))
        })
        .collect()
}

fn all_runs(log: &LogCore) -> Vec<Run> {
    let state = lock(&log.state);
    let mut all = Vec::new();
    for segment in state.segments.values() {
        for (index, count) in segment.done().runs() {
            all.push((segment.codec.seed, segment.first + u64::from(index), count));
        }
    }
    all
}
