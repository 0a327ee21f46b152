//! One file that is followed: how far it was read, and what is next in it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::follow::blocking;
use super::glob::{Seen, is_absence};
use super::known::Known;
use super::request::{Gate, Place};
use super::source::{Print, Source};
use crate::limited;
use crate::telemetry::metrics::Fault;

mod step;

/// What came of looking for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more.
    More,
    /// There is nothing more for now.
    Idle,
    /// The door is shut; nothing is to be read before this time has passed.
    Later(Duration),
    /// otlpd is stopping.
    Stop,
}

/// What is passed over without being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Up to and with the next line break.
    Line,
    /// So many bytes.
    Bytes(u64),
}

/// A file that is followed.
pub(super) struct Following {
    path: PathBuf,
    id: (u64, u64),
    /// What it was told by when it was last opened.
    print: Print,
    /// Up to where requests are done with, in uncompressed bytes.
    offset: u64,
    line: u64,
    /// Its size on disk, now and when it was looked at before.
    size: u64,
    size_before: Option<u64>,
    /// Its size when all that could be read of it was.
    read: Option<u64>,
    source: Option<Source>,
    /// What is still to be passed over of a request that was counted already.
    rest: Option<Rest>,
    /// How much of that request was passed over. Whoever goes on from the position begins at its
    /// front.
    passed: u64,
    /// How many looks did not find it any more.
    pub(super) unseen: u32,
    moved: bool,
}

impl Following {
    pub(super) fn new(seen: &Seen, known: Option<Known>) -> Self {
        let (print, offset, line) = match &known {
            Some(known) => (known.print(), known.offset, known.line),
            None => (Print::default(), 0, 0),
        };
        Self {
            path: seen.path.clone(),
            id: seen.id,
            print,
            offset,
            line,
            size: seen.size,
            size_before: None,
            read: None,
            source: None,
            rest: None,
            passed: 0,
            unseen: 0,
            moved: false,
        }
    }

    /// Begins where the last whole request ends in a file of this size. What is compressed counts
    /// as read.
    pub(super) fn begin_at(&mut self, end: Option<u64>, size: u64) {
        match end {
            Some(end) => self.offset = end,
            None => self.read = Some(size),
        }
    }

    /// It was found again, under this name and of this size.
    pub(super) fn seen(&mut self, path: PathBuf, size: u64) {
        self.path = path;
        self.unseen = 0;
        self.size_before = Some(self.size);
        self.size = size;
    }

    /// It was not found any more: what is open is looked at.
    pub(super) fn look_again(&mut self) {
        if let Some(size) = self.source.as_ref().and_then(|source| source.size().ok()) {
            self.size_before = Some(self.size);
            self.size = size;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Whether there may be something to read.
    pub(super) fn is_due(&self) -> bool {
        self.read != Some(self.size) && self.size > 0
    }

    pub(super) fn close(&mut self) {
        self.source = None;
    }

    /// Whether it is in the middle of being inflated.
    pub(super) fn is_inflating(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| !source.is_plain())
    }

    /// It is another's turn: what was read ahead is given back, if it can be read again.
    pub(super) fn give_back(&mut self) {
        let at = self.at();
        if let Some(source) = self.source.as_mut().filter(|source| source.is_plain())
            && source.rewind(at).is_err()
        {
            self.source = None;
        }
    }

    /// The bytes on disk that are still to be read.
    pub(super) fn unread(&self) -> u64 {
        match (&self.source, self.is_due()) {
            (_, false) => 0,
            (Some(source), true) if source.is_plain() => self.size.saturating_sub(self.at()),
            _ => self.size.saturating_sub(self.read.unwrap_or(0)),
        }
    }

    /// Where reading goes on, in uncompressed bytes.
    fn at(&self) -> u64 {
        self.offset + self.passed
    }

    pub(super) fn known(&self) -> Known {
        Known::new(self.id, self.print, (self.offset, self.line), &self.path)
    }

    /// Whether the position has moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// It is gone, and with it what was not read.
    pub(super) fn ends(&self, gate: &Gate) {
        let plain = self.source.as_ref().is_some_and(Source::is_plain);
        let problem = if self.is_due() {
            "the file is gone before it was read to its end"
        } else if plain && self.read.is_some_and(|read| read > self.at()) {
            "the file is gone, and ends in the middle of a request"
        } else {
            return;
        };
        gate.fault(Fault::Malformed, self.place(), problem);
    }

    fn place(&self) -> Place<'_> {
        Place {
            file: &self.path,
            line: self.line + 1,
            offset: self.offset,
        }
    }

