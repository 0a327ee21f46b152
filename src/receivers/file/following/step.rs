//! The next request of a file, on its way through the door.

use std::io;

use serde::de::IgnoredAny;

use super::super::request::{Fate, Gate};
use super::super::source::{AHEAD, Next, Source};
use super::{Following, Rest, Step};
use crate::intake::Admission;
use crate::otlp::file::{Kind, kind};
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::Fault;

impl Following {
    /// Carries the next request through the door, if there is one.
    pub(in crate::receivers::file) async fn step(&mut self, gate: &Gate) -> Step {
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
