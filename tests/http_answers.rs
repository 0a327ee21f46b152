//! What the HTTP listener answers, line by line of the conformance list (its section H), asked
//! over raw sockets. JSON, CORS, TLS and authentication have their own place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlpd::otlp::response;
use otlpd::otlp::status::{GrpcCode, Status};
use prost::Message;
use support::door::{
    Answer, DISCARD, Daemon, H2, PROTOBUF, Raw, Setup, bomb, gunzip, gzip, post_head, until, whole,
};
use support::payloads;

const GZIP: &str = "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n";
const CHUNKED: &str = "content-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n";

fn start() -> (Daemon, Raw) {
    start_with("")
}

fn start_with(http: &str) -> (Daemon, Raw) {
    let daemon = Daemon::start(&Setup {
        http,
        ..Setup::default()
    });
    let raw = Raw::connect(daemon.http);
    (daemon, raw)
}

fn accepted(daemon: &Daemon) -> u64 {
    daemon.metric("otelcol_receiver_accepted_spans_total")
}

/// A full success: 200 and nothing.
fn assert_full_success(answer: &Answer) {
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    assert_eq!(answer.body, b"");
}

/// The head of a POST whose body comes in chunks.
fn chunked_head(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: otlpd\r\n{CHUNKED}\r\n")
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn h01_h03_h07_each_signal_has_its_path_and_full_success_is_no_bytes() {
    let (daemon, mut raw) = start();
    for (path, body) in [
        ("/v1/traces", payloads::traces(5)),
        ("/v1/metrics", payloads::metrics(20)),
        ("/v1/logs", payloads::logs(5)),
    ] {
        assert_full_success(&raw.post(path, PROTOBUF, &body));
    }
    assert_eq!(accepted(&daemon), 5);
    let points = daemon.metric("otelcol_receiver_accepted_metric_points_total");
    let records = daemon.metric("otelcol_receiver_accepted_log_records_total");
    assert_eq!((points, records), (20, 5));
}

#[test]
fn h02_profiles_have_the_path_of_their_state_of_development() {
    let (_daemon, mut raw) = start();
    assert_full_success(&raw.post("/v1development/profiles", PROTOBUF, b""));
    assert_eq!(raw.post("/v1/profiles", PROTOBUF, b"").code, 404);
    let (_daemon, mut raw) = {
        let daemon = Daemon::start(&Setup {
            sections: &DISCARD
                .replace("[pipelines.main]", "[pipelines.main]\nsignals = [\"logs\"]"),
            ..Setup::default()
        });
        let raw = Raw::connect(daemon.http);
        (daemon, raw)
    };
    assert_eq!(raw.post("/v1development/profiles", PROTOBUF, b"").code, 404);
}

#[test]
fn h06_the_media_type_has_neither_case_nor_parameters() {
    let (_daemon, mut raw) = start();
    for kind in [
        "Application/X-Protobuf",
        "application/x-protobuf; charset=utf-8",
        "application/x-protobuf;v=1",
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        assert_full_success(&raw.post("/v1/traces", &headers, &payloads::traces(1)));
    }
}

#[test]
fn h09_an_empty_body_is_a_success_and_one_that_claims_to_be_gzip_is_not() {
    let (_daemon, mut raw) = start();
    assert_full_success(&raw.post("/v1/traces", PROTOBUF, b""));
    assert_full_success(&raw.post("/v1/traces", GZIP, &gzip(b"")));
    let answer = raw.post("/v1/traces", GZIP, b"");
    assert_eq!(answer.code, 400);
    assert!(answer.status().message.contains("gzip"));
    raw.write(format!("{}0\r\n\r\n", chunked_head("/v1/traces")));
    assert_full_success(&raw.answer());
}

#[test]
fn h11_part_of_the_data_refused_is_a_200_with_the_count() {
    let (daemon, mut raw) = start();
    let mut request = ExportTraceServiceRequest::decode(&payloads::traces(10)[..]).unwrap();
    request.resource_spans[0].scope_spans[0].spans[4].span_id = vec![1; 7];
    let answer = raw.post("/v1/traces", PROTOBUF, &request.encode_to_vec());
    assert_eq!(answer.code, 200);
    let partial = response::read(&answer.body);
    assert_eq!((partial.rejected, partial.unreadable), (1, false));
    assert!(
        partial.message.contains("spans[4].span_id"),
        "{}",
        partial.message
    );
    assert_eq!(accepted(&daemon), 9);
}

#[test]
fn h12_h13_undecodable_data_is_400_with_a_bad_request_in_the_status() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(3);
    let answer = raw.post("/v1/traces", PROTOBUF, &body[..body.len() - 1]);
    assert_eq!(answer.code, 400);
    let status = answer.status();
    assert_eq!(status.code, GrpcCode::InvalidArgument);
    assert!(
        status.violations()[0]
            .description
            .contains("goes on after the end")
    );
    assert_full_success(&raw.post("/v1/traces", PROTOBUF, &body));
    assert_eq!(accepted(&daemon), 3);
}

