//! Destinations that fail in every way that is worth another try, and come back: everything
//! arrives, and what was not worth it is counted under its reason.

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

use std::time::{Duration, SystemTime};

use daemon::{Daemon, assert_balances, free_port};
use process::{Running, finish, load, start_load, until};
use serde_json::json;

/// A daemon that sends to `address`, one attempt at a time, and asks again soon.
fn daemon(exporter: &str, address: &str, lane: &str) -> Daemon {
    Daemon::start(&format!(
        "[exporters.backend]\ntype = \"{exporter}\"\nendpoint = \"http://{address}\"\n\
         compression = \"none\"\nretry_on_failure.initial_interval = \"20ms\"\n{lane}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n"
    ))
}

/// The breaker opens soon, and looks often.
const BREAKER: &str =
    "breaker = { failures = 2, open_time = \"100ms\", max_open_time = \"200ms\" }";

/// A thousand items, all of which the daemon takes.
fn send(daemon: &Daemon) -> u64 {
    let endpoint = daemon.endpoint("grpc");
    let report = load(&["--requests", "20", "--items", "50", "--endpoint", &endpoint]);
    assert_eq!(report["acknowledged_items"], 1000, "{report}");
    1000
}

/// The destination fails as `mode` says until the breaker has opened, and then is well.
fn comes_back(exporter: &str, protocol: &str, mode: &str) {
    let sink = Running::sink(&[]);
    let mut daemon = daemon(exporter, sink.address(protocol), BREAKER);
    sink.control(mode);
    let sent = send(&daemon);
    until("the breaker has opened", || {
        daemon.lane("backend")["breaker"] != "closed"
    });
    assert_eq!(daemon.get("/readyz").code, 503, "{mode}");
    sink.control("mode=ok");
    until("everything is delivered", || {
        assert_balances(&daemon.status()["ledger"]);
        daemon.account("traces", "backend")["delivered"] == sent
    });
    // It is told of the items first.
    until("the breaker is closed", || {
        daemon.lane("backend")["breaker"] == "closed"
    });
    let lane = daemon.lane("backend");
    assert_eq!(lane["retries"], lane["failures"], "{mode}: {lane}");
    assert!(lane["failures"].as_u64() >= Some(2), "{mode}: {lane}");
    assert_eq!(daemon.get("/readyz").code, 200, "{mode}");
    let (status, ledger) = daemon.stop();
    assert!(status.success(), "{mode}: {ledger}");
    let stats = sink.stats();
    assert_eq!(
        (&stats["unique"], &stats["duplicate"]),
        (&json!(sent), &json!(0)),
        "{mode}"
    );
    let log = daemon.log();
    assert!(
        log.contains("breaker open") && log.contains("breaker closed"),
        "{log}"
    );
}

#[test]
fn from_every_answer_that_is_worth_another_try() {
    for (exporter, protocol, mode) in [
        ("otlp_grpc", "grpc", "mode=fail&code=14"),
        ("otlp_grpc", "grpc", "mode=fail&code=14&retry_after_ms=50"),
        ("otlp_grpc", "grpc", "mode=fail&code=8&retry_after_ms=50"),
        ("otlp_grpc", "grpc", "mode=fail&code=4"),
        (
            "otlp_http",
            "http",
            "mode=fail&code=429&retry_after_ms=1000",
        ),
        ("otlp_http", "http", "mode=fail&code=503"),
        (
            "otlp_http",
            "http",
            "mode=fail&code=503&retry_after_ms=1000",
        ),
        ("otlp_http", "http", "mode=fail&code=504"),
    ] {
        comes_back(exporter, protocol, mode);
    }
}

#[test]
fn what_is_not_worth_another_try_is_dropped_and_counted() {
    for (exporter, protocol, mode) in [
        ("otlp_grpc", "grpc", "mode=fail&code=8"),
        ("otlp_grpc", "grpc", "mode=fail&code=3"),
        ("otlp_grpc", "grpc", "mode=fail&code=16"),
        ("otlp_http", "http", "mode=fail&code=400"),
        ("otlp_http", "http", "mode=fail&code=500"),
    ] {
        let sink = Running::sink(&[]);
        let mut daemon = daemon(exporter, sink.address(protocol), BREAKER);
        sink.control(mode);
        let sent = send(&daemon);
        until("nothing is left", || {
            daemon.account("traces", "backend")["in_process"] == 0
        });
        let account = daemon.account("traces", "backend");
        assert_eq!(account["dropped"], json!({ "permanent": sent }), "{mode}");
        // It answers, so it is there.
        assert_eq!(daemon.lane("backend")["breaker"], "closed", "{mode}");
        assert_eq!(daemon.lane("backend")["retries"], 0, "{mode}");
        sink.control("mode=ok");
        let sent = send(&daemon);
        until("what follows is delivered", || {
            daemon.account("traces", "backend")["delivered"] == sent
        });
        let (status, ledger) = daemon.stop();
        assert_eq!(status.code(), Some(3), "{mode}: {ledger}");
        assert_balances(&ledger);
    }
}

#[test]
fn the_delay_that_a_destination_asks_for_is_kept() {
    for (exporter, protocol, mode) in [
        ("otlp_grpc", "grpc", "mode=fail&code=14&retry_after_ms=1500"),
        (
            "otlp_http",
            "http",
            "mode=fail&code=503&retry_after_ms=2000",
        ),
    ] {
        let sink = Running::sink(&[]);
        let daemon = daemon(
            exporter,
            sink.address(protocol),
            "breaker.failures = 0\nmax_in_flight = 1",
        );
        sink.control(mode);
        let begun = SystemTime::now();
        send(&daemon);
        until("there was a first attempt", || {
            sink.stats()["requests"] != 0
        });
        until("the pause is shown", || {
            daemon.lane("backend")["paused_until_seconds"].is_number()
        });
        until("there was a second attempt", || {
            sink.stats()["requests"].as_u64() >= Some(2)
        });
        // The first began after `begun`: so long, or longer, was waited.
        assert!(
            begun.elapsed().unwrap() >= Duration::from_millis(1500),
            "{mode}"
        );
    }
}

