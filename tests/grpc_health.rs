//! gRPC's health checking protocol on the gRPC listener: what probes and load balancers ask (line
//! O13 of the conformance list).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use bytes::Bytes;
use otlpd::otlp::status::GrpcCode;
use support::door::{
    DISCARD, Daemon, Frames, H2, Setup, TRACES, call_headers, framed, gzip, until,
};
use support::payloads;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

const TRACE_SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
const LOGS_SERVICE: &str = "opentelemetry.proto.collector.logs.v1.LogsService";

/// A HealthCheckRequest with its five bytes.
fn question(service: &str) -> Bytes {
    let length = u8::try_from(service.len()).unwrap();
    framed(0, &[&[0x0a, length][..], service.as_bytes()].concat())
}

/// A HealthCheckResponse with this status, and its five bytes.
fn status(number: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, 2, 8, number]
}

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
const SERVICE_UNKNOWN: u8 = 3;

/// A daemon that takes traces only.
fn traces_only() -> Daemon {
    let sections = DISCARD.replace(
        "[pipelines.main]",
        "[pipelines.main]\nsignals = [\"traces\"]",
    );
    Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    })
}

#[tokio::test]
async fn o13_the_server_and_each_service_that_it_has_are_serving() {
    let daemon = traces_only();
    let mut client = H2::connect(daemon.grpc).await;
    for body in [framed(0, b""), question(""), question(TRACE_SERVICE)] {
        let called = client.call(CHECK, &[], body).await;
        assert_eq!((called.code(), &called.data[..]), (0, &status(SERVING)[..]));
    }
    let packed = framed(1, &gzip(&question(TRACE_SERVICE)[5..]));
    let headers = [("grpc-encoding", "gzip")];
    assert_eq!(client.call(CHECK, &headers, packed).await.code(), 0);
    // What has no pipeline is not served, nor is what does not exist.
    for service in [LOGS_SERVICE, "nothing", "opentelemetry"] {
        let called = client.call(CHECK, &[], question(service)).await;
        assert_eq!(called.status.code, GrpcCode::NotFound, "{service}");
        assert!(called.status.message.contains(service));
    }
    let called = client
        .call("/grpc.health.v1.Health/Poke", &[], question(""))
        .await;
    assert_eq!(called.status.code, GrpcCode::Unimplemented);
    // Who asks sends nothing: only the last of these was a request.
    assert_eq!(daemon.metric("otelcol_receiver_requests_total"), 1);
}

#[tokio::test]
async fn questions_that_are_none_are_refused() {
    let daemon = Daemon::start(&Setup::default());
    let mut client = H2::connect(daemon.grpc).await;
    let ask = async |client: &mut H2, body: Bytes| client.call(CHECK, &[], body).await.status.code;
    assert_eq!(
        ask(&mut client, framed(0, b"\x0a\x05abc")).await,
        GrpcCode::InvalidArgument
    );
    assert_eq!(
        ask(&mut client, Bytes::new()).await,
        GrpcCode::InvalidArgument
    );
    let large = framed(0, &vec![0; 1 << 20]);
    assert_eq!(ask(&mut client, large).await, GrpcCode::ResourceExhausted);
    let bomb = framed(1, &gzip(&vec![0; 256 << 10]));
    let called = client.call(CHECK, &[("grpc-encoding", "gzip")], bomb).await;
    assert_eq!(called.status.code, GrpcCode::ResourceExhausted);
}

#[tokio::test]
async fn who_cannot_deliver_is_not_serving_as_readyz_has_it() {
    let sections = DISCARD.replace(
        "type = \"discard\"",
        "type = \"otlp_grpc\"\nendpoint = \"http://127.0.0.1:9\"\nbreaker = { failures = 1 }",
    );
    let daemon = Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    let called = client.call(CHECK, &[], question("")).await;
    assert_eq!(&called.data[..], status(SERVING));
    let mut watch = Frames::connect(daemon.grpc);
    begin_watch(&mut watch, 1, TRACE_SERVICE);
    assert_eq!(
        watch.next_of(Frames::DATA).unwrap().content,
        status(SERVING)
    );
    // What cannot be delivered opens the breaker of the only lane.
    assert_eq!(client.export(TRACES, &payloads::traces(1)).await.code(), 0);
    assert_eq!(
        watch.next_of(Frames::DATA).unwrap().content,
        status(NOT_SERVING)
    );
    let called = client.call(CHECK, &[], question(TRACE_SERVICE)).await;
    assert_eq!(&called.data[..], status(NOT_SERVING));
}

fn begin_watch(frames: &mut Frames, stream: u32, service: &str) {
    let headers = call_headers(WATCH);
    frames.send(Frames::HEADERS, Frames::END_HEADERS, stream, &headers);
    frames.send(Frames::DATA, Frames::END_STREAM, stream, &question(service));
}

#[test]
fn o13_watchers_are_told_at_once_and_again_when_it_changes() {
    let mut daemon = traces_only();
    let mut frames = Frames::connect(daemon.grpc);
    for (stream, service, said) in [
        (1, "", SERVING),
        (3, TRACE_SERVICE, SERVING),
        (5, LOGS_SERVICE, SERVICE_UNKNOWN),
    ] {
        begin_watch(&mut frames, stream, service);
        let told = frames.next_of(Frames::DATA).unwrap();
        assert_eq!((told.stream, told.content), (stream, status(said)));
    }
    daemon.terminate();
    // All who asked for what is served hear that it is no more, and the streams end.
    let (mut told, mut ended) = (Vec::new(), Vec::new());
    while ended.len() < 3 {
        let frame = frames.next().unwrap();
        match frame.kind {
            Frames::DATA => {
                assert_eq!(frame.content, status(NOT_SERVING));
                told.push(frame.stream);
            }
            Frames::HEADERS if frame.flags & Frames::END_STREAM != 0 => ended.push(frame.stream),
            Frames::PING if frame.flags == 0 => frames.send(Frames::PING, 1, 0, &frame.content),
            _ => {}
        }
    }
    told.sort_unstable();
    ended.sort_unstable();
    assert_eq!((told, ended), (vec![1, 3], vec![1, 3, 5]));
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn watchers_are_bounded_and_their_places_come_free() {
    let daemon = Daemon::start(&Setup::default());
    let mut frames = Frames::connect(daemon.grpc);
    for stream in (1..128).step_by(2) {
        begin_watch(&mut frames, stream, "");
        assert_eq!(frames.next_of(Frames::DATA).unwrap().stream, stream);
    }
    let refused = |frames: &mut Frames, stream| {
        begin_watch(frames, stream, "");
        loop {
            let frame = frames.next().unwrap();
            match (frame.stream == stream, frame.kind) {
                (true, Frames::DATA) => return false,
                (true, Frames::HEADERS) if frame.flags & Frames::END_STREAM != 0 => return true,
                _ => {}
            }
        }
    };
    assert!(refused(&mut frames, 129));
    // Who goes makes room.
    frames.send(Frames::RESET, 0, 1, &8_u32.to_be_bytes());
    let mut stream = 131;
    until("a place is free", || {
        stream += 2;
        !refused(&mut frames, stream)
    });
}
