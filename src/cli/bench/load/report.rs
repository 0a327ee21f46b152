//! What is counted while sending, and what is said of it at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::answer::Answer;
use crate::cli::bench::account::Acknowledged;
use crate::cli::bench::item::Run;
use crate::cli::bench::latency::{Latency, Quantiles};
use crate::cli::bench::request::Shape;
use crate::cli::bench::scan::Stretch;

/// One worker's counts, or all of them together.
#[derive(Debug)]
pub(super) struct Tally {
    answers: BTreeMap<String, u64>,
    latency: Latency,
    /// Stretches of acknowledged items: first, how many, how many of them rejected.
    acknowledged: Vec<(u64, u64, u64)>,
    refused_items: u64,
    unanswered_items: u64,
    named_delays: u64,
    pub(super) retries: u64,
    pub(super) plain_bytes: u64,
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    run: u32,
    signal: &'static str,
    seconds: f64,
    /// Acknowledged items a second.
    items_per_second: f64,
    /// Uncompressed bytes a second of all requests, in millions.
    megabytes_per_second: f64,
    /// Bytes of one request as it was sent.
    request_wire_bytes: usize,
    requests: u64,
    attempts: u64,
    retries: u64,
    /// Attempts by `grpc-status N`, `http N`, or the reason why there was no answer.
    answers: BTreeMap<String, u64>,
    /// Answers with a RetryInfo or a Retry-After.
    answers_with_delay: u64,
    acknowledged_items: u64,
    /// Items that `partial_success` counted within acknowledged requests.
    rejected_items: u64,
    /// Items whose last answer was an error.
    refused_items: u64,
    /// Items without an answer: they may or may not have arrived.
    unanswered_items: u64,
    /// Milliseconds from the first attempt, or from when it was due, to the last answer.
    latency_ms: Quantiles,
    /// What the sink says of the acknowledged items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) check: Option<serde_json::Value>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            answers: BTreeMap::new(),
            latency: Latency::new(),
            acknowledged: Vec::new(),
            refused_items: 0,
            unanswered_items: 0,
            named_delays: 0,
            retries: 0,
            plain_bytes: 0,
        }
    }

    /// Counts an attempt.
    pub(super) fn attempt(&mut self, answer: &Answer) {
        *self.answers.entry(answer.name()).or_default() += 1;
        self.named_delays += u64::from(answer.names_a_delay());
    }

    /// Counts the last answer for a request.
    pub(super) fn last(&mut self, answer: &Answer, took: Duration, first: u64, items: u64) {
        self.latency.record(took);
        match (answer.acknowledged(), answer) {
            (Some(rejected), _) => self.acknowledged.push((first, items, rejected)),
            (None, Answer::Nothing(_)) => self.unanswered_items += items,
            (None, _) => self.refused_items += items,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        self.latency.merge(&other.latency);
        self.acknowledged.extend(other.acknowledged);
        self.refused_items += other.refused_items;
        self.unanswered_items += other.unanswered_items;
        self.named_delays += other.named_delays;
        self.retries += other.retries;
        self.plain_bytes += other.plain_bytes;
    }

    /// What was acknowledged, in order, neighbours without rejected items joined.
    pub(super) fn acknowledged(&mut self, run: Run) -> Vec<Acknowledged> {
        self.acknowledged.sort_unstable();
        let mut joined: Vec<Acknowledged> = Vec::new();
        for &(first, length, rejected) in &self.acknowledged {
            match joined.last_mut() {
                Some(last)
                    if rejected == 0
                        && last.rejected == 0
                        && last.stretch.first + last.stretch.length == first =>
                {
                    last.stretch.length += length;
                }
                _ => joined.push(Acknowledged {
                    stretch: Stretch { run, first, length },
                    rejected,
                }),
            }
        }
        joined
    }

    pub(super) fn report(self, shape: Shape, took: Duration, request_wire_bytes: usize) -> Report {
        let acknowledged = self.acknowledged.len() as u64 * shape.items;
        let rejected = self
            .acknowledged
            .iter()
            .map(|&(.., rejected)| rejected)
            .sum::<u64>();
        let acknowledged_items = acknowledged.saturating_sub(rejected);
        let seconds = took.as_secs_f64();
        let attempts = self.answers.values().sum::<u64>();
        Report {
            run: shape.run.number(),
            signal: shape.kind.signal().name(),
            seconds,
            items_per_second: acknowledged_items as f64 / seconds,
            megabytes_per_second: self.plain_bytes as f64 / seconds / 1e6,
            request_wire_bytes,
            requests: attempts - self.retries,
            attempts,
            retries: self.retries,
            answers: self.answers,
            answers_with_delay: self.named_delays,
            acknowledged_items,
            rejected_items: rejected,
            refused_items: self.refused_items,
            unanswered_items: self.unanswered_items,
            latency_ms: self.latency.quantiles(),
            check: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:.0} {} items/s, {:.1} MB/s, {:.1} s",
            self.items_per_second, self.signal, self.megabytes_per_second, self.seconds
        )?;
        writeln!(
            f,
            "acknowledged {}, rejected {}, refused {}, unanswered {} items",
            self.acknowledged_items, self.rejected_items, self.refused_items, self.unanswered_items
        )?;
        for (answer, count) in &self.answers {
            writeln!(f, "{answer}: {count}")?;
        }
        write!(f, "latency ms: {}", self.latency_ms)?;
        if let Some(check) = &self.check {
            write!(f, "\nat the sink: {check}")?;
        }
        Ok(())
    }
}

/// One line a stretch, as the sink's `/check` reads it: run, first, how many, how many rejected.
pub(super) fn lines(acknowledged: &[Acknowledged]) -> String {
    acknowledged.iter().fold(String::new(), |mut text, part| {
        let Stretch { run, first, length } = part.stretch;
        // Writing to a string cannot fail.
        writeln!(text, "{} {first} {length} {}", run.number(), part.rejected).ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_requests_are_one_acknowledged_stretch() {
        let mut tally = Tally::new();
        let ok = |rejected| Answer::Grpc {
            code: 0,
            rejected,
            after: None,
        };
        for (first, rejected) in [(20, 0), (0, 0), (10, 0), (30, 4), (40, 0), (60, 0)] {
            tally.last(&ok(rejected), Duration::ZERO, first, 10);
        }
        let found = lines(&tally.acknowledged(Run::numbered(3)));
        assert_eq!(found, "3 0 30 0\n3 30 10 4\n3 40 10 0\n3 60 10 0\n");
    }

    #[test]
    fn items_are_acknowledged_refused_or_unanswered() {
        let mut tally = Tally::new();
        let refused = Answer::Grpc {
            code: 14,
            rejected: 0,
            after: Some(Duration::ZERO),
        };
        let ok = Answer::Grpc {
            code: 0,
            rejected: 1,
            after: None,
        };
        for answer in [&ok, &refused, &Answer::Nothing("timeout")] {
            tally.attempt(answer);
            tally.last(answer, Duration::from_millis(2), 0, 10);
        }
        assert_eq!((tally.refused_items, tally.unanswered_items), (10, 10));
        assert_eq!(tally.named_delays, 1);
        assert_eq!(tally.answers["grpc-status 14"], 1);
        assert_eq!(tally.answers["timeout"], 1);
    }
}
