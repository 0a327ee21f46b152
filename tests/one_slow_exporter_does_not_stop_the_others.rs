//! One destination hangs for ever; the other gets everything, and what the first lost is
//! counted.

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
use process::{Running, finish, start_load, until};
use serde_json::json;

/// A daemon with a required exporter `backend` and one besides that is not, with `queue`.
fn daemon(good: &Running, hung: &Running, queue: &str) -> Daemon {
    Daemon::start(&format!(
        "[intake]\nmemory_budget = \"96MiB\"\n\
         [exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\n\
         [exporters.second]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\ntimeout = \"500ms\"\nrequired = false\n\
         batch = {{ max_bytes = \"512KiB\" }}\n{queue}\n\
         breaker = {{ max_open_time = \"1s\" }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\", \"second\"]\n",
        good.address("grpc"),
        hung.address("grpc")
    ))
}

fn one_hangs(queue: &str) {
    let (good, hung) = (Running::sink(&[]), Running::sink(&["--hang"]));
    let mut daemon = daemon(&good, &hung, queue);
    let endpoint = daemon.endpoint("grpc");
    let flags = [
        ["--endpoint", &endpoint],
        ["--check", good.address("control")],
        ["--requests", "400"],
        ["--items", "200"],
        ["--settle", "60s"],
    ];
    let sent = 400 * 200;
    let mut sending = start_load(flags.as_flattened());
    let mut polls = 0;
    until("the load is over", || {
        assert_balances(&daemon.status()["ledger"]);
        polls += 1;
        sending.try_wait().unwrap().is_some()
    });
    assert!(polls > 3, "the ledger was looked at while it moved");
    let report = finish(sending);
    assert_eq!(report["answers"], json!({ "grpc-status 0": 400 }));
    assert_eq!(report["check"]["missing"], 0, "{report}");
    until("the last answer has been counted", || {
        daemon.account("traces", "backend")["in_process"] == 0
    });
    let backend = daemon.account("traces", "backend");
    let expected = json!({
        "received": sent, "delivered": sent, "rejected": 0, "dropped": {}, "in_process": 0
    });
    assert_eq!(backend, expected);
    let second = daemon.account("traces", "second");
    assert_eq!(
        (&second["received"], &second["delivered"]),
        (&json!(sent), &json!(0))
    );
    let lost = second["dropped"]["queue_full"].as_u64().unwrap();
    // 43 MB were sent, 2 MiB are kept.
    assert!(lost > sent * 9 / 10 && lost < sent, "{second}");
    assert_eq!(second["in_process"], sent - lost);

    // When it comes back, it gets what was kept, and nothing else has been forgotten.
    hung.control("mode=ok");
    until("what was kept is delivered", || {
        assert_balances(&daemon.status()["ledger"]);
        daemon.account("traces", "second")["in_process"] == 0
    });
    let second = daemon.account("traces", "second");
    assert_eq!(second["delivered"], sent - lost, "{second}");
    assert_eq!(hung.stats()["unique"], sent - lost);
    let (status, ledger) = daemon.stop();
    assert_eq!(status.code(), Some(3), "something was lost: {ledger}");
    assert_balances(&ledger);
    assert_eq!(ledger["traces"]["exporters"]["second"], second);
}

#[test]
fn a_lane_that_drops_its_oldest() {
    one_hangs("queue = { max_bytes = \"2MiB\", when_full = \"drop_oldest\" }");
}

#[test]
fn a_lane_that_drops_the_newest() {
    one_hangs("queue = { max_bytes = \"2MiB\", when_full = \"drop_newest\" }");
}
