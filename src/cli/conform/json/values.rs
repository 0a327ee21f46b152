//! J18 to J25 and J33: what a value can be.

use std::sync::Arc;

use super::{PROTOJSON, SPANS, attribute, bytes, passed_on, point, refuses, span, survives, takes};
use crate::cli::bench::wire::{Fields, Value, find_bytes};
use crate::cli::conform::data::json::of_items;
use crate::cli::conform::line::{Check, Checked, check, expect, failed, noted, pass};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::requests::needs_json;
use crate::cli::conform::sent::Fate;
use crate::otlp::Signal;

const COMMON: &str = "comments in common.proto";

pub(super) const LINES: &[Check] = &[
    check!(Must "J18", "null for any field is as good as leaving it out, as JavaScript does", PROTOJSON, nulls),
    check!(Must "J19", "an attribute with an empty value, or none, is taken", COMMON, empty_values),
    check!(Must "J20", "an arrayValue and a kvlistValue without values are taken", PROTOJSON, empty_lists),
    check!(Must "J21", "bytesValue is taken in both base64 alphabets, padded or not", PROTOJSON, base64),
    check!(Must "J21b", "and passed on as the same bytes", PROTOJSON, base64_kept),
    check!(Should "J22", "lists in maps in lists, 30 deep, are taken", COMMON, nested),
    check!(Should "J22b", "and passed on at that depth", COMMON, nested_kept),
    check!(Must "J23", "a server survives JSON nested 10,000 deep", "OTLP 1.11 \"Bad Data\"", deep),
    check!(Choice "J23b", "and refuses it", "OTLP 1.11 \"Bad Data\"", deep_refused),
    check!(Choice "J24", "two values of one attribute (a oneof) are refused", PROTOJSON, two_members),
    check!(Choice "J25", "a key that stands twice is taken, and its last value counts", PROTOJSON, twice),
    check!(Should "J33", "stringValueStrindex and keyStrindex outside profiles do no harm", COMMON, strindex),
];

async fn nulls(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("a string", span("\"traceState\":null")),
        (
            "an integer",
            span("\"droppedEventsCount\":null,\"flags\":null"),
        ),
        ("a list", span("\"attributes\":null,\"events\":null")),
        ("a message", span("\"status\":null")),
        ("an id", span("\"parentSpanId\":null")),
        ("an attribute's value", attribute("null")),
        ("a member of a oneof", attribute("{\"doubleValue\":null}")),
    ];
    takes(&probe, SPANS, &cases).await?;
    if probe.takes(Signal::Metrics) {
        let cases = [("an asDouble", point("\"asDouble\":null"))];
        takes(&probe, Signal::Metrics, &cases).await?;
    }
    if probe.takes(Signal::Logs) {
        let record = "{\"timeUnixNano\":\"1\",\"body\":null,\"severityNumber\":null}".to_owned();
        let cases = [("a body", of_items(Signal::Logs, &[record]))];
        takes(&probe, Signal::Logs, &cases).await?;
    }
    pass()
}

async fn empty_values(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("\"value\":{}", attribute("{}")),
        ("no value", span("\"attributes\":[{\"key\":\"k\"}]")),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn empty_lists(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("an arrayValue", attribute("{\"arrayValue\":{}}")),
        ("a kvlistValue", attribute("{\"kvlistValue\":{}}")),
        (
            "an empty list",
            attribute("{\"arrayValue\":{\"values\":[]}}"),
        ),
    ];
    takes(&probe, SPANS, &cases).await
}

/// The bytes fb ef ff fe in all the ways to write them.
const BASE64: [(&str, &str); 4] = [
    ("standard", "++///g=="),
    ("standard without padding", "++///g"),
    ("URL-safe", "--___g=="),
    ("URL-safe without padding", "--___g"),
];

async fn base64(probe: Arc<Probe>) -> Checked {
    let cases =
        BASE64.map(|(what, text)| (what, attribute(&format!("{{\"bytesValue\":\"{text}\"}}"))));
    takes(&probe, SPANS, &cases).await
}

