//! The writer thread: appends that came while it wrote go out together, settlements with them.

use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Fsync;
use super::StorageError;
use super::Tally;
use super::Ticket;
use super::active::Active;
use super::engine::Engine;
use super::error::failed;
use super::format::RecordHead;
use super::lock::Held;
use super::lock::Ownership;
use super::log::Append;
use super::log::LogCore;
use super::log::State;
use super::log::lock;
use super::presence;
use super::segment::Segment;
use super::settle::SettledFile;
use super::spare::Spares;
use super::sync::Ack;
use super::sync::Group;

/// What the writer thread keeps of a log.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// What is written to, if anything.
    pub(super) active: Option<Active>,
    /// The next record's sequence number.
    pub(super) next_seq: u64,
    pub(super) settled: SettledFile,
    /// Emptied files, to be written over.
    pub(super) spares: Spares,
    /// The folder that its files are in.
    pub(super) folder: Option<File>,
}

/// The thread.
pub(super) fn run(engine: &Engine, mut held: Held) -> Held {
    loop {
        let turn = engine.next_turn();
        let ownership = held.look(&engine.directory, turn.look || turn.closely);
        look(engine, &ownership, turn.look, turn.closely);
        let disowned = match ownership {
            Ownership::Lost(error) => Some(error),
            Ownership::Kept | Ownership::TakenAgain => None,
        };
        for log in turn.ready {
            match &disowned {
                Some(error) => refuse(&log, error),
                None => serve(&log),
            }
        }
        for log in turn.tidy.iter().filter(|_| disowned.is_none()) {
            tidy(log, &mut lock(&log.writing));
        }
        // All that was asked for is done.
        drop(turn.asked);
        if turn.closing {
            for log in engine.all_logs() {
                finish(&log, disowned.as_ref());
            }
            return held;
        }
    }
}

/// Sees whether all that was stored lies where it was put: a close look where somebody waits for
/// that, or where others may have worked in the directory.
fn look(engine: &Engine, ownership: &Ownership, due: bool, closely: bool) {
    let (closely, disowned) = match ownership {
        Ownership::Kept if due || closely => (closely, None),
        Ownership::Kept => return,
        Ownership::TakenAgain => (true, None),
        Ownership::Lost(error) => (false, Some(error)),
    };
    for log in engine.all_logs() {
        if presence::note_disowned(&log, disowned) && disowned.is_none() {
            // What was settled meanwhile waits for that.
            serve(&log);
        }
        if disowned.is_some() {
            continue;
        }
        let mut writing = lock(&log.writing);
        if closely || !presence::is_in_place(&log, &writing) {
            presence::examine(&log, &mut writing);
        }
    }
}

/// Writes nothing: the directory is not ours. What was settled stays to be written.
fn refuse(log: &LogCore, error: &StorageError) {
    let appends = {
        let mut state = lock(&log.state);
        state.inbox.queued = false;
        std::mem::take(&mut state.inbox.appends)
    };
    for append in appends {
        drop(append.done.send(Err(error.clone())));
    }
}

/// Does what a log's inbox asks for.
fn serve(log: &Arc<LogCore>) {
    let inbox = std::mem::take(&mut lock(&log.state).inbox);
    let mut writing = lock(&log.writing);
    let mut touched: Vec<u64> = inbox.settled.iter().map(|(segment, _)| *segment).collect();
    touched.dedup();
    if !inbox.appends.is_empty() {
        append(log, &mut writing, inbox.appends, &mut touched);
    }
    let removed = remove_done(log, &mut writing, touched);
    let settled: Vec<(u64, u32)> = inbox
        .settled
        .into_iter()
        .filter(|(segment, _)| !removed.contains(segment))
        .collect();
    if !settled.is_empty() {
        let next_seq = writing.next_seq;
        writing.settled.add(log, settled, next_seq);
    }
    let room = &log.options.room;
    if writing.active.is_some() && room.used() > room.limit() / 2 {
        // Somebody may wait for what it takes.
        tidy(log, &mut writing);
    }
    drop(writing);
    log.engine.syncs.stir(log, log.engine.sync_interval);
}

