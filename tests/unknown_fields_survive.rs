//! Requests full of fields that nobody knows, at every level, come out byte for byte.
//!
//! `OTLPD_TEST_REQUESTS` says how many are sent each way, where 300 are not enough.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/calls.rs"]
mod calls;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;
#[path = "support/requests.rs"]
mod requests;

use bytes::Bytes;
use calls::{Capture, Client};
use daemon::Daemon;
use otlpd::otlp::{Signal, schema};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use requests::Spice;

const ODD: Spice = Spice {
    odd: true,
    bad_values: false,
};

/// So many requests, each of its own shape and none empty; the same in each run.
fn requests(seed: u64) -> Vec<(Signal, Bytes)> {
    let count = std::env::var("OTLPD_TEST_REQUESTS");
    let count = count.map_or(300, |count| count.parse().unwrap());
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut made: Vec<(Signal, Bytes)> = Vec::new();
    while made.len() < count {
        let signal = Signal::ALL[dice.random_range(0..Signal::ALL.len())];
        let mut choices = vec![0; dice.random_range(1..6000)];
        dice.fill(&mut choices[..]);
        let request = requests::request(schema::request(signal), &choices, ODD);
        if !request.is_empty() {
            made.push((signal, request.into()));
        }
    }
    let unknown = made
        .iter()
        .filter(|(_, body)| body.windows(3).any(|bytes| bytes == [0xff, 0, 0xfe]));
    assert!(unknown.count() > count / 4, "they hold unknown fields");
    made
}

fn daemon(exporter: &str, capture: &Capture, acknowledge: &str, linger: &str) -> Daemon {
    Daemon::start(&format!(
        "[intake]\nacknowledge = \"{acknowledge}\"\n\
         [exporters.backend]\ntype = \"{exporter}\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\nmax_in_flight = 1\nbatch = {{ linger = \"{linger}\" }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        capture.address
    ))
}

/// Each request is at the destination before the next is sent, so each comes out alone.
async fn one_by_one(exporter: &str, grpc: bool) {
    let capture = Capture::start().await;
    let daemon = daemon(exporter, &capture, "delivered", "0s");
    let mut client = if grpc {
        Client::grpc(daemon.address("grpc")).await
    } else {
        Client::http(daemon.address("http")).await
    };
    for (number, (signal, request)) in requests(u64::from(grpc)).into_iter().enumerate() {
        let heard = client.send(signal, &request).await;
        assert_eq!(heard.code, if grpc { 0 } else { 200 }, "{heard:?}");
        let arrived = capture.take();
        assert_eq!(arrived.len(), 1, "request {number}");
        assert!(arrived[0] == (signal, request), "request {number}");
    }
}

#[tokio::test]
async fn over_grpc() {
    one_by_one("otlp_grpc", true).await;
}

#[tokio::test]
async fn over_http() {
    one_by_one("otlp_http", false).await;
}

/// Requests that wait together are merged, and leave at the end at the latest: then what comes out is what came in, end to end.
#[tokio::test]
async fn merged_with_others() {
    let capture = Capture::start().await;
    let mut daemon = daemon("otlp_grpc", &capture, "queued", "1h");
    let mut client = Client::grpc(daemon.address("grpc")).await;
    let requests = requests(7);
    for (signal, request) in &requests {
        assert_eq!(client.send(*signal, request).await.code, 0);
    }
    drop(client);
    let (status, ledger) = tokio::task::spawn_blocking(move || daemon.stop())
        .await
        .unwrap();
    assert!(status.success(), "{ledger}");
    let arrived = capture.take();
    assert!(arrived.len() < requests.len(), "some were merged");
    let of = |calls: &[(Signal, Bytes)], wanted| {
        let bodies = calls.iter().filter(|(signal, _)| *signal == wanted);
        bodies.map(|(_, body)| body.clone()).collect::<Vec<_>>()
    };
    for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
        let (sent, got) = (of(&requests, signal), of(&arrived, signal));
        assert!(sent.concat() == got.concat(), "{}", signal.name());
    }
    // Profiles are never merged.
    let profiles = Signal::Profiles;
    assert!(of(&requests, profiles) == of(&arrived, profiles));
}