#[test]
fn from_connections_that_break_under_load() {
    for (exporter, protocol) in [("otlp_grpc", "grpc"), ("otlp_http", "http")] {
        let any = format!("127.0.0.1:{}", free_port());
        let flag = format!("--{protocol}");
        let sink = Running::start(&["sink", &flag, &any, "--control", "127.0.0.1:0"]);
        let mut daemon = daemon(exporter, sink.address(protocol), BREAKER);
        let endpoint = daemon.endpoint("grpc");
        let mut sending = start_load(&[
            "--requests",
            "600",
            "--items",
            "100",
            "--endpoint",
            &endpoint,
            "--timeout",
            "60s",
            "--check",
            sink.address("control"),
            "--settle",
            "60s",
        ]);
        let mut seen = 0;
        for _ in 0..5 {
            let arrived = || sink.stats()["unique"].as_u64().unwrap();
            until("more has arrived", || {
                arrived() > seen || sending.try_wait().unwrap().is_some()
            });
            sink.control("mode=refuse");
            seen = arrived();
            until("an attempt has failed since", || {
                daemon.lane("backend")["in_flight"] == 0
                    || daemon.lane("backend")["breaker"] != "closed"
            });
            sink.control("mode=ok");
        }
        let report = finish(sending);
        assert_eq!(
            report["answers"],
            json!({ "grpc-status 0": 600 }),
            "{protocol}"
        );
        assert_eq!(report["check"]["missing"], 0, "{protocol}: {report}");
        let (status, ledger) = daemon.stop();
        assert!(status.success(), "{ledger}");
        assert_balances(&ledger);
        // What broke may have arrived before it broke, and arrives again: at least once.
        let account = &ledger["traces"]["exporters"]["backend"];
        assert_eq!(account["delivered"], 60_000, "{protocol}");
    }
}

#[test]
fn from_a_destination_that_is_started_anew_on_its_port() {
    let any = format!("127.0.0.1:{}", free_port());
    let flags = ["sink", "--grpc", &any, "--control", "127.0.0.1:0"];
    let first = Running::start(&flags);
    let daemon = daemon("otlp_grpc", &any, BREAKER);
    let sent = send(&daemon);
    until("the first has everything", || {
        daemon.account("traces", "backend")["delivered"] == sent
    });
    drop(first);
    send(&daemon);
    until("it is missed", || {
        daemon.lane("backend")["breaker"] != "closed"
    });
    let second = Running::start(&flags);
    until("the second has the rest", || {
        second.stats()["unique"] == sent
    });
    until("and it is known", || {
        daemon.account("traces", "backend")["delivered"] == 2 * sent
    });
}

#[test]
fn rejected_items_are_counted_and_not_sent_again() {
    for (exporter, protocol) in [("otlp_grpc", "grpc"), ("otlp_http", "http")] {
        let sink = Running::sink(&["--partial", "7"]);
        let daemon = daemon(exporter, sink.address(protocol), "batch.max_items = 50");
        let sent = send(&daemon);
        until("nothing is left", || {
            daemon.account("traces", "backend")["in_process"] == 0
        });
        let expected = json!({
            "received": sent, "delivered": sent - 140, "rejected": 140, "dropped": {},
            "in_process": 0
        });
        assert_eq!(daemon.account("traces", "backend"), expected, "{protocol}");
        assert_eq!(sink.stats()["requests"], 20, "{protocol}");
    }
}

#[test]
fn what_was_tried_for_long_enough_is_given_up_and_counted() {
    let sink = Running::sink(&["--fail", "14"]);
    let daemon = daemon(
        "otlp_grpc",
        sink.address("grpc"),
        &format!("{BREAKER}\nretry_on_failure.max_elapsed_time = \"500ms\""),
    );
    let sent = send(&daemon);
    until("nothing is left", || {
        daemon.account("traces", "backend")["in_process"] == 0
    });
    let account = daemon.account("traces", "backend");
    assert_eq!(account["dropped"], json!({ "retries_exhausted": sent }));
}

#[test]
fn an_item_above_the_limit_of_a_request_is_given_up_and_the_others_are_not() {
    let sink = Running::sink(&[]);
    let daemon = daemon(
        "otlp_grpc",
        sink.address("grpc"),
        "batch.max_bytes = \"16KiB\"",
    );
    let endpoint = daemon.endpoint("grpc");
    let flags = ["--requests", "10", "--endpoint", &endpoint];
    let small = load(&[&flags[..], &["--items", "100"]].concat());
    let large = load(&[&flags[..], &["--items", "1", "--item-bytes", "20000"]].concat());
    assert_eq!(small["acknowledged_items"], 1000, "{small}");
    assert_eq!(large["acknowledged_items"], 10, "{large}");
    until("nothing is left", || {
        daemon.account("traces", "backend")["in_process"] == 0
    });
    let account = daemon.account("traces", "backend");
    assert_eq!(account["dropped"], json!({ "too_large": 10 }), "{account}");
    assert_eq!(account["delivered"], 1000, "{account}");
    let stats = sink.stats();
    assert_eq!(stats["unique"], 1000, "{stats}");
    let largest = stats["largest_request_bytes"].as_u64().unwrap();
    // And the five bytes before a message.
    assert!(largest > 10_000 && largest <= (16 << 10) + 5, "{stats}");
}
