//! Family J: what a server makes of OTLP/JSON.

mod documents;
mod ids;
mod numbers;
mod structure;
mod values;
mod written;

use super::data::json::{hex, of_items};
use super::data::{id, now};
use super::line::{Check, Checked, Verdict, noted, pass};
use super::probe::Probe;
use super::requests::needs_json;
use super::sink::Passed;
use crate::otlp::Signal;

/// Its lines.
pub(super) const TABLES: &[&[Check]] = &[
    ids::LINES,
    numbers::LINES,
    values::LINES,
    structure::LINES,
    documents::LINES,
    written::LINES,
];

const JSON: &str = "OTLP 1.11 \"JSON Protobuf Encoding\"";
const PROTOJSON: &str = "ProtoJSON (protobuf.dev)";
const RFC: &str = "RFC 8259";

/// The signal of most of these lines.
const SPANS: Signal = Signal::Traces;

/// A request in JSON and what is odd about it.
type Case = (&'static str, String);

/// A request for one span whose ids are as they should be, and with these fields besides.
fn span(fields: &str) -> String {
    span_of(&id::<16>(), fields)
}

/// The same, with this trace id.
fn span_of(trace_id: &[u8], fields: &str) -> String {
    let (trace, span, now) = (hex(trace_id), hex(&id::<8>()), now());
    let comma = if fields.is_empty() { "" } else { "," };
    let item = format!(
        "{{\"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"name\":\"conform\",\
         \"startTimeUnixNano\":\"{now}\",\"endTimeUnixNano\":\"{now}\"{comma}{fields}}}"
    );
    of_items(SPANS, &[item])
}

/// A request for one span with an attribute `k` of this value.
fn attribute(value: &str) -> String {
    span(&attribute_field(value))
}

fn attribute_field(value: &str) -> String {
    format!("\"attributes\":[{{\"key\":\"k\",\"value\":{value}}}]")
}

/// A request for one gauge with one data point of these fields.
fn point(fields: &str) -> String {
    let now = now();
    let item = format!(
        "{{\"name\":\"otlpd.conform.gauge\",\"gauge\":{{\"dataPoints\":[\
         {{\"timeUnixNano\":\"{now}\",{fields}}}]}}}}"
    );
    of_items(Signal::Metrics, &[item])
}

/// Each of these requests is taken whole.
async fn takes(probe: &Probe, signal: Signal, cases: &[Case]) -> Checked {
    needs_json(probe).await?;
    for (what, body) in cases {
        probe
            .deliver_json(signal, body.as_str())
            .await?
            .is_taken(what)?;
    }
    pass()
}

/// Each of these requests is refused for good, and the server goes on.
async fn refuses(probe: &Probe, signal: Signal, cases: &[(&'static str, Vec<u8>)]) -> Checked {
    needs_json(probe).await?;
    for (what, body) in cases {
        let sent = probe.deliver_json(signal, body.as_slice()).await?;
        sent.is_refused(what)?;
    }
    is_alive(probe, signal).await
}

/// Each of these requests is answered one way or the other, and the server goes on.
async fn survives(probe: &Probe, signal: Signal, cases: &[(&'static str, Vec<u8>)]) -> Checked {
    needs_json(probe).await?;
    let mut told = Vec::new();
    for (what, body) in cases {
        let sent = probe.deliver_json(signal, body.as_slice()).await?;
        told.push(format!("{what}: {}", sent.survived(what)?));
    }
    is_alive(probe, signal).await?;
    noted(told.join("; "))
}

async fn is_alive(probe: &Probe, signal: Signal) -> Checked {
    let body = super::data::json::request(signal, 1);
    let sent = probe.deliver_json(signal, body).await?;
    sent.is_taken("the proper request after it")?;
    pass()
}

/// Sends a span with these fields besides, and returns it as the destination has it.
async fn span_passed_on(probe: &Probe, fields: &str) -> Result<Passed, Verdict> {
    probe.sees_the_destination()?;
    needs_json(probe).await?;
    let trace_id = id::<16>();
    let sent = probe
        .deliver_json(SPANS, span_of(&trace_id, fields))
        .await?;
    sent.can_be_passed_on()?;
    probe.passed_on(&trace_id).await
}

/// The same for the value of an attribute.
async fn passed_on(probe: &Probe, value: &str) -> Result<Option<Vec<u8>>, Verdict> {
    let passed = span_passed_on(probe, &attribute_field(value)).await?;
    Ok(passed.attribute(9, "k").map(<[u8]>::to_vec))
}

/// Texts as bytes.
fn bytes<const N: usize>(cases: [(&'static str, String); N]) -> [(&'static str, Vec<u8>); N] {
    cases.map(|(what, text)| (what, text.into_bytes()))
}
