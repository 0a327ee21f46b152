//! What a request costs while it is bytes: the walk, the editor, split and merge.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlpd::intake::priority::Classifier;
use otlpd::otlp::Signal;
use otlpd::otlp::attributes::{Action, Actions, Source, Verb, edit};
use otlpd::otlp::json;
use otlpd::otlp::split::{SplitLimit, split};
use otlpd::otlp::walk::{Validation, walk};
use serde::de::DeserializeOwned;

#[path = "../tests/support/payloads.rs"]
mod payloads;

fn walks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    for (name, signal, body) in [
        ("traces_1000", Signal::Traces, payloads::traces(1000)),
        ("traces_20", Signal::Traces, payloads::traces(20)),
        ("logs_1000", Signal::Logs, payloads::logs(1000)),
        ("metrics_1000", Signal::Metrics, payloads::metrics(1000)),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        for validation in [Validation::Full, Validation::Items] {
            group.bench_function(format!("{name}/{validation:?}"), |bencher| {
                bencher.iter(|| walk(signal, black_box(&body), validation).unwrap());
            });
        }
    }
}

/// The pass that tells the class of a request, by rules that look at every item and match none.
fn classes(criterion: &mut Criterion) {
    let rules = r#"
        rules = [
            { signal = "logs", min_severity = "error", priority = "high" },
            { signal = "traces", span_status = "error", priority = "high" },
            { resource = { "service.name" = "batch" }, priority = "low" },
        ]
    "#;
    let classifier = Classifier::new(&toml::from_str(rules).unwrap());
    let mut group = criterion.benchmark_group("classify");
    for (name, signal, body) in [
        ("traces_1000", Signal::Traces, payloads::traces(1000)),
        ("traces_20", Signal::Traces, payloads::traces(20)),
        ("logs_1000", Signal::Logs, payloads::logs(1000)),
        ("logs_20", Signal::Logs, payloads::logs(20)),
        ("metrics_1000", Signal::Metrics, payloads::metrics(1000)),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| classifier.classify(signal, black_box(&body)));
        });
    }
}

fn edits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("edit");
    let body = payloads::traces(1000);
    group.throughput(Throughput::Bytes(body.len() as u64));
    let action = |key: &str, verb| Action {
        key: key.to_owned(),
        verb,
    };
    let value = || Source::Value(b"\x0a\x04prod".to_vec());
    let insert = || action("deployment.environment.name", Verb::Insert(value()));
    let none = Actions::default;
    let cases: [(&str, Actions, Actions); 4] = [
        (
            "insert_into_resources",
            [insert()].into_iter().collect(),
            none(),
        ),
        (
            "insert_into_spans",
            none(),
            [insert()].into_iter().collect(),
        ),
        (
            "delete_absent",
            none(),
            [action("absent", Verb::Delete)].into_iter().collect(),
        ),
        (
            "three_of_each",
            [
                insert(),
                action("host.name", Verb::Delete),
                action("process.pid", Verb::Hash),
            ]
            .into_iter()
            .collect(),
            [
                insert(),
                action("thread.name", Verb::Delete),
                action("url.path", Verb::Update(value())),
            ]
            .into_iter()
            .collect(),
        ),
    ];
    for (name, resources, items) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| edit(Signal::Traces, black_box(&body), &resources, &items));
        });
    }
}

fn splits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split");
    let body = Bytes::from(payloads::traces(1000));
    group.throughput(Throughput::Bytes(body.len() as u64));
    let limits = [("in_two", 300_000, 0), ("by_100_items", usize::MAX, 100)];
    for (name, max_bytes, max_items) in limits {
        let limit = SplitLimit {
            max_bytes,
            max_items,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| split(Signal::Traces, black_box(&body), limit).count());
        });
    }
    group.bench_function("merge_with_itself", |bencher| {
        bencher.iter(|| [black_box(&body[..]), &body].concat());
    });
}

/// OTLP/JSON in and out; and what serde_json makes of the same text, into the types of
/// opentelemetry-proto. All of it by bytes of JSON.
fn jsons(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    for (name, signal, body) in [
        ("traces", Signal::Traces, payloads::traces(1000)),
        ("logs", Signal::Logs, payloads::logs(1000)),
        ("metrics", Signal::Metrics, payloads::metrics(1000)),
    ] {
        let mut text = Vec::new();
        json::write(signal, &body, &mut text).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        for (form, text) in [("", &text), ("_pretty", &pretty)] {
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("read/{name}{form}"), |bencher| {
                bencher.iter(|| {
                    let mut out = Vec::new();
                    json::read(signal, black_box(text), &mut out).unwrap();
                    out
                });
            });
            group.bench_function(format!("serde/{name}{form}"), |bencher| match signal {
                Signal::Metrics => bencher.iter(|| parse::<ExportMetricsServiceRequest>(text)),
                Signal::Logs => bencher.iter(|| parse::<ExportLogsServiceRequest>(text)),
                _ => bencher.iter(|| parse::<ExportTraceServiceRequest>(text)),
            });
        }
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("write/{name}"), |bencher| {
            bencher.iter(|| {
                let mut out = Vec::new();
                json::write(signal, black_box(&body), &mut out).unwrap();
                out
            });
        });
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> T {
    serde_json::from_slice(black_box(text)).unwrap()
}

criterion_group!(benches, walks, classes, edits, splits, jsons);
criterion_main!(benches);