#[test]
fn h13_a_failure_is_told_in_the_encoding_of_the_request() {
    let (_daemon, mut raw) = start();
    let answer = raw.post("/v1/nothing", "content-type: application/json\r\n", b"{}");
    assert_eq!(answer.code, 404);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(status["message"].as_str().unwrap().contains("/v1/nothing"));
}

#[test]
fn h14_h44_unknown_paths_are_404_with_a_status_and_never_a_redirect() {
    let (_daemon, mut raw) = start();
    for path in [
        "/",
        "/v1/traces/",
        "/v1/trace",
        "/V1/TRACES",
        "/v1/traces/v1/traces",
        "/v1%2Ftraces",
        "*",
    ] {
        let answer = raw.post(path, PROTOBUF, &payloads::traces(1));
        assert_eq!(answer.code, 404, "{path}");
        assert!(!answer.status().message.is_empty());
        assert_eq!(answer.header("location"), None);
    }
}

#[test]
fn h15_other_methods_are_405_and_post_is_named() {
    let (_daemon, mut raw) = start();
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        raw.write(format!("{method} /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n"));
        let answer = raw.answer();
        assert_eq!(
            (answer.code, answer.header("allow")),
            (405, Some("post")),
            "{method}"
        );
        assert!(!answer.status().message.is_empty());
    }
    // An answer to HEAD has no body, whatever length it names: no later one is mistaken for it.
    raw.write("HEAD /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut raw.stream, &mut all).unwrap();
    let all = String::from_utf8(all).unwrap();
    assert!(
        all.starts_with("HTTP/1.1 405") && all.ends_with("\r\n\r\n"),
        "{all}"
    );
}

#[test]
fn h16_h17_a_missing_or_another_media_type_is_415_with_a_status() {
    let (_daemon, mut raw) = start();
    for (headers, told_in) in [
        ("", "application/json"),
        ("content-type: text/plain\r\n", "application/json"),
        (
            "content-type: application/protobuf\r\n",
            "application/x-protobuf",
        ),
        ("content-type: application/grpc\r\n", "application/json"),
        ("content-type:\r\n", "application/json"),
        ("content-type: \u{e4}\r\n", "application/json"),
    ] {
        let answer = raw.post("/v1/traces", headers, &payloads::traces(1));
        assert_eq!(answer.code, 415, "{headers}");
        assert_eq!(answer.header("content-type"), Some(told_in));
        let ours = "application/x-protobuf, application/json";
        assert_eq!(answer.header("accept"), Some(ours));
        assert!(answer.status().message.contains("application/x-protobuf"));
    }
}