/// Writes all of them, in as many segments as it takes. Those sealed are put to `touched`.
fn append(log: &Arc<LogCore>, writing: &mut Writing, appends: Vec<Append>, touched: &mut Vec<u64>) {
    let mut left = VecDeque::from(appends);
    while !left.is_empty() {
        if let Err(error) = append_some(log, writing, &mut left, touched) {
            for append in left.drain(..) {
                drop(append.done.send(Err(error.clone())));
            }
        }
    }
}

/// Writes as many as go into the active segment.
fn append_some(
    log: &Arc<LogCore>,
    writing: &mut Writing,
    left: &mut VecDeque<Append>,
    touched: &mut Vec<u64>,
) -> Result<(), StorageError> {
    let mut active = take_active(log, writing, touched)?;
    let (group, heads, seals) = active.plan(left, log.segment_bytes);
    let mut written = active.write(&heads, &group, seals);
    if written.is_err() && writing.spares.clear(log) {
        // The disk may be full of nothing but these.
        written = active.write(&heads, &group, seals);
    }
    if let Err(error) = written {
        let error = failed("write", &log.path_of(active.first), &error);
        for append in group {
            drop(append.done.send(Err(error.clone())));
        }
        abandon(log, active, touched);
        return Err(error);
    }
    writing.next_seq = active.next_seq();
    let acks = register(log, &active, group, &heads, seals);
    if log.options.fsync == Fsync::Always {
        log.engine.syncs.acknowledge(Group {
            log: Arc::clone(log),
            file: Arc::clone(&active.file),
            first: active.first,
            acks,
        });
    } else {
        for (done, ticket) in acks {
            // Nobody listens any more: the ticket is dropped, which settles the record.
            drop(done.send(Ok(ticket)));
        }
    }
    if seals {
        touched.push(active.first);
    } else {
        writing.active = Some(active);
    }
    Ok(())
}

/// The segment that is written to; a new one where there is none, or where it is spoiled.
fn take_active(
    log: &LogCore,
    writing: &mut Writing,
    touched: &mut Vec<u64>,
) -> Result<Active, StorageError> {
    let sound = writing.active.as_ref().is_none_or(Active::is_sound);
    if !sound && !presence::is_in_place(log, writing) {
        presence::examine(log, writing);
    }
    if let Some(active) = writing.active.take() {
        let state = lock(&log.state);
        let segment = state.segments.get(&active.first);
        let spoiled = segment.is_some_and(|segment| segment.spoiled);
        drop(state);
        if !spoiled && active.is_sound() {
            return Ok(active);
        }
        abandon(log, active, touched);
    }
    writing.settled.begin(log, writing.next_seq);
    let active = Active::begin(log, &mut writing.spares, writing.next_seq)?;
    if writing.folder.is_none() {
        writing.folder = File::open(&log.folder).ok();
    }
    let mut state = lock(&log.state);
    state.unsynced.folder = true;
    // What was written into a folder that vanished is known to nobody but us.
    if state
        .segments
        .values()
        .any(|segment| segment.file.is_some())
    {
        writing.settled.note_stale();
    }
    Ok(active)
}

/// Ends a segment that cannot be written to, as it is.
fn abandon(log: &LogCore, active: Active, touched: &mut Vec<u64>) {
    active.cut_back(&log.path_of(active.first));
    let mut state = lock(&log.state);
    if let Some(segment) = state.segments.get_mut(&active.first) {
        segment.sealed = true;
        if active.is_linked() {
            segment.file = None;
        }
        touched.push(active.first);
    }
}

