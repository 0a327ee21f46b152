//! While somebody means harm, on as many connections as they like, everybody else is served, and
//! memory stays below the budget and what the process itself needs (lines T9, T10, H48, P22 to
//! P24 of the conformance list). `tests/floods.rs` has what one connection alone can do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::door::{
    Daemon, Frames, H2, LOGS, PROTOBUF, Raw, Setup, TRACES, bomb, call_headers, frame, framed,
    gzip, header, post_head, until, whole,
};
use support::payloads;

/// What telemetry may take.
const BUDGET: u64 = 96 << 20;

/// What the process takes beside it: its code, its threads, and what connections cost that are
/// no telemetry.
const BASE: u64 = 64 << 20;

/// How long a request is held says nothing about who is let in, and a machine may be slow.
const SECTIONS: &str = r#"
[intake]
memory_budget = "96MiB"
max_wait = "10m"
[exporters.out]
type = "discard"
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

/// A daemon that is attacked, and who sends to it what is valid.
struct Scene {
    daemon: Daemon,
    /// Requests that were answered over gRPC and over HTTP.
    answered: [Arc<AtomicU64>; 2],
    stop: Arc<AtomicBool>,
}

impl Scene {
    /// Waits until some more valid requests are answered.
    fn until_served(&self) {
        let now = || self.answered.each_ref().map(|n| n.load(Ordering::Relaxed));
        let begun = now();
        until("others are served", || {
            now().iter().zip(begun).all(|(now, begun)| *now > begun + 2)
        });
    }
}

/// Runs an attack, and sees that valid requests are answered meanwhile, over connections that are
/// old and over such that are new, and what memory it took.
fn withstands(attack: impl FnOnce(&Scene)) {
    let setup = Setup {
        sections: SECTIONS,
        ..Setup::default()
    };
    withstands_with(&setup, attack);
}

fn withstands_with(setup: &Setup<'_>, attack: impl FnOnce(&Scene)) {
    let scene = Scene {
        daemon: Daemon::start(setup),
        answered: Default::default(),
        stop: Arc::default(),
    };
    let (daemon, stop, [grpc, http]) = (&scene.daemon, &scene.stop, &scene.answered);
    let valid = [
        std::thread::spawn(over_grpc(daemon.grpc, Arc::clone(stop), Arc::clone(grpc))),
        std::thread::spawn(over_http(daemon.http, Arc::clone(stop), Arc::clone(http))),
    ];
    attack(&scene);
    scene.until_served();
    stop.store(true, Ordering::Relaxed);
    for valid in valid {
        valid.join().unwrap();
    }
    let peak = daemon.memory("VmHWM");
    assert!(peak < BUDGET + BASE, "{peak} bytes");
    until("all are gone", || {
        daemon.metric("otlpd_receiver_connections{") == 0
    });
    until("nothing is held any more", || daemon.used_bytes() == 0);
}

/// How often a request is sent anew because its connection ended: while places are wanted, idle
/// connections are told to go, and a request may cross that.
const TRIES: usize = 20;