#[test]
fn h18_h23_a_declared_length_above_the_limit_is_413_before_the_body_is_read() {
    let (daemon, mut raw) = start_with(", max_request_body_size = \"100KiB\"");
    let idle = daemon.used_bytes();
    // Nothing of the body is sent, and the answer comes.
    raw.write(post_head("/v1/traces", PROTOBUF, 8 << 20));
    let answer = raw.answer();
    assert_eq!(answer.code, 413);
    assert_eq!(answer.status().code, GrpcCode::ResourceExhausted);
    assert_eq!(answer.header("retry-after"), None);
    assert!(
        daemon.used_bytes() <= idle + (8 << 20) / 2,
        "the body is not paid for"
    );
    // The client may send all of it still, and the next request is what follows it.
    raw.write(vec![b'x'; 8 << 20]);
    assert_full_success(&raw.post("/v1/traces", PROTOBUF, &payloads::traces(1)));
}

#[test]
fn h18_a_client_that_sends_all_before_it_reads_has_its_413() {
    let (_daemon, mut raw) = start_with(", max_request_body_size = \"100KiB\"");
    let answer = raw.post("/v1/traces", PROTOBUF, &vec![0; 32 << 20]);
    assert_eq!(answer.code, 413);
    let answer = raw.post("/v1/nothing", PROTOBUF, &vec![0; 8 << 20]);
    assert_eq!(answer.code, 404);
    assert_full_success(&raw.post("/v1/traces", PROTOBUF, b""));
}

#[test]
fn h18_the_largest_length_that_can_be_written_is_413() {
    let (_daemon, mut raw) = start();
    raw.write(post_head("/v1/traces", PROTOBUF, usize::MAX >> 1));
    assert_eq!(raw.answer().code, 413);
    let daemon_is_on = Raw::connect(_daemon.http).post("/v1/traces", PROTOBUF, b"");
    assert_full_success(&daemon_is_on);
}

#[test]
fn h19_a_chunked_body_above_the_limit_is_413_at_the_limit() {
    let (daemon, mut raw) = start_with(", max_request_body_size = \"100KiB\"");
    raw.write(chunked_head("/v1/traces"));
    let part = chunk(&[b'x'; 32 << 10]);
    for _ in 0..4 {
        raw.write(&part);
    }
    let answer = raw.answer();
    assert_eq!(answer.code, 413);
    assert_eq!(answer.header("retry-after"), None);
    raw.write(b"0\r\n\r\n");
    assert_full_success(&raw.post("/v1/traces", PROTOBUF, &payloads::traces(1)));
    assert_eq!(accepted(&daemon), 1);
}

#[test]
fn h20_a_bomb_is_413_and_costs_no_more_than_the_limit() {
    let (daemon, mut raw) = start_with(", max_request_body_size = \"4MiB\"");
    let before = daemon.memory("VmHWM");
    for (says, most) in [(1 << 30, 16 << 20), (0, 24 << 20)] {
        let answer = raw.post("/v1/traces", GZIP, &bomb(1024, says));
        assert_eq!(answer.code, 413);
        let grown = daemon.memory("VmHWM") - before;
        assert!(grown < most, "{grown} bytes");
    }
    assert_full_success(&raw.post("/v1/traces", GZIP, &gzip(&payloads::traces(1))));
}

#[test]
fn h22_who_asks_first_is_told_413_at_once_and_100_if_it_may() {
    let (_daemon, mut raw) = start_with(", max_request_body_size = \"100KiB\"");
    let expect = format!("{PROTOBUF}expect: 100-continue\r\n");
    let body = payloads::traces(10);
    raw.write(post_head("/v1/traces", &expect, body.len()));
    assert_eq!(raw.answer().code, 100);
    raw.write(&body);
    assert_full_success(&raw.answer());
    raw.write(post_head("/v1/traces", &expect, 1 << 20));
    assert_eq!(raw.answer().code, 413);
    // Whether the client sends the body now cannot be known: the connection ends.
    assert!(raw.is_closed());
}

