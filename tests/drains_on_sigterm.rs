//! What SIGTERM promises: readiness first, nothing acknowledged is lost, and whatever could not
//! be delivered in time is in the ledger that is printed last.

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

use std::net::TcpStream;
use std::process::Child;

use daemon::{Daemon, assert_balances, dropped};
use process::{Running, finish, load, start_load, until};
use serde_json::json;

/// A daemon with one exporter `backend` to `sink`, and these settings besides.
fn daemon(sink: &Running, exporter: &str, sections: &str) -> Daemon {
    Daemon::start(&format!(
        "[exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\n{exporter}\n{sections}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        sink.address("grpc")
    ))
}

#[test]
fn under_full_load_no_acknowledged_item_is_lost() {
    for round in 0..5 {
        // A destination that is slower than the clients, so that there is something to drain.
        let sink = Running::sink(&["--delay", "5ms"]);
        let mut daemon = daemon(&sink, "", "");
        let mut loads = ["grpc", "http"].map(|protocol| {
            let endpoint = daemon.endpoint(protocol);
            let flags = [
                ["--protocol", protocol],
                ["--endpoint", &endpoint],
                ["--check", sink.address("control")],
                ["--connections", "4"],
                ["--in-flight", "4"],
                ["--items", "100"],
                ["--duration", "2s"],
                ["--timeout", "60s"],
            ];
            start_load(flags.as_flattened())
        });
        until("both loads are on, or over where it is slow", || {
            let is_over = |load: &mut Child| load.try_wait().unwrap().is_some();
            let are_over = loads.each_mut().map(is_over) == [true; 2];
            let page = daemon.get("/metrics").body;
            let taken = page.lines().filter(|line| {
                let count = line.rsplit(' ').next().and_then(|count| count.parse().ok());
                line.starts_with("otelcol_receiver_accepted_spans_total")
                    && count.is_some_and(|count: u64| count >= 500 * (round + 1))
            });
            taken.count() == 2 || are_over
        });
        let (status, ledger) = daemon.stop();
        assert!(status.success(), "{status}: {ledger}");
        assert_balances(&ledger);
        let account = &ledger["traces"]["exporters"]["backend"];
        assert_eq!(account["in_process"], 0, "{account}");
        assert_eq!(account["dropped"], json!({}), "{account}");
        for report in loads.map(finish) {
            assert_ne!(report["acknowledged_items"], 0, "{report}");
            assert_eq!(report["check"]["missing"], 0, "{report}");
        }
        let stats = sink.stats();
        assert_eq!(stats["duplicate"], 0, "{stats}");
        assert_eq!(account["delivered"], stats["unique"], "{stats}");
    }
}

/// Fills the queue of a daemon whose destination does not answer; how many items it took.
fn fill(daemon: &Daemon) -> u64 {
    let flags = ["--requests", "10", "--items", "50", "--endpoint"];
    let report = load(&[&flags[..], &[&daemon.endpoint("grpc")]].concat());
    assert_eq!(report["acknowledged_items"], 500, "{report}");
    500
}

#[test]
fn while_it_drains_it_lives_and_is_not_ready_and_listens_no_more() {
    let sink = Running::sink(&["--hang"]);
    let mut daemon = daemon(&sink, "", "");
    let items = fill(&daemon);
    assert_eq!(daemon.get("/readyz").code, 200);
    daemon.signal("TERM");
    until("it is not ready", || daemon.get("/readyz").code == 503);
    assert!(daemon.get("/readyz").body.contains("draining"));
    assert_eq!(daemon.get("/livez").code, 200);
    for protocol in ["grpc", "http"] {
        let address = daemon.address(protocol);
        until("the listener is closed", || {
            TcpStream::connect(address).is_err()
        });
    }
    assert_eq!(daemon.account("traces", "backend")["in_process"], items);
    sink.control("mode=ok");
    let (status, ledger) = daemon.wait();
    assert!(status.success(), "{status}: {ledger}");
    assert_eq!(ledger["traces"]["exporters"]["backend"]["delivered"], items);
}

#[test]
fn what_a_dead_destination_did_not_take_in_time_is_counted_and_the_exit_code_says_so() {
    let sink = Running::sink(&[]);
    let mut daemon = daemon(&sink, "", "[shutdown]\ndeadline = \"1s\"");
    sink.control("mode=refuse");
    let items = fill(&daemon);
    let (status, ledger) = daemon.stop();
    assert_eq!(status.code(), Some(3), "{ledger}");
    assert_balances(&ledger);
    let account = &ledger["traces"]["exporters"]["backend"];
    assert_eq!(account["dropped"], json!({ "shutdown": items }));
    assert_eq!(account["in_process"], 0);
}

#[test]
fn a_second_signal_ends_the_drain_while_the_lanes_empty() {
    let sink = Running::sink(&["--hang"]);
    // Without the second signal it would end long after the test has lost its patience.
    let mut daemon = daemon(&sink, "timeout = \"10m\"", "[shutdown]\ndeadline = \"10m\"");
    let items = fill(&daemon);
    daemon.signal("TERM");
    until("it drains", || {
        daemon.get("/readyz").code == 503 && TcpStream::connect(daemon.address("grpc")).is_err()
    });
    let (status, ledger) = daemon.stop();
    assert_eq!(status.code(), Some(3), "{ledger}");
    assert_balances(&ledger);
    let account = &ledger["traces"]["exporters"]["backend"];
    assert_eq!(account["dropped"], json!({ "shutdown": items }));
}

#[test]
fn a_second_signal_ends_the_drain_while_clients_are_held() {
    let sink = Running::sink(&["--hang"]);
    let mut daemon = daemon(
        &sink,
        "timeout = \"10m\"\nqueue = { max_bytes = \"64KiB\" }\nbatch = { max_bytes = \"64KiB\" }",
        "[shutdown]\ndeadline = \"10m\"\n[intake]\nmax_wait = \"10m\"",
    );
    let endpoint = daemon.endpoint("grpc");
    let flags = [
        ["--endpoint", &endpoint],
        ["--requests", "40"],
        ["--items", "50"],
        ["--timeout", "1000s"],
    ];
    let sending = start_load(flags.as_flattened());
    until("the queue is full, so that the other requests wait", || {
        daemon.account("traces", "backend")["received"] == 100
    });
    daemon.signal("TERM");
    until("it drains", || {
        daemon.get("/readyz").code == 503 && TcpStream::connect(daemon.address("grpc")).is_err()
    });
    let (status, ledger) = daemon.stop();
    assert_eq!(status.code(), Some(3), "{ledger}");
    assert_balances(&ledger);
    let account = &ledger["traces"]["exporters"]["backend"];
    assert_eq!(account["in_process"], 0, "{account}");
    let report = finish(sending);
    assert_eq!(
        report["acknowledged_items"], account["received"],
        "{report}"
    );
    assert_eq!(dropped(account), account["received"], "{account}");
}
