//! OTLP/JSON over HTTP, as the specification has it and as real clients send it, asked over raw
//! sockets; and through the exporter that writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod calls;
    pub(crate) mod door;
    pub(crate) mod payloads;
    pub(crate) mod texts;
}

use otlpd::otlp::{Signal, json};
use serde_json::{Value, json};
use support::door::{Answer, DISCARD, Daemon, PROTOBUF, Raw, Setup, bomb, gzip, post_head, until};
use support::payloads;
use support::texts::{CAPITALS, JAVASCRIPT, RUST};

const JSON: &str = "content-type: application/json\r\n";
const GZIP: &str = "content-type: application/json\r\ncontent-encoding: gzip\r\n";

fn start() -> (Daemon, Raw) {
    start_with("", DISCARD)
}

fn start_with(http: &str, sections: &str) -> (Daemon, Raw) {
    let daemon = Daemon::start(&Setup {
        http,
        sections,
        ..Setup::default()
    });
    let raw = Raw::connect(daemon.http);
    (daemon, raw)
}

fn text(signal: Signal, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    json::write(signal, body, &mut text).unwrap();
    text
}

fn accepted(daemon: &Daemon, items: &str) -> u64 {
    daemon.metric(&format!("otelcol_receiver_accepted_{items}_total"))
}

/// The body of an answer, which must be JSON and say so.
fn value(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

fn assert_full_success(answer: &Answer) {
    assert_eq!(
        (answer.code, value(answer)),
        (200, json!({})),
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    assert_eq!(answer.body, b"{}");
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn h04_h08_each_signal_is_taken_in_json_and_answered_in_json() {
    let (daemon, mut raw) = start();
    for (path, signal, body) in [
        ("/v1/traces", Signal::Traces, payloads::traces(5)),
        ("/v1/metrics", Signal::Metrics, payloads::metrics(20)),
        ("/v1/logs", Signal::Logs, payloads::logs(5)),
        ("/v1development/profiles", Signal::Profiles, Vec::new()),
    ] {
        assert_full_success(&raw.post(path, JSON, &text(signal, &body)));
    }
    assert_eq!(accepted(&daemon, "spans"), 5);
    assert_eq!(accepted(&daemon, "metric_points"), 20);
    assert_eq!(accepted(&daemon, "log_records"), 5);
}

#[test]
fn h06_the_media_type_has_neither_case_nor_parameters() {
    let (_daemon, mut raw) = start();
    for kind in [
        "application/json; charset=utf-8",
        "application/json;v=1",
        "APPLICATION/JSON",
        " application/json ; charset=UTF-8",
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        let body = text(Signal::Traces, &payloads::traces(1));
        assert_full_success(&raw.post("/v1/traces", &headers, &body));
    }
    for kind in ["text/json", "application/jsonl", "application/json+otlp"] {
        let headers = format!("content-type: {kind}\r\n");
        assert_eq!(raw.post("/v1/traces", &headers, b"{}").code, 415, "{kind}");
    }
}

#[test]
fn h10_an_empty_body_is_no_json_and_an_empty_object_is_a_success() {
    let (daemon, mut raw) = start();
    let answer = raw.post("/v1/traces", JSON, b"");
    assert_eq!(answer.code, 400);
    let status = value(&answer);
    assert_eq!(status["code"], 3);
    assert_eq!(
        status["message"],
        "the request must be a JSON object (line 1, column 1)"
    );
    for body in [&b"{}"[..], b" { } \n", br#"{"resourceSpans":[]}"#] {
        assert_full_success(&raw.post("/v1/traces", JSON, body));
    }
    assert_full_success(&raw.post("/v1/traces", GZIP, &gzip(b"{}")));
    assert_eq!(accepted(&daemon, "spans"), 0);
}

#[test]
fn h11_part_of_the_data_refused_is_counted_in_a_string() {
    let (daemon, mut raw) = start();
    let body = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"},
        {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3"}]}]}]}"#;
    let answer = raw.post("/v1/traces", JSON, body);
    assert_eq!(answer.code, 200);
    let partial = &value(&answer)["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "1");
    let message = partial["errorMessage"].as_str().unwrap();
    assert!(message.contains("spans[1].span_id"), "{message}");
    assert_eq!(accepted(&daemon, "spans"), 1);
    // A log record with such an id belongs to no trace, and nothing else is wrong with it.
    let body = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"spanId":"ff"},{}]}]}]}"#;
    let partial = &value(&raw.post("/v1/logs", JSON, body))["partialSuccess"];
    assert_eq!(partial.get("rejectedLogRecords"), None);
    assert!(
        partial["errorMessage"]
            .as_str()
            .unwrap()
            .contains("logRecords[0].spanId")
            || partial["errorMessage"]
                .as_str()
                .unwrap()
                .contains("log_records[0].span_id")
    );
    assert_eq!(accepted(&daemon, "log_records"), 2);
}

