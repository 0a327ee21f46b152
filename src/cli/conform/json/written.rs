//! J31 and J32: JSON that the server itself writes, as it arrives at its destination.

use std::sync::Arc;

use serde_json::{Value, json};

use super::numbers::NOT_FINITE;
use super::{JSON, PROTOJSON, SPANS};
use crate::cli::bench::item::put_text;
use crate::cli::bench::wire::{put_bytes, put_fixed64, put_message, put_number};
use crate::cli::conform::data::json::hex;
use crate::cli::conform::data::{id, now, of_items};
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, failed, pass, skipped};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::sent::Fate;

pub(super) const LINES: &[Check] = &[
    check!(Must "J31", "JSON that is sent on: lowerCamelCase, ids in hexadecimal, enums as numbers", JSON, forms),
    check!(Choice "J31b", "in it, what is not set is left out: there is no null", PROTOJSON, no_null),
    check!(Must "J32", "NaN and the infinities are sent on as strings", PROTOJSON, not_finite),
];

/// The span that is sent, all of whose values have one form in JSON that is right.
struct Sample {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    time: u64,
    /// Stands in an attribute, so that it is found whatever becomes of the rest.
    mark: String,
}

impl Sample {
    fn new() -> Self {
        // With letters in them, whatever else they are.
        let (mut trace_id, mut span_id) = (id::<16>(), id::<8>());
        (trace_id[0], span_id[0]) = (0xab, 0xcd);
        let mark = format!("mark-{}", hex(&id::<16>()));
        Self {
            trace_id,
            span_id,
            time: now(),
            mark,
        }
    }

    /// In protobuf. `values` adds to its attributes.
    fn encoded(&self, values: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut span = Vec::new();
        put_bytes(&mut span, 1, &self.trace_id);
        put_bytes(&mut span, 2, &self.span_id);
        put_bytes(&mut span, 5, b"conform");
        put_number(&mut span, 6, 2);
        put_fixed64(&mut span, 7, self.time);
        put_fixed64(&mut span, 8, self.time);
        put_text(&mut span, 9, "conform.mark", self.mark.as_bytes());
        values(&mut span);
        put_number(&mut span, 10, 3);
        put_message(&mut span, 15, |status| put_number(status, 3, 2));
        span
    }
}

/// Adds an attribute whose AnyValue is written by `value`.
fn put_attribute(span: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message(span, 9, |attribute| {
        put_bytes(attribute, 1, key.as_bytes());
        put_message(attribute, 2, value);
    });
}

/// Sends the span, and returns the JSON in which it arrives.
async fn document(probe: &Probe, sample: &Sample, span: Vec<u8>) -> Result<Value, Verdict> {
    probe.sees_the_destination()?;
    let all = probe.deliver(SPANS, &of_items(SPANS, &[span])).await?;
    if !all.iter().any(|sent| sent.fate == Fate::Taken) {
        let told = all.first().map_or("", |sent| sent.told.as_str());
        return Err(skipped(format!("it is not taken: {told}")));
    }
    let body = probe.passed_on_as_json(&sample.mark).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let start = String::from_utf8_lossy(body.get(..200).unwrap_or(&body)).into_owned();
        failed("JSON", format!("{error} in {start}"))
    })
}

/// The span with this mark, by way of the keys that it has to have above it.
fn span_in<'a>(document: &'a Value, mark: &str) -> Result<&'a Value, Verdict> {
    let mut level = vec![document];
    for key in ["resourceSpans", "scopeSpans", "spans"] {
        let lists = level.iter().filter_map(|value| value.get(key)?.as_array());
        level = lists.flatten().collect();
    }
    let has_mark =
        |span: &&Value| attribute(span, "conform.mark") == Some(&json!({"stringValue": mark}));
    level.into_iter().find(has_mark).ok_or_else(|| {
        failed(
            "the span, with its attributes, below resourceSpans, scopeSpans, spans",
            cut(document),
        )
    })
}