async fn base64_kept(probe: Arc<Probe>) -> Checked {
    const BYTES: &[u8] = &[0xfb, 0xef, 0xff, 0xfe];
    for (what, text) in BASE64 {
        let value = passed_on(&probe, &format!("{{\"bytesValue\":\"{text}\"}}")).await?;
        let found = value.as_deref().and_then(|value| find_bytes(value, 7));
        let got = format!("{found:02x?} for {what}");
        expect(found == Some(BYTES), "fb ef ff fe", got)?;
    }
    pass()
}

/// A value with lists in maps in lists, so deep, and a word at the bottom.
fn nest(depth: usize) -> String {
    (0..depth).fold("{\"stringValue\":\"bottom\"}".to_owned(), |inner, level| {
        if level % 2 == 0 {
            format!("{{\"arrayValue\":{{\"values\":[{inner}]}}}}")
        } else {
            format!("{{\"kvlistValue\":{{\"values\":[{{\"key\":\"d\",\"value\":{inner}}}]}}}}")
        }
    })
}

async fn nested(probe: Arc<Probe>) -> Checked {
    takes(&probe, SPANS, &[("30 levels", attribute(&nest(30)))]).await
}

async fn nested_kept(probe: Arc<Probe>) -> Checked {
    let value = passed_on(&probe, &nest(30)).await?.unwrap_or_default();
    let (mut here, mut depth) = (value.as_slice(), 0);
    loop {
        let list = find_bytes(here, 5).and_then(|list| find_bytes(list, 1));
        let map = find_bytes(here, 6).and_then(|list| find_bytes(list, 1));
        let inner = list.or_else(|| map.and_then(|pair| find_bytes(pair, 2)));
        match inner {
            Some(inner) => here = inner,
            None => break,
        }
        depth += 1;
    }
    let has_bottom = find_bytes(here, 1) == Some(b"bottom");
    expect(
        depth == 30 && has_bottom,
        "30 levels and the word",
        format!("{depth} levels"),
    )?;
    pass()
}

/// 10,000 lists, which closes none of them after the last.
fn abyss() -> [(&'static str, Vec<u8>); 2] {
    let open = "{\"arrayValue\":{\"values\":[".repeat(10_000);
    let close = "]}}".repeat(10_000);
    let unknown = format!("\"unknown\":{}{}", "[".repeat(10_000), "]".repeat(10_000));
    [
        (
            "10,000 lists",
            attribute(&format!("{open}{close}")).into_bytes(),
        ),
        (
            "10,000 lists in an unknown key",
            span(&unknown).into_bytes(),
        ),
    ]
}

async fn deep(probe: Arc<Probe>) -> Checked {
    survives(&probe, SPANS, &abyss()).await
}

async fn deep_refused(probe: Arc<Probe>) -> Checked {
    let [lists, _] = abyss();
    refuses(&probe, SPANS, &[lists]).await
}

async fn two_members(probe: Arc<Probe>) -> Checked {
    let body = attribute("{\"stringValue\":\"a\",\"intValue\":\"1\"}");
    refuses(
        &probe,
        SPANS,
        &bytes([("a stringValue and an intValue", body)]),
    )
    .await
}

async fn twice(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    let value = "{\"stringValue\":\"first\",\"stringValue\":\"last\"}";
    let sent = probe.deliver_json(SPANS, attribute(value)).await?;
    if sent.fate != Fate::Taken {
        return Err(failed("200, and the last value", sent.told));
    }
    if probe.sink.is_none() {
        return noted("which value counts is not seen without --sink");
    }
    let found = passed_on(&probe, value).await?.unwrap_or_default();
    let text = Fields::of(&found).find_map(|field| match field {
        (1, Value::Bytes(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    expect(
        text.as_deref() == Some("last"),
        "last",
        text.unwrap_or_else(|| "none".to_owned()),
    )?;
    pass()
}

async fn strindex(probe: Arc<Probe>) -> Checked {
    let cases = [
        (
            "stringValueStrindex",
            attribute("{\"stringValueStrindex\":3}"),
        ),
        (
            "keyStrindex",
            span("\"attributes\":[{\"keyStrindex\":3,\"value\":{\"intValue\":\"1\"}}]"),
        ),
    ];
    takes(&probe, SPANS, &cases).await
}
