//! What the gRPC listener answers, line by line of the conformance list (its section G), asked
//! by clients that are not the project's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::io::Read;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body::Frame as BodyFrame;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Exemplar;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use otlpd::otlp::response;
use otlpd::otlp::status::GrpcCode;
use prost::Message;
use support::door::{
    Daemon, Frames, H2, LOGS, METRICS, Raw, Setup, TRACES, bomb, call_headers, framed, gunzip,
    gzip, until,
};
use support::payloads;

/// The five bytes of an empty message.
const EMPTY: &[u8] = &[0; 5];

async fn start() -> (Daemon, H2) {
    let daemon = Daemon::start(&Setup::default());
    let client = H2::connect(daemon.grpc).await;
    (daemon, client)
}

/// Where nothing listens, and almost nothing fits into the queue.
const NOWHERE: &str = r#"
[intake]
memory_budget = "64MiB"
max_wait = "300ms"
[exporters.out]
type = "otlp_grpc"
endpoint = "http://127.0.0.1:9"
batch = { max_bytes = "32KiB" }
queue = { max_bytes = "64KiB", when_full = "refuse" }
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

/// A daemon whose queue is full.
async fn full() -> (Daemon, H2) {
    let daemon = Daemon::start(&Setup {
        sections: NOWHERE,
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    let body = payloads::traces(100);
    let begun = Instant::now();
    while client.export(TRACES, &body).await.code() == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it takes everything"
        );
    }
    (daemon, client)
}

#[tokio::test]
async fn g01_g02_every_service_takes_its_requests_and_answers_with_an_empty_message() {
    let (daemon, mut client) = start().await;
    for (path, body) in [
        (TRACES, payloads::traces(5)),
        (METRICS, payloads::metrics(20)),
        (LOGS, payloads::logs(5)),
    ] {
        let called = client.export(path, &body).await;
        assert_eq!((called.http, called.code()), (200, 0), "{path}");
        assert_eq!(called.data, EMPTY, "{path}");
        assert_eq!(called.headers["content-type"], "application/grpc");
    }
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 5);
    assert_eq!(
        daemon.metric("otelcol_receiver_accepted_metric_points_total"),
        20
    );
    assert_eq!(
        daemon.metric("otelcol_receiver_accepted_log_records_total"),
        5
    );
}

#[tokio::test]
async fn g03_a_message_of_no_bytes_is_a_success() {
    let (_daemon, mut client) = start().await;
    let called = client.call(TRACES, &[], framed(0, b"")).await;
    assert_eq!((called.code(), &called.data[..]), (0, EMPTY));
}

#[tokio::test]
async fn g04_empty_envelopes_are_a_success() {
    let (_daemon, mut client) = start().await;
    for envelope in [&b"\x0a\x00"[..], b"\x0a\x02\x12\x00", b"\x0a\x02\x0a\x00"] {
        let called = client.export(LOGS, envelope).await;
        assert_eq!((called.code(), &called.data[..]), (0, EMPTY));
    }
}

/// What a partial success says: how many, and why.
fn partial(data: &[u8]) -> (u64, String) {
    let partial = response::read(&data[5..]);
    assert!(!partial.unreadable);
    (partial.rejected, partial.message)
}

#[tokio::test]
async fn g05_g06_items_with_bad_ids_are_counted_and_the_reason_is_given() {
    let (_daemon, mut client) = start().await;
    let mut request = ExportTraceServiceRequest::decode(&payloads::traces(10)[..]).unwrap();
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans[3].trace_id = vec![1; 15];
    spans[7].span_id = vec![1; 9];
    let called = client.export(TRACES, &request.encode_to_vec()).await;
    assert_eq!(called.code(), 0);
    let (rejected, message) = partial(&called.data);
    assert_eq!(rejected, 2);
    assert!(message.contains("spans[3].trace_id"), "{message}");
}