#[test]
fn h24_to_h26_codings_are_known_in_every_spelling() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(1);
    let packed = gzip(&body);
    for coding in ["gzip", "GZIP", "x-gzip", "  gzip "] {
        let headers = format!("{PROTOBUF}content-encoding: {coding}\r\n");
        assert_full_success(&raw.post("/v1/traces", &headers, &packed));
    }
    for coding in ["identity", ""] {
        let headers = format!("{PROTOBUF}content-encoding: {coding}\r\n");
        assert_full_success(&raw.post("/v1/traces", &headers, &body));
    }
    let zstd = zstd::bulk::compress(&body, 1).unwrap();
    let headers = format!("{PROTOBUF}content-encoding: zstd\r\n");
    assert_full_success(&raw.post("/v1/traces", &headers, &zstd));
    let headers = format!("{PROTOBUF}content-encoding: deflate\r\n");
    let mut zlib = Vec::new();
    let mut encoder = flate2::bufread::ZlibEncoder::new(&body[..], flate2::Compression::fast());
    encoder.read_to_end(&mut zlib).unwrap();
    assert_full_success(&raw.post("/v1/traces", &headers, &zlib));
    assert_eq!(accepted(&daemon), 8);
}

#[test]
fn h27_other_codings_and_lists_of_them_are_415_and_ours_are_named() {
    let (_daemon, mut raw) = start();
    for coding in ["br", "gzip, gzip", "gzip, identity", "snappy", "\u{e4}"] {
        let headers = format!("{PROTOBUF}content-encoding: {coding}\r\n");
        let answer = raw.post("/v1/traces", &headers, &payloads::traces(1));
        assert_eq!(answer.code, 415, "{coding}");
        assert_eq!(
            answer.header("accept-encoding"),
            Some("gzip, zstd, deflate")
        );
        assert!(!answer.status().message.is_empty());
    }
    // The same in two lines.
    let headers = format!("{GZIP}content-encoding: gzip\r\n");
    let answer = raw.post("/v1/traces", &headers, &gzip(&gzip(&payloads::traces(1))));
    assert_eq!(answer.code, 415);
}

#[test]
fn h29_to_h32_what_is_not_gzip_to_its_last_byte_is_400() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(4);
    let packed = gzip(&body);
    let mut false_sum = packed.clone();
    let sum = false_sum.len() - 8;
    false_sum[sum] ^= 1;
    for damaged in [
        body.clone(),
        packed[..packed.len() - 1].to_vec(),
        packed[..20].to_vec(),
        false_sum,
        [&packed[..], b"more"].concat(),
    ] {
        let answer = raw.post("/v1/traces", GZIP, &damaged);
        assert_eq!(answer.code, 400);
        assert!(answer.status().message.contains("gzip"));
    }
    assert_eq!(accepted(&daemon), 0);
    // All members count (RFC 1952 section 2.2).
    let (first, second) = body.split_at(body.len() / 2);
    let members = [gzip(first), gzip(second)].concat();
    assert_full_success(&raw.post("/v1/traces", GZIP, &members));
    assert_eq!(accepted(&daemon), 4);
}

