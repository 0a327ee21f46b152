//! `acknowledge = "delivered"`: a success means that every required destination has it, and a
//! refusal says whether it is worth another try.

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
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/process.rs"]
mod process;

use std::net::SocketAddr;

use calls::{Capture, Client};
use daemon::{Daemon, assert_balances};
use otlpd::otlp::Signal;
use otlpd::otlp::walk::{Validation, walk};
use process::{Running, finish, load, start_load, until};
use serde_json::json;

fn daemon(address: impl ToString, exporter: &str, intake: &str) -> Daemon {
    Daemon::start(&format!(
        "[intake]\nacknowledge = \"delivered\"\n{intake}\n\
         [exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\nbreaker = {{ max_open_time = \"1s\" }}\n{exporter}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        address.to_string()
    ))
}

/// 20 requests of 50 items by this protocol.
fn flags<'a>(protocol: &'a str, endpoint: &'a str) -> Vec<&'a str> {
    let shape = ["--requests", "20", "--items", "50"];
    let way = ["--protocol", protocol, "--endpoint", endpoint];
    [&shape[..], &way].concat()
}

#[test]
fn nobody_is_told_of_success_before_the_destination_has_it() {
    let sink = Running::sink(&["--hang"]);
    let daemon = daemon(
        sink.address("grpc"),
        "timeout = \"300ms\"",
        "max_wait = \"10m\"",
    );
    let endpoint = daemon.endpoint("grpc");
    let mut sending = start_load(
        &[
            flags("grpc", &endpoint),
            vec!["--timeout", "1000s", "--check", sink.address("control")],
            vec!["--settle", "0ms"],
        ]
        .concat(),
    );
    until("attempts have failed", || {
        daemon.lane("backend")["failures"].as_u64() > Some(2)
    });
    assert!(sending.try_wait().unwrap().is_none(), "it still waits");
    assert_eq!(daemon.account("traces", "backend")["delivered"], 0);
    sink.control("mode=ok");
    let report = finish(sending);
    assert_eq!(report["answers"], json!({ "grpc-status 0": 20 }));
    // Nothing is given time to settle: what was acknowledged is there.
    assert_eq!(report["check"]["missing"], 0, "{report}");
}

#[test]
fn under_load_what_is_acknowledged_is_there_already() {
    let sink = Running::sink(&["--delay", "2ms", "--fail-rate", "0.2"]);
    let exporter = "batch = { max_items = 170 }\nbreaker.failures = 0\n\
                    retry_on_failure = { initial_interval = \"20ms\" }";
    let daemon = Daemon::start(&format!(
        "[intake]\nacknowledge = \"delivered\"\nmax_wait = \"10m\"\n\
         [exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\n{exporter}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        sink.address("grpc")
    ));
    for protocol in ["grpc", "http"] {
        let endpoint = daemon.endpoint(protocol);
        // Requests of 40 items are merged, those of 400 are split.
        for items in ["40", "400"] {
            let report = load(&[
                "--protocol",
                protocol,
                "--endpoint",
                &endpoint,
                "--items",
                items,
                "--requests",
                "200",
                "--timeout",
                "1000s",
                "--settle",
                "0ms",
                "--check",
                sink.address("control"),
            ]);
            assert_eq!(report["answers"].as_object().unwrap().len(), 1, "{report}");
            assert_eq!(report["unanswered_items"], 0, "{report}");
            assert_eq!(report["refused_items"], 0, "{report}");
            assert_eq!(report["check"]["missing"], 0, "{report}");
        }
    }
    let account = daemon.account("traces", "backend");
    assert_eq!(account["delivered"], 2 * 200 * (40 + 400), "{account}");
    assert_eq!(
        daemon.status()["ledger"]["traces"]["received"],
        account["received"]
    );
}

#[test]
fn a_destination_that_is_not_there_for_now_is_a_refusal_to_be_retried() {
    let sink = Running::sink(&["--fail", "14"]);
    let mut daemon = daemon(sink.address("grpc"), "", "max_wait = \"500ms\"");
    for (protocol, refusal) in [("grpc", "grpc-status 14"), ("http", "http 503")] {
        let endpoint = daemon.endpoint(protocol);
        let report = load(&flags(protocol, &endpoint));
        assert_eq!(report["answers"], json!({ refusal: 20 }), "{report}");
        assert_eq!(report["answers_with_delay"], 20, "{report}");
    }
    // They were not promised, but they are still on their way: at least once.
    assert_balances(&daemon.status()["ledger"]);
    assert_eq!(daemon.status()["ledger"]["traces"]["received"], 2000);
    sink.control("mode=ok");
    let (status, ledger) = daemon.stop();
    assert!(status.success(), "{ledger}");
    assert_eq!(ledger["traces"]["exporters"]["backend"]["delivered"], 2000);
}