#[test]
fn h12_what_cannot_be_read_is_400_with_path_line_and_column() {
    let (daemon, mut raw) = start();
    for (body, field, what) in [
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{"traceId":"W47/95gDgQPSabYzgT/GDA=="}]}]}]}"#,
            "resourceSpans[0].scopeSpans[0].spans[1].traceId",
            "must be an id of hexadecimal digits, two for each byte (line 1, column 58)",
        ),
        (
            "{\n\"resourceSpans\": {}\n}",
            "resourceSpans",
            "must be a list (line 2, column 18)",
        ),
        (
            "{\"resourceSpans\":[]",
            "",
            "is not JSON: a comma or } is missing here",
        ),
        ("[]", "", "must be a JSON object"),
        ("\u{feff}{}", "", "must be a JSON object"),
        (
            "{}{}",
            "",
            "is followed by something else (line 1, column 3)",
        ),
    ] {
        let answer = raw.post("/v1/traces", JSON, body.as_bytes());
        assert_eq!(answer.code, 400, "{body}");
        let status = value(&answer);
        assert_eq!(status["code"], 3);
        assert!(
            status["message"].as_str().unwrap().contains(what),
            "{status}"
        );
        let violation = &status["details"][0]["fieldViolations"][0];
        assert_eq!(violation["field"], field);
        assert!(violation["description"].as_str().unwrap().contains(what));
    }
    assert_eq!(accepted(&daemon, "spans"), 0);
}

#[test]
fn every_refusal_of_json_is_a_status_in_json() {
    let (_daemon, mut raw) = start_with(", max_request_body_size = \"100KiB\"", DISCARD);
    for (path, headers, body, code) in [
        ("/v1/nothing", JSON, &b"{}"[..], 404),
        (
            "/v1/traces",
            "content-type: application/json\r\ncontent-encoding: br\r\n",
            b"{}",
            415,
        ),
        ("/v1/traces", GZIP, b"{}", 400),
        ("/v1/traces", JSON, &[b' '; 200_000], 413),
        ("/v1/traces", GZIP, &gzip(&[b' '; 200_000]), 413),
        ("/v1/traces", GZIP, &bomb(16, 1 << 20), 413),
    ] {
        let mut raw = Raw::connect(raw.stream.peer_addr().unwrap());
        let answer = raw.post(path, headers, body);
        assert_eq!(answer.code, code, "{path} {headers}");
        assert!(value(&answer)["message"].is_string());
    }
    raw.write("GET /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\r\n");
    let answer = raw.answer();
    assert_eq!((answer.code, value(&answer)["code"].is_u64()), (405, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_real_clients_send_arrives_as_they_mean_it() {
    let capture = support::calls::Capture::start().await;
    let daemon = to(capture.address, "compression = \"none\"");
    let mut raw = Raw::connect(daemon.http);
    for (path, signal, sent, expected) in [
        ("/v1/metrics", Signal::Metrics, JAVASCRIPT, js_expected()),
        (
            "/v1/logs",
            Signal::Logs,
            RUST,
            json!({"resourceLogs": [{"resource": {"attributes":
                [{"key": "service.name", "value": {"stringValue": "rust"}}]},
                "scopeLogs": [{"logRecords":
                [{"observedTimeUnixNano": "1790000000000000000"}]}]}]}),
        ),
        (
            "/v1/traces",
            Signal::Traces,
            CAPITALS,
            json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "eee19b7ec3c1b173", "name": "GET /a", "kind": 2,
                "links": [{"traceId": "ab8efff798038103d269b633813fc60c",
                    "spanId": "00f067aa0ba902b7"}],
                "attributes": [{"key": "n", "value": {"intValue": "5"}},
                    {"key": "b", "value": {"bytesValue": "//8="}}]}]}]}]}),
        ),
    ] {
        // In chunks of every size, as clients that stream send it.
        raw.write(format!(
            "POST {path} HTTP/1.1\r\nhost: otlpd\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
        ));
        for (index, part) in sent.as_bytes().chunks(97).enumerate() {
            let (one, two) = part.split_at(index % part.len());
            for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
                raw.write(chunk(part));
            }
        }
        raw.write("0\r\n\r\n");
        assert_full_success(&raw.answer());
        let mut arrived = Vec::new();
        until("it is delivered", || {
            arrived = capture.take();
            !arrived.is_empty()
        });
        let (arrived_signal, body) = &arrived[0];
        assert_eq!((arrived.len(), *arrived_signal), (1, signal));
        let arrived: Value = serde_json::from_slice(&text(signal, body)).unwrap();
        assert_eq!(arrived, expected);
    }
}