#[test]
fn h33_who_asks_for_gzip_has_it_where_it_helps() {
    let (_daemon, mut raw) = start();
    let body = payloads::traces(1);
    let path = format!("/v1/{}", "nothing/".repeat(100));
    for kind in ["application/x-protobuf", "application/json"] {
        let kind = format!("content-type: {kind}\r\n");
        let plain = raw.post(&path, &kind, &body);
        assert_eq!(plain.header("content-encoding"), None);
        // So that no cache gives what was packed to who did not ask.
        assert_eq!(plain.header("vary"), Some("accept-encoding"));
        for asked in ["gzip", "deflate, GZIP;q=0.5", "*"] {
            let headers = format!("{kind}accept-encoding: {asked}\r\n");
            let packed = raw.post(&path, &headers, &body);
            assert_eq!(packed.code, 404);
            assert_eq!(packed.header("content-encoding"), Some("gzip"), "{asked}");
            assert_eq!(packed.header("vary"), Some("accept-encoding"));
            assert!(packed.body.len() < plain.body.len());
            assert_eq!(gunzip(&packed.body), plain.body);
        }
        for asked in ["identity", "gzip;q=0", "br, zstd", ""] {
            let headers = format!("{kind}accept-encoding: {asked}\r\n");
            let same = raw.post(&path, &headers, &body);
            assert_eq!(same.header("content-encoding"), None, "{asked}");
            assert_eq!(same.body, plain.body);
        }
    }
    // What is small stays as it is.
    let headers = format!("{PROTOBUF}accept-encoding: gzip\r\n");
    let answer = raw.post("/v1/traces", &headers, &body);
    assert_full_success(&answer);
    assert_eq!(answer.header("content-encoding"), None);
}

#[test]
fn h34_chunked_bodies_are_taken_however_they_are_cut() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(300);
    for size in [1, 100, 5000, 100_000, body.len()] {
        let short = &body[..];
        let body = if size == 1 {
            payloads::traces(1)
        } else {
            short.to_vec()
        };
        raw.write(chunked_head("/v1/traces"));
        let chunks: Vec<u8> = body.chunks(size).flat_map(chunk).collect();
        raw.write(&chunks);
        raw.write("0\r\nsome-trailer: yes\r\n\r\n");
        assert_full_success(&raw.answer());
    }
    assert_eq!(accepted(&daemon), 4 * 300 + 1);
}

#[test]
fn h35_a_thousand_requests_in_a_row_on_one_connection() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(1);
    for _ in 0..1000 {
        assert_full_success(&raw.post("/v1/traces", PROTOBUF, &body));
    }
    assert_eq!(accepted(&daemon), 1000);
    assert_eq!(
        daemon
            .metric("otlpd_receiver_opened_connections_total{receiver=\"apps\",transport=\"http\""),
        1
    );
}

#[test]
fn h36_pipelined_requests_are_answered_in_order() {
    let (daemon, mut raw) = start();
    let good = payloads::traces(1);
    let mut all = Vec::new();
    for number in 0..100 {
        let path = if number % 3 == 0 {
            "/v1/nothing"
        } else {
            "/v1/traces"
        };
        let body = if number % 3 == 1 { &good[1..] } else { &good };
        all.extend(post_head(path, PROTOBUF, body.len()).bytes());
        all.extend(body);
    }
    raw.write(&all);
    for number in 0..100 {
        assert_eq!(raw.answer().code, [404, 400, 200][number % 3], "{number}");
    }
    assert_eq!(accepted(&daemon), 33);
}

#[tokio::test]
async fn h37_http2_with_prior_knowledge_is_spoken_on_the_same_port() {
    let (daemon, _raw) = start();
    let mut client = H2::connect(daemon.http).await;
    let headers = [("content-type", "application/x-protobuf")];
    let body = payloads::traces(3);
    let called = client
        .send("POST", "/v1/traces", &headers, whole(body))
        .await
        .unwrap();
    assert_eq!((called.http, called.data.len()), (200, 0));
    let called = client
        .send("POST", "/v1/traces", &headers, whole("\u{ff}"))
        .await
        .unwrap();
    assert_eq!(called.http, 400);
    assert!(Status::decode(&called.data).is_some());
    // A gRPC client that has the wrong port is told so.
    let headers = [("content-type", "application/grpc")];
    let called = client
        .send("POST", support::door::TRACES, &headers, whole(""))
        .await
        .unwrap();
    assert_eq!(called.http, 404);
    assert_eq!(accepted(&daemon), 3);
}

