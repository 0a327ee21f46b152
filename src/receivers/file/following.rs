//! One file that is followed: how far it was read, and what is next in it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::follow::blocking;
use super::glob::{Seen, is_absence};
use super::known::Known;
use super::request::{Fate, Gate, Place};
use super::source::{AHEAD, Next, Print, Source};
use crate::intake::Admission;
use crate::limited;
use crate::otlp::file::{Kind, kind};
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::Fault;

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

    /// Carries the next request through the door, if there is one.
    pub(super) async fn step(&mut self, gate: &Gate) -> Step {
        match self.try_step(gate).await {
            Ok(step) => step,
            Err(error) => {
                self.failed(&error, gate);
                Step::Idle
            }
        }
    }

    async fn try_step(&mut self, gate: &Gate) -> io::Result<Step> {
        if !self.make_ready().await? {
            return Ok(Step::Idle);
        }
        if let Some(rest) = self.rest {
            return self.pass_over(rest).await;
        }
        let mut admission = None;
        loop {
            let Some(source) = &mut self.source else {
                return Ok(Step::Idle);
            };
            let part = match source.next(gate.format, gate.limit) {
                Next::Whole(before, length, after) => {
                    return Ok(self.request((before, length, after), admission, gate).await);
                }
                Next::TooLarge(length) => {
                    let problem = format!("it is above `max_log_size` ({} bytes)", gate.limit);
                    gate.fault(Fault::TooLarge, self.place(), &problem);
                    self.rest = Some(length.map_or(Rest::Line, Rest::Bytes));
                    return Ok(Step::More);
                }
                Next::Part(bytes) => bytes,
            };
            let wanted = wanted(part, source.ahead().len(), gate);
            if wanted > AHEAD
                && let Err(step) = self.pay(wanted, &mut admission, gate).await
            {
                return Ok(step);
            }
            if !self.fill(wanted).await? {
                return Ok(self.at_end(admission, gate).await);
            }
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

    /// Pays for a request that is longer than what is read ahead.
    async fn pay(
        &mut self,
        bytes: usize,
        admission: &mut Option<(Signal, Admission)>,
        gate: &Gate,
    ) -> Result<(), Step> {
        let paid = match admission {
            Some((signal, admission)) => {
                let place = self.place();
                gate.grow(admission, bytes, *signal, place).await
            }
            None => {
                let begin = self.source.as_ref().map(Source::ahead).unwrap_or_default();
                let signal = match gate.signal_of(begin) {
                    Ok(Some(signal)) => signal,
                    Ok(None) | Err(_) => {
                        let problem = "its begin does not say what kind of request it is";
                        gate.fault(Fault::Malformed, self.place(), problem);
                        self.rest = Some(self.rest_of(gate));
                        return Err(Step::More);
                    }
                };
                match gate.admit(signal, bytes, self.place()).await {
                    Ok(admitted) => {
                        *admission = Some((signal, admitted));
                        Ok(())
                    }
                    Err(fate) => Err(fate),
                }
            }
        };
        match paid {
            Ok(()) => Ok(()),
            Err(Fate::Done) => {
                self.rest = Some(self.rest_of(gate));
                Err(Step::More)
            }
            Err(fate) => Err(self.put_off(fate)),
        }
    }

    /// What is left of the request that is next.
    fn rest_of(&self, gate: &Gate) -> Rest {
        let ahead = self.source.as_ref().map(Source::ahead).unwrap_or_default();
        match (gate.format, ahead.first_chunk::<4>()) {
            (Format::Protobuf, Some(length)) => {
                Rest::Bytes(4 + u64::from(u32::from_be_bytes(*length)))
            }
            _ => Rest::Line,
        }
    }

    /// Carries a whole request through the door: what stands before it, its length, and what
    /// stands behind it.
    async fn request(
        &mut self,
        (before, length, after): (usize, usize, usize),
        admission: Option<(Signal, Admission)>,
        gate: &Gate,
    ) -> Step {
        let total = before + length + after;
        let Some(source) = &mut self.source else {
            return Step::Idle;
        };
        let ahead = source.ahead().get(before..before + length);
        let signal = match gate.signal_of(ahead.unwrap_or_default()) {
            Ok(Some(signal)) => signal,
            Ok(None) => return self.done(total),
            Err(problem) => {
                gate.fault(Fault::Malformed, self.place(), problem);
                return self.done(total);
            }
        };
        let admitted = match admission {
            Some((_, admission)) => Ok(admission),
            None => gate.admit(signal, length, self.place()).await,
        };
        let fate = match (admitted, &mut self.source) {
            (Ok(admission), Some(source)) => {
                let body = source.take(before, length);
                source.pass(after);
                let fate = gate.submit(signal, body, admission, self.place()).await;
                if fate == Fate::Done {
                    self.moves_on(total as u64);
                    return Step::More;
                }
                fate
            }
            (Err(Fate::Done), _) => return self.done(total),
            (Err(fate), _) => fate,
            (Ok(_), None) => return Step::Idle,
        };
        self.put_off(fate)
    }

    /// Is done with so many bytes that were read ahead.
    fn done(&mut self, bytes: usize) -> Step {
        if let Some(source) = &mut self.source {
            source.pass(bytes);
        }
        self.moves_on(bytes as u64);
        Step::More
    }

    fn moves_on(&mut self, bytes: u64) {
        self.offset += bytes;
        self.line += 1;
        self.moved = true;
    }

    /// What was read ahead is given back; it is read again.
    fn put_off(&mut self, fate: Fate) -> Step {
        self.source = None;
        match fate {
            Fate::Later(delay) => Step::Later(delay),
            Fate::Done => Step::More,
            Fate::Stopping => Step::Stop,
        }
    }

    /// Passes over what is not kept.
    async fn pass_over(&mut self, rest: Rest) -> io::Result<Step> {
        let Some(source) = &mut self.source else {
            return Ok(Step::Idle);
        };
        let ahead = source.ahead();
        let (bytes, left) = match rest {
            Rest::Line => match memchr::memchr(b'\n', ahead) {
                Some(at) => (at + 1, None),
                None => (ahead.len(), Some(Rest::Line)),
            },
            Rest::Bytes(bytes) => {
                let there = usize::try_from(bytes).unwrap_or(usize::MAX);
                let there = there.min(ahead.len());
                let left = bytes - there as u64;
                (there, (left > 0).then_some(Rest::Bytes(left)))
            }
        };
        source.pass(bytes);
        self.passed += bytes as u64;
        self.rest = left;
        if left.is_none() {
            let passed = std::mem::take(&mut self.passed);
            self.moves_on(passed);
            return Ok(Step::More);
        }
        match self.fill(AHEAD).await? {
            true => Ok(Step::More),
            false => Ok(self.idle()),
        }
    }

    /// The file has no more for now. A line that is whole but for its break is taken all the same.
    async fn at_end(&mut self, admission: Option<(Signal, Admission)>, gate: &Gate) -> Step {
        let ahead = self.source.as_ref().map(Source::ahead).unwrap_or_default();
        let length = ahead.len();
        if gate.format == Format::Json
            && ahead.trim_ascii_end().ends_with(b"}")
            && serde_json::from_slice::<IgnoredAny>(ahead).is_ok()
        {
            return self.request((0, length, 0), admission, gate).await;
        }
        self.idle()
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

/// How many bytes are to be read ahead to see more than a part.
fn wanted(part: usize, ahead: usize, gate: &Gate) -> usize {
    match gate.format {
        // The length is known.
        Format::Protobuf => part.max(AHEAD),
        // A line within what is read ahead costs nothing; a longer one is doubled up to the limit,
        // and to one byte more, by which it is too long.
        Format::Json if ahead < AHEAD => AHEAD,
        Format::Json => ahead.saturating_mul(2).min(gate.limit.saturating_add(1)),
    }
}

impl Gate {
    /// What kind of request begins so; `None` if it is none at all, but for white space.
    fn signal_of(&self, begin: &[u8]) -> Result<Option<Signal>, &'static str> {
        if self.format == Format::Protobuf {
            return match (begin, self.signal) {
                ([], _) => Ok(None),
                (_, signal) => Ok(signal),
            };
        }
        match kind(begin) {
            Kind::Of(signal) if self.signal.is_some_and(|only| only != signal) => {
                Err("it is of another kind than `signal` says")
            }
            Kind::Of(signal) => Ok(Some(signal)),
            Kind::Empty => Ok(None),
            Kind::Unknown => Err("it is no request: a JSON object with resourceSpans, \
                 resourceMetrics, resourceLogs or resourceProfiles"),
        }
    }
}