fn over_grpc(
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> impl FnOnce() {
    move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let body = framed(0, &payloads::traces(10));
            let mut old = H2::connect(address).await;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(export(&mut old, address, &body).await, 0);
                let mut new = H2::connect(address).await;
                assert_eq!(export(&mut new, address, &body).await, 0);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

/// The code of a call that is answered.
async fn export(client: &mut H2, address: SocketAddr, body: &Bytes) -> u8 {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    for _ in 0..TRIES {
        let called = client.send("POST", TRACES, &headers, whole(body.clone()));
        if let Ok(called) = called.await {
            assert_eq!(called.code(), 0, "{called:?}");
            return called.code();
        }
        *client = H2::connect(address).await;
    }
    panic!("no connection lasts");
}

fn over_http(
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> impl FnOnce() {
    move || {
        let body = payloads::traces(10);
        let mut old = Raw::connect(address);
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(post(&mut old, address, &body), 200);
            assert_eq!(post(&mut Raw::connect(address), address, &body), 200);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The code of the answer to a request that is answered.
fn post(raw: &mut Raw, address: SocketAddr, body: &[u8]) -> u16 {
    let mut request = post_head("/v1/traces", PROTOBUF, body.len()).into_bytes();
    request.extend(body);
    for _ in 0..TRIES {
        if raw.stream.write_all(&request).is_ok()
            && let Some(answer) = raw.try_answer()
        {
            assert_eq!(answer.code, 200, "{answer:?}");
            return answer.code;
        }
        *raw = Raw::connect(address);
    }
    panic!("no connection lasts");
}

/// Writes until all is written, or the server has ended it or does not read any more.
fn pour(raw: &mut Raw, bytes: &[u8], times: usize) {
    let timeout = Some(Duration::from_millis(500));
    raw.stream.set_write_timeout(timeout).unwrap();
    for _ in 0..times {
        if raw.stream.write_all(bytes).is_err() {
            return;
        }
    }
}

/// The same flood of frames on many connections to both listeners at once.
fn flood(daemon: &Daemon, start: &[u8], more: &[u8], times: usize) {
    std::thread::scope(|scope| {
        for number in 0..8 {
            let address = [daemon.grpc, daemon.http][number % 2];
            scope.spawn(move || {
                let mut frames = Frames::connect(address);
                pour(&mut frames.0, start, 1);
                pour(&mut frames.0, more, times);
            });
        }
    });
}

fn begin_call(stream: u32) -> Vec<u8> {
    let headers = call_headers(TRACES);
    frame(Frames::HEADERS, Frames::END_HEADERS, stream, &headers)
}

#[test]
fn t09_rapid_resets_on_many_connections() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        let resets: Vec<u8> = (1..40_000)
            .step_by(2)
            .flat_map(|stream| {
                let reset = frame(Frames::RESET, 0, stream, &8_u32.to_be_bytes());
                [begin_call(stream), reset].concat()
            })
            .collect();
        flood(daemon, b"", &resets, 1);
    });
}

#[test]
fn t09_headers_without_end_on_many_connections() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        let start = frame(Frames::HEADERS, 0, 1, &call_headers(TRACES));
        let more = header("x-more", &"x".repeat(100)).repeat(100);
        flood(
            daemon,
            &start,
            &frame(Frames::CONTINUATION, 0, 1, &more),
            500,
        );
        let empty = frame(Frames::CONTINUATION, 0, 1, b"").repeat(1000);
        flood(daemon, &start, &empty, 200);
    });
}

#[test]
fn t09_settings_and_pings_on_many_connections() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        let settings = frame(Frames::SETTINGS, 0, 0, b"").repeat(1000);
        flood(daemon, b"", &settings, 100);
        let pings = frame(Frames::PING, 0, 0, b"12345678").repeat(1000);
        flood(daemon, b"", &pings, 100);
    });
}

#[test]
fn t09_thousands_of_connections_that_say_nothing() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        let mut idle = Vec::new();
        for number in 0..2000 {
            let address = [daemon.grpc, daemon.http][number % 2];
            let mut raw = Raw::connect(address);
            match number % 4 {
                0 => raw.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
                1 => raw.write(b"POST /v1/traces HTTP/1.1\r\nhost: "),
                _ => {}
            }
            idle.push(raw);
        }
        scene.until_served();
        drop(idle);
    });
}

