//! G5 to G8 and G15: requests of which a server takes a part.

use std::sync::Arc;

use crate::cli::conform::data::answer::{self, Partial};
use crate::cli::conform::data::bad::{self, BAD, GOOD, Mixed};
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, noted, pass, skip, skipped,
};
use crate::cli::conform::probe::Probe;
use crate::otlp::Signal;

const PARTIAL: &str = "OTLP 1.11 \"OTLP/gRPC Response, Partial Success\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "G5", "data refused in part: OK, with the number of items that were refused", PARTIAL, counted),
    check!(Should "G6", "data refused in part: error_message says why", PARTIAL, explained),
    check!(Must "G7", "partial_success that refuses nothing has an error_message", PARTIAL, warned),
    check!(Must "G8", "refused metrics are counted in data points",
        "OTLP 1.11 \"Partial Success\", metrics_service.proto", in_points),
    check!(Must "G15", "an answer has at most 4 MiB, however much was refused",
        "OTLP 1.11 \"OTLP/gRPC Response\"", small),
];

/// The most that OTLP recommends for an answer, in bytes.
const MAX_RESPONSE: usize = 4 << 20;

/// What came of a request with bad items in it.
struct Told {
    mixed: Mixed,
    /// Where `partial_success` was set.
    partial: Option<Partial>,
    /// What became of it, in words.
    became: &'static str,
}

/// What the server says to requests with bad items, of the signals that it takes.
async fn all(probe: &Probe) -> Result<Vec<Told>, Verdict> {
    let mut all = Vec::new();
    for signal in &probe.known.signals {
        for mixed in bad::mixed(*signal) {
            let called = probe.export(*signal, &mixed.body).await?;
            let partial = if called.is_ok() {
                let message = called.message();
                let read = message.and_then(|message| answer::partial(&message));
                read.map_err(|problem| failed("an Export response", problem))?
            } else {
                None
            };
            let became = match &partial {
                Some(partial) if partial.rejected != 0 => "refused in part",
                _ if called.is_ok() => "taken",
                _ if called.is_retryable() => "to be sent again",
                _ => "refused whole",
            };
            all.push(Told {
                mixed,
                partial,
                became,
            });
        }
    }
    Ok(all)
}

/// Why there is nothing to check: what became of each request.
fn nothing(all: &[Told]) -> Verdict {
    let told = all
        .iter()
        .map(|told| format!("{}: {}", told.mixed.what, told.became));
    let told = told.collect::<Vec<_>>().join("; ");
    skipped(format!(
        "it refused nothing in part ({told}), which OTLP leaves open"
    ))
}

/// Those that were refused in part.
fn in_part(all: &[Told]) -> Result<Vec<(&Told, &Partial)>, Verdict> {
    let found = all
        .iter()
        .filter_map(|told| told.partial.as_ref().map(|partial| (told, partial)))
        .filter(|(_, partial)| partial.rejected != 0);
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(nothing(all));
    }
    Ok(found)
}

async fn counted(probe: Arc<Probe>) -> Checked {
    let all = all(&probe).await?;
    let mut notes = Vec::new();
    for (told, partial) in in_part(&all)? {
        let (what, rejected) = (told.mixed.what, partial.rejected);
        expect(
            (1..=GOOD + BAD).contains(&rejected),
            format!(
                "between 1 and {} rejected of {GOOD} good items and {BAD} {what}",
                GOOD + BAD
            ),
            rejected.to_string(),
        )?;
        if rejected != BAD {
            notes.push(format!(
                "{rejected} rejected for {BAD} {what} among {GOOD} good items"
            ));
        }
    }
    noted(notes.join("; "))
}

async fn explained(probe: Arc<Probe>) -> Checked {
    let all = all(&probe).await?;
    for (told, partial) in in_part(&all)? {
        let got = format!("none for {}", told.mixed.what);
        expect(!partial.message.trim().is_empty(), "an error_message", got)?;
    }
    pass()
}

async fn warned(probe: Arc<Probe>) -> Checked {
    let all = all(&probe).await?;
    let partial = all.iter().filter_map(|told| told.partial.as_ref());
    let mut warnings = partial.filter(|partial| partial.rejected == 0);
    // One that says nothing at all is the same as none (trace_service.proto); G2 is about it.
    if warnings.any(|partial| !partial.message.is_empty()) {
        return pass();
    }
    skip("no answer had a partial_success that only warns, which OTLP leaves open")
}

async fn in_points(probe: Arc<Probe>) -> Checked {
    if !probe.takes(Signal::Metrics) {
        return skip("metrics are not among --signals");
    }
    let all = all(&probe).await?;
    let of_metrics = |(told, _): &(&Told, _)| told.mixed.signal == Signal::Metrics;
    let found: Vec<_> = in_part(&all)?.into_iter().filter(of_metrics).collect();
    if found.is_empty() {
        return Err(nothing(&all));
    }
    for (told, partial) in found {
        let expected = format!("{BAD} for {BAD} {}", told.mixed.what);
        let rejected = partial.rejected;
        expect(rejected >= BAD, expected, rejected.to_string())?;
    }
    pass()
}

async fn small(probe: Arc<Probe>) -> Checked {
    if !probe.takes(Signal::Traces) {
        return skip("traces are not among --signals");
    }
    let called = probe.export(Signal::Traces, &bad::many(20_000)).await?;
    let message = called.message().unwrap_or_default();
    let partial = answer::partial(&message).ok().flatten();
    if called.is_ok() && partial.is_none_or(|partial| partial.rejected == 0) {
        return skip("it refuses nothing of 20000 bad spans, which OTLP leaves open");
    }
    let message = message.len();
    let text = called.said("grpc-message").unwrap_or_default().len();
    let size = message.max(text);
    let got = format!("{size} bytes for 20000 bad spans");
    expect(
        size <= MAX_RESPONSE,
        format!("at most {MAX_RESPONSE} bytes"),
        got,
    )?;
    noted(format!("{size} bytes for 20000 bad spans"))
}
