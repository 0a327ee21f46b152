//! gRPC and HTTP on one port: each request is answered in its own protocol, in the clear and by TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/process.rs"]
mod process;
#[path = "support/secure.rs"]
mod secure;

use daemon::Daemon;
use pki::{Authority, folder};
use process::load;
use secure::{counted, curl, has};

/// A daemon that has both at `grpc`, with these keys for both.
fn start(keys: &str) -> Daemon {
    Daemon::start_whole(|[port, _, admin]| {
        let both = format!("endpoint = \"127.0.0.1:{port}\"\n{keys}\n");
        format!(
            "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n[receivers.apps]\ntype = \"otlp\"\n\
             [receivers.apps.grpc]\n{both}[receivers.apps.http]\n{both}\
             [exporters.out]\ntype = \"discard\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
        )
    })
}

/// Both protocols are loaded at once, and each is counted as its own.
fn serves_both(daemon: &Daemon, endpoint: &str, more: &[&str]) {
    for (protocol, answer) in [("grpc", "grpc-status 0"), ("http", "http 200")] {
        let args = [
            "--endpoint",
            endpoint,
            "--protocol",
            protocol,
            "--requests",
            "20",
        ];
        let report = load(&[&args, more].concat());
        assert_eq!(report["answers"][answer], 20, "{report}");
        let labels = format!("receiver=\"apps\",transport=\"{protocol}\",outcome=\"success\"");
        let series = format!("otelcol_receiver_requests_total{{{labels}}}");
        assert_eq!(counted(daemon, &series), 20);
    }
}

#[test]
fn both_protocols_are_had_on_one_port() {
    let daemon = start("");
    let endpoint = daemon.endpoint("grpc");
    serves_both(&daemon, &endpoint, &[]);
    let one = "apps [otlp, gRPC and HTTP 127.0.0.1:";
    assert!(daemon.log().contains(one), "{}", daemon.log());
    if !has("curl") {
        return;
    }
    let url = format!("http://{endpoint}");
    for (flag, expected) in [
        ("--http1.1", "1.1 200"),
        ("--http2-prior-knowledge", "2 200"),
    ] {
        assert_eq!(curl(&url, &[flag]), expected);
    }
}

#[test]
fn both_protocols_are_had_on_one_port_by_tls() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let folder = files.path().display();
    let daemon = start(&format!(
        "tls = {{ cert_file = \"{folder}/tls.crt\", key_file = \"{folder}/tls.key\" }}"
    ));
    let endpoint = format!("https://{}", daemon.endpoint("grpc"));
    let ca = files.path().join("ca.crt");
    let ca = ca.to_str().unwrap();
    serves_both(&daemon, &endpoint, &["--ca-file", ca]);
    if !has("curl") {
        return;
    }
    for (flag, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        assert_eq!(curl(&endpoint, &[flag, "--cacert", ca]), expected);
    }
}