/// Keeps connections, on each of which it begins with these bytes and then writes one byte each
/// second, anew as soon as one is closed.
fn drip(address: SocketAddr, connections: usize, stop: &AtomicBool, begin: &[u8]) {
    let mut open: Vec<Option<Raw>> = (0..connections).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for raw in &mut open {
            let alive = raw
                .as_mut()
                .is_some_and(|raw| raw.stream.write_all(b"x").is_ok());
            if !alive {
                let mut new = Raw::connect(address);
                if new.stream.write_all(begin).is_ok() {
                    *raw = Some(new);
                }
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Ends what waits for it, however the test ends.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// So many calls on one connection, none of which sends anything.
fn mute_calls(calls: u32) -> Vec<u8> {
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let calls = (0..calls).flat_map(|number| begin_call(2 * number + 1));
    hello.into_iter().chain(calls).collect()
}

#[test]
fn h48_slow_clients_hold_neither_all_places_nor_all_of_the_budget() {
    let setup = Setup {
        grpc: ", keepalive = { max_connections = 50 }",
        http: ", keepalive = { max_connections = 50 }",
        sections: SECTIONS,
        ..Setup::default()
    };
    withstands_with(&setup, |scene| {
        let daemon = &scene.daemon;
        let stop = Arc::<AtomicBool>::default();
        let large = post_head("/v1/traces", PROTOBUF, 20 << 20);
        let chunked = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\n{PROTOBUF}transfer-encoding: chunked\r\n\r\n\
             fffffff\r\n"
        );
        let (http, grpc) = (daemon.http, daemon.grpc);
        std::thread::scope(|scope| {
            // More than there are places, and more than there are bytes.
            scope.spawn(|| drip(http, 40, &stop, large.as_bytes()));
            scope.spawn(|| drip(http, 40, &stop, chunked.as_bytes()));
            scope.spawn(|| drip(http, 40, &stop, b"POST /v1/traces HTTP/1.1\r\nx-slow: "));
            scope.spawn(|| drip(grpc, 60, &stop, &mute_calls(100)));
            let _ends = Ends(Arc::clone(&stop));
            for _ in 0..2 {
                scene.until_served();
            }
        });
    });
}

/// Sends the same to the HTTP listener on so many connections at once, a few times each; every
/// answer has one of these codes.
fn post_all(daemon: &Daemon, headers: &str, body: &[u8], codes: &[u16]) {
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..2 {
                    let mut raw = Raw::connect(daemon.http);
                    let answer = raw.post("/v1/traces", headers, body);
                    assert!(codes.contains(&answer.code), "{answer:?}");
                    raw.stream.shutdown(Shutdown::Both).ok();
                }
            });
        }
    });
}

const GZIP: &str = "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n";

#[test]
fn t10_bombs_in_parallel_share_one_budget() {
    let setup = Setup {
        http: ", max_request_body_size = \"8MiB\"",
        sections: SECTIONS,
        ..Setup::default()
    };
    withstands_with(&setup, |scene| {
        // One says what it is, one less than that, one nothing. Together they would be 384 MiB.
        for says in [16 << 20, 7 << 20, 0] {
            post_all(&scene.daemon, GZIP, &bomb(16, says), &[413, 503]);
        }
    });
}

#[test]
fn p23_a_body_of_nothing_but_empty_messages_costs_its_bytes() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        // Empty resources, and empty spans in one scope: 2 bytes each, 64 MiB of them where there
        // is time for it.
        let count = match std::env::var_os("OTLPD_LONG") {
            Some(_) => (32 << 20) - 16,
            None => 1 << 20,
        };
        let resources = [0x0a, 0].repeat(count);
        let in_scope = field(0x0a, &field(0x12, &[0x12, 0].repeat(count)));
        for body in [resources, in_scope] {
            let mut raw = Raw::connect(daemon.http);
            assert_eq!(raw.post("/v1/traces", PROTOBUF, &body).code, 200);
            assert_eq!(raw.post("/v1/traces", GZIP, &gzip(&body)).code, 200);
        }
    });
}

fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    [&out[..], content].concat()
}

#[test]
fn p22_lengths_that_lie_cost_nothing() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        for field in [0x0a, 0x7a] {
            // 2 GiB - 1 announced, two bytes there.
            let body = [field, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2];
            post_all(daemon, PROTOBUF, &body, &[400]);
        }
        let mut frames = Frames::connect(daemon.grpc);
        for stream in (1..200).step_by(2) {
            frames.send(
                Frames::HEADERS,
                Frames::END_HEADERS,
                stream,
                &call_headers(TRACES),
            );
            frames.send(Frames::DATA, 0, stream, &[0, 0x7f, 0xff, 0xff, 0xff, 1, 2]);
            let answer = frames.next_of(Frames::HEADERS).unwrap();
            assert_eq!(answer.stream, stream);
        }
    });
}