/// The AnyValue of the attribute with this key.
fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
    let all = span.get("attributes")?.as_array()?;
    all.iter()
        .find(|pair| pair.get("key").is_some_and(|found| found == key))?
        .get("value")
}

/// The beginning of it as it stands in a report.
fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

async fn forms(probe: Arc<Probe>) -> Checked {
    let sample = Sample::new();
    let span = sample.encoded(|span| {
        put_attribute(span, "yes", |value| put_number(value, 2, 1));
        put_attribute(span, "integer", |value| put_number(value, 3, (1 << 53) + 1));
        put_attribute(span, "double", |value| {
            put_fixed64(value, 4, 0.5_f64.to_bits())
        });
        put_attribute(span, "bytes", |value| {
            put_bytes(value, 7, &[0, 0xfb, 0xff, 0xfe])
        });
        put_attribute(span, "list", |value| {
            put_message(value, 5, |list| {
                put_message(list, 1, |one| put_bytes(one, 1, b"x"))
            });
        });
    });
    let document = document(&probe, &sample, span).await?;
    let span = span_in(&document, &sample.mark)?;
    // The specification takes hexadecimal in either case.
    for (key, id) in [
        ("traceId", hex(&sample.trace_id)),
        ("spanId", hex(&sample.span_id)),
    ] {
        let found = span.get(key).unwrap_or(&Value::Null);
        let same = found
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case(&id));
        expect(same, format!("{key} {id:?}"), cut(found))?;
    }
    let time = sample.time.to_string();
    let fields = [
        ("name", json!("conform")),
        ("kind", json!(2)),
        ("startTimeUnixNano", json!(time)),
        ("endTimeUnixNano", json!(time)),
        ("droppedAttributesCount", json!(3)),
    ];
    for (key, value) in &fields {
        is(key, span.get(key), value)?;
    }
    is("status.code", span.pointer("/status/code"), &json!(2))?;
    let attributes = [
        ("yes", json!({"boolValue": true})),
        ("integer", json!({"intValue": "9007199254740993"})),
        ("double", json!({"doubleValue": 0.5})),
        ("bytes", json!({"bytesValue": "APv//g=="})),
        (
            "list",
            json!({"arrayValue": {"values": [{"stringValue": "x"}]}}),
        ),
    ];
    for (key, value) in &attributes {
        is("the value of an attribute", attribute(span, key), value)?;
    }
    pass()
}

fn is(what: &str, found: Option<&Value>, expected: &Value) -> Result<(), Verdict> {
    let got = found.map_or_else(|| "nothing".to_owned(), cut);
    expect(found == Some(expected), format!("{what} {expected}"), got)
}

async fn no_null(probe: Arc<Probe>) -> Checked {
    let sample = Sample::new();
    let document = document(&probe, &sample, sample.encoded(|_| ())).await?;
    let null = null_in(&document, "");
    let got = null.map(|path| format!("null at {path}"));
    expect(got.is_none(), "no null", got.unwrap_or_default())?;
    pass()
}

/// Where the first null stands, as a JSON pointer.
fn null_in(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null => Some(path.to_owned()),
        Value::Array(all) => {
            let mut all = all.iter().enumerate();
            all.find_map(|(index, value)| null_in(value, &format!("{path}/{index}")))
        }
        Value::Object(all) => {
            let mut all = all.iter();
            all.find_map(|(key, value)| null_in(value, &format!("{path}/{key}")))
        }
        _ => None,
    }
}

async fn not_finite(probe: Arc<Probe>) -> Checked {
    let sample = Sample::new();
    let span = sample.encoded(|span| {
        for (key, number) in NOT_FINITE {
            put_attribute(span, key, |value| put_fixed64(value, 4, number.to_bits()));
        }
    });
    let document = document(&probe, &sample, span).await?;
    let span = span_in(&document, &sample.mark)?;
    for (text, _) in NOT_FINITE {
        is(text, attribute(span, text), &json!({"doubleValue": text}))?;
    }
    pass()
}
