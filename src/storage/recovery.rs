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

use super::Hole;
use super::LogOptions;
use super::Recovery;
use super::StorageError;
use super::Tally;
use super::engine::Engine;
use super::error::failed;
use super::format;
use super::format::BadHeader;
use super::format::RECORD_LEN;
use super::holes::Broken;
use super::holes::Holes;
use super::holes::Loss;
use super::log::LogCore;
use super::log::State;
use super::log::lock;
use super::reader;
use super::segment::Segment;
use super::settle;
use super::settle::SettledFile;
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
    let (mut found, broken) = read_ends(&log, &mut recovery)?;
    let gone = note_settled(&log.folder.join(settle::FILE), &mut found)?;
    let mut holes = Holes::new(gone, broken);
    holes.set_aside(&log)?;
    let done = restore_all(&log, found, &mut holes, &mut recovery, progress);
    let mut writing = lock(&log.writing);
    writing.next_seq = holes.end(done.next_seq);
    writing.folder = File::open(&log.folder).ok();
    recovery.holes = holes.found;
    writing.settled = SettledFile::found(holes.gone);
    if !recovery.holes.is_empty() || !done.segments.is_empty() {
        // What was told is not told again, and what goes now is not missed.
        let next_seq = writing.next_seq;
        writing.settled.add(&log, Vec::new(), next_seq);
    }
    drop(writing);
    for first in done.segments {
        writer::unlink(&log, first);
    }
    Ok((log, recovery))
}

/// What is left to do once all segments were read.
struct Done {
    /// The number of the next record.
    next_seq: u64,
    /// Segments that nobody needs.
    segments: Vec<u64>,
}

fn restore_all(
    log: &LogCore,
    found: BTreeMap<u64, Ends>,
    holes: &mut Holes,
    recovery: &mut Recovery,
    progress: &mut dyn FnMut(u64, u64),
) -> Done {
    let total = found.values().map(|one| one.size).sum();
    let mut done = Done {
        next_seq: 1,
        segments: Vec::new(),
    };
    let mut looked_at = 0;
    let mut found = found.into_values().peekable();
    while let Some(one) = found.next() {
        looked_at += one.size;
        let follows = found.peek().map(|one| one.header.first);
        let (first, path) = (one.header.first, one.path.clone());
        holes.come_to(log, first);
        let behind = first + one.size / RECORD_LEN as u64;
        match restore(log, one, follows, holes, recovery) {
            Ok(segment) => {
                let next = first + u64::from(segment.count);
                holes.pass(next);
                done.next_seq = done.next_seq.max(next);
                if segment.is_done() {
                    holes.note(first..next);
                    done.segments.push(first);
                } else {
                    adopt(log, segment, &mut recovery.waiting);
                }
            }
            // Its key is right: that was seen before. So it is the disk.
            Err(error) => {
                holes.leave(&path, &error);
                holes.pass(follows.unwrap_or(behind));
                done.next_seq = done.next_seq.max(behind);
            }
        }
        progress(looked_at, total);
    }
    done
}

/// Segments by what can be read of them: their ends, or nothing.
type Files = (BTreeMap<u64, Ends>, BTreeMap<u64, Broken>);

