//! What becomes of bad values is said in the configuration, and holds over gRPC, protobuf and
//! JSON alike: what is rejected is counted to the item, and what passes arrives as it was (lines
//! P5, P6, P7, P20, G5 to G8 and H11 of the conformance list).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support {
    pub(crate) mod capture;
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use otlpd::otlp::response::{self, PartialSuccess};
use prost::Message;
use serde_json::Value;
use support::capture::Capture;
use support::door::{Daemon, H2, LOGS, METRICS, PROTOBUF, Raw, Setup, TRACES, until};
use support::payloads;

const SECTIONS: &str = r#"
[exporters.out]
type = "otlp_grpc"
endpoint = "http://SINK"
compression = "none"
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

/// A daemon with these keys of its receiver, and what it forwards.
async fn start(keys: &str) -> (Daemon, Capture) {
    let capture = Capture::start().await;
    let sections = SECTIONS.replace("SINK", &capture.address.to_string());
    let daemon = Daemon::start(&Setup {
        receiver: keys,
        sections: &sections,
        ..Setup::default()
    });
    (daemon, capture)
}

const JSON: &str = "content-type: application/json\r\n";

/// Ten spans: the second has an id of 15 bytes, the fifth a name that is not UTF-8.
fn traces() -> Vec<u8> {
    let mut request = ExportTraceServiceRequest::decode(&payloads::traces(10)[..]).unwrap();
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans[1].trace_id = vec![1; 15];
    spans[4].name = "spoil me".to_owned();
    spoilt(request.encode_to_vec())
}

fn spoilt(mut body: Vec<u8>) -> Vec<u8> {
    while let Some(at) = body.windows(8).position(|bytes| bytes == b"spoil me") {
        body[at] = 0xff;
    }
    body
}

fn partial(data: &[u8]) -> PartialSuccess {
    let partial = response::read(data);
    assert!(!partial.unreadable);
    partial
}

fn rejected_items(daemon: &Daemon, transport: &str, signal: &str, reason: &str) -> u64 {
    daemon.metric(&format!(
        "otlpd_receiver_rejected_items_total{{receiver=\"apps\",transport=\"{transport}\",\
         signal=\"{signal}\",reason=\"{reason}\""
    ))
}