fn js_expected() -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "js"}},
            {"key": "none", "value": {}},
            {"key": "ratio", "value": {}},
            {"key": "n", "value": {"intValue": "1"}}]},
        "scopeMetrics": [{"scope": {"name": "m"}, "metrics": [
            {"name": "g", "gauge": {"dataPoints": [
                {"startTimeUnixNano": "1790000000000000000", "timeUnixNano": "1790000000000000001"},
                {"timeUnixNano": "1", "asDouble": 1.0}]}},
            {"name": "h", "unit": "ms", "histogram": {"aggregationTemporality": 2, "dataPoints": [{
                "attributes": [{"key": "a", "value": {"arrayValue": {"values":
                    [{"intValue": "1"}, {"boolValue": false}, {}]}}}],
                "bucketCounts": ["0", "3", "18014398509481984"], "explicitBounds": [0.0, 5.5],
                "count": "3", "sum": 6.0, "min": 1.0, "max": 3.0,
                "startTimeUnixNano": "1", "timeUnixNano": "2"}]}}]}]}]})
}

/// A daemon with one exporter over gRPC to this address.
fn to(address: std::net::SocketAddr, more: &str) -> Daemon {
    Daemon::start(&Setup {
        sections: &format!(
            "[intake]\nmemory_budget = \"192MiB\"\nacknowledge = \"delivered\"\n\
             [exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://{address}\"\n{more}\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
        ),
        ..Setup::default()
    })
}

#[test]
fn requests_of_21_mb_are_taken_plain_compressed_and_in_chunks() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(20_000);
    let large = text(Signal::Traces, &body);
    assert!(large.len() > 21_000_000, "{}", large.len());
    assert_full_success(&raw.post("/v1/traces", JSON, &large));
    assert_full_success(&raw.post("/v1/traces", GZIP, &gzip(&large)));
    let zstd = zstd::encode_all(&large[..], 1).unwrap();
    let headers = "content-type: application/json\r\ncontent-encoding: zstd\r\n";
    assert_full_success(&raw.post("/v1/traces", headers, &zstd));
    raw.write(format!(
        "POST /v1/traces HTTP/1.1\r\nhost: otlpd\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
    ));
    for part in large.chunks(60_000) {
        raw.write(chunk(part));
    }
    raw.write("0\r\n\r\n");
    assert_full_success(&raw.answer());
    assert_eq!(accepted(&daemon, "spans"), 80_000);
    until("all memory is given back", || daemon.used_bytes() < 8 << 20);
}

#[test]
fn json_that_grows_is_paid_for_or_refused_and_given_back() {
    // Each number is two characters, and eight bytes in protobuf.
    let numbers = vec!["1"; 4 << 20].join(",");
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{numbers}]}}]}}}}]}}]}}]}}"#
    );
    let (daemon, mut raw) = start();
    assert_full_success(&raw.post("/v1/metrics", JSON, body.as_bytes()));
    // It would be 32 MiB where 30 are the most, and 40 with the text, where the budget is 36.
    let budget = DISCARD.replace("192MiB", "36MiB");
    let (limited, mut second) = start_with(", max_request_body_size = \"30MiB\"", DISCARD);
    let (poor, mut third) = start_with("", &budget);
    for raw in [&mut second, &mut third] {
        let answer = raw.post("/v1/metrics", JSON, body.as_bytes());
        assert_eq!(
            answer.code,
            413,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        assert_eq!(value(&answer)["code"], 8);
        assert_eq!(answer.header("retry-after"), None);
        assert_full_success(&raw.post("/v1/metrics", JSON, b"{}"));
    }
    for daemon in [&daemon, &limited, &poor] {
        until("all memory is given back", || daemon.used_bytes() < 8 << 20);
    }
}

#[test]
fn deep_nesting_is_refused_alike_in_json_and_costs_no_stack() {
    let (_daemon, mut raw) = start();
    for body in [
        format!("{{\"a\":{}", "[".repeat(1_000_000)),
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{}"#,
            r#"{"arrayValue":{"values":["#.repeat(100_000)
        ),
    ] {
        let answer = raw.post("/v1/logs", JSON, body.as_bytes());
        assert_eq!(answer.code, 400);
        assert!(
            value(&answer)["message"]
                .as_str()
                .unwrap()
                .contains("nested")
        );
    }
    assert_full_success(&raw.post("/v1/logs", JSON, b"{}"));
}

#[test]
fn a_slow_json_body_and_one_without_an_end_are_no_requests() {
    let (daemon, mut raw) = start();
    raw.write(post_head("/v1/traces", JSON, 100));
    raw.write(b"{\"resourceSpans\":[");
    drop(raw);
    let mut raw = Raw::connect(daemon.http);
    assert_full_success(&raw.post("/v1/traces", JSON, b"{}"));
    let answer = raw.post("/v1/traces", PROTOBUF, &payloads::traces(1));
    assert_eq!((answer.code, answer.body.len()), (200, 0));
    assert_eq!(accepted(&daemon, "spans"), 1);
}
