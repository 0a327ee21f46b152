//! P4 to P10, P15, P16, P20 and P25: data that is odd, and what becomes of it.

use std::sync::Arc;

use super::{SPANS, attribute, case, fields, metric, span_and};
use crate::cli::bench::item::put_text;
use crate::cli::bench::wire::{put_bytes, put_fixed64, put_message, put_number};
use crate::cli::conform::data::{self, bad, id, now};
use crate::cli::conform::line::{Check, Checked, Verdict, check, failed, noted, pass};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::sent::{Case, Fate};
use crate::otlp::Signal;

const TRACE: &str = "comments in trace.proto";
const METRICS: &str = "comments in metrics.proto";
const LOGS: &str = "comments in logs.proto";
const COMMON: &str = "comments in common.proto, OTLP 1.9";

pub(super) const LINES: &[Check] = &[
    check!(Must "P4", "ids of 16 and 8 bytes are taken; log records may have none", TRACE, ids),
    check!(Choice "P5", "an id of a wrong length costs its item at most, not the request", TRACE, wrong_ids),
    check!(Should "P6", "a log record with an invalid trace id is taken, as of no trace", LOGS, log_ids),
    check!(Choice "P7", "a data point without a time is refused or taken, not its request", METRICS, no_time),
    check!(Should "P8", "data points and exemplars without a value are taken", METRICS, no_value),
    check!(Choice "P9", "a sum of no temporality is taken", METRICS, no_temporality),
    check!(Must "P10", "odd histograms do no harm", METRICS, odd_histograms),
    check!(Must "P15", "attributes whose key stands twice do no harm", COMMON, twice),
    check!(Must "P16", "attributes of every kind are taken: bytes, maps, lists, empty", COMMON, kinds),
    check!(Choice "P20", "text that is not UTF-8 costs its item at most, not the request",
        "none: opentelemetry-proto issue 814", no_text),
    check!(Should "P25", "a log record of no severity, time or body is taken", LOGS, bare_record),
];

async fn ids(probe: Arc<Probe>) -> Checked {
    probe
        .takes_all(SPANS, &[case("usual ids", data::request(SPANS, 1))])
        .await?;
    if probe.takes(Signal::Logs) {
        let record = fields(|record| put_fixed64(record, 1, now()));
        let body = data::of_items(Signal::Logs, &[record]);
        probe
            .takes_all(Signal::Logs, &[case("a log record without ids", body)])
            .await?;
    }
    pass()
}

/// Goes on where not the whole request was refused because of some of its items.
async fn costs_items_only(
    probe: &Probe,
    signal: Signal,
    cases: &[Case],
) -> Result<String, Verdict> {
    let mut told = Vec::new();
    for (what, body) in cases {
        for sent in probe.deliver(signal, body).await? {
            match sent.fate {
                Fate::Taken => told.push(format!("{what}: taken")),
                Fate::Partly(items) => told.push(format!("{what}: {items} rejected")),
                Fate::Refused | Fate::Failed | Fate::Unclear => {
                    let got = format!("{} for {what}", sent.told);
                    return Err(failed("200, the good items taken", got));
                }
            }
        }
    }
    told.dedup();
    Ok(told.join("; "))
}

async fn wrong_ids(probe: Arc<Probe>) -> Checked {
    let good = data::span(&id::<16>(), 1);
    let of = |trace: &[u8]| {
        let odd = data::span(trace, 2);
        data::of_items(SPANS, &[good.clone(), odd])
    };
    let cases = [
        case("a trace id of 15 bytes", of(&[7; 15])),
        case("a trace id of 24 bytes", of(&[7; 24])),
        case("a trace id of zeros", of(&[0; 16])),
        case("no trace id", of(b"")),
    ];
    noted(costs_items_only(&probe, SPANS, &cases).await?)
}

async fn log_ids(probe: Arc<Probe>) -> Checked {
    let of = |trace: &[u8]| data::of_items(Signal::Logs, &[data::log_record(trace, 1)]);
    let cases = [
        case("a trace id of 5 bytes", of(b"short")),
        case("a trace id of zeros", of(&[0; 16])),
    ];
    probe.takes_all(Signal::Logs, &cases).await
}

async fn no_time(probe: Arc<Probe>) -> Checked {
    let body = metric(5, |gauge| {
        put_message(gauge, 1, |point| put_fixed64(point, 6, 1));
    });
    let cases = [case("a data point of time 0", body)];
    noted(costs_items_only(&probe, Signal::Metrics, &cases).await?)
}

async fn no_value(probe: Arc<Probe>) -> Checked {
    let point = |more: &[u8]| {
        metric(5, |gauge| {
            put_message(gauge, 1, |point| {
                put_fixed64(point, 3, now());
                point.extend_from_slice(more);
            });
        })
    };
    let exemplar = fields(|point| {
        put_fixed64(point, 6, 1);
        put_message(point, 5, |exemplar| put_fixed64(exemplar, 2, now()));
    });
    let cases = [
        case("no value", point(b"")),
        case(
            "the flag that there is none",
            point(&fields(|point| put_number(point, 8, 1))),
        ),
        case("an exemplar without a value", point(&exemplar)),
    ];
    probe.takes_all(Signal::Metrics, &cases).await
}

async fn no_temporality(probe: Arc<Probe>) -> Checked {
    let body = metric(7, |sum| {
        put_message(sum, 1, |point| {
            put_fixed64(point, 3, now());
            put_fixed64(point, 6, 1);
        });
    });
    probe
        .takes_all(Signal::Metrics, &[case("a sum", body)])
        .await
}