#[tokio::test]
async fn g08_metrics_are_rejected_by_the_data_point() {
    let (daemon, mut client) = start().await;
    // Two metrics of twenty points; the name of the first is not UTF-8.
    let mut body = payloads::metrics(40);
    let request = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
    let name = request.resource_metrics[0].scope_metrics[0].metrics[0]
        .name
        .clone();
    let at = body
        .windows(name.len())
        .position(|bytes| bytes == name.as_bytes());
    body[at.unwrap()] = 0xff;
    let called = client.export(METRICS, &body).await;
    let accepted = daemon.metric("otelcol_receiver_accepted_metric_points_total");
    // A metric's name is that of all its points.
    assert_eq!(
        (called.code(), partial(&called.data).0, accepted),
        (0, 20, 20)
    );
    let mut request = ExportMetricsServiceRequest::decode(&payloads::metrics(40)[..]).unwrap();
    let metric = &mut request.resource_metrics[0].scope_metrics[0].metrics[1];
    let Some(Data::Sum(sum)) = &mut metric.data else {
        panic!("the payload is made of sums");
    };
    for point in &mut sum.data_points[3..8] {
        let span_id = vec![1; 3];
        point.exemplars.push(Exemplar {
            span_id,
            ..Exemplar::default()
        });
    }
    let called = client.export(METRICS, &request.encode_to_vec()).await;
    let accepted = daemon.metric("otelcol_receiver_accepted_metric_points_total");
    assert_eq!(
        (called.code(), partial(&called.data).0, accepted),
        (0, 5, 55)
    );
}

#[tokio::test]
async fn a_partial_success_is_in_gzip_for_who_reads_it() {
    let (_daemon, mut client) = start().await;
    let mut request = ExportTraceServiceRequest::decode(&payloads::traces(10)[..]).unwrap();
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans[3].trace_id = vec![1; 15];
    // A long way to the first fault makes a long text. prost's strings are UTF-8, so it is
    // spoilt later.
    spans[2].attributes = vec![nested(20, "spoil me")];
    let mut body = request.encode_to_vec();
    let at = body.windows(8).position(|bytes| bytes == b"spoil me");
    body[at.unwrap()] = 0xff;
    let body = framed(0, &body);
    let plain = client.call(TRACES, &[], body.clone()).await;
    assert!(!plain.headers.contains_key("grpc-encoding"));
    let (rejected, message) = partial(&plain.data);
    assert_eq!(rejected, 2);
    assert!(
        message.starts_with("2 of 10 spans were rejected, 1 for a string"),
        "{message}"
    );
    let asks = [("grpc-accept-encoding", "identity,deflate,gzip")];
    let packed = client.call(TRACES, &asks, body).await;
    assert_eq!(packed.headers["grpc-encoding"], "gzip");
    assert_eq!((packed.code(), packed.data[0]), (0, 1));
    assert_eq!(gunzip(&packed.data[5..]), plain.data[5..]);
    // A full success says nothing, in few bytes.
    let called = client.call(TRACES, &asks, framed(0, b"")).await;
    assert_eq!(&called.data[..], EMPTY);
    assert_eq!(
        called.headers["grpc-accept-encoding"],
        "identity,gzip,zstd,deflate"
    );
}

