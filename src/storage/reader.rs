//! Reading back what waits, in order and in large reads.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Page;
use super::ReadOrder;
use super::Record;
use super::StorageError;
use super::Tally;
use super::Ticket;
use super::crypt::Cipher;
use super::error::closed;
use super::error::failed;
use super::format::RecordHead;
use super::holes::MISSING;
use super::log::LogCore;
use super::log::lock;
use super::scan::Found;
use super::scan::Scan;
use super::segment::Codec;
use super::segment::Cursor;

/// What a reader keeps from page to page: the segment that it was in.
#[derive(Debug, Default)]
pub(super) struct Reading {
    open: Option<(u64, Arc<File>)>,
    /// Segments that the disk did not give: tried again when nothing else waits.
    avoided: BTreeSet<u64>,
    /// Why the last of them was.
    error: Option<StorageError>,
}

/// A page that nobody has yet: its records wait again if nobody takes it.
pub(super) struct Unclaimed {
    log: Arc<LogCore>,
    page: Page,
}

impl Unclaimed {
    pub(super) fn new(log: Arc<LogCore>, page: Page) -> Self {
        Self { log, page }
    }

    pub(super) fn claim(mut self) -> Page {
        std::mem::take(&mut self.page)
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        for record in self.page.records.drain(..) {
            record.ticket.unload();
        }
        let mut state = lock(&self.log.state);
        state.untold.lost.add(&self.page.lost);
        state.untold.quarantined.append(&mut self.page.quarantined);
    }
}

/// A segment to read from.
struct Task {
    first: u64,
    cursor: Cursor,
    end: u64,
    /// The sequence number that its next record would have.
    next: u64,
    codec: Codec,
    file: Option<Arc<File>>,
}

/// How reading a segment came to its end.
enum Stop {
    /// The page is full.
    Full,
    /// Nothing stands behind the cursor.
    End,
}

/// Reads the next page. It blocks.
pub(super) fn read(
    log: &Arc<LogCore>,
    max_bytes: usize,
    order: ReadOrder,
) -> Result<Page, StorageError> {
    let page = read_page(log, max_bytes, order);
    if page.as_ref().is_ok_and(|page| page.lost.records > 0) {
        log.settled_some(lock(&log.state));
    }
    page
}

fn read_page(log: &Arc<LogCore>, max_bytes: usize, order: ReadOrder) -> Result<Page, StorageError> {
    let mut reading = lock(&log.reading);
    let mut page = std::mem::take(&mut lock(&log.state).untold);
    let mut room = max_bytes;
    while let Some(task) = next_task(log, order, &reading.avoided)? {
        let first = task.first;
        let file = match open(log, &mut reading, &task) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                lose(log, first, &mut page, MISSING);
                continue;
            }
            Err(error) => {
                avoid(
                    log,
                    &mut reading,
                    first,
                    &failed("open", &log.path_of(first), &error),
                );
                continue;
            }
        };
        match read_segment(log, &task, &file, (&mut page, &mut room)) {
            Ok(Stop::Full) => break,
            Ok(Stop::End) => end_of_pass(log, first, &mut page),
            Err(error) => avoid(
                log,
                &mut reading,
                first,
                &failed("read", &log.path_of(first), &error),
            ),
        }
        if order == ReadOrder::NewestFirst && !page.records.is_empty() {
            break;
        }
    }
    let nothing = page.records.is_empty() && page.lost == Tally::default();
    match reading.error.take_if(|_| nothing) {
        Some(error) => {
            reading.avoided.clear();
            Err(error)
        }
        None => Ok(page),
    }
}

/// Passes over a segment that cannot be read: it must not keep back the others.
fn avoid(log: &LogCore, reading: &mut Reading, first: u64, error: &StorageError) {
    tracing::debug!(log = %log.name, "{error}");
    reading.open = None;
    reading.avoided.insert(first);
    reading.error = Some(error.clone());
}

fn next_task(
    log: &LogCore,
    order: ReadOrder,
    avoided: &BTreeSet<u64>,
) -> Result<Option<Task>, StorageError> {
    let mut state = lock(&log.state);
    if state.closed {
        return Err(closed());
    }
    let readable = |first: &&u64| !avoided.contains(*first);
    let first = match order {
        ReadOrder::OldestFirst => state.readable.iter().find(readable),
        ReadOrder::NewestFirst => state.readable.iter().rfind(readable),
    };
    let Some(first) = first.copied() else {
        return Ok(None);
    };
    let Some(segment) = state.segments.get_mut(&first) else {
        return Ok(None);
    };
    Ok(Some(Task {
        first,
        cursor: segment.begin_pass(),
        end: segment.end,
        next: first + u64::from(segment.count),
        codec: segment.codec.clone(),
        file: segment.file.clone(),
    }))
}

fn open(log: &LogCore, reading: &mut Reading, task: &Task) -> io::Result<Arc<File>> {
    if let Some(file) = &task.file {
        return Ok(Arc::clone(file));
    }
    match &reading.open {
        Some((first, file)) if *first == task.first => Ok(Arc::clone(file)),
        _ => {
            let file = Arc::new(File::open(log.path_of(task.first))?);
            reading.open = Some((task.first, Arc::clone(&file)));
            Ok(file)
        }
    }
}