#[test]
fn p24_nesting_without_end_is_refused_at_its_bound() {
    withstands(|scene| {
        let daemon = &scene.daemon;
        let deep = (0..10_000).fold(Vec::new(), |inner, level| {
            field(if level % 2 == 0 { 0x0a } else { 0x2a }, &inner)
        });
        let attribute = field(0x0a, &field(0x12, &deep));
        let body = field(0x0a, &field(0x0a, &attribute));
        post_all(daemon, PROTOBUF, &body, &[400]);
        let groups = [0xfb, 0x3e].repeat(1 << 20);
        post_all(daemon, PROTOBUF, &groups, &[400]);
        let start = "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"value\":";
        let json = format!("{start}{}", "{\"arrayValue\":{\"values\":[".repeat(100_000));
        post_all(
            daemon,
            "content-type: application/json\r\n",
            json.as_bytes(),
            &[400],
        );
        let unknown = format!("{{\"x\":{}", "[".repeat(1 << 20));
        post_all(
            daemon,
            "content-type: application/json\r\n",
            unknown.as_bytes(),
            &[400],
        );
        let mut frames = Frames::connect(daemon.grpc);
        let message = framed(0, &body[..]);
        frames.send(
            Frames::HEADERS,
            Frames::END_HEADERS,
            1,
            &call_headers(TRACES),
        );
        for part in message.chunks(16_000) {
            frames.send(Frames::DATA, 0, 1, part);
        }
        frames.send(Frames::DATA, Frames::END_STREAM, 1, b"");
        assert!(frames.next_of(Frames::HEADERS).is_some());
    });
}

/// A valid request of so many bytes or a little more: logs with bodies of a MiB.
fn large(bytes: usize, format: &str) -> Vec<u8> {
    let text = "x".repeat(1 << 20);
    let count = bytes.div_ceil(text.len());
    if format == PROTOBUF {
        let record = field(0x12, &field(0x2a, &field(0x0a, text.as_bytes())));
        return field(0x0a, &field(0x12, &record.repeat(count)));
    }
    let record = format!("{{\"body\":{{\"stringValue\":\"{text}\"}}}}");
    let records = vec![record; count].join(",");
    format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{records}]}}]}}]}}")
        .into_bytes()
}

const JSON: &str = "content-type: application/json\r\n";

/// Half of it at most is free while this lasts: a body of which all but the last byte has come.
fn all_but_the_end(address: SocketAddr, bytes: usize) -> Raw {
    let body = large(bytes, PROTOBUF);
    let mut raw = Raw::connect(address);
    raw.write(post_head("/v1/logs", PROTOBUF, body.len()));
    raw.write(&body[..body.len() - 1]);
    raw
}

#[test]
fn large_bodies_that_do_not_fit_together_are_all_served_and_small_ones_meanwhile() {
    let sections = SECTIONS.replace("96MiB", "64MiB");
    let setup = Setup {
        sections: &sections,
        ..Setup::default()
    };
    withstands_with(&setup, |scene| {
        let (grpc, http) = (scene.daemon.grpc, scene.daemon.http);
        let mut first = all_but_the_end(http, 40 << 20);
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|number| scope.spawn(move || send_large([http, grpc], number)))
                .collect();
            // They wait for the first one, or for each other.
            for _ in 0..3 {
                scene.until_served();
            }
            first.stream.write_all(b"x").ok();
            for sent in all {
                assert_eq!(sent.join().unwrap(), 200);
            }
        });
    });
}

/// The code of the answer to a request of 21 MiB, in one of the ways to send it.
fn send_large([http, grpc]: [SocketAddr; 2], number: usize) -> u16 {
    let bytes = 21 << 20;
    if number % 4 == 3 {
        return call_large(grpc, &large(bytes, PROTOBUF));
    }
    let format = [PROTOBUF, JSON][number % 2];
    Raw::connect(http)
        .post("/v1/logs", format, &large(bytes, format))
        .code
}

/// The same over gRPC, with 200 for success.
fn call_large(address: SocketAddr, message: &[u8]) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let mut client = H2::connect(address).await;
        let body = whole(framed(0, message));
        let called = client.send("POST", LOGS, &headers, body).await.unwrap();
        assert_eq!(called.code(), 0, "{called:?}");
        200
    })
}