/// An attribute of lists in lists, with this text in the innermost.
fn nested(levels: usize, text: &str) -> KeyValue {
    let text = Value::StringValue(text.to_owned());
    let mut value = AnyValue { value: Some(text) };
    for _ in 0..levels {
        let list = ArrayValue {
            values: vec![value],
        };
        value = AnyValue {
            value: Some(Value::ArrayValue(list)),
        };
    }
    KeyValue {
        key: "nested".to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

#[tokio::test]
async fn g09_g26_overload_is_unavailable_with_retry_info_before_the_longest_wait_is_over() {
    let (daemon, mut client) = full().await;
    let begun = Instant::now();
    let called = client.export(TRACES, &payloads::traces(100)).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(250),
        "it is held first"
    );
    assert_eq!(called.status.code, GrpcCode::Unavailable, "{called:?}");
    assert!(called.status.retry_delay().unwrap() > Duration::ZERO);
    assert!(called.headers.contains_key("grpc-status-details-bin"));
    assert!(called.headers.contains_key("google.rpc.retryinfo-bin"));
    assert!(daemon.metric("otlpd_receiver_refused_requests_total") > 0);
}

#[tokio::test]
async fn g11_what_cannot_be_decoded_is_an_invalid_argument_with_details() {
    let (daemon, mut client) = start().await;
    let body = payloads::traces(3);
    let called = client.export(TRACES, &body[..body.len() - 1]).await;
    assert_eq!(called.status.code, GrpcCode::InvalidArgument);
    assert!(called.status.retry_delay().is_none());
    let violation = &called.status.violations()[0];
    assert!(violation.description.contains("goes on after the end"));
    let malformed = "otlpd_receiver_faulty_requests_total{receiver=\"apps\",transport=\"grpc\",reason=\"malformed\"";
    assert_eq!(daemon.metric(malformed), 1);
}

#[tokio::test]
async fn g12_oversize_is_resource_exhausted_without_retry_info() {
    let daemon = Daemon::start(&Setup {
        grpc: ", max_recv_msg_size = \"100KiB\"",
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    let called = client.export(TRACES, &payloads::traces(300)).await;
    assert_eq!(called.status.code, GrpcCode::ResourceExhausted);
    assert!(called.status.retry_delay().is_none());
    assert!(!called.headers.contains_key("grpc-status-details-bin"));
    assert_eq!(client.export(TRACES, &payloads::traces(30)).await.code(), 0);
}

#[tokio::test]
async fn g13_a_bomb_is_resource_exhausted_and_costs_no_memory() {
    let daemon = Daemon::start(&Setup {
        grpc: ", max_recv_msg_size = \"4MiB\"",
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    let before = daemon.memory("VmHWM");
    // One that says what it is, and one that says it holds nothing: the limit is reached.
    for (says, most) in [(1 << 30, 16 << 20), (0, 24 << 20)] {
        let bomb = framed(1, &bomb(1024, says));
        let called = client
            .call(TRACES, &[("grpc-encoding", "gzip")], bomb)
            .await;
        assert_eq!(called.status.code, GrpcCode::ResourceExhausted);
        assert!(called.status.retry_delay().is_none());
        let grown = daemon.memory("VmHWM") - before;
        assert!(grown < most, "{grown} bytes");
    }
}

#[tokio::test]
async fn g14_a_message_of_sixty_mebibytes_is_taken_by_default_and_one_of_seventy_is_not() {
    let (_daemon, mut client) = start().await;
    let envelope = |length: usize| {
        // One unknown field, so that the message is as large as we like.
        let mut message = b"\x7a".to_vec();
        prost::encoding::encode_varint(length as u64, &mut message);
        message.resize(message.len() + length, b'x');
        message
    };
    assert_eq!(client.export(LOGS, &envelope(60 << 20)).await.code(), 0);
    let called = client.export(LOGS, &envelope(70 << 20)).await;
    assert_eq!(called.status.code, GrpcCode::ResourceExhausted);
}

#[tokio::test]
async fn g16_g17_gzip_identity_zstd_and_deflate_are_accepted() {
    let (daemon, mut client) = start().await;
    let body = payloads::traces(10);
    let zstd = zstd::bulk::compress(&body, 1).unwrap();
    let mut zlib = Vec::new();
    let mut encoder = flate2::bufread::ZlibEncoder::new(&body[..], flate2::Compression::fast());
    encoder.read_to_end(&mut zlib).unwrap();
    for (encoding, framed) in [
        ("identity", framed(0, &body)),
        ("gzip", framed(1, &gzip(&body))),
        ("gzip", framed(0, &body)),
        ("zstd", framed(1, &zstd)),
        ("deflate", framed(1, &zlib)),
    ] {
        let called = client
            .call(TRACES, &[("grpc-encoding", encoding)], framed)
            .await;
        assert_eq!((called.code(), &called.data[..]), (0, EMPTY), "{encoding}");
    }
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 50);
}

#[tokio::test]
async fn an_empty_message_that_is_flagged_as_gzip_is_not_gzip() {
    let (_daemon, mut client) = start().await;
    let headers = [("grpc-encoding", "gzip")];
    let called = client.call(TRACES, &headers, framed(1, b"")).await;
    assert_eq!(called.status.code, GrpcCode::InvalidArgument);
    let called = client.call(TRACES, &headers, framed(1, &gzip(b""))).await;
    assert_eq!(called.code(), 0);
}

#[tokio::test]
async fn g18_an_encoding_that_we_do_not_know_is_unimplemented_and_the_others_are_named() {
    let (_daemon, mut client) = start().await;
    let called = client
        .call(TRACES, &[("grpc-encoding", "br")], framed(1, b"x"))
        .await;
    assert_eq!(called.status.code, GrpcCode::Unimplemented);
    assert_eq!(
        called.headers["grpc-accept-encoding"],
        "identity,gzip,zstd,deflate"
    );
}

#[tokio::test]
async fn g19_a_compressed_message_without_an_encoding_is_internal() {
    let (_daemon, mut client) = start().await;
    for headers in [&[][..], &[("grpc-encoding", "identity")]] {
        let called = client.call(TRACES, headers, framed(1, &gzip(b""))).await;
        assert_eq!(called.status.code, GrpcCode::Internal);
    }
}

#[tokio::test]
async fn g20_g21_unknown_services_signals_and_methods_are_unimplemented() {
    let daemon = Daemon::start(&Setup {
        sections: &support::door::DISCARD.replace(
            "[pipelines.main]",
            "[pipelines.main]\nsignals = [\"traces\"]",
        ),
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    for path in [
        LOGS,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        "/opentelemetry.proto.collector.profiles.v1experimental.ProfilesService/Export",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/",
    ] {
        let called = client.export(path, &payloads::logs(1)).await;
        assert_eq!((called.http, called.code()), (200, 12), "{path}");
    }
    assert_eq!(client.export(TRACES, &payloads::traces(1)).await.code(), 0);
}

#[tokio::test]
async fn g22_five_hundred_calls_at_once_on_one_connection_are_all_answered() {
    let (daemon, client) = start().await;
    let body = payloads::traces(2);
    let calls = (0..500).map(|_| {
        let (mut client, body) = (client.clone(), &body);
        async move { client.export(TRACES, body).await.code() }
    });
    let codes: Vec<u8> = futures_util::stream::iter(calls)
        .buffer_unordered(500)
        .collect()
        .await;
    assert_eq!(codes, vec![0; 500]);
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 1000);
}

#[tokio::test]
async fn g22_calls_that_never_end_hold_up_nobody_else_on_their_connection() {
    let (daemon, mut client) = start().await;
    let mut frames = Frames::connect(daemon.grpc);
    for stream in (1..200).step_by(2) {
        frames.send(
            Frames::HEADERS,
            Frames::END_HEADERS,
            stream,
            &call_headers(TRACES),
        );
        frames.send(Frames::DATA, 0, stream, &[0, 0]);
    }
    let last = framed(0, &payloads::traces(1));
    frames.send(
        Frames::HEADERS,
        Frames::END_HEADERS,
        201,
        &call_headers(TRACES),
    );
    frames.send(Frames::DATA, Frames::END_STREAM, 201, &last);
    let answer = frames.next_of(Frames::DATA).unwrap();
    assert_eq!((answer.stream, &answer.content[..]), (201, EMPTY));
    assert_eq!(client.export(TRACES, &payloads::traces(1)).await.code(), 0);
}

#[tokio::test]
async fn g23_a_call_that_is_held_is_answered_before_its_deadline() {
    let daemon = Daemon::start(&Setup {
        // Longer than anybody waits here.
        sections: &NOWHERE.replace("300ms", "10m"),
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    let body = framed(0, &payloads::traces(100));
    let mut ended = GrpcCode::Ok;
    while ended != GrpcCode::Unavailable {
        let timeout = [("grpc-timeout", "1S")];
        ended = client
            .call(TRACES, &timeout, body.clone())
            .await
            .status
            .code;
    }
    let begun = Instant::now();
    let timeout = [("grpc-timeout", "5S")];
    let called = client.call(TRACES, &timeout, body).await;
    // Not that its time is over, but that it may come again.
    assert_eq!(called.status.code, GrpcCode::Unavailable, "{called:?}");
    assert!(called.status.retry_delay().is_some());
    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "it is held first"
    );
}

#[tokio::test]
async fn g23_a_deadline_of_no_time_and_one_of_all_time_are_deadlines() {
    let (_daemon, mut client) = full().await;
    let body = framed(0, &payloads::traces(100));
    let called = client
        .call(TRACES, &[("grpc-timeout", "99999999H")], body.clone())
        .await;
    assert_eq!(called.status.code, GrpcCode::Unavailable);
    assert!(called.status.retry_delay().is_some());
    // Time that is over at once may be over before the message has come, or after.
    for timeout in ["1n", "0S"] {
        let called = client
            .call(TRACES, &[("grpc-timeout", timeout)], body.clone())
            .await;
        let ended = [GrpcCode::Unavailable, GrpcCode::DeadlineExceeded];
        assert!(ended.contains(&called.status.code), "{timeout}");
    }
}

#[tokio::test]
async fn g23_a_call_whose_message_does_not_come_ends_with_its_deadline() {
    let (daemon, mut client) = start().await;
    assert_eq!(client.call(TRACES, &[], framed(0, b"")).await.code(), 0);
    let idle = daemon.used_bytes();
    for sent in [0, 3, 5, 100] {
        let start = framed(0, &payloads::traces(20)).slice(..sent);
        let start = futures_util::stream::iter([Ok(BodyFrame::data(start))]);
        let body = BodyExt::boxed(StreamBody::new(
            start.chain(futures_util::stream::pending()),
        ));
        let headers = [
            ("content-type", "application/grpc"),
            ("grpc-timeout", "100m"),
        ];
        let called = client.send("POST", TRACES, &headers, body).await.unwrap();
        assert_eq!(called.status.code, GrpcCode::DeadlineExceeded, "{sent}");
    }
    until("nothing is held any more", || daemon.used_bytes() <= idle);
    let slow = "otlpd_receiver_refused_requests_total{receiver=\"apps\",transport=\"grpc\",reason=\"slow_client\"";
    assert_eq!(daemon.metric(slow), 4);
}

#[tokio::test]
async fn g23_a_timeout_that_cannot_be_read_is_none() {
    let (_daemon, mut client) = start().await;
    for timeout in ["", "1", "123456789S", "1X", "-1S", "S"] {
        let body = framed(0, &payloads::traces(1));
        let called = client
            .call(TRACES, &[("grpc-timeout", timeout)], body)
            .await;
        assert_eq!(called.code(), 0, "{timeout}");
    }
}

#[test]
fn g24_calls_that_are_reset_give_back_what_they_held() {
    let daemon = Daemon::start(&Setup::default());
    let idle = daemon.used_bytes();
    let mut frames = Frames::connect(daemon.grpc);
    let message = framed(0, &payloads::traces(20));
    for stream in (1..64).step_by(2) {
        frames.send(
            Frames::HEADERS,
            Frames::END_HEADERS,
            stream,
            &call_headers(TRACES),
        );
        frames.send(Frames::DATA, 0, stream, &message[..1000]);
        frames.send(Frames::RESET, 0, stream, &8_u32.to_be_bytes());
    }
    // One that is whole, and reset at once: it may be delivered or not.
    frames.send(
        Frames::HEADERS,
        Frames::END_HEADERS,
        65,
        &call_headers(TRACES),
    );
    for part in message.chunks(16_000) {
        frames.send(Frames::DATA, 0, 65, part);
    }
    frames.send(Frames::RESET, 0, 65, &8_u32.to_be_bytes());
    frames.send(Frames::PING, 0, 0, b"finished");
    while frames.next_of(Frames::PING).unwrap().flags != 1 {}
    drop(frames);
    until("nothing is held any more", || daemon.used_bytes() == idle);
    let accepted = daemon.metric("otelcol_receiver_accepted_spans_total");
    assert!(accepted == 0 || accepted == 20, "{accepted}");
}

#[test]
fn g27_other_protocols_on_the_port_end_the_connection_and_nothing_else() {
    let daemon = Daemon::start(&Setup::default());
    for bytes in [
        &b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client hello, more or less",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0",
    ] {
        let mut raw = Raw::connect(daemon.grpc);
        raw.write(bytes);
        raw.stream.shutdown(std::net::Shutdown::Write).ok();
        // Settings or a GOAWAY may come before the end.
        while raw.exactly(1).is_some() {}
    }
    let mut frames = Frames::connect(daemon.grpc);
    frames.send(Frames::PING, 0, 0, b"still on");
    assert!(frames.next_of(Frames::PING).is_some());
}

#[tokio::test]
async fn g27_grpc_web_and_other_media_types_are_415_and_other_methods_405() {
    let (_daemon, mut client) = start().await;
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc+json",
        "application/json",
    ] {
        let headers = [("content-type", kind)];
        let body = support::door::whole(framed(0, b""));
        let called = client.send("POST", TRACES, &headers, body).await.unwrap();
        assert_eq!(called.http, 415, "{kind}");
    }
    for kind in [
        "application/grpc+proto",
        "application/grpc;charset=utf-8",
        "Application/gRPC",
    ] {
        let headers = [("content-type", kind)];
        let body = support::door::whole(framed(0, b""));
        let called = client.send("POST", TRACES, &headers, body).await.unwrap();
        assert_eq!((called.http, called.code()), (200, 0), "{kind}");
    }
    let headers = [("content-type", "application/grpc")];
    let body = support::door::whole("");
    let called = client.send("GET", TRACES, &headers, body).await.unwrap();
    assert_eq!(called.http, 405);
}

#[tokio::test]
async fn g28_a_call_without_a_whole_message_is_an_invalid_argument() {
    let (_daemon, mut client) = start().await;
    let whole = framed(0, &payloads::traces(1));
    for part in [0, 1, 4, 5, whole.len() - 1] {
        let called = client.call(TRACES, &[], whole.slice(..part)).await;
        assert_eq!(called.status.code, GrpcCode::InvalidArgument, "{part}");
    }
}

#[tokio::test]
async fn g29_two_messages_in_one_call_are_an_error_and_neither_is_taken() {
    let (daemon, mut client) = start().await;
    let one = framed(0, &payloads::traces(1));
    let large = framed(0, &payloads::traces(1000));
    for message in [&one, &large] {
        let two = [&message[..], message].concat();
        let called = client.call(TRACES, &[], two.into()).await;
        assert_eq!(called.status.code, GrpcCode::InvalidArgument);
    }
    let flagged = client.call(TRACES, &[], framed(2, b"")).await;
    assert_eq!(flagged.status.code, GrpcCode::InvalidArgument);
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 0);
}

#[tokio::test]
async fn a_message_in_frames_of_any_size_is_the_same_message() {
    let (daemon, mut client) = start().await;
    let whole = framed(0, &payloads::traces(20));
    for size in [1, 2, 4, 5, 6, 1000, 16_384] {
        // The prefix in frames of that size, and the rest in larger ones.
        let (start, rest) = whole.split_at(12);
        let parts: Vec<_> = start
            .chunks(size)
            .chain(rest.chunks(size.max(300)))
            .map(|part| Ok(BodyFrame::data(Bytes::copy_from_slice(part))))
            .collect();
        let body = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(parts)));
        let headers = [("content-type", "application/grpc")];
        let called = client.send("POST", TRACES, &headers, body).await.unwrap();
        assert_eq!(called.code(), 0, "{size}");
    }
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 140);
}

/// Begins a call, waits until the server says goodbye, and sees that the call is answered still.
fn is_answered_after_goodbye(frames: &mut Frames) {
    let message = framed(0, &payloads::traces(1));
    let (first, rest) = message.split_at(9);
    frames.send(
        Frames::HEADERS,
        Frames::END_HEADERS,
        1,
        &call_headers(TRACES),
    );
    frames.send(Frames::DATA, 0, 1, first);
    // The first GOAWAY closes no door yet: it asks, by a PING, for calls that are on their way.
    frames.next_of(Frames::GOAWAY).unwrap();
    let ping = frames.next_of(Frames::PING).unwrap();
    frames.send(Frames::PING, 1, 0, &ping.content);
    frames.send(Frames::DATA, Frames::END_STREAM, 1, rest);
    let answer = frames.next_of(Frames::DATA).unwrap();
    assert_eq!((answer.stream, &answer.content[..]), (1, EMPTY));
    while frames.next().is_some() {}
}

#[test]
fn g31_on_sigterm_calls_under_way_complete_and_the_connection_is_told_to_go() {
    let mut daemon = Daemon::start(&Setup::default());
    let mut frames = Frames::connect(daemon.grpc);
    frames.send(Frames::PING, 0, 0, b"are you?");
    frames.next_of(Frames::PING).unwrap();
    // One that never says anything holds up nobody.
    let silent = Raw::connect(daemon.grpc);
    std::thread::scope(|scope| {
        scope.spawn(|| is_answered_after_goodbye(&mut frames));
        until("the call has begun", || {
            daemon.metric("otlpd_receiver_connections{") == 2
        });
        daemon.terminate();
    });
    assert_eq!(daemon.wait(), Some(0));
    drop(silent);
}

#[test]
fn g32_pings_without_calls_are_answered_however_many() {
    let daemon = Daemon::start(&Setup::default());
    let mut frames = Frames::connect(daemon.grpc);
    for number in 0..200_u64 {
        frames.send(Frames::PING, 0, 0, &number.to_be_bytes());
        let pong = frames.next_of(Frames::PING).unwrap();
        assert_eq!(
            (pong.flags, &pong.content[..]),
            (1, &number.to_be_bytes()[..])
        );
    }
    let message = framed(0, &payloads::traces(1));
    frames.send(
        Frames::HEADERS,
        Frames::END_HEADERS,
        1,
        &call_headers(TRACES),
    );
    frames.send(Frames::DATA, Frames::END_STREAM, 1, &message);
    assert_eq!(frames.next_of(Frames::DATA).unwrap().content, EMPTY);
}

#[test]
fn g33_an_old_connection_is_told_to_go_and_calls_under_way_complete() {
    let daemon = Daemon::start(&Setup {
        grpc: ", keepalive = { max_connection_age = \"200ms\" }",
        ..Setup::default()
    });
    is_answered_after_goodbye(&mut Frames::connect(daemon.grpc));
    until("it is gone", || {
        daemon.metric("otlpd_receiver_connections{") == 0
    });
}
