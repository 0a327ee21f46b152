//! J10 to J17 and J35: numbers, which JSON has in several forms.

use std::sync::Arc;

use super::{
    JSON, PROTOJSON, SPANS, attribute, bytes, passed_on, point, refuses, span, span_passed_on,
    takes,
};
use crate::cli::bench::wire::{Fields, Value};
use crate::cli::conform::data::json::of_items;
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, failed, pass};
use crate::cli::conform::probe::Probe;
use crate::otlp::Signal;

pub(super) const LINES: &[Check] = &[
    check!(Must "J10", "64-bit integers in strings are taken", JSON, in_strings),
    check!(Must "J11", "64-bit integers as numbers are taken, as JavaScript sends them", PROTOJSON, as_numbers),
    check!(Must "J12", "the largest and the smallest 64-bit integer are taken", PROTOJSON, edges),
    check!(Must "J12b", "and passed on exactly", PROTOJSON, exact_edges),
    check!(Must "J13", "an integer that does not fit, or is a fraction, is refused",
        "ProtoJSON (protobuf.dev), OTLP 1.11 \"Bad Data\"", no_integers),
    check!(Should "J14", "integers written as 1e3 or 1.0 are taken", PROTOJSON, whole),
    check!(Must "J15", "32-bit integers in strings are taken", PROTOJSON, small_in_strings),
    check!(Must "J16", "doubles are taken as numbers, whole numbers and strings", PROTOJSON, doubles),
    check!(Must "J17", "NaN, Infinity and -Infinity are taken wherever there is a double", PROTOJSON, not_finite),
    check!(Must "J17b", "and passed on as such", PROTOJSON, not_finite_kept),
    check!(Must "J35", "the largest unsigned 64-bit integer is taken", PROTOJSON, unsigned),
    check!(Must "J35b", "and passed on exactly", PROTOJSON, unsigned_kept),
];

async fn in_strings(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("an intValue", attribute("{\"intValue\":\"42\"}")),
        ("a negative intValue", attribute("{\"intValue\":\"-42\"}")),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn as_numbers(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("an intValue", attribute("{\"intValue\":1}")),
        (
            "a time",
            span("\"events\":[{\"timeUnixNano\":1700000000000000000,\"name\":\"e\"}]"),
        ),
    ];
    takes(&probe, SPANS, &cases).await?;
    if !probe.takes(Signal::Metrics) {
        return pass();
    }
    let histogram = "{\"name\":\"otlpd.conform.histogram\",\"histogram\":{\"aggregationTemporality\":2,\
        \"dataPoints\":[{\"timeUnixNano\":1700000000000000000,\"count\":3,\"sum\":6,\
        \"bucketCounts\":[1,2],\"explicitBounds\":[5]}]}}";
    let cases = [
        ("an asInt", point("\"asInt\":7")),
        (
            "a histogram's counts",
            of_items(Signal::Metrics, &[histogram.to_owned()]),
        ),
    ];
    takes(&probe, Signal::Metrics, &cases).await
}

async fn edges(probe: Arc<Probe>) -> Checked {
    let cases = [
        (
            "the largest",
            attribute("{\"intValue\":\"9223372036854775807\"}"),
        ),
        (
            "the smallest",
            attribute("{\"intValue\":\"-9223372036854775808\"}"),
        ),
    ];
    takes(&probe, SPANS, &cases).await
}

/// The number in an AnyValue's field 3, its `int_value`.
fn int_value(value: &[u8]) -> Option<i64> {
    Fields::of(value).find_map(|field| match field {
        (3, Value::Number(number)) => Some(number.cast_signed()),
        _ => None,
    })
}

async fn exact_edges(probe: Arc<Probe>) -> Checked {
    for number in [i64::MAX, i64::MIN, (1 << 53) + 1] {
        let sent = format!("{{\"intValue\":\"{number}\"}}");
        let value = passed_on(&probe, &sent).await?;
        let found = value.as_deref().and_then(int_value);
        expect(found == Some(number), number.to_string(), or_none(found))?;
    }
    pass()
}

async fn no_integers(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("2^63", attribute("{\"intValue\":\"9223372036854775808\"}")),
        (
            "a number of 30 digits",
            attribute("{\"intValue\":100000000000000000000000000000}"),
        ),
        ("1.5", attribute("{\"intValue\":1.5}")),
        ("a negative count", span("\"droppedAttributesCount\":-1")),
        ("a word", attribute("{\"intValue\":\"seven\"}")),
    ];
    refuses(&probe, SPANS, &bytes(cases)).await
}