    /// Opens the file where it was read up to, if it is there and is the same. False if there is
    /// nothing to read now.
    async fn make_ready(&mut self) -> io::Result<bool> {
        if self.source.is_none() {
            let (path, offset) = (self.path.clone(), self.at());
            let (print, size, before) = (self.print, self.size, self.size_before);
            let opened = blocking(move || -> io::Result<_> {
                let plain = Source::is_plain_file(&path)?;
                // Whoever writes a compressed file is let finish: it must be inflated from its
                // beginning each time.
                if !plain && before != Some(size) {
                    return Ok(None);
                }
                let source = Source::open(&path, 0)?;
                let same = source.is_as(print)? && (source.size()? >= offset || !plain);
                let print = source.print()?;
                match same {
                    true if offset > 0 => Ok(Some((Source::open(&path, offset)?, print, same))),
                    _ => Ok(Some((source, print, same))),
                }
            });
            let Some((source, print, same)) = opened.await.unwrap_or(Ok(None))? else {
                return Ok(false);
            };
            if source.id != self.id {
                // Another file has its name by now, and will be found under it.
                return Ok(false);
            }
            self.source = Some(source);
            self.begin(print, same);
            return Ok(true);
        }
        self.check().await
    }

    /// Takes note of what the file begins with. Where that is something else than before, it is
    /// another file in the same place, or was cut and written anew.
    fn begin(&mut self, print: Print, same: bool) {
        if !same {
            tracing::info!(
                file = %self.path.display(),
                "the file was written anew, and is read from its beginning"
            );
            (self.offset, self.line) = (0, 0);
            (self.rest, self.passed) = (None, 0);
            self.moved = true;
        }
        if self.print != print {
            self.print = print;
            self.moved = true;
        }
    }

    /// Looks, once it has been read to its end before, whether an open file is still as it was.
    async fn check(&mut self) -> io::Result<bool> {
        if self.read.take().is_none() {
            return Ok(true);
        }
        let Some(source) = self.source.take() else {
            return Ok(false);
        };
        let (print, offset) = (self.print, self.at());
        let checked = blocking(move || -> io::Result<_> {
            let same = source.is_as(print)? && source.size()? >= offset;
            let print = source.print()?;
            Ok((source, print, same))
        });
        let Some(checked) = checked.await else {
            return Ok(false);
        };
        let (source, print, same) = checked?;
        if same {
            self.source = Some(source);
            self.begin(print, true);
        }
        // Else it is opened anew, from its beginning.
        Ok(same)
    }

    /// Reads on, until so many bytes are read ahead. Whether anything was read.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        let Some(mut source) = self.source.take() else {
            return Ok(false);
        };
        let filled = blocking(move || {
            let read = source.fill(bytes);
            (source, read)
        });
        let Some((source, read)) = filled.await else {
            return Ok(false);
        };
        self.source = Some(source);
        read
    }

    /// Lets go of what was read ahead: whoever wrote it may take it back.
    fn idle(&mut self) -> Step {
        let Some(source) = &mut self.source else {
            return Step::Idle;
        };
        if source.is_plain() {
            let ahead = source.ahead().len() as u64;
            self.read = Some(self.at() + ahead);
            self.give_back();
        } else {
            self.read = Some(self.size);
            self.source = None;
        }
        Step::Idle
    }

    fn failed(&mut self, error: &io::Error, gate: &Gate) {
        self.source = None;
        if is_absence(error) {
            return;
        }
        match error.kind() {
            // The last member or frame is not there yet.
            io::ErrorKind::UnexpectedEof => {
                self.read = Some(self.size);
                limited!(
                    warn,
                    receiver = gate.receiver,
                    file = %self.path.display(),
                    "a compressed file is cut short; what there is of it was read"
                );
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                self.read = Some(self.size);
                let problem = format!("the rest of the file does not inflate: {error}");
                gate.fault(Fault::Compression, self.place(), &problem);
            }
            _ => limited!(
                warn,
                receiver = gate.receiver,
                file = %self.path.display(),
                %error,
                "a file cannot be read; it is tried again"
            ),
        }
    }
}
