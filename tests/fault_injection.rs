//! The `fault` processor does what it is told to, to those whom it is told to, and says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::time::Duration;

use otlpd::otlp::status::Status;
use serde_json::json;
use support::door::{Called, Daemon, H2, LOGS, METRICS, Setup, TRACES, framed, until, whole};
use support::payloads;

/// A daemon with this fault, and this section besides.
fn daemon(fault: &str, section: &str) -> Daemon {
    let sections = format!(
        "{section}\n[processors.rehearsal]\ntype = \"fault\"\n{fault}\n\
         [exporters.out]\ntype = \"discard\"\n[exporters.too]\ntype = \"discard\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nprocessors = [\"rehearsal\"]\n\
         exporters = [\"out\", \"too\"]\n"
    );
    Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    })
}

async fn over_grpc(daemon: &Daemon) -> Called {
    let mut client = H2::connect(daemon.grpc).await;
    client.export(LOGS, &payloads::logs(10)).await
}

async fn over_http(daemon: &Daemon) -> Called {
    let mut client = H2::connect(daemon.http).await;
    let headers = [("content-type", "application/x-protobuf")];
    let body = whole(payloads::logs(10));
    let sent = client.send("POST", "/v1/logs", &headers, body).await;
    sent.unwrap()
}

#[tokio::test]
async fn clients_hear_the_error_that_was_asked_for() {
    for (error, code, http, delay, outcome) in [
        ("unavailable", 14, 503, true, "refused"),
        ("resource_exhausted", 8, 429, true, "refused"),
        ("internal", 13, 500, false, "failure"),
        ("permanent", 3, 400, false, "failure"),
    ] {
        let daemon = daemon(&format!("error = \"{error}\""), "");
        let called = over_grpc(&daemon).await;
        assert_eq!((called.http, called.code()), (200, code), "{error}");
        assert!(called.status.message.contains("rehearsal"), "{called:?}");
        let expected = delay.then_some(Duration::from_secs(1));
        assert_eq!(called.status.retry_delay(), expected, "{error}");
        let called = over_http(&daemon).await;
        assert_eq!(called.http, http, "{error}");
        let status = Status::decode(&called.data).unwrap();
        assert_eq!(
            (status.code.number(), status.retry_delay()),
            (code, expected)
        );
        let header = called.headers.get("retry-after");
        assert_eq!(
            header.map(|header| header.as_bytes()),
            delay.then_some(&b"1"[..])
        );
        // Told in every way that there is.
        let kind = format!("{{processor=\"rehearsal\",kind=\"{error}\"}}");
        assert_eq!(
            daemon.metric(&format!("otlpd_injected_faults_total{kind}")),
            2
        );
        for protocol in ["grpc", "http"] {
            let labels =
                format!("receiver=\"apps\",transport=\"{protocol}\",outcome=\"{outcome}\"");
            let series = format!("otelcol_receiver_requests_total{{{labels}}}");
            assert_eq!(daemon.metric(&series), 1, "{error}");
        }
        let status = daemon.status();
        let expected = json!([{
            "processor": "rehearsal",
            "what": format!("100 % of all requests are answered with {error}"),
            "injected": { error: 2 },
        }]);
        assert_eq!(status["faults"], expected);
        assert_eq!(status["ledger"]["logs"]["received"], 0);
        let log = daemon.log();
        assert!(
            log.contains("processors.rehearsal injects faults into main"),
            "{log}"
        );
        assert!(
            log.contains("a fault was injected: 100 % of all requests"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn what_is_dropped_is_answered_with_success_and_counted_as_lost() {
    let mut daemon = daemon("drop = true\nsignals = [\"logs\"]", "");
    let called = over_grpc(&daemon).await;
    assert_eq!(called.code(), 0);
    assert_eq!(over_http(&daemon).await.http, 200);
    let mut client = H2::connect(daemon.grpc).await;
    client.export(TRACES, &payloads::traces(5)).await;
    let status = daemon.status();
    assert_eq!(status["ledger"]["logs"]["received"], 20);
    for exporter in ["out", "too"] {
        let account = &status["ledger"]["logs"]["exporters"][exporter];
        assert_eq!(account["dropped"], json!({ "fault_injected": 20 }));
        assert_eq!(
            (&account["received"], &account["in_process"]),
            (&json!(20), &json!(0))
        );
        let others = &status["ledger"]["traces"]["exporters"][exporter];
        assert_eq!(others["received"], 5);
        assert_eq!(others["dropped"], json!({}));
    }
    assert_eq!(status["faults"][0]["injected"], json!({ "drop": 2 }));
    daemon.terminate();
    assert_eq!(
        daemon.wait(),
        Some(3),
        "something was lost, and the exit says so"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_struck_waits_and_nobody_else_does() {
    // Longer than the test could take.
    let daemon = daemon(
        "latency = \"1h\"\nsignals = [\"logs\", \"metrics\"]\n\
         attributes = { \"service.name\" = \"checkout\" }",
        "[intake]\nmax_wait = \"10m\"\n[shutdown]\ndeadline = \"10s\"",
    );
    let mut client = H2::connect(daemon.grpc).await;
    let mut waiting = client.clone();
    let body = payloads::logs(10);
    let of_others = replaced(&body, b"checkout", b"checkin!");
    let struck = tokio::spawn(async move { waiting.export(LOGS, &body).await });
    let injected = || daemon.status()["faults"][0]["injected"].clone();
    until("it is struck", || injected() == json!({ "latency": 1 }));
    assert_eq!(client.export(LOGS, &of_others).await.code(), 0);
    let traces = payloads::traces(10);
    assert_eq!(client.export(TRACES, &traces).await.code(), 0);
    assert_eq!(injected(), json!({ "latency": 1 }));
    // A client of little patience has its answer within it.
    let timeout = [("grpc-timeout", "5S")];
    let body = framed(0, &payloads::metrics(20));
    let called = client.call(METRICS, &timeout, body).await;
    assert_eq!(called.code(), 0);
    assert_eq!(injected(), json!({ "latency": 2 }));
    assert!(!struck.is_finished());
    // Stopping does not wait for an hour.
    daemon.terminate();
    assert_eq!(struck.await.unwrap().code(), 14);
}

/// The same bytes with one text in place of another of its length.
fn replaced(body: &[u8], text: &[u8], by: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let found = body.windows(text.len()).position(|window| window == text);
    body[found.unwrap()..][..by.len()].copy_from_slice(by);
    body
}