async fn whole(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("1e3", attribute("{\"intValue\":1e3}")),
        ("1.0", attribute("{\"intValue\":1.0}")),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn small_in_strings(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("a uint32", span("\"droppedAttributesCount\":\"257\"")),
        ("a fixed32", span("\"flags\":\"257\"")),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn doubles(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("1.5", attribute("{\"doubleValue\":1.5}")),
        ("2", attribute("{\"doubleValue\":2}")),
        ("1e-7", attribute("{\"doubleValue\":1e-7}")),
        ("\"1.5\"", attribute("{\"doubleValue\":\"1.5\"}")),
    ];
    takes(&probe, SPANS, &cases).await
}

pub(super) const NOT_FINITE: [(&str, f64); 3] = [
    ("NaN", f64::NAN),
    ("Infinity", f64::INFINITY),
    ("-Infinity", f64::NEG_INFINITY),
];

async fn not_finite(probe: Arc<Probe>) -> Checked {
    for (text, _) in NOT_FINITE {
        let body = attribute(&format!("{{\"doubleValue\":\"{text}\"}}"));
        takes(&probe, SPANS, &[(text, body)]).await?;
    }
    if !probe.takes(Signal::Metrics) {
        return pass();
    }
    for (text, _) in NOT_FINITE {
        let summary = format!(
            "{{\"name\":\"otlpd.conform.summary\",\"summary\":{{\"dataPoints\":[{{\
             \"timeUnixNano\":\"1\",\"count\":\"1\",\"sum\":\"{text}\",\
             \"quantileValues\":[{{\"quantile\":0.5,\"value\":\"{text}\"}}]}}]}}}}"
        );
        let histogram = format!(
            "{{\"name\":\"otlpd.conform.histogram\",\"histogram\":{{\"aggregationTemporality\":2,\
             \"dataPoints\":[{{\"timeUnixNano\":\"1\",\"count\":\"1\",\"sum\":\"{text}\",\
             \"min\":\"{text}\",\"max\":\"{text}\",\"bucketCounts\":[\"1\",\"0\"],\
             \"explicitBounds\":[\"{text}\"]}}]}}}}"
        );
        let cases = [
            ("a gauge", point(&format!("\"asDouble\":\"{text}\""))),
            ("a summary", of_items(Signal::Metrics, &[summary])),
            ("a histogram", of_items(Signal::Metrics, &[histogram])),
        ];
        takes(&probe, Signal::Metrics, &cases).await?;
    }
    pass()
}

async fn not_finite_kept(probe: Arc<Probe>) -> Checked {
    for (text, number) in NOT_FINITE {
        let value = passed_on(&probe, &format!("{{\"doubleValue\":\"{text}\"}}")).await?;
        let found = value.as_deref().and_then(|value| {
            Fields::of(value).find_map(|field| match field {
                (4, Value::Fixed64(bits)) => Some(f64::from_le_bytes(bits)),
                _ => None,
            })
        });
        let same = found.is_some_and(|found| found == number || found.is_nan() && number.is_nan());
        expect(same, text, or_none(found))?;
    }
    pass()
}

const LARGEST: &str = "\"events\":[{\"timeUnixNano\":\"18446744073709551615\",\"name\":\"e\"}]";

async fn unsigned(probe: Arc<Probe>) -> Checked {
    takes(&probe, SPANS, &[("a time of 2^64 - 1", span(LARGEST))]).await
}

async fn unsigned_kept(probe: Arc<Probe>) -> Checked {
    let passed = span_passed_on(&probe, LARGEST).await?;
    let Some(Value::Bytes(event)) = passed.field(11) else {
        return Err(lost("the event"));
    };
    let time = Fields::of(event).find_map(|field| match field {
        (1, Value::Fixed64(bits)) => Some(u64::from_le_bytes(bits)),
        _ => None,
    });
    expect(time == Some(u64::MAX), u64::MAX.to_string(), or_none(time))?;
    pass()
}

fn or_none(found: Option<impl ToString>) -> String {
    found.map_or_else(|| "none".to_owned(), |found| found.to_string())
}

fn lost(what: &str) -> Verdict {
    failed(what, "none")
}
