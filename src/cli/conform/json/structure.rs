//! J9, J26 to J30 and J36: the text itself, and keys that are not known.

use std::sync::Arc;

use super::{JSON, PROTOJSON, RFC, SPANS, bytes, passed_on, refuses, span, survives, takes};
use crate::cli::bench::wire::find_bytes;
use crate::cli::conform::data::json;
use crate::cli::conform::line::{Check, Checked, check, expect, pass};
use crate::cli::conform::probe::Probe;

pub(super) const LINES: &[Check] = &[
    check!(Must "J9", "unknown keys are ignored at every level", JSON, unknown_keys),
    check!(Must "J26", "an object that is cut off is refused", RFC, cut_off),
    check!(Should "J26c", "so is what is no JSON by a comma, or by what follows it", RFC, trailing),
    check!(Choice "J26b", "a byte order mark is refused", RFC, mark),
    check!(Must "J27", "escapes are taken: \\u0000 and surrogate pairs", RFC, escapes),
    check!(Must "J27b", "and passed on as what they mean", RFC, escapes_kept),
    check!(Must "J27c", "a lone surrogate is refused or replaced, and does no harm", RFC, lone),
    check!(Should "J28", "bytes that are not UTF-8 are refused", "RFC 8259 section 8.1", no_text),
    check!(Must "J29", "a list, a text or a number in place of the object is refused", PROTOJSON, no_object),
    check!(Choice "J29b", "so is null", PROTOJSON, null),
    check!(Must "J29c", "a value of another form than its field has is refused", PROTOJSON, other_forms),
    check!(Must "J30", "white space between tokens is taken", RFC, pretty),
    check!(Must "J36", "keys of before 1.0 (instrumentationLibrarySpans) are unknown, so ignored", JSON, old),
];

const UNKNOWN: &str = "\"conformUnknown\":{\"a\":[1,\"x\",null,true,{\"b\":{}}],\"c\":1e9}";

async fn unknown_keys(probe: Arc<Probe>) -> Checked {
    let plain = span("");
    let at = |place: &str| plain.replacen(place, &format!("{place}{UNKNOWN},"), 1);
    let cases = [
        ("at the top", at("{")),
        ("in the entry of a resource", at("{\"resourceSpans\":[{")),
        ("in a resource", at("\"resource\":{")),
        ("in a scope", at("\"scope\":{")),
        ("in a span", span(UNKNOWN)),
        (
            "in an attribute and its value",
            span(&format!(
                "\"attributes\":[{{\"key\":\"k\",{UNKNOWN},\"value\":{{{UNKNOWN},\"intValue\":\"1\"}}}}]"
            )),
        ),
        ("in a status", span(&format!("\"status\":{{{UNKNOWN}}}"))),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn trailing(probe: Arc<Probe>) -> Checked {
    let one = span("");
    let cases = [
        ("garbage after it", format!("{one} garbage")),
        ("a bracket after it", format!("{one}}}")),
        ("two objects", format!("{one}{one}")),
        (
            "a comma before the end",
            format!("{},}}", one.trim_end_matches('}')),
        ),
    ];
    refuses(&probe, SPANS, &bytes(cases)).await
}

async fn cut_off(probe: Arc<Probe>) -> Checked {
    let one = span("");
    let cut = one.get(..one.len() - 3).unwrap_or("{").to_owned();
    let cases = [("an object without its end", cut)];
    refuses(&probe, SPANS, &bytes(cases)).await
}

async fn mark(probe: Arc<Probe>) -> Checked {
    let body = format!("\u{feff}{}", span(""));
    refuses(&probe, SPANS, &bytes([("a byte order mark", body)])).await
}

const ESCAPES: &str = "\\u0000 \\ud83d\\ude00 \\u00e4 \\n\\\"\\\\\\/";

async fn escapes(probe: Arc<Probe>) -> Checked {
    let body = super::attribute(&format!("{{\"stringValue\":\"{ESCAPES}\"}}"));
    takes(&probe, SPANS, &[("all kinds of escapes", body)]).await
}

async fn escapes_kept(probe: Arc<Probe>) -> Checked {
    let value = passed_on(&probe, &format!("{{\"stringValue\":\"{ESCAPES}\"}}")).await?;
    let text = value.as_deref().and_then(|value| find_bytes(value, 1));
    let text = text.map(|text| String::from_utf8_lossy(text).into_owned());
    let expected = "\0 \u{1f600} \u{e4} \n\"\\/";
    expect(
        text.as_deref() == Some(expected),
        format!("{expected:?}"),
        text.map_or_else(|| "none".to_owned(), |text| format!("{text:?}")),
    )?;
    pass()
}

async fn lone(probe: Arc<Probe>) -> Checked {
    let of = |text: &str| super::attribute(&format!("{{\"stringValue\":\"{text}\"}}"));
    let cases = [
        ("a lone high surrogate", of("\\ud83d")),
        ("a lone low surrogate", of("\\ude00 x")),
        ("two high surrogates", of("\\ud83d\\ud83d")),
    ];
    survives(&probe, SPANS, &bytes(cases)).await
}

async fn no_text(probe: Arc<Probe>) -> Checked {
    let plain = span("\"traceState\":\"HERE\"").into_bytes();
    let with = |bad: &[u8]| {
        let at = plain
            .windows(4)
            .position(|found| found == b"HERE")
            .unwrap_or(0);
        let (before, after) = plain.split_at(at);
        [before, bad, after.get(4..).unwrap_or(&[])].concat()
    };
    let cases = [
        ("the bytes ff fe", with(b"\xff\xfe")),
        ("an overlong form", with(b"\xc0\xaf")),
        ("a surrogate in UTF-8", with(b"\xed\xa0\xbd")),
    ];
    refuses(&probe, SPANS, &cases).await
}

async fn no_object(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("a list", format!("[{}]", span(""))),
        ("a text", "\"spans\"".to_owned()),
        ("a number", "1".to_owned()),
        ("true", "true".to_owned()),
    ];
    refuses(&probe, SPANS, &bytes(cases)).await
}

async fn other_forms(probe: Arc<Probe>) -> Checked {
    let cases = [
        (
            "a list for an object",
            "{\"resourceSpans\":[[\"x\"]]}".to_owned(),
        ),
        ("a text for a list", "{\"resourceSpans\":\"x\"}".to_owned()),
        ("a number for a text", span("\"traceState\":7")),
    ];
    refuses(&probe, SPANS, &bytes(cases)).await
}

async fn null(probe: Arc<Probe>) -> Checked {
    refuses(&probe, SPANS, &bytes([("null", "null".to_owned())])).await
}

async fn pretty(probe: Arc<Probe>) -> Checked {
    let value: serde_json::Value =
        serde_json::from_str(&span("\"attributes\":[]")).unwrap_or_default();
    let spaces = serde_json::to_string_pretty(&value).unwrap_or_default();
    let cases = [
        ("spaces and line feeds", spaces.clone()),
        (
            "tabs and CR LF",
            spaces.replace("  ", "\t").replace('\n', "\r\n"),
        ),
        ("space around it", format!("\n\t {spaces}\r\n ")),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn old(probe: Arc<Probe>) -> Checked {
    let body = span("").replace("scopeSpans", "instrumentationLibrarySpans");
    let body = body.replace("\"scope\"", "\"instrumentationLibrary\"");
    takes(&probe, SPANS, &[("instrumentationLibrarySpans", body)]).await?;
    let sent = probe.deliver_json(SPANS, json::request(SPANS, 1)).await?;
    sent.is_taken("the proper request after it")?;
    pass()
}
