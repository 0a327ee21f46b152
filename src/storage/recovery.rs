//! A log is opened: what lies on disk becomes what is known.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use crate::budget::Budget;
use crate::budget::Reservation;

use super::LogOptions;
use super::Recovery;
use super::StorageError;
use super::Tally;
use super::bits::Bits;
use super::engine::Engine;
use super::error::failed;
use super::format;
use super::format::BadHeader;
use super::format::FOOTER_LEN;
use super::format::HEADER_LEN;
use super::format::Header;
use super::format::MAX_KEY_ID;
use super::format::RUN_LEN;
use super::log::LogCore;
use super::log::State;
use super::log::lock;
use super::reader;
use super::scan::Found;
use super::scan::Scan;
use super::scan::Source;
use super::segment::Codec;
use super::segment::Segment;
use super::settle;
use super::writer;

/// A segment is sealed at this size. Small ones cost more files, large ones more cache misses:
/// pages of a segment that was unlinked are used again for the next.
const SEGMENT_BYTES: u64 = 4 << 20;
/// A log whose room is small has smaller ones, so that a record that waits does not hold all of
/// it: an eighth.
const SEGMENTS_IN_ROOM: u64 = 8;

/// A segment's file as it was found.
struct Ends {
    first: u64,
    path: PathBuf,
    size: u64,
    begin: u64,
    codec: Codec,
    /// The sequence number after its last, and its tally, where it is sealed.
    footer: Option<(u64, Tally)>,
    settled: Bits,
}

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
    writing.settled.note_stale();
    drop(writing);
    Ok((log, recovery))
}

/// Reads the header and the footer of each segment.
fn read_ends(log: &LogCore, recovery: &mut Recovery) -> Result<BTreeMap<u64, Ends>, StorageError> {
    let folder = &log.folder;
    fs::create_dir_all(folder).map_err(|e| failed("create the directory", folder, &e))?;
    let entries = fs::read_dir(folder).map_err(|e| failed("read the directory", folder, &e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed("read the directory", folder, &e))?;
        if let Some(first) = first_in_name(&entry.path()) {
            names.push(first);
        }
    }
    names.sort_unstable();
    let mut found = BTreeMap::new();
    let mut next = 0;
    for first in names {
        let path = log.path_of(first);
        let ends = read_end(first, &path).map_err(|e| failed("read", &path, &e))?;
        match ends {
            Ok(one) if first >= next => {
                next = one.footer.map_or(first + 1, |(next, _)| next);
                found.insert(first, one);
            }
            Ok(_) => quarantine(log, first, "its records overlap with another's", recovery)?,
            Err(BadHeader::Short) => {
                let size = fs::metadata(&path).map_or(0, |meta| meta.len());
                recovery.torn_bytes += size;
                writer::unlink(log, first);
            }
            Err(BadHeader::Damaged) => quarantine(log, first, "its header is damaged", recovery)?,
            Err(BadHeader::Later(version)) => {
                return Err(StorageError(format!(
                    "{} has format version {version}, of a later otlpd; this one reads version {}: \
                     start the later one, or give this one another directory",
                    path.display(),
                    format::VERSION
                )));
            }
        }
    }
    Ok(found)
}

/// The sequence number that a segment's file is named after.
pub(super) fn first_in_name(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let plain = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(name, 16).ok())?
}

fn read_end(first: u64, path: &Path) -> io::Result<Result<Ends, BadHeader>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = [0; HEADER_LEN + MAX_KEY_ID];
    let read = file.read(&mut bytes, 0)?;
    let (header, begin, seed) = match Header::decode(bytes.get(..read).unwrap_or_default()) {
        Ok(header) => header,
        Err(bad) => return Ok(Err(bad)),
    };
    if header.first != first {
        return Ok(Err(BadHeader::Damaged));
    }
    let mut footer = [0; FOOTER_LEN];
    let at = size.saturating_sub(FOOTER_LEN as u64).max(begin as u64);
    let whole = file.read(&mut footer, at)? == FOOTER_LEN;
    let footer = format::decode_footer(&footer, seed);
    Ok(Ok(Ends {
        first,
        path: path.to_owned(),
        size,
        begin: begin as u64,
        codec: Codec { seed },
        footer: footer.filter(|(next, _)| whole && index_of(first, *next).is_some()),
        settled: Bits::default(),
    }))
}