/// A daemon whose queue is full.
fn full() -> (Daemon, Raw) {
    let sections = DISCARD.replace(
        "type = \"discard\"",
        "type = \"otlp_grpc\"\nendpoint = \"http://127.0.0.1:9\"\n\
         batch = { max_bytes = \"32KiB\" }\n\
         queue = { max_bytes = \"64KiB\", when_full = \"refuse\" }",
    );
    let daemon = Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    });
    let mut raw = Raw::connect(daemon.http);
    let body = payloads::traces(100);
    let begun = Instant::now();
    while raw.post("/v1/traces", PROTOBUF, &body).code == 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it takes everything"
        );
    }
    (daemon, raw)
}

#[test]
fn h40_h43_overload_is_503_with_whole_seconds_and_oversize_is_still_413() {
    let (_daemon, mut raw) = full();
    let begun = Instant::now();
    let answer = raw.post("/v1/traces", PROTOBUF, &payloads::traces(100));
    assert!(
        begun.elapsed() >= Duration::from_millis(450),
        "it is held first"
    );
    assert_eq!(answer.code, 503);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    let status = answer.status();
    assert_eq!(status.code, GrpcCode::Unavailable);
    assert!(status.retry_delay().is_some());
    raw.write(post_head("/v1/traces", PROTOBUF, 65 << 20));
    assert_eq!(raw.answer().code, 413);
}

#[test]
fn h40_who_is_refused_while_it_sends_hears_the_503() {
    let (_daemon, mut raw) = full();
    let body = payloads::traces(20_000);
    for _ in 0..2 {
        assert_eq!(raw.post("/v1/traces", PROTOBUF, &body).code, 503);
    }
}

#[test]
fn h45_a_doubled_slash_and_a_query_change_nothing() {
    let (daemon, mut raw) = start();
    let body = payloads::traces(1);
    for path in [
        "//v1/traces",
        "/v1/traces?x=y",
        "///v1/traces?",
        "http://elsewhere/v1/traces",
    ] {
        assert_full_success(&raw.post(path, PROTOBUF, &body));
    }
    assert_eq!(accepted(&daemon), 4);
}

#[test]
fn h47_no_answer_is_larger_than_a_few_kibibytes_whatever_was_sent() {
    let (_daemon, mut raw) = start();
    let answer = raw.post(&format!("/{}", "x".repeat(9 << 10)), PROTOBUF, b"");
    assert_eq!(answer.code, 404);
    assert!(answer.body.len() < 8 << 10);
    let mut request = ExportTraceServiceRequest::decode(&payloads::traces(20_000)[..]).unwrap();
    for span in &mut request.resource_spans[0].scope_spans[0].spans {
        span.span_id = vec![1; 7];
    }
    let answer = raw.post("/v1/traces", PROTOBUF, &request.encode_to_vec());
    assert_eq!(answer.code, 200);
    assert_eq!(response::read(&answer.body).rejected, 20_000);
    assert!(answer.body.len() < 8 << 10);
}

#[test]
fn h48_slow_headers_end_the_connection() {
    let (daemon, mut raw) = start_with(", read_header_timeout = \"200ms\"");
    raw.write("POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-slow");
    assert!(raw.is_closed());
    // So does silence, and silence behind a request: of one that was sent in time, which on a slow
    // machine may not be the first.
    assert!(Raw::connect(daemon.http).is_closed());
    until("one is fast enough", || {
        let mut idle = Raw::connect(daemon.http);
        let request = post_head("/v1/traces", PROTOBUF, 0);
        idle.stream.write_all(request.as_bytes()).ok();
        let answer = idle.try_answer();
        answer.iter().for_each(assert_full_success);
        assert!(idle.is_closed());
        answer.is_some()
    });
    until("their places are free", || {
        daemon.metric("otlpd_receiver_connections{") == 0
    });
}

