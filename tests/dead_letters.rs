//! What a destination refuses for good is kept, and nothing else with it.

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
#[path = "support/letters.rs"]
mod letters;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeSet;

use bytes::Bytes;
use calls::Capture;
use daemon::{Daemon, assert_balances, dropped};
use letters::{MARKER, daemon, holds, replay, request, row, send, squeamish};
use otlpd::otlp::Signal;
use process::until;
use serde_json::json;

/// The requests that were merged into these, one by one.
fn taken_apart(capture: &Capture, of: &[Vec<u8>]) -> Vec<usize> {
    let bodies: Vec<Bytes> = capture.take().into_iter().map(|(_, body)| body).collect();
    let found = |request: &Vec<u8>| {
        let times = bodies.iter().flat_map(|body| body.windows(request.len()));
        times.filter(|window| *window == request.as_slice()).count()
    };
    of.iter().map(found).collect()
}

/// What `/status` and `/metrics` say of one search for one request among a thousand.
fn one_search_and_one_letter(daemon: &Daemon) {
    let lane = daemon.lane("backend");
    let attempts = lane["attempts"].as_u64().unwrap();
    assert!(attempts <= 1 + 2 * 10, "{lane}");
    let bisections = lane["bisections"].as_u64().unwrap();
    assert!((5..=10).contains(&bisections), "{lane}");
    let letters = daemon.status()["dead_letters"].clone();
    let one = json!(1);
    assert_eq!((&letters["letters"], &letters["items"]), (&one, &one));
    let metrics = daemon.get("/metrics").body;
    for line in [
        "otlpd_dead_letters 1",
        "otlpd_dead_letters_written_items_total{exporter=\"backend\",reason=\"permanent\"} 1",
        &format!("otlpd_exporter_bisections_total{{exporter=\"backend\"}} {bisections}"),
    ] {
        let is_there = metrics.lines().any(|found| found == line);
        assert!(is_there, "{line}\n{metrics}");
    }
}