fn index_of(first: u64, seq: u64) -> Option<u32> {
    u32::try_from(seq.checked_sub(first)?).ok()
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

/// Notes what the file of settlements says of segments that are still there.
fn note_settled(path: &Path, found: &mut BTreeMap<u64, Ends>) -> Result<(), StorageError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", path, &error)),
    };
    let (runs, _torn) = bytes.as_chunks::<RUN_LEN>();
    for run in runs {
        let (seq, count) = format::decode_run(run);
        let Some((first, one)) = found.range_mut(..=seq).next_back() else {
            continue;
        };
        let room = one.size.saturating_sub(one.begin) / format::RECORD_LEN as u64;
        let Some(index) = index_of(*first, seq) else {
            continue;
        };
        // One that is damaged and right by chance must not take the memory of billions.
        let fits = u64::from(index) + u64::from(count) <= room;
        if fits && format::run_is_of(run, one.codec.seed) {
            for index in index..index + count {
                one.settled.insert(index);
            }
        }
    }
    Ok(())
}

/// Makes a segment of what was found; what is not sealed is read, cut and sealed.
fn restore(log: &LogCore, one: Ends, recovery: &mut Recovery) -> Result<Segment, StorageError> {
    if let Some((next, tally)) = one.footer {
        let count = index_of(one.first, next).unwrap_or(0);
        let ends = (one.begin, one.size - FOOTER_LEN as u64);
        if one.settled.count() == 0 && tally.records == u64::from(count) {
            let id = (one.first, count);
            return Ok(Segment::found(id, ends, one.codec, one.settled, tally));
        }
        if one.settled.count() == count {
            let id = (one.first, count);
            let none = Tally::default();
            return Ok(Segment::found(id, ends, one.codec, one.settled, none));
        }
    }
    read_all(log, one, recovery)
}

/// What reading a whole segment has shown.
#[derive(Default)]
struct Survey {
    waiting: Tally,
    /// All that was whole, settled or not.
    whole: Tally,
    /// Where the last whole record ends, and what follows it.
    end: (u64, u64),
    /// The records that were not found.
    missing: Vec<u32>,
    /// Where the first damage is.
    damage: Option<u64>,
}

fn read_all(log: &LogCore, one: Ends, recovery: &mut Recovery) -> Result<Segment, StorageError> {
    let read = |e: io::Error| failed("read", &one.path, &e);
    let file = File::options()
        .read(true)
        .append(true)
        .open(&one.path)
        .map_err(read)?;
    let survey = survey(&file, &one).map_err(read)?;
    let (mut end, mut next) = survey.end;
    let mut done = one.settled;
    for index in &survey.missing {
        done.insert(*index);
    }
    if let Some(offset) = survey.damage {
        let reason = format!("what is at byte {offset} is not what was written");
        let quarantined = reader::copy_aside(log, one.first, reason);
        recovery.quarantined.push(quarantined);
    }
    match one.footer {
        Some((footer_next, tally)) => {
            (end, next) = (one.size - FOOTER_LEN as u64, footer_next);
            if survey.damage.is_some() {
                let mut lost = tally;
                lost.subtract(&survey.whole);
                recovery.lost.add(&lost);
            }
        }
        None => {
            recovery.torn_bytes += one.size.saturating_sub(end);
            seal(
                &file,
                &one.path,
                end,
                &format::encode_footer(one.codec.seed, next, &survey.whole),
            );
        }
    }
    let count = index_of(one.first, next).unwrap_or(0);
    let id = (one.first, count);
    let mut segment = Segment::found(id, (one.begin, end), one.codec, done, survey.waiting);
    segment.file_bytes = file.metadata().map_or(end, |meta| meta.len());
    Ok(segment)
}

/// Reads all records of a segment.
fn survey(file: &File, one: &Ends) -> io::Result<Survey> {
    let end = match one.footer {
        Some(_) => one.size - FOOTER_LEN as u64,
        None => one.size,
    };
    let next = one.footer.map(|(next, _)| next);
    let mut scan = Scan::new(file, one.codec.seed, (one.begin, end), one.first);
    let mut survey = Survey {
        end: (one.begin, one.first),
        ..Survey::default()
    };
    loop {
        let (offset, torn) = match scan.look()? {
            Found::Record(head) if scan.payload(&head)?.is_some() => {
                let index = index_of(one.first, scan.seq).unwrap_or(u32::MAX);
                survey.whole.add(&head.tally());
                if !one.settled.contains(index) {
                    survey.waiting.add(&head.tally());
                }
                scan.pass(&head);
                survey.end = (scan.offset, scan.seq);
                continue;
            }
            Found::End if next.is_none_or(|next| scan.seq >= next) => break,
            Found::Torn => (scan.offset, true),
            _ => (scan.offset, false),
        };
        let doubted = scan.find_next()?;
        let last = scan.is_at_end();
        let found = if last {
            next.unwrap_or(doubted)
        } else {
            scan.seq
        };
        let missing = index_of(one.first, doubted).zip(index_of(one.first, found));
        if let Some((from, to)) = missing {
            survey.missing.extend(from..to);
        }
        if !(last && torn && next.is_none()) {
            survey.damage.get_or_insert(offset);
        }
        if last {
            break;
        }
    }
    Ok(survey)
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
