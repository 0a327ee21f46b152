//! A log is opened: what lies on disk becomes what is known.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::budget::Budget;
use crate::budget::Reservation;

use super::LogOptions;
use super::Recovery;
use super::StorageError;
use super::Tally;
use super::engine::Engine;
use super::error::failed;
use super::format;
use super::format::BadHeader;
use super::log::LogCore;
use super::log::State;
use super::log::lock;
use super::reader;
use super::segment::Segment;
use super::settle;
use super::spare;
use super::survey::Ends;
use super::survey::index_of;
use super::survey::note_settled;
use super::survey::segments_in;
use super::survey::survey;
use super::sync::create_folder;
use super::writer;

/// A segment is sealed at this size. Small ones cost more files, large ones more cache misses:
/// pages of a segment that was unlinked are used again for the next.
const SEGMENT_BYTES: u64 = 4 << 20;
/// A log whose room is small has smaller ones, so that a record that waits does not hold all of
/// it: an eighth.
const SEGMENTS_IN_ROOM: u64 = 8;

/// Opens the log, and makes good what a crash has left.
pub(super) fn open(
    engine: &Arc<Engine>,
    name: &str,
    options: LogOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Arc<LogCore>, Recovery), StorageError> {
    let folder = engine.directory.join(name);
    let segment_bytes = (options.room.limit() / SEGMENTS_IN_ROOM).clamp(64 << 10, SEGMENT_BYTES);
    let log = Arc::new(LogCore {
        engine: Arc::clone(engine),
        name: name.to_owned(),
        folder,
        options,
        segment_bytes,
        state: Mutex::default(),
        writing: Mutex::default(),
        reading: Mutex::default(),
        told: Notify::new(),
    });
    let mut recovery = Recovery::default();
    let mut found = read_ends(&log, &mut recovery)?;
    note_settled(&log.folder.join(settle::FILE), &mut found)?;
    let total = found.values().map(|one| one.size).sum();
    let mut next_seq = 1;
    let mut looked_at = 0;
    for one in found.into_values() {
        looked_at += one.size;
        let segment = restore(&log, one, &mut recovery)?;
        next_seq = next_seq.max(segment.first + u64::from(segment.count));
        adopt(&log, segment, &mut recovery.waiting);
        progress(looked_at, total);
    }
    let mut writing = lock(&log.writing);
    writing.next_seq = next_seq;
    writing.folder = File::open(&log.folder).ok();
    writing.settled.note_stale();
    drop(writing);
    Ok((log, recovery))
}

/// Reads the header and the footer of each segment.
fn read_ends(log: &LogCore, recovery: &mut Recovery) -> Result<BTreeMap<u64, Ends>, StorageError> {
    let folder = &log.folder;
    create_folder(folder).map_err(|e| failed("create the directory", folder, &e))?;
    spare::remove_all(folder)?;
    let mut found = BTreeMap::new();
    let mut next = 0;
    for (first, path) in segments_in(folder)? {
        match Ends::read(&path).map_err(|e| failed("read", &path, &e))? {
            Ok(ends) if first >= next => {
                // A wrong key is told before anything is touched.
                ends.codec(&log.engine.keys)?;
                next = ends.footer.map_or(first + 1, |(next, _)| next);
                found.insert(first, ends);
            }
            Ok(_) => quarantine(log, first, "its records overlap with another's", recovery)?,
            Err(BadHeader::Short) => {
                let size = fs::metadata(&path).map_or(0, |meta| meta.len());
                recovery.torn_bytes += size;
                writer::unlink(log, first);
            }
            Err(BadHeader::Damaged) => quarantine(log, first, "its header is damaged", recovery)?,
            Err(BadHeader::Later(version)) => return Err(later(&path, version)),
        }
    }
    Ok(found)
}

/// What is said of a segment of a later version.
pub(super) fn later(path: &Path, version: u16) -> StorageError {
    StorageError(format!(
        "{} has format version {version}, of a later otlpd; this one reads version {}: start the \
         later one, or give this one another directory",
        path.display(),
        format::VERSION
    ))
}

