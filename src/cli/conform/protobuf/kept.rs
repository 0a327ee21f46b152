//! P2 and P11 to P15: what a collector passes on, where its destination is ours (`--sink`).

use std::sync::Arc;

use super::{FUTURE, SPANS, fields};
use crate::cli::bench::item::put_text;
use crate::cli::bench::wire::{
    Fields, Value, find_bytes, put_bytes, put_fixed64, put_message, put_number, put_varint,
};
use crate::cli::conform::data::{self, id, now};
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, pass};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::sink::Passed;
use crate::otlp::Signal;

const METRICS: &str = "comments in metrics.proto";
const TRACE: &str = "comments in trace.proto";
const FILES: &str = "the .proto files";

pub(super) const LINES: &[Check] = &[
    check!(Choice "P2", "fields that are not known are passed on", FUTURE, unknown),
    check!(Must "P11", "a sum, min or max of 0 is told from one that is not set", METRICS, presence),
    check!(Should "P12", "the flags of a span are passed on, all 32 bits", TRACE, flags),
    check!(Must "P13", "schema_url of resource and scope is passed on", FILES, schema_urls),
    check!(Should "P14", "what newer versions have is passed on: event_name, metadata", FILES, newer),
    check!(Should "P14b", "dropped counts and the trace state are passed on", FILES, counts),
    check!(Choice "P14c", "and what is in development: entity_refs", FILES, entities),
    check!(Choice "P15b", "attributes whose key stands twice are passed on as they came", FILES, twice),
];

/// Sends a span with these bytes after its own fields; what the destination gets.
async fn passed(probe: &Probe, more: &[u8]) -> Result<Passed, Verdict> {
    let trace_id = id::<16>();
    let mut span = data::span(&trace_id, 1);
    span.extend_from_slice(more);
    let body = data::of_items(SPANS, &[span]);
    through(probe, SPANS, &body, &trace_id).await
}

async fn through(
    probe: &Probe,
    signal: Signal,
    body: &[u8],
    mark: &[u8],
) -> Result<Passed, Verdict> {
    probe.sees_the_destination()?;
    for sent in probe.deliver(signal, body).await? {
        sent.can_be_passed_on()?;
    }
    probe.passed_on(mark).await
}

async fn unknown(probe: Arc<Probe>) -> Checked {
    let strange = fields(|span| put_bytes(span, 15_000, b"not known"));
    let passed = passed(&probe, &strange).await?;
    let kept = passed.field(15_000) == Some(Value::Bytes(b"not known"));
    expect(kept, "field 15000 of the span", "a span without it")?;
    pass()
}

async fn presence(probe: Arc<Probe>) -> Checked {
    for is_set in [true, false] {
        let mark = id::<16>();
        let name = data::json::hex(&mark);
        let metric = fields(|metric| {
            put_bytes(metric, 1, name.as_bytes());
            put_message(metric, 9, |histogram| {
                put_message(histogram, 1, |point| {
                    put_fixed64(point, 3, now());
                    put_fixed64(point, 4, 1);
                    for field in [5, 11, 12].iter().filter(|_| is_set) {
                        put_fixed64(point, *field, 0);
                    }
                });
                put_number(histogram, 2, 2);
            });
        });
        let body = data::of_items(Signal::Metrics, &[metric]);
        let passed = through(&probe, Signal::Metrics, &body, name.as_bytes()).await?;
        let histogram = find_bytes(&passed.item, 9).unwrap_or_default();
        let point = find_bytes(histogram, 1).unwrap_or_default();
        let found: Vec<u64> = Fields::of(point)
            .map(|(number, _)| number)
            .filter(|number| [5, 11, 12].contains(number))
            .collect();
        let (expected, word) = if is_set { (3, "set") } else { (0, "unset") };
        let got = format!("{} of them set", found.len());
        expect(
            found.len() == expected,
            format!("sum, min and max {word}"),
            got,
        )?;
    }
    pass()
}

async fn flags(probe: Arc<Probe>) -> Checked {
    const FLAGS: u32 = 0xa5a5_0301;
    let more = fields(|span| {
        put_varint(span, 16 << 3 | 5);
        span.extend(FLAGS.to_le_bytes());
    });
    let passed = passed(&probe, &more).await?;
    let found = passed.field(16);
    let kept = found == Some(Value::Fixed32(FLAGS.to_le_bytes()));
    let got = match found {
        Some(Value::Fixed32(bytes)) => format!("{:#x}", u32::from_le_bytes(bytes)),
        _ => "none".to_owned(),
    };
    expect(kept, format!("{FLAGS:#x}"), got)?;
    pass()
}