#[test]
fn a_destination_that_refuses_for_good_is_a_refusal_that_is_not_retried() {
    let sink = Running::sink(&["--fail", "3"]);
    let daemon = daemon(sink.address("grpc"), "", "");
    for (protocol, refusal) in [("grpc", "grpc-status 9"), ("http", "http 500")] {
        let endpoint = daemon.endpoint(protocol);
        let report = load(&[flags(protocol, &endpoint), vec!["--retry"]].concat());
        assert_eq!(report["answers"], json!({ refusal: 20 }), "{report}");
        assert_eq!(report["answers_with_delay"], 0, "{report}");
        assert_eq!(report["retries"], 0, "{report}");
    }
    let account = daemon.account("traces", "backend");
    assert_eq!(
        account["dropped"],
        json!({ "permanent": 2000 }),
        "{account}"
    );
}

/// The requests that the tests below send, told apart by how many items they hold.
fn items(call: &calls::Call) -> u64 {
    walk(call.0, &call.1, Validation::Full).unwrap().items
}

/// Sends a request of so many spans on a connection of its own; the answer's code.
async fn send(address: SocketAddr, spans: usize) -> u16 {
    let mut client = Client::grpc(address).await;
    client
        .send(Signal::Traces, &payloads::traces(spans))
        .await
        .code
}

#[tokio::test]
async fn one_poisonous_request_among_others_is_refused_alone() {
    // Whatever holds the 13 spans of the poisonous one is refused for good.
    let poison = payloads::traces(13);
    let capture = Capture::judging(move |(_, body)| {
        let found = body.windows(poison.len()).any(|part| part == poison);
        if found { 3 } else { 0 }
    })
    .await;
    // They wait for each other, and then leave as one.
    let daemon = daemon(
        capture.address,
        "batch = { linger = \"1h\", max_items = 113 }",
        "max_wait = \"10m\"",
    );
    let address = daemon.address("grpc");
    let spans = [20, 13, 30, 40, 10];
    let answers = spans.map(|spans| tokio::spawn(send(address, spans)));
    let mut codes = Vec::new();
    for answer in answers {
        codes.push(answer.await.unwrap());
    }
    assert_eq!(codes, [0, 9, 0, 0, 0]);
    let arrived: u64 = capture.calls().iter().map(items).sum();
    assert_eq!(arrived, 100);
    let account = daemon.account("traces", "backend");
    assert_eq!(account["dropped"], json!({ "permanent": 13 }), "{account}");
    assert_eq!(account["delivered"], 100, "{account}");
}

#[tokio::test]
async fn a_request_of_which_one_part_is_refused_for_good_is_not_delivered() {
    let capture = Capture::judging(|call| if items(call) == 4 { 3 } else { 0 }).await;
    let daemon = daemon(capture.address, "batch = { max_items = 10 }", "");
    assert_eq!(send(daemon.address("grpc"), 30).await, 0);
    // Parts of 10, 10, 10 and 4.
    assert_eq!(send(daemon.address("grpc"), 34).await, 9);
    let account = daemon.account("traces", "backend");
    assert_eq!(account["delivered"], 60, "{account}");
    assert_eq!(account["dropped"], json!({ "permanent": 4 }), "{account}");
}

#[test]
fn a_destination_that_is_not_required_is_not_waited_for() {
    let (good, hung) = (Running::sink(&[]), Running::sink(&["--hang"]));
    let daemon = Daemon::start(&format!(
        "[intake]\nacknowledge = \"delivered\"\n\
         [exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         [exporters.second]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\nrequired = false\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\", \"second\"]\n",
        good.address("grpc"),
        hung.address("grpc")
    ));
    let endpoint = daemon.endpoint("grpc");
    let report = load(&flags("grpc", &endpoint));
    assert_eq!(report["answers"], json!({ "grpc-status 0": 20 }));
    assert_eq!(daemon.account("traces", "second")["in_process"], 1000);
}

#[test]
fn items_that_a_destination_rejects_one_by_one_are_delivered_and_counted() {
    let sink = Running::sink(&["--partial", "3"]);
    let daemon = daemon(sink.address("grpc"), "batch = { max_items = 50 }", "");
    let endpoint = daemon.endpoint("grpc");
    let report = load(&flags("grpc", &endpoint));
    assert_eq!(report["answers"], json!({ "grpc-status 0": 20 }));
    let account = daemon.account("traces", "backend");
    let expected = json!({
        "received": 1000, "delivered": 940, "rejected": 60, "dropped": {}, "in_process": 0
    });
    assert_eq!(account, expected);
}
