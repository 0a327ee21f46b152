//! Under more load than the destination takes: memory stays bounded, clients are held and then
//! refused in words that every SDK retries on, and what was acknowledged arrives.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    reason = "a test tells what it saw, in one place, and lets real time pass where age is the matter"
)]
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

use std::process::Child;
use std::time::{Duration, SystemTime};

use daemon::{Daemon, assert_balances, free_port};
use process::{Running, finish, load, start_load, until};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// A sink on a port that nobody takes while it refuses connections.
fn sink() -> Running {
    let grpc = format!("127.0.0.1:{}", free_port());
    Running::start(&["sink", "--grpc", &grpc, "--control", "127.0.0.1:0"])
}

fn daemon(sink: &Running, exporter: &str, sections: &str) -> Daemon {
    Daemon::start(&format!(
        "[exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\n{exporter}\n{sections}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        sink.address("grpc")
    ))
}

/// Twenty clients with four requests of 539 kB each in flight, half of them over HTTP.
fn twenty_clients(daemon: &Daemon, sink: &Running, duration: &str) -> [Child; 2] {
    ["grpc", "http"].map(|protocol| {
        let endpoint = daemon.endpoint(protocol);
        let flags = [
            ["--protocol", protocol],
            ["--endpoint", &endpoint],
            ["--check", sink.address("control")],
            ["--connections", "10"],
            ["--in-flight", "4"],
            ["--items", "1000"],
            ["--duration", duration],
            // Longer than they are held, on any machine.
            ["--timeout", "60s"],
            ["--settle", "60s"],
        ];
        start_load(flags.as_flattened())
    })
}

/// Asserts that every answer but a success is UNAVAILABLE or 503 with a delay.
fn assert_refused_well(report: &Value) {
    let answers = report["answers"].as_object().unwrap();
    let mut refusals = 0;
    for (answer, count) in answers {
        match answer.as_str() {
            "grpc-status 0" | "http 200" => {}
            "grpc-status 14" | "http 503" => refusals += count.as_u64().unwrap(),
            other => panic!("{other} is no answer to overload: {report}"),
        }
    }
    assert_ne!(refusals, 0, "nothing was refused: {report}");
    assert_eq!(report["answers_with_delay"], refusals, "{report}");
    assert_eq!(report["unanswered_items"], 0, "{report}");
}

/// The destination refuses connections while twenty clients push for longer than `max_wait`.
fn holds_then_refuses(max_wait: Duration, duration: &str, budget_mib: u64) {
    let sink = sink();
    let max_wait_ms = max_wait.as_millis();
    let mut daemon = daemon(
        &sink,
        "queue = { max_bytes = \"24MiB\" }\nbreaker = { max_open_time = \"1s\" }",
        &format!("[intake]\nmemory_budget = \"{budget_mib}MiB\"\nmax_wait = \"{max_wait_ms}ms\""),
    );
    sink.control("mode=refuse");
    let begun = SystemTime::now();
    let loads = twenty_clients(&daemon, &sink, duration);
    until("clients of both protocols were refused", || {
        assert_balances(&daemon.status()["ledger"]);
        let page = daemon.get("/metrics").body;
        ["grpc", "http"].iter().all(|protocol| {
            page.lines().any(|line| {
                line.starts_with("otlpd_receiver_refused_requests_total")
                    && line.contains(protocol)
                    && !line.ends_with(" 0")
            })
        })
    });
    assert!(begun.elapsed().unwrap() >= max_wait, "they were held first");
    // The loads end when their clients have had their answers, and then wait for the sink.
    let clients = loads.map(|load| std::thread::spawn(|| finish(load)));
    until("the breaker has opened", || {
        daemon.lane("backend")["breaker"] != "closed"
    });
    sink.control("mode=ok");
    let reports = clients.map(|client| client.join().unwrap());
    // What is mapped of the program itself is no telemetry, and three times as large when it was
    // built for tests.
    let peak = daemon.memory("VmHWM") - daemon.memory("RssFile");
    println!("peak of resident memory: {} MiB", peak / MIB);
    assert!(peak <= (budget_mib + 36) * MIB, "{} MiB", peak / MIB);
    for report in &reports {
        assert_refused_well(report);
        assert_eq!(report["check"]["missing"], 0, "{report}");
    }
    let (status, ledger) = daemon.stop();
    assert!(status.success(), "{status}: {ledger}");
    assert_balances(&ledger);
    let account = &ledger["traces"]["exporters"]["backend"];
    let acknowledged: u64 = reports
        .iter()
        .map(|report| report["acknowledged_items"].as_u64().unwrap())
        .sum();
    assert_ne!(acknowledged, 0, "{account}");
    assert_eq!(account["delivered"], acknowledged, "{account}");
    assert_eq!(sink.stats()["unique"], acknowledged);
}

#[test]
fn clients_are_held_for_nine_seconds_and_then_refused() {
    holds_then_refuses(Duration::from_secs(9), "10s", 64);
}

#[test]
fn with_a_short_hold_refusals_are_many_and_as_well_made() {
    holds_then_refuses(Duration::from_millis(200), "3s", 40);
}

#[test]
fn a_held_request_succeeds_as_soon_as_there_is_room() {
    let sink = sink();
    let daemon = daemon(
        &sink,
        "queue = { max_bytes = \"64KiB\" }\nbatch = { max_bytes = \"64KiB\" }\n\
         breaker = { max_open_time = \"1s\" }",
        "[intake]\nmax_wait = \"10m\"",
    );
    sink.control("mode=refuse");
    let endpoint = daemon.endpoint("grpc");
    let flags = [
        ["--endpoint", &endpoint],
        ["--check", sink.address("control")],
        ["--requests", "40"],
        ["--items", "50"],
        ["--timeout", "1000s"],
    ];
    let sending = start_load(flags.as_flattened());
    until("the queue is full, so that the other requests wait", || {
        daemon.account("traces", "backend")["received"] == 100
    });
    sink.control("mode=ok");
    let report = finish(sending);
    assert_eq!(report["answers"], json!({ "grpc-status 0": 40 }));
    assert_eq!(report["check"]["missing"], 0, "{report}");
}

#[test]
fn a_client_of_little_patience_is_answered_within_it() {
    let sink = sink();
    let daemon = daemon(
        &sink,
        "queue = { max_bytes = \"64KiB\" }\nbatch = { max_bytes = \"64KiB\" }\n\
         breaker = { max_open_time = \"1s\" }",
        "[intake]\nmax_wait = \"10m\"",
    );
    sink.control("mode=refuse");
    let endpoint = daemon.endpoint("grpc");
    let flags = [
        ["--endpoint", &endpoint],
        // All at once, and so that a tenth of its patience is more than any machine stands still.
        ["--connections", "4"],
        ["--in-flight", "8"],
        ["--requests", "30"],
        ["--items", "50"],
        ["--timeout", "40s"],
    ];
    let report = load(flags.as_flattened());
    assert_refused_well(&report);
    assert_eq!(report["answers"]["grpc-status 0"], 2, "{report}");
    assert_eq!(report["answers"]["grpc-status 14"], 28, "{report}");
}