async fn schema_urls(probe: Arc<Probe>) -> Checked {
    let (trace_id, resource, scope) = (
        id::<16>(),
        b"https://example.com/1",
        b"https://example.com/2",
    );
    let body = fields(|request| {
        put_message(request, 1, |entry| {
            put_bytes(entry, 1, &data::resource());
            put_message(entry, 2, |entry| {
                put_bytes(entry, 2, &data::span(&trace_id, 1));
                put_bytes(entry, 3, scope);
            });
            put_bytes(entry, 3, resource);
        });
    });
    let passed = through(&probe, SPANS, &body, &trace_id).await?;
    let of_resource = find_bytes(&passed.resource, 3) == Some(resource);
    expect(of_resource, "the resource's schema_url", "another or none")?;
    let of_scope = find_bytes(&passed.scope, 3) == Some(scope);
    expect(of_scope, "the scope's schema_url", "another or none")?;
    pass()
}

async fn newer(probe: Arc<Probe>) -> Checked {
    let mut missing = Vec::new();
    if probe.takes(Signal::Logs) {
        let trace_id = id::<16>();
        let mut record = data::log_record(&trace_id, 1);
        put_bytes(&mut record, 12, b"an.event");
        let body = data::of_items(Signal::Logs, &[record]);
        let passed = through(&probe, Signal::Logs, &body, &trace_id).await?;
        missing.extend((find_bytes(&passed.item, 12) != Some(b"an.event")).then_some("event_name"));
    }
    if probe.takes(Signal::Metrics) {
        let name = data::json::hex(&id::<16>());
        let mut metric = data::gauge(name.as_bytes(), 1);
        put_text(&mut metric, 12, "meta", b"data");
        let body = data::of_items(Signal::Metrics, &[metric]);
        let passed = through(&probe, Signal::Metrics, &body, name.as_bytes()).await?;
        missing.extend(find_bytes(&passed.item, 12).is_none().then_some("metadata"));
    }
    expect(
        missing.is_empty(),
        "both of them",
        format!("them without {}", missing.join(", ")),
    )?;
    pass()
}

async fn entities(probe: Arc<Probe>) -> Checked {
    let trace_id = id::<16>();
    let body = fields(|request| {
        put_message(request, 1, |entry| {
            put_message(entry, 1, |resource| {
                put_text(resource, 1, "service.name", data::SERVICE.as_bytes());
                put_message(resource, 3, |entity| {
                    put_bytes(entity, 2, b"service");
                    put_bytes(entity, 3, b"service.name");
                });
            });
            put_message(entry, 2, |scope| {
                put_bytes(scope, 2, &data::span(&trace_id, 1))
            });
        });
    });
    let passed = through(&probe, SPANS, &body, &trace_id).await?;
    let resource = find_bytes(&passed.resource, 1).unwrap_or_default();
    let is_there = find_bytes(resource, 3).is_some();
    expect(is_there, "a resource with entity_refs", "one without")?;
    pass()
}

async fn counts(probe: Arc<Probe>) -> Checked {
    let more = fields(|span| {
        put_bytes(span, 3, b"vendor=value");
        put_number(span, 10, 3);
        put_number(span, 12, 4);
        put_number(span, 14, 5);
    });
    let passed = passed(&probe, &more).await?;
    for (number, name, expected) in [
        (3, "trace_state", Value::Bytes(b"vendor=value")),
        (10, "dropped_attributes_count", Value::Number(3)),
        (12, "dropped_events_count", Value::Number(4)),
        (14, "dropped_links_count", Value::Number(5)),
    ] {
        let found = passed.field(number);
        let got = match found {
            None => "none",
            Some(_) => "another",
        };
        expect(found == Some(expected), name, got)?;
    }
    pass()
}

async fn twice(probe: Arc<Probe>) -> Checked {
    let more = fields(|span| {
        put_text(span, 9, "twice", b"one");
        put_text(span, 9, "twice", b"two");
    });
    let passed = passed(&probe, &more).await?;
    let values = Fields::of(&passed.item).filter(|field| match field {
        (9, Value::Bytes(pair)) => find_bytes(pair, 1) == Some(b"twice"),
        _ => false,
    });
    let count = values.count();
    expect(count == 2, "both", format!("{count} of them"))?;
    pass()
}
