//! How long connections live: idle ones are asked to go, dead ones are found out, and those that
//! only show that they are alive are left alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use std::io::{self, Read, Write};
use std::net::TcpStream;

use daemon::Daemon;
use process::until;

/// A daemon whose listeners have these keys of `keepalive`.
fn start(keepalive: &str) -> Daemon {
    Daemon::start_whole(|[grpc, http, admin]| {
        let listener =
            |port| format!("endpoint = \"127.0.0.1:{port}\"\nkeepalive = {{ {keepalive} }}\n");
        format!(
            "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n[receivers.apps]\ntype = \"otlp\"\n\
             [receivers.apps.grpc]\n{}[receivers.apps.http]\n{}\
             [exporters.out]\ntype = \"discard\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n",
            listener(grpc),
            listener(http)
        )
    })
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// HTTP/2 by hand.
struct Client(TcpStream);

impl Client {
    fn connect(daemon: &Daemon) -> Self {
        let mut stream = TcpStream::connect(daemon.address("grpc")).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut client = Self(stream);
        client.send(SETTINGS, 0, &[]);
        client
    }

    fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        self.0.write_all(&[&head, payload].concat()).unwrap();
    }

    /// The next frame: its kind, flags and payload; nothing at the end of the connection.
    fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        match self.0.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            read => read.unwrap(),
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).unwrap();
        Some((head[3], head[4], payload))
    }

    /// Whatever comes until the end of the connection; settings and windows aside.
    fn rest(&mut self) -> Vec<u8> {
        let frames = std::iter::from_fn(|| self.next());
        frames
            .map(|(kind, ..)| kind)
            .filter(|kind| ![SETTINGS, WINDOW_UPDATE].contains(kind))
            .collect()
    }
}

#[test]
fn an_idle_connection_is_asked_to_go() {
    let daemon = start("max_connection_idle = \"200ms\"");
    let kinds = Client::connect(&daemon).rest();
    assert_eq!(kinds.first(), Some(&GOAWAY), "{kinds:?}");
    // One of HTTP/1.1 ends after its answer; if it was asked in time, which on a slow machine may
    // not be so at once.
    until("one is fast enough", || {
        let mut stream = TcpStream::connect(daemon.address("http")).unwrap();
        let head = "content-type: application/x-protobuf\r\ncontent-length: 0\r\nhost: x\r\n";
        write!(stream, "POST /v1/traces HTTP/1.1\r\n{head}\r\n").ok();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 200"),
            "{answer}"
        );
        !answer.is_empty()
    });
}

#[test]
fn a_client_that_does_not_answer_pings_is_given_up() {
    let daemon = start("time = \"100ms\", timeout = \"100ms\"");
    let kinds = Client::connect(&daemon).rest();
    assert_eq!(kinds.first(), Some(&PING), "{kinds:?}");
}

#[test]
fn a_client_that_answers_pings_is_not() {
    let daemon = start("time = \"50ms\", timeout = \"30s\"");
    let mut client = Client::connect(&daemon);
    let mut answered = 0;
    while answered < 10 {
        let (kind, flags, payload) = client.next().unwrap();
        assert_ne!(kind, GOAWAY);
        if kind == PING && flags == 0 {
            client.send(PING, 1, &payload);
            answered += 1;
        }
    }
}

/// Java and Go agents do so every ten seconds, with no request under way; some servers close their
/// connections for it (ENHANCE_YOUR_CALM). These come faster than any of them.
#[test]
fn pings_of_a_client_without_requests_are_answered_each() {
    let daemon = start("");
    let mut client = Client::connect(&daemon);
    for number in 0..200_u64 {
        client.send(PING, 0, &number.to_be_bytes());
        loop {
            let (kind, flags, payload) = client.next().unwrap();
            assert_ne!(kind, GOAWAY, "{payload:?}");
            if kind == PING {
                assert_eq!((flags, payload), (1, number.to_be_bytes().to_vec()));
                break;
            }
        }
    }
}