/// Makes known what was written: a ticket for each record.
fn register(
    log: &Arc<LogCore>,
    active: &Active,
    group: Vec<Append>,
    heads: &[RecordHead],
    sealed: bool,
) -> Vec<Ack> {
    let first = active.first;
    let mut state = lock(&log.state);
    let State {
        segments,
        unsettled,
        disk_bytes,
        unsynced,
        ..
    } = &mut *state;
    let segment = segments.entry(first).or_insert_with(|| {
        let file = Arc::clone(&active.file);
        Segment::begun(first, active.begin, active.codec.clone(), file)
    });
    let mut acks = Vec::with_capacity(group.len());
    let mut tally = Tally::default();
    for (append, head) in group.into_iter().zip(heads) {
        tally.add(&head.tally());
        segment.room.merge(append.room);
        let ticket = Ticket::new(
            log,
            first,
            segment.count,
            (head.len, head.kind, head.weight),
        );
        segment.count += 1;
        acks.push((append.done, ticket));
    }
    unsettled.add(&tally);
    segment.end = active.end;
    *disk_bytes += active.file_bytes - segment.file_bytes;
    segment.file_bytes = active.file_bytes;
    if sealed {
        segment.sealed = true;
        segment.file = None;
    }
    if !segment.dirty && log.options.fsync == Fsync::Interval {
        segment.dirty = true;
        unsynced.segments.push(first);
    }
    acks
}

/// Takes those of the segments that are sealed and settled from the disk: which.
fn remove_done(log: &LogCore, writing: &mut Writing, touched: Vec<u64>) -> Vec<u64> {
    let next_seq = writing.next_seq;
    let mut removed = Vec::new();
    for first in touched {
        let done = |segment: &&Segment| segment.sealed && segment.is_done();
        let count = |state: &State| Some(state.segments.get(&first).filter(done)?.count);
        let count = count(&lock(&log.state));
        if let Some(count) = count {
            writing.settled.add_gone(log, first, count, next_seq);
            let mut state = lock(&log.state);
            let segment = state.segments.remove(&first);
            state.readable.remove(&first);
            state.removed.retain(|removed| *removed != first);
            state.disk_bytes -= segment.as_ref().map_or(0, |segment| segment.file_bytes);
            drop(state);
            if let Some(segment) = &segment {
                told(log, first, writing.spares.keep(log, segment));
            }
            // Its room is given back only now.
            drop(segment);
            removed.push(first);
        }
    }
    removed
}

pub(super) fn unlink(log: &LogCore, first: u64) {
    told(log, first, fs::remove_file(log.path_of(first)));
}

/// Tells of a file that could not be removed.
fn told(log: &LogCore, first: u64, removed: io::Result<()>) {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let error = failed("remove", &log.path_of(first), &error);
            tracing::warn!(log = %log.name, "{error}; its records are delivered again after a restart");
        }
        _ => {}
    }
}

/// Removes the active segment where all of it is settled and nobody writes; and where there is
/// none since the last time, what was kept to write the next one over.
fn tidy(log: &Arc<LogCore>, writing: &mut Writing) {
    let Some(active) = writing.active.take() else {
        writing.spares.clear(log);
        if lock(&log.state).segments.is_empty() {
            writing.settled.clear(log, writing.next_seq);
        }
        return;
    };
    let mut state = lock(&log.state);
    let idle = state.inbox.appends.is_empty();
    let segment = state.segments.get_mut(&active.first);
    match segment {
        Some(segment) if idle && segment.is_done() => segment.sealed = true,
        _ => {
            writing.active = Some(active);
            return;
        }
    }
    drop(state);
    let first = active.first;
    drop(active);
    remove_done(log, writing, vec![first]);
    log.engine.syncs.stir(log, log.engine.sync_interval);
}

/// The last of a log: what is in its inbox, then a footer. Its files are closed.
fn finish(log: &Arc<LogCore>, disowned: Option<&StorageError>) {
    lock(&log.state).closed = true;
    if let Some(error) = disowned {
        refuse(log, error);
        *lock(&log.writing) = Writing::default();
        return;
    }
    serve(log);
    let mut writing = lock(&log.writing);
    tidy(log, &mut writing);
    writing.spares.clear(log);
    writing.settled = SettledFile::default();
    let Some(mut active) = writing.active.take() else {
        return;
    };
    if let Err(error) = active.write(&[], &[], true) {
        tracing::debug!(log = %log.name, "no footer, the next start reads all of it: {error}");
        active.cut_back(&log.path_of(active.first));
    }
    let mut state = lock(&log.state);
    if let Some(segment) = state.segments.get_mut(&active.first) {
        segment.sealed = true;
        segment.file = None;
    }
}