/// One of a thousand requests is poisonous: it alone is in the dead letters, and replayed to a
/// destination that can stand it, it arrives as it was sent.
async fn one_among_a_thousand(exporter: &str, protocol: &str) {
    let folder = tempfile::tempdir().unwrap();
    let backend = squeamish().await;
    // They leave when a thousand are there.
    let lane = "batch = { max_items = 1000, linger = \"10m\" }";
    let mut daemon = daemon(folder.path(), exporter, backend.address, lane);
    let requests: Vec<_> = (0..1000)
        .map(|number| match number {
            617 => request(&format!("{MARKER} {number:04}")),
            _ => request(&format!("number {number:04}")),
        })
        .collect();
    send(&daemon, &requests).await;
    until("the dead letter is written", || {
        let status = daemon.status();
        assert_balances(&status["ledger"]);
        let account = &status["ledger"]["logs"]["exporters"]["backend"];
        account["dead_lettered"] == 1 && account["in_process"] == 0
    });
    let account = daemon.account("logs", "backend");
    assert_eq!(account["delivered"], 999, "{account}");
    assert_eq!(account["dropped"], json!({ "permanent": 1 }), "{account}");
    one_search_and_one_letter(&daemon);
    let mut times = taken_apart(&backend, &requests);
    assert_eq!(times.remove(617), 0);
    assert_eq!(times, [1; 999]);

    let (status, ledger) = daemon.stop();
    assert!(status.success(), "what is kept is not lost: {ledger}");
    assert!(
        daemon.log().contains("1 items are in the dead letters"),
        "{}",
        daemon.log()
    );

    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    let output = replay(
        folder.path(),
        &["--to", &to, "--protocol", protocol, "--compression", "none"],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(row(&output, "delivered"), (1, 1));
    let expected = (Signal::Logs, Bytes::from(requests[617].clone()));
    assert_eq!(healthy.take(), [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poisonous_request_among_a_thousand_over_grpc() {
    one_among_a_thousand("otlp_grpc", "grpc").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poisonous_request_among_a_thousand_over_http() {
    one_among_a_thousand("otlp_http", "http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_was_tried_for_too_long_is_kept_as_well() {
    let folder = tempfile::tempdir().unwrap();
    // Not refused for good, but never taken.
    let backend = Capture::judging(|_| 14).await;
    let lane = "batch.max_bytes = \"200B\"\nbreaker.failures = 0\n\
                retry_on_failure = { initial_interval = \"1ms\", max_elapsed_time = \"50ms\" }";
    let mut daemon = daemon(folder.path(), "otlp_grpc", backend.address, lane);
    let large = request(&"x".repeat(300));
    let small = request("small");
    send(&daemon, &[large.clone(), small.clone()]).await;
    until("both are dead letters", || {
        daemon.account("logs", "backend")["dead_lettered"] == 2
    });
    let account = daemon.account("logs", "backend");
    assert_eq!(
        account["dropped"],
        json!({ "too_large": 1, "retries_exhausted": 1 })
    );
    assert!(daemon.stop().0.success());

    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    let only = |reason| {
        let output = replay(
            folder.path(),
            &["--to", &to, "--compression", "none", "--reason", reason],
        );
        assert!(output.status.success(), "{output:?}");
        let bodies = healthy.take().into_iter().map(|(_, body)| body.to_vec());
        bodies.collect::<Vec<_>>()
    };
    assert_eq!(only("too_large"), [large]);
    assert_eq!(only("retries_exhausted"), [small]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_are_displaced_and_counted_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let backend = squeamish().await;
    let lane = "batch.max_items = 1\n[storage]\ndead_letters_max_bytes = \"64KiB\"";
    let mut daemon = daemon(folder.path(), "otlp_grpc", backend.address, lane);
    let requests: Vec<_> = (0..100)
        .map(|number| request(&format!("{MARKER} {number:03} {}", "x".repeat(2000))))
        .collect();
    for (sent, one) in requests.iter().enumerate() {
        send(&daemon, std::slice::from_ref(one)).await;
        until("it is a dead letter", || {
            daemon.account("logs", "backend")["dead_lettered"] == sent + 1
        });
    }
    let letters = daemon.status()["dead_letters"].clone();
    let displaced = letters["lost_items"]["dead_letters_full"].as_u64().unwrap();
    assert_eq!(
        letters["letters"].as_u64().unwrap() + displaced,
        100,
        "{letters}"
    );
    assert!(
        letters["disk_bytes"].as_u64().unwrap() <= 64 << 10,
        "{letters}"
    );
    let (status, ledger) = daemon.stop();
    assert_eq!(status.code(), Some(3), "{ledger}");
    assert_eq!(ledger["logs"]["displaced"], displaced);
    assert_eq!(dropped(&ledger["logs"]["exporters"]["backend"]), 100);
    let log = daemon.log();
    assert!(log.contains("the dead letters are full"), "{log}");
    let left = 100 - displaced;
    let conclusion = format!("{displaced} items were lost, {left} items are in the dead letters");
    assert!(log.contains(&conclusion), "{log}");

    // Those that are left are the newest.
    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    let output = replay(folder.path(), &["--to", &to, "--compression", "none"]);
    assert!(output.status.success(), "{output:?}");
    let left: BTreeSet<_> = healthy
        .take()
        .into_iter()
        .map(|(_, body)| body.to_vec())
        .collect();
    let newest: BTreeSet<_> = requests[usize::try_from(displaced).unwrap()..]
        .iter()
        .cloned()
        .collect();
    assert!(
        left == newest,
        "{} are left of {}",
        left.len(),
        newest.len()
    );
    assert!(left.iter().all(|body| holds(body, MARKER)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_them_what_is_refused_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let backend = squeamish().await;
    let lane = "[storage]\ndead_letters_max_bytes = \"0B\"";
    let mut daemon = daemon(folder.path(), "otlp_grpc", backend.address, lane);
    send(&daemon, &[request(MARKER)]).await;
    until("it is refused", || {
        dropped(&daemon.account("logs", "backend")) == 1
    });
    assert_eq!(daemon.status().get("dead_letters"), None);
    let (status, ledger) = daemon.stop();
    assert_eq!(status.code(), Some(3), "{ledger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_a_queue_on_disk_waits_there_until_its_letter_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let backend = squeamish().await;
    let lane = "queue.kind = \"disk\"";
    let mut daemon = daemon(folder.path(), "otlp_grpc", backend.address, lane);
    // No file can be made in what is no folder.
    let letters = folder.path().join("dead-letters");
    std::fs::remove_dir_all(&letters).unwrap();
    std::fs::write(&letters, "").unwrap();
    send(&daemon, &[request(MARKER)]).await;
    until("the trouble is told", || {
        let readiness = daemon.status()["readiness"].to_string();
        readiness.contains("dead_letters_failing") && readiness.contains("dead_letters_max_bytes")
    });
    send(&daemon, &[request("good")]).await;
    until("the others are delivered meanwhile", || {
        daemon.account("logs", "backend")["delivered"] == 1
    });
    let account = daemon.account("logs", "backend");
    assert_eq!((&account["in_process"], dropped(&account)), (&json!(1), 0));
    assert_eq!(daemon.status()["dead_letters"]["lost_items"], json!({}));

    std::fs::remove_file(&letters).unwrap();
    until("the letter is written", || {
        let account = daemon.account("logs", "backend");
        account["dead_lettered"] == 1 && account["in_process"] == 0
    });
    let readiness = daemon.status()["readiness"].to_string();
    assert!(!readiness.contains("dead_letters_failing"), "{readiness}");
    let (status, ledger) = daemon.stop();
    assert!(status.success(), "{ledger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_letter_at_the_end_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let backend = squeamish().await;
    let lane = "queue.kind = \"disk\"";
    let mut first = daemon(folder.path(), "otlp_grpc", backend.address, lane);
    let letters = folder.path().join("dead-letters");
    std::fs::remove_dir_all(&letters).unwrap();
    std::fs::write(&letters, "").unwrap();
    send(&first, &[request(MARKER)]).await;
    until("the trouble is told", || {
        let readiness = first.status()["readiness"].to_string();
        readiness.contains("dead_letters_failing")
    });
    let (status, ledger) = first.stop();
    assert!(status.success(), "{ledger}");
    assert_eq!(ledger["logs"]["exporters"]["backend"]["kept"], 1);

    std::fs::remove_file(&letters).unwrap();
    let mut second = daemon(folder.path(), "otlp_grpc", backend.address, lane);
    until("the letter is written", || {
        second.account("logs", "backend")["dead_lettered"] == 1
    });
    assert!(second.stop().0.success());
}