/// Reads the header and the footer of each segment.
fn read_ends(log: &LogCore, recovery: &mut Recovery) -> Result<Files, StorageError> {
    let folder = &log.folder;
    create_folder(folder).map_err(|e| failed("create the directory", folder, &e))?;
    spare::remove_all(folder)?;
    let (mut found, mut broken) = (BTreeMap::new(), BTreeMap::new());
    let mut next = 0;
    let all = segments_in(folder)?;
    let last = all.last().map(|(first, _)| *first);
    for (first, path) in all {
        let reason = match Ends::read(&path) {
            Ok(Ok(ends)) if first >= next => {
                // A wrong key is told before anything is touched.
                ends.codec(&log.engine.keys)?;
                next = ends.footer.map_or(first + 1, |(next, _)| next);
                found.insert(first, ends);
                continue;
            }
            Ok(Err(BadHeader::Later(version))) => return Err(later(&path, version)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                broken.insert(first, Broken::unreadable(&path, &error));
                continue;
            }
            Ok(Ok(_)) => "its records overlap with another's",
            Ok(Err(BadHeader::Earlier(of))) if found.contains_key(&of) => {
                broken.insert(first, Broken::copy(&path));
                continue;
            }
            // The power failed before anything was written to it.
            Ok(Err(BadHeader::Short | BadHeader::Earlier(_))) if Some(first) == last => {
                recovery.torn_bytes += fs::metadata(&path).map_or(0, |meta| meta.len());
                writer::unlink(log, first);
                continue;
            }
            Ok(Err(BadHeader::Short)) => "it ends within its header",
            Ok(Err(BadHeader::Earlier(_) | BadHeader::Damaged)) => "its header is damaged",
        };
        broken.insert(first, Broken::damaged(&path, reason));
    }
    Ok((found, broken))
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

/// Makes a segment of what was found; what is not sealed is read, cut and sealed.
fn restore(
    log: &LogCore,
    ends: Ends,
    follows: Option<u64>,
    holes: &mut Holes,
    recovery: &mut Recovery,
) -> Result<Segment, StorageError> {
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
    read_all(log, ends, follows, holes, recovery)
}

fn read_all(
    log: &LogCore,
    ends: Ends,
    follows: Option<u64>,
    holes: &mut Holes,
    recovery: &mut Recovery,
) -> Result<Segment, StorageError> {
    let first = ends.header.first;
    let codec = ends.codec(&log.engine.keys)?;
    let read = |e: io::Error| failed("read", &ends.path, &e);
    let survey = File::open(&ends.path).and_then(|file| survey(&file, &ends));
    let survey = survey.map_err(read)?;
    let loss = Loss::of(&ends, &survey, holes, follows);
    if let Some(reason) = &loss.reason {
        let (file, reason) = reader::copy_aside(log, first, reason.clone());
        let lost = loss.lost;
        holes.found.push(Hole { file, reason, lost });
    } else if follows.is_none() {
        recovery.torn_bytes += survey.torn_bytes;
    }
    let mut file_bytes = ends.size;
    let (end, next) = match ends.footer {
        Some((next, _)) => (ends.end(), next),
        None => {
            let (end, next) = survey.end;
            let footer = format::encode_footer(ends.seed, next, &survey.whole);
            file_bytes = seal(&ends.path, end, &footer).unwrap_or(ends.size);
            (end, next)
        }
    };
    let count = index_of(first, next).unwrap_or(0);
    let settled = ends.settled.iter().chain(survey.missing);
    // What was settled and then cut away must not count for what is left.
    let done = settled.filter(|index| *index < count).collect();
    let id = (first, count);
    let mut segment = Segment::found(id, (ends.begin, end), codec, done, survey.waiting);
    segment.file_bytes = file_bytes;
    segment.set_aside = loss.reason.is_some();
    if loss.behind > 0 {
        holes.note(next..follows.unwrap_or(next));
    }
    Ok(segment)
}

/// Cuts what follows the last whole record, and writes the footer: how long the file is then. A
/// start goes on without: it only takes longer the next time.
fn seal(path: &Path, end: u64, footer: &[u8]) -> Option<u64> {
    let sealed = File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| {
            file.set_len(end)?;
            file.write_all(footer)?;
            Ok(end + footer.len() as u64)
        });
    if let Err(error) = &sealed {
        tracing::debug!("{} is not sealed: {error}", path.display());
    }
    sealed.ok()
}

/// Takes a segment into the log, with what pays for it.
fn adopt(log: &LogCore, mut segment: Segment, waiting: &mut Tally) {
    let first = segment.first;
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