#[test]
fn h48_a_slow_body_is_given_up_and_its_bytes_are_given_back() {
    let (daemon, mut raw) = start_with(", read_timeout = \"200ms\"");
    let idle = daemon.used_bytes();
    raw.write(post_head("/v1/traces", PROTOBUF, 1000));
    raw.write("too little");
    let answer = raw.answer();
    assert_eq!(answer.code, 503);
    assert!(answer.header("retry-after").is_some());
    drop(raw);
    let mut raw = Raw::connect(daemon.http);
    raw.write(format!("{}5\r\nab", chunked_head("/v1/traces")));
    assert_eq!(raw.answer().code, 503);
    drop(raw);
    until("nothing is held any more", || daemon.used_bytes() <= idle);
    assert_eq!(accepted(&daemon), 0);
    let slow = "otlpd_receiver_refused_requests_total{receiver=\"apps\",transport=\"http\",reason=\"slow_client\"";
    assert_eq!(daemon.metric(slow), 2);
    assert_eq!(daemon.metric("otlpd_receiver_faulty_requests_total"), 0);
}

#[test]
fn h49_a_client_that_goes_in_the_middle_leaves_nothing_behind() {
    let (daemon, raw) = start();
    drop(raw);
    until("nobody is there, and nothing is held", || {
        daemon.metric("otlpd_receiver_connections{") == 0 && daemon.used_bytes() == 0
    });
    let body = payloads::traces(100);
    for aborts in [false, true] {
        let mut declared = Raw::connect(daemon.http);
        // Of what is announced beyond a mebibyte, nothing is paid for until it comes.
        declared.write(post_head("/v1/traces", PROTOBUF, 8 << 20));
        declared.write(&body);
        let mut pieces = Raw::connect(daemon.http);
        pieces.write(chunked_head("/v1/traces"));
        pieces.write(chunk(&body));
        until("both are let in", || daemon.used_bytes() > 1 << 20);
        if aborts {
            for raw in [&declared, &pieces] {
                let socket = socket2::SockRef::from(&raw.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        drop((declared, pieces));
        until("nothing is held any more", || daemon.used_bytes() == 0);
    }
    assert_eq!(accepted(&daemon), 0);
}

#[test]
fn h50_one_host_and_one_transfer_coding_or_400() {
    let (daemon, _raw) = start();
    for lines in [
        "host: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "host: x\r\ntransfer-encoding: chunked, chunked\r\n",
        "host: x\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: x\r\nhost: y\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        let mut raw = Raw::connect(daemon.http);
        raw.write(format!(
            "POST /v1/traces HTTP/1.1\r\n{PROTOBUF}{lines}\r\n0\r\n\r\n"
        ));
        assert_eq!(raw.answer().code, 400, "{lines}");
    }
}

#[test]
fn h50_contradicting_lengths_are_400_and_the_end_of_the_connection() {
    let (daemon, _raw) = start();
    let smuggled = "0\r\n\r\nPOST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    for lines in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        for before in [0, 1, 3] {
            let mut raw = Raw::connect(daemon.http);
            for _ in 0..before {
                assert_full_success(&raw.post("/v1/traces", PROTOBUF, &payloads::traces(1)));
            }
            raw.write(format!(
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\n{PROTOBUF}{lines}\r\n{smuggled}"
            ));
            let answer = raw.answer();
            assert_eq!(answer.code, 400, "{lines}");
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(answer.status().message.contains("Transfer-Encoding"));
            assert!(raw.is_closed(), "{lines}");
        }
    }
    assert_eq!(accepted(&daemon), 2 * 4);
    for lines in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: -5\r\n",
        "content-length: +5\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: x-chunked\r\n",
    ] {
        let mut raw = Raw::connect(daemon.http);
        raw.write(format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\n{PROTOBUF}{lines}\r\n{smuggled}"
        ));
        assert_eq!(raw.answer().code, 400, "{lines}");
        assert!(raw.is_closed(), "{lines}");
    }
    for head in [
        "POST /v1/traces HTTP/1.1\r\nhost : x\r\n\r\n",
        "POST /v1/traces\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let mut raw = Raw::connect(daemon.http);
        raw.write(head);
        assert_eq!(raw.answer().code, 400, "{head}");
        assert!(raw.is_closed());
    }
}