/// A histogram with these bucket counts, bounds, and further fields of its data point.
fn histogram(counts: &[u64], bounds: &[f64], more: &[u8]) -> Vec<u8> {
    metric(9, |histogram| {
        put_message(histogram, 1, |point| {
            put_fixed64(point, 3, now());
            put_fixed64(point, 4, counts.iter().sum());
            let counts: Vec<u8> = counts
                .iter()
                .flat_map(|count| count.to_le_bytes())
                .collect();
            let bounds: Vec<u8> = bounds
                .iter()
                .flat_map(|bound| bound.to_le_bytes())
                .collect();
            put_bytes(point, 6, &counts);
            put_bytes(point, 7, &bounds);
            point.extend_from_slice(more);
        });
        put_number(histogram, 2, 2);
    })
}

async fn odd_histograms(probe: Arc<Probe>) -> Checked {
    let many: Vec<f64> = (0..1000).map(f64::from).collect();
    let double = |number, value: f64| fields(|point| put_fixed64(point, number, value.to_bits()));
    let exemplars = fields(|point| {
        for _ in 0..5000 {
            put_message(point, 8, |exemplar| {
                put_fixed64(exemplar, 2, now());
                put_fixed64(exemplar, 3, 1_f64.to_bits());
            });
        }
    });
    let long_key = "k".repeat(300);
    let keyed = fields(|point| put_text(point, 9, &long_key, b"v"));
    let min_max = [double(11, 9.0), double(12, 1.0)].concat();
    let cases = [
        case(
            "more counts than buckets",
            histogram(&[1, 2, 3, 4], &[5.0], b""),
        ),
        case(
            "fewer counts than buckets",
            histogram(&[1], &[5.0, 6.0], b""),
        ),
        case("bounds without counts", histogram(&[], &[5.0], b"")),
        case(
            "bounds out of order",
            histogram(&[1, 1, 1], &[9.0, 3.0], b""),
        ),
        case("bounds that are NaN", histogram(&[1, 1], &[f64::NAN], b"")),
        case(
            "a minimum above the maximum",
            histogram(&[1, 1], &[5.0], &min_max),
        ),
        case(
            "a sum that is NaN",
            histogram(&[1, 1], &[5.0], &double(5, f64::NAN)),
        ),
        case("1000 buckets", histogram(&[1; 1001], &many, b"")),
        case("5000 exemplars", histogram(&[1, 1], &[5.0], &exemplars)),
        case("a key of 300 bytes", histogram(&[1, 1], &[5.0], &keyed)),
        case("a scale of 2^31 - 1", exponential(0x7fff_ffff)),
    ];
    let told = probe.survives_all(Signal::Metrics, &cases).await?;
    // That all are taken is not asked, but worth telling where it is not so.
    match told {
        Verdict::Pass { note } if note.contains("refused") || note.contains("part") => noted(note),
        _ => pass(),
    }
}

/// An exponential histogram of this scale, as sint32 has it.
fn exponential(scale: u64) -> Vec<u8> {
    metric(10, |histogram| {
        put_message(histogram, 1, |point| {
            put_fixed64(point, 3, now());
            put_fixed64(point, 4, 1);
            put_number(point, 6, scale << 1);
            put_fixed64(point, 7, 1);
        });
        put_number(histogram, 2, 2);
    })
}

async fn twice(probe: Arc<Probe>) -> Checked {
    let pairs = fields(|span| {
        put_text(span, 9, "k", b"one");
        put_text(span, 9, "k", b"two");
    });
    probe
        .survives_all(SPANS, &[case("a key that stands twice", span_and(&pairs))])
        .await
}

async fn kinds(probe: Arc<Probe>) -> Checked {
    let text = fields(|value| put_bytes(value, 1, b"x"));
    let pair = fields(|pair| {
        put_bytes(pair, 1, b"inner");
        put_bytes(pair, 2, &text);
    });
    let of = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut value = Vec::new();
        write(&mut value);
        attribute(&value)
    };
    let cases = [
        case("text", attribute(&text)),
        case("a boolean", of(&|value| put_number(value, 2, 1))),
        case("an integer", of(&|value| put_number(value, 3, u64::MAX))),
        case(
            "a double",
            of(&|value| put_fixed64(value, 4, 0.5_f64.to_bits())),
        ),
        case(
            "a list",
            of(&|value| put_message(value, 5, |list| put_bytes(list, 1, &text))),
        ),
        case(
            "a map",
            of(&|value| put_message(value, 6, |map| put_bytes(map, 1, &pair))),
        ),
        case("bytes", of(&|value| put_bytes(value, 7, b"\x00\xff"))),
        case("an empty list", of(&|value| put_bytes(value, 5, b""))),
        case("an empty map", of(&|value| put_bytes(value, 6, b""))),
        case("nothing", attribute(b"")),
    ];
    probe.takes_all(SPANS, &cases).await
}

async fn no_text(probe: Arc<Probe>) -> Checked {
    let mut told = Vec::new();
    for signal in probe.known.signals.clone() {
        for mixed in bad::mixed(signal) {
            if mixed.what.contains("UTF-8") {
                let cases = [case(mixed.what, mixed.body)];
                told.push(costs_items_only(&probe, signal, &cases).await?);
            }
        }
    }
    noted(told.join("; "))
}

async fn bare_record(probe: Arc<Probe>) -> Checked {
    let body = data::of_items(Signal::Logs, &[Vec::new()]);
    probe
        .takes_all(Signal::Logs, &[case("an empty log record", body)])
        .await
}
