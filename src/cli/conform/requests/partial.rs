//! H11: requests of which a server takes a part.

use std::sync::Arc;

use super::needs_json;
use crate::cli::conform::data::answer::{self, Partial, rejected_key};
use crate::cli::conform::data::bad::{self, BAD, GOOD};
use crate::cli::conform::data::json;
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, noted, pass, skip,
};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::http1::Answer;
use crate::otlp::Signal;

const PARTIAL: &str = "OTLP 1.11 \"OTLP/HTTP Response, Partial Success\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "H11", "data refused in part: 200, with the number of items that were refused", PARTIAL, counted),
    check!(Must "H11b", "in JSON that number is a decimal string",
        "OTLP 1.11 \"JSON Protobuf Encoding\" (64-bit integers)", as_text),
    check!(Must "H47", "an answer has at most 4 MiB, however much was refused",
        "OTLP 1.11 \"OTLP/HTTP Response\"", small),
];

/// The most that OTLP recommends for an answer, in bytes.
const MAX_RESPONSE: usize = 4 << 20;

const NOTHING: &str = "it refused nothing in part, of several kinds of bad items that were tried, \
                       which OTLP leaves open";

/// What the answer refuses, where it is a success that refuses something.
fn refused(
    answer: &Answer,
    read: Result<Option<Partial>, String>,
) -> Result<Option<Partial>, Verdict> {
    if !answer.is_success() {
        return Ok(None);
    }
    let partial = read.map_err(|problem| failed("an Export response", problem))?;
    Ok(partial.filter(|partial| partial.rejected != 0))
}

async fn counted(probe: Arc<Probe>) -> Checked {
    let mut notes = Vec::new();
    for signal in probe.known.signals.clone() {
        for mixed in bad::mixed(signal) {
            let answer = probe.ask(&Ask::protobuf(signal, mixed.body)).await?;
            let read = answer::partial(&answer.body);
            let Some(partial) = refused(&answer, read)? else {
                continue;
            };
            let (what, rejected) = (mixed.what, partial.rejected);
            expect(answer.code == 200, "200", answer.told())?;
            let all = GOOD + BAD;
            let expected = format!("between 1 and {all} of {GOOD} good items and {BAD} {what}");
            expect(
                (1..=all).contains(&rejected),
                expected,
                rejected.to_string(),
            )?;
            notes.push(format!("{rejected} rejected for {BAD} {what}"));
        }
    }
    if notes.is_empty() {
        return skip(NOTHING);
    }
    noted(notes.join("; "))
}

async fn as_text(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    let signal = Signal::Traces;
    if !probe.takes(signal) {
        return skip("traces are not among --signals");
    }
    let bad = r#"{"traceId":"0102030405","spanId":"0102030405060708","name":"conform"}"#;
    let items = [json::item(signal, 1), bad.to_owned(), json::item(signal, 2)];
    let ask = Ask::json(signal, json::of_items(signal, &items));
    let answer = probe.ask(&ask).await?;
    let read = answer::partial_json(signal, &answer.body);
    let Some(partial) = refused(&answer, read)? else {
        return skip(NOTHING);
    };
    let expected = format!("{} as a string", rejected_key(signal));
    expect(partial.is_text, expected, answer.told())?;
    pass()
}

async fn small(probe: Arc<Probe>) -> Checked {
    if !probe.takes(Signal::Traces) {
        return skip("traces are not among --signals");
    }
    let ask = Ask::protobuf(Signal::Traces, bad::many(20_000));
    let answer = probe.ask(&ask).await?;
    if refused(&answer, answer::partial(&answer.body))?.is_none() && answer.is_success() {
        return skip(NOTHING);
    }
    let size = answer.body.len();
    let told = format!("{size} bytes for 20000 bad spans");
    expect(
        size <= MAX_RESPONSE,
        format!("at most {MAX_RESPONSE} bytes"),
        &told,
    )?;
    noted(told)
}