fn read_segment(
    log: &Arc<LogCore>,
    task: &Task,
    file: &File,
    (page, room): (&mut Page, &mut usize),
) -> io::Result<Stop> {
    let Task { first, cursor, .. } = *task;
    let seq = first + u64::from(cursor.index);
    let mut scan = Scan::new(file, task.codec.seed, (cursor.offset, task.end), seq);
    let cipher = task.codec.cipher().map_err(io::Error::other)?;
    loop {
        let head = match scan.look()? {
            Found::Record(head) => head,
            Found::End if scan.seq >= task.next => return Ok(Stop::End),
            Found::End | Found::Torn | Found::Damaged => {
                pass_damage(log, task, &mut scan, page)?;
                continue;
            }
        };
        let index = index_in(first, scan.seq);
        let wanted = lock(&log.state)
            .segments
            .get(&first)
            .is_some_and(|segment| segment.waits(index));
        if wanted {
            if !page.records.is_empty() && head.len as usize > *room {
                return Ok(Stop::Full);
            }
            let Some(payload) = plain(scan.payload(&head)?, &head, cipher.as_ref()) else {
                pass_damage(log, task, &mut scan, page)?;
                continue;
            };
            *room = room.saturating_sub(head.len as usize);
            scan.pass(&head);
            if let Some(ticket) = load(log, first, &head, scan.offset) {
                let at = (head.head_len as usize).min(payload.len());
                page.records.push(Record {
                    ticket,
                    kind: head.kind,
                    weight: head.weight,
                    head: payload.slice(..at),
                    body: payload.slice(at..),
                });
            }
        } else {
            scan.skip(&head);
        }
    }
}

/// A record's payload as it was given.
pub(super) fn plain(
    payload: Option<Bytes>,
    head: &RecordHead,
    cipher: Option<&Cipher>,
) -> Option<Bytes> {
    match cipher {
        Some(cipher) => cipher.open(head, payload?),
        None => payload,
    }
}

fn index_in(first: u64, seq: u64) -> u32 {
    u32::try_from(seq - first).unwrap_or(u32::MAX)
}

/// Takes a record from those that wait, and notes that reading goes on at `offset` behind it.
fn load(log: &Arc<LogCore>, first: u64, head: &RecordHead, offset: u64) -> Option<Ticket> {
    let mut state = lock(&log.state);
    let index = index_in(first, head.seq);
    let segment = state.segments.get_mut(&first)?;
    segment.cursor.index = index + 1;
    segment.cursor.offset = offset;
    let tally = head.tally();
    if !segment.load(index, &tally) {
        return None;
    }
    state.waiting.subtract(&tally);
    state.note_waiting(first);
    drop(state);
    Some(Ticket::new(
        log,
        first,
        index,
        (head.len, head.kind, head.weight),
    ))
}

/// Goes on behind damage, and sets the segment aside.
fn pass_damage(
    log: &LogCore,
    task: &Task,
    scan: &mut Scan<&File>,
    page: &mut Page,
) -> io::Result<()> {
    let first = task.first;
    let (offset, seq) = (scan.offset, scan.seq);
    let doubted = scan.find_next()?;
    let mut state = lock(&log.state);
    if scan.is_at_end() {
        scan.seq = task.next;
    }
    let Some(segment) = state.segments.get_mut(&first) else {
        // All of it was settled meanwhile, and its file is written over.
        scan.skip_to_end(task.next);
        return Ok(());
    };
    segment.skip(index_in(first, doubted)..index_in(first, scan.seq));
    segment.cursor = Cursor {
        index: index_in(first, scan.seq),
        offset: scan.offset,
    };
    let known = std::mem::replace(&mut segment.set_aside, true);
    drop(state);
    if !known {
        let reason = format!("record {seq} at byte {offset} is not what was written");
        page.quarantined.push(set_aside(log, first, reason));
    }
    Ok(())
}

/// What waits behind the end of a pass: lost, if only damage stands in its place.
fn end_of_pass(log: &LogCore, first: u64, page: &mut Page) {
    let mut state = lock(&log.state);
    let Some(segment) = state.segments.get_mut(&first) else {
        return;
    };
    let lost = segment.waits_for_skipped();
    segment.end_pass();
    if lost {
        page.lost.add(&state.settle_waiting(first));
    }
}

fn lose(log: &LogCore, first: u64, page: &mut Page, reason: &str) {
    page.lost.add(&lock(&log.state).settle_waiting(first));
    page.quarantined
        .push((log.path_of(first), reason.to_owned()));
}

/// Keeps a second name of a segment's file in the quarantine, for whoever wants to look into it.
pub(super) fn set_aside(log: &LogCore, first: u64, reason: String) -> (PathBuf, String) {
    let from = log.path_of(first);
    let to = log.quarantine_of(first);
    let made = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| match fs::hard_link(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => fs::copy(&from, &to).map(drop),
            Ok(()) => Ok(()),
        });
    match made {
        Ok(()) => (to, reason),
        Err(error) => (
            from,
            format!("{reason}; it is not in the quarantine: {error}"),
        ),
    }
}

/// Keeps a copy of a segment's file, which is then mended, in the quarantine.
pub(super) fn copy_aside(log: &LogCore, first: u64, reason: String) -> (PathBuf, String) {
    let from = log.path_of(first);
    let to = log.quarantine_of(first);
    let made = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::copy(&from, &to));
    match made {
        Ok(_) => (to, reason),
        Err(error) => (
            from,
            format!("{reason}; it is not in the quarantine: {error}"),
        ),
    }
}
