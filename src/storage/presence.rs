//! Whether what lies on disk is still what this process put there: people remove folders, put back
//! copies of them, and mount others over them while it runs.

use std::fs::File;
use std::io;

use super::StorageError;
use super::Tally;
use super::active::Active;
use super::format::HEADER_LEN;
use super::lock::is_absent;
use super::lock::is_named;
use super::log::LogCore;
use super::log::lock;
use super::scan::Source;
use super::survey::segments_in;
use super::writer::Writing;

/// What the segments of others may hold, at the most: ours get names beyond that.
const BEYOND: u64 = 1 << 32;

/// Says whether the directory is ours: whether that is new.
pub(super) fn note_disowned(log: &LogCore, disowned: Option<&StorageError>) -> bool {
    let mut state = lock(&log.state);
    let new = state.disowned.is_some() != disowned.is_some();
    state.disowned = disowned.cloned();
    drop(state);
    if new {
        log.told.notify_one();
    }
    new
}

/// Whether the folder, and the file that is written to, are where they were put.
pub(super) fn is_in_place(log: &LogCore, writing: &Writing) -> bool {
    let folder = writing.folder.as_ref();
    folder.is_none_or(|folder| is_named(folder, &log.folder))
        && writing.active.as_ref().is_none_or(Active::is_linked)
}

/// Looks for each segment, makes good what can be, and tells of the rest.
pub(super) fn examine(log: &LogCore, writing: &mut Writing) {
    let mut gone = missing(log);
    let written_again = write_again(log, writing, &mut gone);
    if !is_in_place(log, writing) || !gone.is_empty() {
        writing.folder = File::open(&log.folder).ok();
        // Their names may be those of another's files by now.
        writing.spares.clear(log);
        writing.settled.note_stale();
        pass_by_others(log, writing);
    }
    if gone.is_empty() && !written_again {
        return;
    }
    let removed_files = gone.len() as u64 + u64::from(written_again);
    let (lost, in_memory) = note_removed(log, &gone, removed_files);
    note_gone(log, writing, &gone);
    tracing::error!(
        folder = %log.folder.display(),
        files = removed_files,
        written_again,
        lost_requests = lost.records,
        lost_items = lost.weight.iter().sum::<u64>(),
        requests_in_memory = in_memory,
        "files of a queue are gone: something other than otlpd removed or replaced them. The one \
         that was written to is written again; what was only in the others is lost, and counted as \
         damaged; what of it is in memory is delivered, or stored again when otlpd is stopped. See \
         that only otlpd works in that directory"
    );
    log.told.notify_one();
}

/// The segments whose files are not there, or are others.
fn missing(log: &LogCore) -> Vec<u64> {
    let state = lock(&log.state);
    let segments = state.segments.values().filter(|segment| !segment.removed);
    let known: Vec<_> = segments.map(|s| (s.first, s.codec.seed)).collect();
    drop(state);
    let known = known.into_iter();
    let gone = known.filter(|(first, seed)| !is_there(log, *first, *seed).unwrap_or(true));
    gone.map(|(first, _)| first).collect()
}

/// Whether a segment's file is there: each has a seed of its own, at the end of its header.
fn is_there(log: &LogCore, first: u64, seed: u32) -> io::Result<bool> {
    let file = match File::open(log.path_of(first)) {
        Err(error) if is_absent(&error) => return Ok(false),
        opened => opened?,
    };
    let mut header = [0; HEADER_LEN];
    let read = Source::read(&file, &mut header, 0)?;
    Ok(read == HEADER_LEN && header.ends_with(&seed.to_le_bytes()))
}

/// Writes the file that is written to again, where it is gone: whether that was done. Where it
/// cannot be, it is one of those gone, and read from what is open as long as that is.
fn write_again(log: &LogCore, writing: &mut Writing, gone: &mut Vec<u64>) -> bool {
    let first = match &writing.active {
        Some(active) if !is_named(&active.file, &log.path_of(active.first)) => active.first,
        _ => return false,
    };
    let Some(mut active) = writing.active.take() else {
        return false;
    };
    let others = gone.contains(&first) && log.path_of(first).exists();
    let again = match others {
        true => Err(io::ErrorKind::AlreadyExists.into()),
        false => active.write_again(&log.path_of(first)),
    };
    let mut state = lock(&log.state);
    state.unsynced.folder = true;
    // Where nothing is in it yet, there is no segment: the next write begins another.
    let Some(segment) = state.segments.get_mut(&first) else {
        return false;
    };
    gone.retain(|one| *one != first);
    match again {
        Ok(file) => {
            segment.file = Some(file);
            writing.active = Some(active);
            true
        }
        Err(error) => {
            segment.sealed = true;
            gone.push(first);
            tracing::warn!(
                "{} is not written again: {error}",
                log.path_of(first).display()
            );
            false
        }
    }
}

/// Another process may have written to the folder meanwhile. What it left there is read by the next
/// start; nothing is written over it.
fn pass_by_others(log: &LogCore, writing: &mut Writing) {
    let next_seq = writing.next_seq;
    let state = lock(&log.state);
    let found = segments_in(&log.folder).unwrap_or_default();
    let others = found.into_iter().map(|(first, _)| first);
    let highest = others
        .filter(|first| !state.segments.contains_key(first))
        .max();
    drop(state);
    if let Some(highest) = highest {
        writing.next_seq = writing.next_seq.max(highest.saturating_add(BEYOND));
        writing.settled.note_gone(next_seq..writing.next_seq);
    }
}

/// What is told now is not told again by the next start, which would miss it.
fn note_gone(log: &LogCore, writing: &mut Writing, gone: &[u64]) {
    let state = lock(&log.state);
    let segments = gone.iter().filter_map(|first| state.segments.get(first));
    let records = segments.map(|s| s.first..s.first + u64::from(s.count));
    records.for_each(|records| writing.settled.note_gone(records));
    drop(state);
    let next_seq = writing.next_seq;
    writing.settled.add(log, Vec::new(), next_seq);
}

/// Takes segments for what they are, without files: what is lost with them, and how many of their
/// records are in memory.
fn note_removed(log: &LogCore, gone: &[u64], files: u64) -> (Tally, u64) {
    let mut lost = Tally::default();
    let mut state = lock(&log.state);
    state.removed_files += files;
    for first in gone {
        let Some(segment) = state.segments.get_mut(first) else {
            continue;
        };
        segment.removed = true;
        let file_bytes = std::mem::take(&mut segment.file_bytes);
        // It is not on disk any more.
        drop(std::mem::take(&mut segment.room));
        let is_open = segment.file.is_some();
        state.disk_bytes -= file_bytes;
        if !is_open {
            lost.add(&state.settle_waiting(*first));
        }
        state.removed.push(*first);
    }
    state.untold.lost.add(&lost);
    (lost, state.unsafe_records())
}
