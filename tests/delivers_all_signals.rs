//! What comes in by either protocol goes out by either exporter, in every encoding, each item
//! once, and the ledger says so.

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

use daemon::{Daemon, assert_balances};
use process::{Running, load, until};
use serde_json::json;

const SIGNALS: [&str; 3] = ["traces", "metrics", "logs"];
const PROTOCOLS: [&str; 2] = ["grpc", "http"];
const COMPRESSIONS: [&str; 3] = ["none", "gzip", "zstd"];

/// Requests of one load, and items in each.
const REQUESTS: u64 = 12;
const ITEMS: u64 = 30;

/// Sends every signal by every protocol in every encoding; how many items of each signal.
fn send_everything(daemon: &Daemon, sink: &Running) -> u64 {
    let (requests, items) = (REQUESTS.to_string(), ITEMS.to_string());
    let endpoints = PROTOCOLS.map(|protocol| daemon.endpoint(protocol));
    for signal in SIGNALS {
        for (protocol, endpoint) in PROTOCOLS.into_iter().zip(&endpoints) {
            for compression in COMPRESSIONS {
                let flags = [
                    ["--signal", signal],
                    ["--protocol", protocol],
                    ["--compression", compression],
                    ["--endpoint", endpoint],
                    ["--requests", &requests],
                    ["--items", &items],
                    ["--connections", "2"],
                    ["--in-flight", "2"],
                    ["--check", sink.address("control")],
                ];
                let report = load(flags.as_flattened());
                let case = format!("{signal} {protocol} {compression}: {report}");
                assert_eq!(report["acknowledged_items"], REQUESTS * ITEMS, "{case}");
                assert_eq!(report["check"]["arrived"], REQUESTS * ITEMS, "{case}");
                assert_eq!(report["check"]["missing"], 0, "{case}");
            }
        }
    }
    REQUESTS * ITEMS * (PROTOCOLS.len() * COMPRESSIONS.len()) as u64
}

fn passes_through(exporter: &str, protocol: &str, compression: &str) {
    let sink = Running::sink(&[]);
    let mut daemon = Daemon::start(&format!(
        "[exporters.backend]\ntype = \"{exporter}\"\nendpoint = \"http://{}\"\n\
         compression = \"{compression}\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        sink.address(protocol)
    ));
    let each = send_everything(&daemon, &sink);
    let stats = sink.stats();
    assert_eq!(stats["unique"], 3 * each, "{stats}");
    for none in ["duplicate", "foreign", "beyond", "rejected"] {
        assert_eq!(stats[none], 0, "{none}: {stats}");
    }
    for signal in SIGNALS {
        assert_eq!(stats["items"][signal], each, "{stats}");
    }
    until("the last answer has been counted", || {
        SIGNALS
            .iter()
            .all(|signal| daemon.account(signal, "backend")["in_process"] == 0)
    });
    let expected = json!({
        "received": each, "delivered": each, "rejected": 0, "dropped": {}, "in_process": 0
    });
    let ledger = daemon.status()["ledger"].clone();
    assert_balances(&ledger);
    for signal in SIGNALS {
        assert_eq!(ledger[signal]["received"], each);
        assert_eq!(ledger[signal]["exporters"], json!({ "backend": expected }));
    }
    let (status, printed) = daemon.stop();
    assert!(status.success(), "{status}");
    assert_eq!(printed, ledger);
}

#[test]
fn out_over_grpc_as_it_is() {
    passes_through("otlp_grpc", "grpc", "none");
}

#[test]
fn out_over_grpc_in_gzip() {
    passes_through("otlp_grpc", "grpc", "gzip");
}

#[test]
fn out_over_grpc_in_zstd() {
    passes_through("otlp_grpc", "grpc", "zstd");
}

#[test]
fn out_over_http_as_it_is() {
    passes_through("otlp_http", "http", "none");
}

#[test]
fn out_over_http_in_gzip() {
    passes_through("otlp_http", "http", "gzip");
}

#[test]
fn out_over_http_in_zstd() {
    passes_through("otlp_http", "http", "zstd");
}
