//! More clients than there are places, and more calls than anybody finishes: who is active is
//! served on the connection that it has, and memory stays below the budget and what the process
//! itself needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use support::door::{
    Daemon, Frames, H2, LOGS, PROTOBUF, Raw, Setup, TRACES, call_headers, frame, header, post_head,
    until,
};
use support::payloads;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn with_places(places: &str) -> Daemon {
    Daemon::start(&Setup {
        grpc: places,
        http: places,
        ..Setup::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn clients_that_are_active_keep_their_connections_while_strangers_fill_all_places() {
    let daemon = with_places(", keepalive = { max_connections = 20 }");
    let body = payloads::traces(10);
    let mut grpc = H2::connect(daemon.grpc).await;
    let mut http = Raw::connect(daemon.http);
    let begins: [&[u8]; 4] = [
        b"",
        PREFACE,
        b"POST /v1/traces HTTP/1.1\r\nx: ",
        b"\x16\x03\x01",
    ];
    let mut strangers = Vec::new();
    for number in 0..150 {
        for address in [daemon.grpc, daemon.http] {
            let mut stranger = Raw::connect(address);
            stranger.write(begins[number % begins.len()]);
            strangers.push(stranger);
        }
        assert_eq!(grpc.export(TRACES, &body).await.code(), 0);
        let answer = http.post("/v1/traces", PROTOBUF, &body);
        assert_eq!((answer.code, answer.header("connection")), (200, None));
        if number % 10 == 0 {
            let mut late = Raw::connect(daemon.http);
            assert_eq!(late.post("/v1/traces", PROTOBUF, &body).code, 200);
            let mut late = H2::connect(daemon.grpc).await;
            assert_eq!(late.export(TRACES, &body).await.code(), 0);
        }
    }
    drop(strangers);
}

/// How long a guest that is told to go may speak once more.
const LAST_CHANCE: Duration = Duration::from_secs(2);

#[test]
fn where_all_are_active_the_idlest_is_told_with_an_answer_and_the_others_stay() {
    // On a machine that stands still for longer than that it is not told any more.
    until("the idlest was fast enough", the_idlest_is_told);
}

/// Whether that could be seen.
fn the_idlest_is_told() -> bool {
    let daemon = with_places(", keepalive = { max_connections = 3 }");
    let body = payloads::traces(1);
    let answers = |raw: &mut Raw| {
        let answer = raw.post("/v1/traces", PROTOBUF, &body);
        assert_eq!(answer.code, 200);
        answer.header("connection").map(str::to_owned)
    };
    let mut guests: Vec<Raw> = Vec::new();
    for _ in 0..3 {
        let mut guest = Raw::connect(daemon.http);
        assert_eq!(answers(&mut guest), None);
        // Who was heard when is known to the millisecond.
        let heard = SystemTime::now();
        until("some milliseconds to pass", || {
            heard.elapsed().unwrap().as_millis() > 5
        });
        guests.push(guest);
    }
    let begun = SystemTime::now();
    let mut newcomer = Raw::connect(daemon.http);
    assert_eq!(answers(&mut newcomer), None);
    let mut request = post_head("/v1/traces", PROTOBUF, body.len()).into_bytes();
    request.extend(&body);
    guests[0].stream.write_all(&request).ok();
    if begun.elapsed().unwrap() > LAST_CHANCE / 2 {
        return false;
    }
    let answer = guests[0].answer();
    assert_eq!(
        (answer.code, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(answers(&mut guests[1]), None);
    assert_eq!(answers(&mut guests[2]), None);
    assert!(guests[0].is_closed());
    true
}

const SMALL: &str = r#"
[intake]
memory_budget = "64MiB"
[exporters.out]
type = "discard"
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

fn small() -> Daemon {
    Daemon::start(&Setup {
        sections: SMALL,
        ..Setup::default()
    })
}

/// A call that is begun: its headers, and a part of the message that they announce.
fn begin(stream: u32, headers: &[u8], data: usize) -> Vec<u8> {
    let mut frames = frame(Frames::HEADERS, Frames::END_HEADERS, stream, headers);
    if data > 0 {
        let message = [&[0, 0, 3, 0xff, 0xff], &vec![b'x'; data][..]].concat();
        frames.extend(frame(Frames::DATA, 0, stream, &message));
    }
    frames
}

fn post_headers(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "otlpd"),
        (":path", path),
        ("content-type", "application/x-protobuf"),
    ];
    let headers = headers.iter();
    headers
        .flat_map(|(name, value)| header(name, value))
        .collect()
}

/// A connection whose calls have large headers and some data, or nothing but small headers.
fn mute_calls(path: &str, calls: u32) -> Vec<u8> {
    let small = match path == LOGS {
        true => call_headers(path),
        false => post_headers(path),
    };
    let large: Vec<u8> = (0..80)
        .flat_map(|number| header(&format!("x-{number}"), &"v".repeat(120)))
        .collect();
    let large = [&small[..], &large].concat();
    let calls = (0..calls).flat_map(|number| match number < 10 {
        true => begin(2 * number + 1, &large, 500),
        false => begin(2 * number + 1, &small, 0),
    });
    PREFACE.iter().copied().chain(calls).collect()
}

#[test]
fn what_a_call_costs_that_says_nothing_is_paid_for() {
    let daemon = small();
    let mut frames = Raw::connect(daemon.grpc);
    frames.write(mute_calls(LOGS, 0));
    until("it is greeted", || daemon.used_bytes() > 0);
    let before = daemon.used_bytes();
    let calls = (0..50).flat_map(|number| begin(2 * number + 1, &call_headers(LOGS), 0));
    frames.write(calls.collect::<Vec<u8>>());
    until("they are paid for", || {
        daemon.used_bytes() >= before + 50 * (8 << 10)
    });
    drop(frames);
    until("that is given back", || daemon.used_bytes() == 0);
}

/// What the process takes beside what is paid for.
const BASE: u64 = 36 << 20;

fn mute(address: SocketAddr, calls: &[u8], connections: usize) -> Vec<Raw> {
    let connections = (0..connections).map(|_| {
        let mut raw = Raw::connect(address);
        // It may be closed already, for its place.
        raw.stream.write_all(calls).ok();
        raw
    });
    connections.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn mute_streams_on_many_connections_stay_within_the_budget() {
    let daemon = small();
    let mut client = H2::connect(daemon.grpc).await;
    let body = payloads::traces(10);
    assert_eq!(client.export(TRACES, &body).await.code(), 0);
    let over_grpc = mute_calls(LOGS, 128);
    let over_http = mute_calls("/v1/logs", 128);
    let attacks = std::thread::scope(|scope| {
        let grpc = scope.spawn(|| mute(daemon.grpc, &over_grpc, 250));
        let http = scope.spawn(|| mute(daemon.http, &over_http, 250));
        [grpc.join().unwrap(), http.join().unwrap()]
    });
    // The client's connection has lasted, and what follows the attack comes through.
    assert_eq!(client.export(TRACES, &body).await.code(), 0);
    let mut late = Raw::connect(daemon.http);
    assert_eq!(late.post("/v1/traces", PROTOBUF, &body).code, 200);
    let peak = daemon.memory("VmHWM") - daemon.memory("RssFile");
    assert!(peak <= (64 << 20) + BASE, "{peak} bytes");
    drop((attacks, client, late));
    until("nothing is held any more", || daemon.used_bytes() == 0);
    until("memory goes back", || daemon.memory("RssAnon") < 48 << 20);
}
