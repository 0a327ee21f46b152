//! `bench load` and `bench sink` agree on every item, so that what stands between them can be
//! judged by them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/process.rs"]
mod process;

use std::net::TcpStream;

use process::ports::free_port;
use process::{Running, finish, load, start_load, until};
use serde_json::json;

/// 20 requests of 50 items, four at a time.
const SMALL: [&str; 8] = [
    "--requests",
    "20",
    "--items",
    "50",
    "--connections",
    "2",
    "--in-flight",
    "2",
];

#[test]
fn every_signal_arrives_over_every_protocol_with_every_compression() {
    let sink = Running::sink(&[]);
    let mut runs = 0;
    for signal in ["traces", "metrics", "logs"] {
        for protocol in ["grpc", "http"] {
            for compression in ["none", "gzip", "zstd"] {
                runs += 1;
                let run = runs.to_string();
                let report = load(
                    &[
                        &SMALL[..],
                        &["--signal", signal, "--protocol", protocol],
                        &["--compression", compression, "--run", &run],
                        &["--endpoint", sink.address(protocol)],
                        &["--check", sink.address("control")],
                    ]
                    .concat(),
                );
                let case = format!("{signal} {protocol} {compression}: {report}");
                assert_eq!(report["acknowledged_items"], 1000, "{case}");
                assert_eq!(report["check"]["missing"], 0, "{case}");
                assert_eq!(report["check"]["arrived"], 1000, "{case}");
            }
        }
    }
    let stats = sink.stats();
    assert_eq!(stats["unique"], 1000 * runs, "{stats}");
    for none in ["duplicate", "foreign", "beyond", "rejected"] {
        assert_eq!(stats[none], 0, "{none}: {stats}");
    }
    for run in stats["runs"].as_array().unwrap() {
        assert_eq!((&run["missing"], &run["end"]), (&json!(0), &json!(1000)));
    }
}

#[test]
fn what_is_sent_twice_is_reported_as_duplicate() {
    let sink = Running::sink(&[]);
    let endpoint = sink.address("grpc");
    for _ in 0..2 {
        load(&[&SMALL[..], &["--run", "7", "--endpoint", endpoint]].concat());
    }
    let run = &sink.stats()["runs"][0];
    assert_eq!(run["unique"], 1000);
    assert_eq!(run["duplicate"], 1000);
}

#[test]
fn what_was_acknowledged_and_is_not_at_the_sink_is_missing() {
    let (sink, elsewhere) = (Running::sink(&[]), Running::sink(&[]));
    let report = load(
        &[
            &SMALL[..],
            &["--endpoint", elsewhere.address("grpc"), "--settle", "0s"],
            &["--check", sink.address("control")],
        ]
        .concat(),
    );
    assert_eq!(report["acknowledged_items"], 1000);
    assert_eq!(report["check"]["missing"], 1000);
}

#[test]
fn a_failing_sink_shows_its_codes_and_acknowledges_nothing() {
    let sink = Running::sink(&["--fail", "8"]);
    for (protocol, answer) in [("grpc", "grpc-status 8"), ("http", "http 429")] {
        let endpoint = sink.address(protocol);
        let flags = ["--protocol", protocol, "--endpoint", endpoint];
        let report = load(&[&SMALL[..], &flags].concat());
        assert_eq!(report["answers"], json!({ answer: 20 }));
        assert_eq!(report["refused_items"], 1000);
        assert_eq!(report["acknowledged_items"], 0);
    }
    let stats = sink.stats();
    assert_eq!(
        stats["answers"],
        json!({ "grpc-status 8": 20, "http 429": 20 })
    );
    assert_eq!(stats["unique"], 0);
}

#[test]
fn rejected_items_are_neither_acknowledged_nor_missing() {
    let sink = Running::sink(&["--partial", "3"]);
    for protocol in ["grpc", "http"] {
        let report = load(
            &[
                &SMALL[..],
                &["--protocol", protocol],
                &["--endpoint", sink.address(protocol)],
                &["--check", sink.address("control")],
            ]
            .concat(),
        );
        assert_eq!(report["rejected_items"], 60);
        assert_eq!(report["acknowledged_items"], 940);
        assert_eq!(report["check"]["missing"], 0);
    }
    assert_eq!(sink.stats()["rejected"], 120);
}

