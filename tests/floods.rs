//! Clients that mean harm: whatever one connection does, memory stays bounded and the others are
//! served (CVE-2023-44487, CVE-2024-27316, CVE-2019-9512 and its kin).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use support::door::{Daemon, Frames, H2, Raw, Setup, TRACES, call_headers, frame, header, until};
use support::payloads;

/// More than any of these may cost, in bytes.
const MOST: u64 = 24 << 20;

/// Writes until all is written, or the server has ended it or does not read any more.
fn pour(frames: &mut Frames, bytes: &[u8], times: usize) {
    let stream: &mut TcpStream = &mut frames.0.stream;
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    for _ in 0..times {
        if stream.write_all(bytes).is_err() {
            return;
        }
    }
}

/// Whether the server ends the connection, behind whatever it has still said.
fn has_ended(frames: &mut Frames) -> bool {
    let stream: &mut TcpStream = &mut frames.0.stream;
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    match std::io::copy(stream, &mut std::io::sink()) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Runs `flood` on a connection of its own, and sees that memory is bounded meanwhile and that
/// another client is served, then and after.
async fn survives(flood: impl FnOnce(&mut Frames)) {
    let daemon = Daemon::start(&Setup::default());
    let mut client = H2::connect(daemon.grpc).await;
    let body = payloads::traces(10);
    for _ in 0..10 {
        assert_eq!(client.export(TRACES, &body).await.code(), 0);
    }
    let before = daemon.memory("VmHWM");
    let mut frames = Frames::connect(daemon.grpc);
    flood(&mut frames);
    assert_eq!(client.export(TRACES, &body).await.code(), 0);
    let grown = daemon.memory("VmHWM") - before;
    assert!(grown < MOST, "{grown} bytes");
    drop(frames);
    drop(client);
    until("all are gone", || {
        daemon.metric("otlpd_receiver_connections{") == 0
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn t09_rapid_resets() {
    survives(|frames| {
        let headers = call_headers(TRACES);
        let mut burst = Vec::new();
        for stream in (1..200_000).step_by(2) {
            burst.extend(frame(
                Frames::HEADERS,
                Frames::END_HEADERS,
                stream,
                &headers,
            ));
            burst.extend(frame(Frames::RESET, 0, stream, &8_u32.to_be_bytes()));
        }
        pour(frames, &burst, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn t09_settings_and_pings_that_nobody_reads_the_answers_of() {
    survives(|frames| {
        pour(
            frames,
            &frame(Frames::SETTINGS, 0, 0, b"").repeat(1000),
            500,
        );
        assert!(has_ended(frames), "a flood of SETTINGS is listened to");
    })
    .await;
    survives(|frames| {
        pour(
            frames,
            &frame(Frames::PING, 0, 0, b"12345678").repeat(1000),
            500,
        );
        assert!(has_ended(frames), "a flood of PINGs is listened to");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn t09_headers_without_end() {
    survives(|frames| {
        frames.send(Frames::HEADERS, 0, 1, &call_headers(TRACES));
        let more = header("x-more", &"x".repeat(100)).repeat(100);
        pour(frames, &frame(Frames::CONTINUATION, 0, 1, &more), 5000);
    })
    .await;
    // Empty ones cost no room in any list.
    survives(|frames| {
        frames.send(Frames::HEADERS, 0, 1, &call_headers(TRACES));
        pour(
            frames,
            &frame(Frames::CONTINUATION, 0, 1, b"").repeat(1000),
            1000,
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn t09_data_of_no_bytes_and_of_one() {
    survives(|frames| {
        frames.send(
            Frames::HEADERS,
            Frames::END_HEADERS,
            1,
            &call_headers(TRACES),
        );
        pour(frames, &frame(Frames::DATA, 0, 1, b"").repeat(1000), 1000);
    })
    .await;
    survives(|frames| {
        for stream in (1..250).step_by(2) {
            frames.send(
                Frames::HEADERS,
                Frames::END_HEADERS,
                stream,
                &call_headers(TRACES),
            );
            pour(
                frames,
                &frame(Frames::DATA, 0, stream, b"\0").repeat(200),
                1,
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn t09_many_idle_connections_hold_up_nobody() {
    let daemon = Daemon::start(&Setup {
        grpc: ", keepalive = { max_connections = 200 }",
        ..Setup::default()
    });
    let mut client = H2::connect(daemon.grpc).await;
    let body = payloads::traces(10);
    assert_eq!(client.export(TRACES, &body).await.code(), 0);
    let before = daemon.memory("VmHWM");
    let silent: Vec<Raw> = (0..150).map(|_| Raw::connect(daemon.grpc)).collect();
    let greeted: Vec<Frames> = (0..150).map(|_| Frames::connect(daemon.grpc)).collect();
    let mut late = H2::connect(daemon.grpc).await;
    assert_eq!(late.export(TRACES, &body).await.code(), 0);
    let grown = daemon.memory("VmHWM") - before;
    assert!(grown < MOST, "{grown} bytes");
    drop((silent, greeted));
}
