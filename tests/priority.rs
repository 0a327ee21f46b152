//! What matters more: the class of a request by its header, by what its resources say, and by
//! rules; counted at the door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use support::door::{Daemon, H2, LOGS, METRICS, Setup, TRACES, framed, gzip, whole};
use support::payloads;

const SECTIONS: &str = r#"
[priority]
rules = [
    { signal = "logs", min_severity = "error", priority = "high" },
    { signal = "traces", span_status = "error", priority = "high" },
    { signal = "logs", max_severity = "debug", priority = "low" },
    { resource = { "service.name" = "batch" }, priority = "low" },
]
[exporters.out]
type = "discard"
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

fn daemon() -> Daemon {
    Daemon::start(&Setup {
        sections: SECTIONS,
        ..Setup::default()
    })
}

/// Items accepted so far: high, normal and low.
fn accepted(daemon: &Daemon, signal: &str) -> [u64; 3] {
    ["high", "normal", "low"].map(|class| {
        let labels = format!("{{priority=\"{class}\",signal=\"{signal}\"}}");
        daemon.metric(&format!("otlpd_priority_accepted_items_total{labels}"))
    })
}

fn ignored(daemon: &Daemon, source: &str) -> u64 {
    let series = format!("otlpd_priority_ignored_values_total{{source=\"{source}\"}}");
    daemon.metric(&series)
}

/// A request of ten log records of which the last has this severity, the others 8, and whose
/// resource has this attribute besides its own.
fn logs(severity: i32, attribute: Option<(&str, &str)>) -> Vec<u8> {
    let mut request = ExportLogsServiceRequest::decode(&payloads::logs(10)[..]).unwrap();
    let group = &mut request.resource_logs[0];
    for record in &mut group.scope_logs[0].log_records {
        record.severity_number = 8;
    }
    group.scope_logs[0].log_records[9].severity_number = severity;
    let attributes = &mut group.resource.as_mut().unwrap().attributes;
    attributes.extend(attribute.map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }));
    request.encode_to_vec()
}

#[tokio::test]
async fn the_rules_class_what_says_nothing_of_itself() {
    let daemon = daemon();
    let mut client = H2::connect(daemon.grpc).await;
    for (severity, expected) in [
        (17, [10, 0, 0]),
        (9, [10, 10, 0]),
        (8, [10, 10, 10]),
        (0, [10, 20, 10]),
    ] {
        assert_eq!(client.export(LOGS, &logs(severity, None)).await.code(), 0);
        assert_eq!(accepted(&daemon, "logs"), expected, "{severity}");
    }
    let mut spans = ExportTraceServiceRequest::decode(&payloads::traces(20)[..]).unwrap();
    let scope = &mut spans.resource_spans[0].scope_spans[0];
    client.export(TRACES, &payloads::traces(20)).await;
    scope.spans[7].status.as_mut().unwrap().code = 2;
    client.export(TRACES, &spans.encode_to_vec()).await;
    assert_eq!(accepted(&daemon, "traces"), [20, 20, 0]);
    client.export(METRICS, &payloads::metrics(40)).await;
    assert_eq!(accepted(&daemon, "metrics"), [0, 40, 0]);
}

#[tokio::test]
async fn compressed_and_large_requests_are_classed_as_others_are() {
    let daemon = daemon();
    let mut client = H2::connect(daemon.grpc).await;
    let gzipped = framed(1, &gzip(&logs(17, None)));
    let called = client.call(LOGS, &[("grpc-encoding", "gzip")], gzipped);
    assert_eq!(called.await.code(), 0);
    // Two megabytes, the grave record last: walked by a worker.
    let large = [payloads::logs(6000), logs(21, None)].concat();
    assert_eq!(client.export(LOGS, &large).await.code(), 0);
    assert_eq!(accepted(&daemon, "logs"), [6020, 0, 0]);
}

#[tokio::test]
async fn the_header_wins_then_the_attribute_then_the_rules() {
    let daemon = daemon();
    let mut grpc = H2::connect(daemon.grpc).await;
    let mut http = H2::connect(daemon.http).await;
    let says = |class| logs(17, Some(("otlpd.priority", class)));
    for (header, body, expected) in [
        (None, says("low"), [0, 0, 20]),
        (Some("normal"), says("low"), [0, 20, 20]),
        (Some("low"), says("high"), [0, 20, 40]),
        (Some("high"), logs(8, None), [20, 20, 40]),
        // What is no class is as good as nothing.
        (Some("HIGH"), says("low"), [20, 20, 60]),
        (Some("urgent"), says("urgent"), [40, 20, 60]),
    ] {
        let header = header.map(|class| ("x-otlpd-priority", class));
        let headers: Vec<_> = header.into_iter().collect();
        assert_eq!(grpc.call(LOGS, &headers, framed(0, &body)).await.code(), 0);
        let kind = ("content-type", "application/x-protobuf");
        let headers = [&headers[..], &[kind]].concat();
        let sent = http.send("POST", "/v1/logs", &headers, whole(body)).await;
        assert_eq!(sent.unwrap().http, 200);
        assert_eq!(accepted(&daemon, "logs"), expected, "{headers:?}");
    }
    assert_eq!(ignored(&daemon, "header"), 4);
    assert_eq!(ignored(&daemon, "attribute"), 2);
}

#[tokio::test]
async fn without_the_section_nothing_is_classed_and_nothing_counted() {
    let daemon = Daemon::start(&Setup::default());
    let mut client = H2::connect(daemon.grpc).await;
    let headers = [("x-otlpd-priority", "urgent"), ("x-scope-orgid", "a")];
    let called = client.call(LOGS, &headers, framed(0, &logs(17, None)));
    assert_eq!(called.await.code(), 0);
    assert_eq!(daemon.status()["ledger"]["logs"]["received"], 10);
    for series in ["otlpd_priority", "otlpd_tenant"] {
        assert_eq!(daemon.metric(series), 0, "{series}");
    }
}
