//! J1 to J8: ids, keys and enums, where OTLP differs from protobuf's own mapping.

use std::sync::Arc;

use super::{JSON, SPANS, bytes, refuses, span, span_passed_on, takes};
use crate::cli::bench::wire::Value;
use crate::cli::conform::data::id;
use crate::cli::conform::data::json::{hex, of_items};
use crate::cli::conform::line::{Check, Checked, check, expect, failed, noted, pass};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::requests::needs_json;
use crate::cli::conform::sent::Fate;
use crate::otlp::Signal;

pub(super) const LINES: &[Check] = &[
    check!(Must "J1", "traceId and spanId in hexadecimal are taken, lower and upper case", JSON, cases_of_hex),
    check!(Must "J2", "so are parentSpanId and the ids of links, log records, exemplars", JSON, other_ids),
    check!(Must "J3", "an id in base64 is refused: it is not hexadecimal", JSON, base64),
    check!(Must "J4", "an id that is not hexadecimal is refused", JSON, no_hex),
    check!(Should "J5", "an empty parentSpanId, or id of a log record, is as good as none",
        "comments in trace.proto, logs.proto", empty_ids),
    check!(Choice "J6", "keys in snake_case are not valid, so they are unknown: 200", JSON, snake_case),
    check!(Must "J7", "an enum as a number is taken, one that is not known as well", JSON, numbers),
    check!(Should "J7b", "a number of an enum that is not known is passed on", JSON, unknown_number),
    check!(Choice "J8", "an enum by its name, which nobody may send, is refused", JSON, names),
];

async fn cases_of_hex(probe: Arc<Probe>) -> Checked {
    let of = |trace: &str, span: &str| {
        let item =
            format!("{{\"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"name\":\"conform\"}}");
        of_items(SPANS, &[item])
    };
    let (lower, upper) = (
        "5b8efff798038103d269b633813fc60c",
        "5B8EFFF798038103D269B633813FC60C",
    );
    let cases = [
        ("lower case", of(lower, "eee19b7ec3c1b174")),
        ("upper case", of(upper, "EEE19B7EC3C1B174")),
        (
            "mixed case",
            of("5B8EFff798038103D269b633813FC60c", "Eee19b7ec3c1b174"),
        ),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn other_ids(probe: Arc<Probe>) -> Checked {
    let (trace, one) = (hex(&id::<16>()), hex(&id::<8>()));
    let links = format!("\"links\":[{{\"traceId\":\"{trace}\",\"spanId\":\"{one}\"}}]");
    let cases = [
        ("parentSpanId", span(&format!("\"parentSpanId\":\"{one}\""))),
        ("a link", span(&links)),
    ];
    takes(&probe, SPANS, &cases).await?;
    if probe.takes(Signal::Logs) {
        let record = format!("{{\"traceId\":\"{trace}\",\"spanId\":\"{one}\"}}");
        let cases = [("a log record", of_items(Signal::Logs, &[record]))];
        takes(&probe, Signal::Logs, &cases).await?;
    }
    if probe.takes(Signal::Metrics) {
        let exemplars = format!(
            "\"asInt\":\"1\",\"exemplars\":[{{\"timeUnixNano\":\"1\",\"asInt\":\"1\",\
             \"traceId\":\"{trace}\",\"spanId\":\"{one}\"}}]"
        );
        let cases = [("an exemplar", super::point(&exemplars))];
        takes(&probe, Signal::Metrics, &cases).await?;
    }
    pass()
}

fn with_ids(trace: &str, span: &str) -> String {
    let item = format!("{{\"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"name\":\"conform\"}}");
    of_items(SPANS, &[item])
}

async fn base64(probe: Arc<Probe>) -> Checked {
    let body = with_ids("W47/95gDgQPSabYzgT/GDA==", "7uGbfsPBsXQ=");
    refuses(&probe, SPANS, &bytes([("ids in base64", body)])).await
}

async fn no_hex(probe: Arc<Probe>) -> Checked {
    let good = "5b8efff798038103d269b633813fc60c";
    let cases = [
        (
            "31 digits",
            with_ids("5b8efff798038103d269b633813fc60", "eee19b7ec3c1b174"),
        ),
        (
            "the letter g",
            with_ids("gb8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"),
        ),
        ("a span id with a space", with_ids(good, "eee19b7ec3c1b1 4")),
    ];
    refuses(&probe, SPANS, &bytes(cases)).await
}

async fn empty_ids(probe: Arc<Probe>) -> Checked {
    let cases = [("an empty parentSpanId", span("\"parentSpanId\":\"\""))];
    takes(&probe, SPANS, &cases).await?;
    if probe.takes(Signal::Logs) {
        let record = "{\"traceId\":\"\",\"spanId\":\"\"}".to_owned();
        let cases = [(
            "empty ids of a log record",
            of_items(Signal::Logs, &[record]),
        )];
        takes(&probe, Signal::Logs, &cases).await?;
    }
    pass()
}

async fn snake_case(probe: Arc<Probe>) -> Checked {
    let body = span("").replace("resourceSpans", "resource_spans");
    takes(&probe, SPANS, &[("resource_spans", body)]).await
}

async fn numbers(probe: Arc<Probe>) -> Checked {
    let cases = [
        ("kind 2", span("\"kind\":2")),
        ("kind 99", span("\"kind\":99")),
        ("status code 2", span("\"status\":{\"code\":2}")),
    ];
    takes(&probe, SPANS, &cases).await
}

async fn unknown_number(probe: Arc<Probe>) -> Checked {
    let passed = span_passed_on(&probe, "\"kind\":99").await?;
    let kind = passed.field(6);
    expect(
        kind == Some(Value::Number(99)),
        "kind 99",
        format!("{kind:?}"),
    )?;
    pass()
}

async fn names(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    let body = span("\"kind\":\"SPAN_KIND_SERVER\"");
    let sent = probe.deliver_json(SPANS, body).await?;
    match sent.fate {
        Fate::Refused | Fate::Partly(_) => pass(),
        Fate::Taken => Err(failed("400", sent.told)),
        Fate::Failed | Fate::Unclear => noted(sent.told),
    }
}