/// Moves a file away that no record can be read from.
fn quarantine(
    log: &LogCore,
    first: u64,
    reason: &str,
    recovery: &mut Recovery,
) -> Result<(), StorageError> {
    let from = log.path_of(first);
    let to = log.quarantine_of(first);
    let moved = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::rename(&from, &to));
    moved.map_err(|e| failed("move to the quarantine", &from, &e))?;
    recovery.quarantined.push((to, reason.to_owned()));
    Ok(())
}

/// Makes a segment of what was found; what is not sealed is read, cut and sealed.
fn restore(log: &LogCore, ends: Ends, recovery: &mut Recovery) -> Result<Segment, StorageError> {
    if let (Some(count), Some((_, tally))) = (ends.count(), ends.footer) {
        let waiting = match ends.settled.count() {
            0 if tally.records == u64::from(count) => Some(tally),
            settled if settled == count => Some(Tally::default()),
            _ => None,
        };
        if let Some(waiting) = waiting {
            let places = (ends.begin, ends.end());
            let codec = ends.codec(&log.engine.keys)?;
            let id = (ends.header.first, count);
            return Ok(Segment::found(id, places, codec, ends.settled, waiting));
        }
    }
    read_all(log, ends, recovery)
}

fn read_all(log: &LogCore, ends: Ends, recovery: &mut Recovery) -> Result<Segment, StorageError> {
    let first = ends.header.first;
    let codec = ends.codec(&log.engine.keys)?;
    let read = |e: io::Error| failed("read", &ends.path, &e);
    let file = File::options().read(true).append(true).open(&ends.path);
    let file = file.map_err(read)?;
    let survey = survey(&file, &ends).map_err(read)?;
    if let Some(offset) = survey.damage.first() {
        let reason = format!("what is at byte {offset} is not what was written");
        let quarantined = reader::copy_aside(log, first, reason);
        recovery.quarantined.push(quarantined);
    }
    let (end, next) = match ends.footer {
        Some((next, tally)) => {
            if !survey.damage.is_empty() {
                let mut lost = tally;
                lost.subtract(&survey.whole);
                recovery.lost.add(&lost);
            }
            (ends.end(), next)
        }
        None => {
            let (end, next) = survey.end;
            recovery.torn_bytes += survey.torn_bytes;
            let footer = format::encode_footer(ends.seed, next, &survey.whole);
            seal(&file, &ends.path, end, &footer);
            (end, next)
        }
    };
    let count = index_of(first, next).unwrap_or(0);
    let settled = ends.settled.iter().chain(survey.missing);
    // What was settled and then cut away must not count for what is left.
    let done = settled.filter(|index| *index < count).collect();
    let id = (first, count);
    let mut segment = Segment::found(id, (ends.begin, end), codec, done, survey.waiting);
    segment.file_bytes = file.metadata().map_or(end, |meta| meta.len());
    Ok(segment)
}

/// Cuts what follows the last whole record, and writes the footer. A start goes on without: it
/// only takes longer the next time.
fn seal(file: &File, path: &Path, end: u64, footer: &[u8]) {
    let mut writes = file;
    if let Err(error) = file.set_len(end).and_then(|()| writes.write_all(footer)) {
        tracing::debug!("{} is not sealed: {error}", path.display());
    }
}

/// Takes a segment into the log, with what pays for it; unless nobody needs it.
fn adopt(log: &LogCore, mut segment: Segment, waiting: &mut Tally) {
    let first = segment.first;
    if segment.is_done() {
        writer::unlink(log, first);
        return;
    }
    segment.room = room_for(&log.options.room, segment.file_bytes);
    let mut state = lock(&log.state);
    let State {
        waiting: in_log,
        unsettled,
        disk_bytes,
        ..
    } = &mut *state;
    for tally in [in_log, unsettled, waiting] {
        tally.add(&segment.waiting_tally);
    }
    *disk_bytes += segment.file_bytes;
    state.segments.insert(first, segment);
    state.note_waiting(first);
}

fn room_for(room: &Budget, bytes: u64) -> Reservation {
    let free = room.limit().saturating_sub(room.used());
    let bytes = usize::try_from(bytes.min(free)).unwrap_or(usize::MAX);
    room.try_reserve_most(bytes).unwrap_or_default()
}
