//! Family H: what an HTTP server answers.

mod answers;
mod codings;
mod connections;
mod cors;
mod failures;
mod limits;
mod media;
mod overload;
mod partial;
mod slow;

use super::data;
use super::line::{Check, Verdict, expect, skipped};
use super::probe::{Ask, Probe};
use super::wire::http1::Answer;
use crate::otlp::Signal;

/// Its lines.
pub(super) const TABLES: &[&[Check]] = &[
    answers::LINES,
    media::LINES,
    partial::LINES,
    failures::LINES,
    limits::LINES,
    codings::LINES,
    connections::LINES,
    slow::LINES,
    overload::LINES,
    cors::LINES,
];

/// Goes on where the answer is 200, for this signal.
fn expect_ok(signal: Signal, answer: &Answer) -> Result<(), Verdict> {
    let got = format!("{} for {}", answer.told(), signal.name());
    expect(answer.code == 200, "200", got)
}

/// Goes on where the server takes JSON at all; that it should is said by H5.
pub(super) async fn needs_json(probe: &Probe) -> Result<(), Verdict> {
    let signal = probe.any_signal();
    let ask = Ask::json(signal, data::json::request(signal, 1));
    let answer = probe.ask(&ask).await?;
    if answer.is_success() {
        return Ok(());
    }
    let reason = format!("JSON is not served ({}), which H5 tells", answer.code);
    Err(skipped(reason))
}
