//! What a request costs while it is bytes: the walk, the editor, split and merge.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use otlpd::intake::priority::Classifier;
use otlpd::otlp::Signal;
use otlpd::otlp::attributes::{Action, Actions, Source, Verb, edit};
use otlpd::otlp::split::{SplitLimit, split};
use otlpd::otlp::walk::{Validation, walk};

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

criterion_group!(benches, walks, classes, edits, splits);
criterion_main!(benches);