#[test]
fn a_load_that_sends_again_loses_nothing_to_an_outage() {
    for (protocol, answer) in [("grpc", "grpc-status 14"), ("http", "http 503")] {
        let sink = Running::sink(&["--fail", "14", "--retry-after", "1ms"]);
        let sending = start_load(
            &[
                &SMALL[..],
                &["--retry", "--protocol", protocol],
                &["--endpoint", sink.address(protocol)],
                &["--check", sink.address("control")],
            ]
            .concat(),
        );
        until("the sink has failed once", || sink.stats()["requests"] != 0);
        sink.control("mode=ok");
        let report = finish(sending);
        assert_eq!(report["acknowledged_items"], 1000, "{report}");
        assert_eq!(report["check"]["missing"], 0, "{report}");
        assert_eq!(report["answers"][answer], report["answers_with_delay"]);
        assert_eq!(report["answers"][answer], report["retries"]);
    }
}

#[test]
fn a_hanging_sink_leaves_requests_without_an_answer() {
    let sink = Running::sink(&["--hang"]);
    for protocol in ["grpc", "http"] {
        let flags = ["--protocol", protocol, "--timeout", "1s"];
        let endpoint = ["--endpoint", sink.address(protocol)];
        let report = load(&[&SMALL[..], &flags, &endpoint].concat());
        assert_eq!(report["answers"], json!({ "timeout": 20 }));
        assert_eq!(report["unanswered_items"], 1000);
    }
    assert_eq!(sink.stats()["unique"], 0);
}

#[test]
fn a_sink_refuses_connections_until_it_is_told_otherwise() {
    // On a port that nobody takes while it refuses connections.
    let grpc = format!("127.0.0.1:{}", free_port());
    let flags = ["--control", "127.0.0.1:0", "--refuse-after", "5"];
    let sink = Running::start(&[&["sink", "--grpc", &grpc], &flags[..]].concat());
    let endpoint = sink.address("grpc");
    let sending = start_load(
        &[
            &SMALL[..],
            &["--retry", "--endpoint", endpoint],
            &["--check", sink.address("control")],
        ]
        .concat(),
    );
    until("the listener is closed", || {
        TcpStream::connect(endpoint).is_err()
    });
    sink.control("mode=ok");
    let report = finish(sending);
    assert_eq!(report["acknowledged_items"], 1000, "{report}");
    assert_eq!(report["check"]["missing"], 0, "{report}");
    assert_ne!(report["retries"], 0, "{report}");
}

#[test]
fn frames_are_no_larger_than_either_side_wants() {
    for (sink_kib, load_kib, largest_bytes) in [("16", "1024", 16 << 10), ("1024", "1", 1 << 10)] {
        let sink = Running::sink(&["--frame-kib", sink_kib]);
        let endpoint = ["--endpoint", sink.address("grpc")];
        let report = load(&[&SMALL[..], &endpoint, &["--frame-kib", load_kib]].concat());
        assert_eq!(report["acknowledged_items"], 1000);
        let stats = sink.stats();
        assert!(stats["largest_request_bytes"].as_u64().unwrap() > 20_000);
        assert_eq!(stats["largest_frame_bytes"], largest_bytes);
    }
}

#[test]
fn the_proxy_changes_nothing() {
    let sink = Running::sink(&[]);
    let to = sink.address("grpc");
    let proxy = Running::start(&["proxy", "--listen", "127.0.0.1:0", "--to", to]);
    let report = load(
        &[
            &SMALL[..],
            &["--endpoint", proxy.address("proxy")],
            &["--check", sink.address("control")],
        ]
        .concat(),
    );
    assert_eq!(report["check"]["arrived"], 1000);
    assert_eq!(sink.stats()["duplicate"], 0);
}