#[test]
fn h50_chunks_that_lie_are_refused_and_end_the_connection() {
    let (daemon, _raw) = start();
    for chunks in [
        "zz\r\n",
        "5\r\nabcdefgh\r\n",
        "ffffffffffffffffff\r\n",
        "-1\r\n",
    ] {
        let mut raw = Raw::connect(daemon.http);
        raw.write(format!("{}{chunks}", chunked_head("/v1/traces")));
        if let Some(answer) = raw.try_answer() {
            assert_eq!(answer.code, 400, "{chunks}");
        }
        assert!(raw.is_closed());
    }
    assert_eq!(daemon.metric("otelcol_receiver_requests_total{receiver=\"apps\",transport=\"http\",outcome=\"success\""), 0);
}

#[test]
fn h51_large_and_many_headers_are_taken_up_to_a_bound_and_refused_beyond() {
    let (daemon, mut raw) = start();
    let large = format!("{PROTOBUF}x-large: {}\r\n", "x".repeat(9 << 10));
    assert_full_success(&raw.post("/v1/traces", &large, b""));
    let many: String = (0..90).map(|number| format!("x-{number}: y\r\n")).collect();
    assert_full_success(&raw.post("/v1/traces", &format!("{PROTOBUF}{many}"), b""));
    for headers in [
        (0..200)
            .map(|number| format!("x-{number}: y\r\n"))
            .collect(),
        format!("x-huge: {}\r\n", "x".repeat(1 << 20)),
    ] {
        let mut raw = Raw::connect(daemon.http);
        // It may be closed while we write.
        let head = post_head("/v1/traces", &headers, 0);
        std::io::Write::write_all(&mut raw.stream, head.as_bytes()).ok();
        if let Some(answer) = raw.try_answer() {
            assert_eq!(answer.code, 431);
        }
        assert!(raw.is_closed());
    }
    assert_full_success(&Raw::connect(daemon.http).post("/v1/traces", PROTOBUF, b""));
}

#[test]
fn an_old_connection_is_closed_behind_its_answer() {
    let (daemon, _raw) = start_with(", keepalive = { max_connection_age = \"200ms\" }");
    let body = payloads::traces(10);
    let headers = format!("{PROTOBUF}expect: 100-continue\r\n");
    // One whose request begins before it is old, which on a slow machine may not be the first.
    let mut raw = Raw::connect(daemon.http);
    until("one is fast enough", || {
        raw = Raw::connect(daemon.http);
        let head = post_head("/v1/traces", &headers, body.len());
        raw.stream.write_all(head.as_bytes()).ok();
        raw.try_answer().is_some_and(|answer| answer.code == 100)
    });
    std::thread::sleep(Duration::from_millis(400));
    raw.write(body);
    assert_full_success(&raw.answer());
    assert!(raw.is_closed());
    assert_eq!(accepted(&daemon), 10);
}

#[test]
fn when_all_places_are_taken_who_is_idle_makes_room_and_who_is_busy_does_not() {
    let (daemon, mut busy) = start_with(", keepalive = { max_connections = 4 }");
    let body = payloads::traces(10);
    busy.write(post_head("/v1/traces", PROTOBUF, body.len()));
    busy.write(&body[..100]);
    let mut spoke = Raw::connect(daemon.http);
    assert_full_success(&spoke.post("/v1/traces", PROTOBUF, b""));
    let silent = [Raw::connect(daemon.http), Raw::connect(daemon.http)];
    until("all places are taken", || {
        daemon.metric("otlpd_receiver_connections{") == 4
    });
    for _ in 0..3 {
        assert_full_success(&Raw::connect(daemon.http).post("/v1/traces", PROTOBUF, b""));
    }
    busy.write(&body[100..]);
    assert_full_success(&busy.answer());
    drop((spoke, silent));
}
