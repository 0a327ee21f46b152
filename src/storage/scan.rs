//! The walk over the records of a segment, whoever takes it: a reader, a start, a tool.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::format;
use super::format::MARK_LEN;
use super::format::RECORD_LEN;
use super::format::RecordHead;
use super::format::Role;

/// How much is read at once; larger records are read for themselves.
const WINDOW_BYTES: usize = 64 << 10;
/// How much is read to see the next record's head, after one that was large.
const PEEK_BYTES: usize = 4 << 10;

/// Where a segment's bytes come from.
pub(super) trait Source {
    /// Reads at `offset` as much of `bytes` as there is: how much.
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for &File {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl Source for File {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        (&self).read(bytes, offset)
    }
}

impl Source for &[u8] {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        let rest = rest.unwrap_or_default();
        let read = rest.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(read)
    }
}

/// A walk that stands before a record.
#[derive(Debug)]
pub(super) struct Scan<S> {
    source: S,
    seed: u32,
    /// Where the next record begins.
    pub(super) offset: u64,
    /// Its sequence number.
    pub(super) seq: u64,
    /// Where records end at the latest.
    end: u64,
    /// Behind the last record that was read and right: nothing up to there is doubted.
    sure: (u64, u64),
    window: Vec<u8>,
    window_at: u64,
    next_read: usize,
}

/// What stands at a place.
#[derive(Debug)]
pub(super) enum Found {
    /// What could be a record; its payload says whether it is.
    Record(RecordHead),
    /// Nothing more.
    End,
    /// A record that was cut short, by the end of the file.
    Torn,
    /// Something that was not written here.
    Damaged,
}

impl<S: Source> Scan<S> {
    /// A walk from `offset`, where the record `seq` begins, to `end`.
    pub(super) fn new(source: S, seed: u32, (offset, end): (u64, u64), seq: u64) -> Self {
        Self {
            source,
            seed,
            offset,
            seq,
            end,
            sure: (offset, seq),
            window: Vec::new(),
            window_at: 0,
            next_read: WINDOW_BYTES,
        }
    }

    /// What stands here.
    pub(super) fn look(&mut self) -> io::Result<Found> {
        if self.offset >= self.end {
            return Ok(Found::End);
        }
        self.fill()?;
        let at = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(at..).and_then(<[u8]>::first_chunk);
        let Some(bytes) = bytes else {
            return Ok(Found::Torn);
        };
        Ok(match RecordHead::decode(bytes) {
            Some(head) if head.seq == self.seq && self.is_mark(&head) => {
                self.end = self.offset;
                Found::End
            }
            Some(head) if head.seq == self.seq && head.role == Role::Record => {
                if self.offset + u64::from(head.len) > self.end {
                    Found::Torn
                } else {
                    Found::Record(head)
                }
            }
            // A write that never reached the disk leaves zeros where the file was lengthened.
            None if bytes.iter().all(|byte| *byte == 0) => Found::Torn,
            _ => Found::Damaged,
        })
    }

    /// Whether older bytes follow. Where records end, and nothing was written behind them.
    fn is_mark(&self, head: &RecordHead) -> bool {
        head.role == Role::Mark
            && head.len as usize == MARK_LEN
            && head.checksum(self.seed) == head.crc
    }

    /// Has the next record's head in the window.
    fn fill(&mut self) -> io::Result<()> {
        let have = self.window_at + self.window.len() as u64;
        if self.offset >= self.window_at && self.offset + RECORD_LEN as u64 <= have {
            return Ok(());
        }
        self.window.resize(self.next_read, 0);
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        self.window.truncate(left.min(self.next_read));
        self.window_at = self.offset;
        let read = self.source.read(&mut self.window, self.offset)?;
        self.window.truncate(read);
        Ok(())
    }

    /// The head and body of the record that stands here, if they are what was written.
    pub(super) fn payload(&mut self, head: &RecordHead) -> io::Result<Option<Bytes>> {
        let begin = self.offset + RECORD_LEN as u64;
        let len = head.payload_len();
        let at = usize::try_from(begin - self.window_at).unwrap_or(usize::MAX);
        let had = self.window.get(at..).unwrap_or_default();
        let payload = match had.get(..len) {
            Some(whole) => {
                self.next_read = WINDOW_BYTES;
                Bytes::copy_from_slice(whole)
            }
            None => {
                self.next_read = PEEK_BYTES;
                let mut bytes = vec![0; len];
                let (front, rest) = bytes.split_at_mut(had.len().min(len));
                front.copy_from_slice(had);
                let offset = begin + front.len() as u64;
                if self.source.read(rest, offset)? < rest.len() {
                    return Ok(None);
                }
                Bytes::from(bytes)
            }
        };
        let crc = format::checksum(head.checksum(self.seed), &[&payload]);
        Ok((crc == head.crc).then_some(payload))
    }

    /// Goes on behind the record that stands here, whose payload was right.
    pub(super) fn pass(&mut self, head: &RecordHead) {
        self.skip(head);
        self.sure = (self.offset, self.seq);
    }

    /// Goes on behind the record that stands here, unread.
    pub(super) fn skip(&mut self, head: &RecordHead) {
        if head.payload_len() + RECORD_LEN <= WINDOW_BYTES {
            self.next_read = WINDOW_BYTES;
        }
        self.offset += u64::from(head.len);
        self.seq += 1;
    }

    /// Goes on at the next whole record behind damage (or at the mark behind the last one), or at
    /// the end: the sequence number of the first record that this may have passed over.
    pub(super) fn find_next(&mut self) -> io::Result<u64> {
        let (begin, doubted) = self.sure;
        let left = usize::try_from(self.end - begin).unwrap_or(usize::MAX);
        let mut rest = vec![0; left];
        let read = self.source.read(&mut rest, begin)?;
        rest.truncate(read);
        let found = (0..).zip(rest.windows(RECORD_LEN)).find_map(|(at, bytes)| {
            let head = RecordHead::decode(bytes.first_chunk()?)?;
            let near = head.seq > doubted && head.seq - doubted <= left as u64;
            let payload = rest.get(at + RECORD_LEN..at + head.len as usize)?;
            let right = near
                && head.role != Role::Footer
                && format::checksum(head.checksum(self.seed), &[payload]) == head.crc;
            right.then_some((at as u64, head))
        });
        match found {
            Some((at, head)) => {
                self.offset = begin + at;
                self.seq = head.seq;
                if head.role == Role::Record {
                    self.sure = (self.offset + u64::from(head.len), head.seq + 1);
                }
            }
            None => self.offset = self.end,
        }
        Ok(doubted)
    }

    /// Leaves what follows unread, up to the record `next`, which is not there.
    pub(super) fn skip_to_end(&mut self, next: u64) {
        self.offset = self.end;
        self.seq = next;
    }

    /// Whether it stands behind all that there is.
    pub(super) fn is_at_end(&self) -> bool {
        self.offset >= self.end
    }
}
