//! What a request costs while it is bytes: the walk, the editor, split and merge.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use otlpd::otlp::Signal;
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

criterion_group!(benches, walks);
criterion_main!(benches);