/// The bodies that arrived, once so many bytes have.
fn arrived(capture: &Capture, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    until("all has arrived", || {
        for (_, body) in capture.take() {
            all.extend(body);
        }
        all.len() >= bytes
    });
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn p05_p20_by_default_bad_items_are_cut_out_and_counted_by_reason() {
    let (daemon, capture) = start("").await;
    let body = traces();
    let mut grpc = H2::connect(daemon.grpc).await;
    let called = grpc.export(TRACES, &body).await;
    assert_eq!(called.code(), 0);
    let over_grpc = partial(&called.data[5..]);
    let mut http = Raw::connect(daemon.http);
    let answer = http.post("/v1/traces", PROTOBUF, &body);
    assert_eq!(answer.code, 200);
    assert_eq!(partial(&answer.body), over_grpc);
    assert_eq!(over_grpc.rejected, 2);
    let said = "2 of 10 spans were rejected, 1 for a string that is not UTF-8, 1 for an id of the \
                wrong length; the first: resource_spans[0].scope_spans[0].spans[1].trace_id";
    assert!(over_grpc.message.starts_with(said), "{}", over_grpc.message);
    for transport in ["grpc", "http"] {
        for reason in ["invalid_utf8", "invalid_id"] {
            assert_eq!(rejected_items(&daemon, transport, "traces", reason), 1);
        }
    }
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 16);
    let rest = arrived(&capture, 2 * (body.len() * 7 / 10));
    let rest = ExportTraceServiceRequest::decode(&rest[..]).unwrap();
    let spans = rest.resource_spans.iter().flat_map(|r| &r.scope_spans);
    assert_eq!(spans.map(|scope| scope.spans.len()).sum::<usize>(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn p05_a_request_of_one_bad_item_is_a_partial_success_too() {
    let (daemon, _capture) = start("").await;
    let mut http = Raw::connect(daemon.http);
    let mut request = ExportTraceServiceRequest::decode(&payloads::traces(1)[..]).unwrap();
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = vec![7; 3];
    let answer = http.post("/v1/traces", PROTOBUF, &request.encode_to_vec());
    assert_eq!((answer.code, partial(&answer.body).rejected), (200, 1));
    // An id of zeros has the right length, and an empty one is none.
    for id in [vec![0; 16], Vec::new()] {
        request.resource_spans[0].scope_spans[0].spans[0].trace_id = id;
        let answer = http.post("/v1/traces", PROTOBUF, &request.encode_to_vec());
        assert_eq!((answer.code, answer.body.len()), (200, 0));
    }
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn g08_h11_what_hangs_on_a_bad_metric_or_resource_is_counted_in_its_own_unit() {
    let (daemon, _capture) = start("").await;
    let mut grpc = H2::connect(daemon.grpc).await;
    // Two metrics of twenty points: one bad name, and in the other three bad exemplars.
    let mut request = ExportMetricsServiceRequest::decode(&payloads::metrics(40)[..]).unwrap();
    let metrics = &mut request.resource_metrics[0].scope_metrics[0].metrics;
    metrics[0].name = "spoil me".to_owned();
    let Some(Data::Sum(sum)) = &mut metrics[1].data else {
        panic!("the payload is made of sums");
    };
    for point in &mut sum.data_points[..3] {
        point.exemplars.push(Default::default());
        point.exemplars[0].trace_id = vec![1; 4];
    }
    let called = grpc.export(METRICS, &spoilt(request.encode_to_vec())).await;
    let said = partial(&called.data[5..]);
    assert_eq!(said.rejected, 23);
    let counts = "23 of 40 data points were rejected, 20 for a string that is not UTF-8, 3 for";
    assert!(said.message.starts_with(counts), "{}", said.message);
    let mut logs = ExportLogsServiceRequest::decode(&payloads::logs(6)[..]).unwrap();
    let mut second = logs.resource_logs[0].clone();
    second.scope_logs[0].schema_url = "spoil me".to_owned();
    logs.resource_logs.push(second);
    let called = grpc.export(LOGS, &spoilt(logs.encode_to_vec())).await;
    let said = partial(&called.data[5..]);
    assert_eq!(said.rejected, 6);
    assert!(
        said.message
            .contains("resource_logs[1].scope_logs[0].schema_url")
    );
    assert_eq!(
        daemon.metric("otelcol_receiver_accepted_metric_points_total"),
        17
    );
    assert_eq!(
        daemon.metric("otelcol_receiver_accepted_log_records_total"),
        6
    );
    assert_eq!(
        rejected_items(&daemon, "grpc", "metrics", "invalid_utf8"),
        20
    );
    assert_eq!(rejected_items(&daemon, "grpc", "metrics", "invalid_id"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_pass_arrives_byte_for_byte() {
    let (daemon, capture) = start("invalid_utf8 = \"pass\"\ninvalid_ids = \"pass\"").await;
    let body = traces();
    let mut grpc = H2::connect(daemon.grpc).await;
    let called = grpc.export(TRACES, &body).await;
    assert_eq!((called.code(), called.data.len()), (0, 5));
    assert_eq!(arrived(&capture, body.len()), body);
    // Each by itself.
    let (daemon, capture) = start("invalid_ids = \"pass\"").await;
    let mut http = Raw::connect(daemon.http);
    let answer = http.post("/v1/traces", PROTOBUF, &body);
    let said = partial(&answer.body);
    assert_eq!(said.rejected, 1);
    assert!(
        said.message.contains("1 for a string that is not UTF-8;"),
        "{}",
        said.message
    );
    let rest = arrived(&capture, body.len() * 8 / 10);
    let rest = ExportTraceServiceRequest::decode(&rest[..]).unwrap();
    let spans = &rest.resource_spans[0].scope_spans[0].spans;
    assert_eq!((spans.len(), spans[1].trace_id.len()), (9, 15));
    let (daemon, _capture) = start("invalid_utf8 = \"pass\"").await;
    let mut http = Raw::connect(daemon.http);
    let answer = http.post("/v1/traces", PROTOBUF, &body);
    assert!(
        partial(&answer.body)
            .message
            .contains("1 for an id of the wrong length;")
    );
    // Damage is nobody's to pass.
    let answer = http.post("/v1/traces", PROTOBUF, &body[..body.len() - 1]);
    assert_eq!(answer.code, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_ids_in_json_follow_the_policy_by_their_length_and_are_hexadecimal_always() {
    let log = |trace_id: &str| {
        format!(
            "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[\
             {{\"body\":{{\"stringValue\":\"one\"}}}},\
             {{\"traceId\":\"{trace_id}\",\"body\":{{\"stringValue\":\"two\"}}}}]}}]}}]}}"
        )
    };
    let short = log("0102030405");
    let (daemon, capture) = start("").await;
    let mut http = Raw::connect(daemon.http);
    let answer = http.post("/v1/logs", JSON, short.as_bytes());
    assert_eq!(answer.code, 200);
    // It is taken without the id: it belongs to no trace then (logs.proto).
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["partialSuccess"].get("rejectedLogRecords"), None);
    let message = said["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("no log records were rejected"),
        "{message}"
    );
    let rest = ExportLogsServiceRequest::decode(&arrived(&capture, 10)[..]).unwrap();
    let records = &rest.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record.trace_id.is_empty()));
    let (lenient, passed) = start("invalid_ids = \"pass\"").await;
    let mut passing = Raw::connect(lenient.http);
    let answer = passing.post("/v1/logs", JSON, short.as_bytes());
    assert_eq!((answer.code, &answer.body[..]), (200, &b"{}"[..]));
    let all = ExportLogsServiceRequest::decode(&arrived(&passed, 10)[..]).unwrap();
    let records = &all.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records[1].trace_id, [1, 2, 3, 4, 5]);
    for raw in [&mut http, &mut passing] {
        for id in ["xyz", "010", "AQIDBAUGBwgJCgsMDQ4PEA=="] {
            assert_eq!(
                raw.post("/v1/logs", JSON, log(id).as_bytes()).code,
                400,
                "{id}"
            );
        }
        // Text that is not UTF-8 is not JSON.
        let mut text = short.clone().into_bytes();
        let at = text.windows(3).position(|bytes| bytes == b"two").unwrap();
        text[at] = 0xff;
        assert_eq!(raw.post("/v1/logs", JSON, &text).code, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_point_without_a_time_is_for_the_destination_to_judge() {
    let (daemon, capture) = start("").await;
    let mut request = ExportMetricsServiceRequest::decode(&payloads::metrics(20)[..]).unwrap();
    let metric = &mut request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Sum(sum)) = &mut metric.data else {
        panic!("the payload is made of sums");
    };
    sum.data_points[0].time_unix_nano = 0;
    let body = request.encode_to_vec();
    let mut http = Raw::connect(daemon.http);
    let answer = http.post("/v1/metrics", PROTOBUF, &body);
    assert_eq!((answer.code, answer.body.len()), (200, 0));
    assert_eq!(arrived(&capture, body.len()), body);
}
