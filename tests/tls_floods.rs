//! Whoever connects and does not finish its handshake holds up nobody else, and not for long.

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

use std::io::{Read, Write};
use std::net::TcpStream;

use daemon::Daemon;
use pki::{Authority, folder};
use process::{load, until};
use secure::{failed, start, start_with};

/// The beginning of a handshake: a record of 512 bytes is announced, and does not come.
const HALF: [u8; 5] = [0x16, 3, 1, 2, 0];

#[test]
fn half_open_handshakes_beyond_the_limit_do_not_stop_valid_traffic() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start_with(files.path(), "", "max_connections = 40");
    let endpoint = format!("https://{}", daemon.endpoint("grpc"));
    let ca = files.path().join("ca.crt");
    let strangers: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.address("grpc")).unwrap();
            stream.write_all(&HALF).unwrap();
            stream
        })
        .collect();
    let args = [
        ["--endpoint", &endpoint],
        ["--ca-file", ca.to_str().unwrap()],
        ["--requests", "100"],
        ["--connections", "4"],
        ["--timeout", "50s"],
    ];
    let report = load(args.as_flattened());
    assert_eq!(report["answers"]["grpc-status 0"], 100, "{report}");
    // Each place that was wanted was taken from one of them.
    assert!(failed(&daemon, "grpc", "timeout") > 100);
    drop(strangers);
}

#[test]
fn who_does_not_finish_its_handshake_is_disconnected() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(files.path(), ", handshake_timeout = \"300ms\"");
    for listener in ["grpc", "http"] {
        for begin in [&HALF[..], &[]] {
            let mut stream = TcpStream::connect(daemon.address(listener)).unwrap();
            stream.write_all(begin).unwrap();
            let mut answer = Vec::new();
            // Reset, if its first bytes came when it was too late.
            stream.read_to_end(&mut answer).ok();
            assert!(answer.is_empty(), "{answer:?}");
        }
        until("both are counted", || {
            failed(&daemon, listener, "timeout") == 2
        });
    }
    until("it is logged", || {
        daemon.log().contains("no handshake within 300ms")
    });
}

/// Neither its own time limit nor the deadline of the stop would end it while this test lasts.
#[test]
fn a_stop_waits_for_no_handshake() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let folder = files.path().display();
    let mut daemon = Daemon::start_whole(|[grpc, _, admin]| {
        format!(
            "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n[shutdown]\ndeadline = \"1h\"\n\
             [receivers.apps]\ntype = \"otlp\"\n\
             [receivers.apps.grpc]\nendpoint = \"127.0.0.1:{grpc}\"\n\
             tls = {{ cert_file = \"{folder}/tls.crt\", key_file = \"{folder}/tls.key\", \
             handshake_timeout = \"1h\" }}\n\
             [exporters.out]\ntype = \"discard\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
        )
    });
    let mut stream = TcpStream::connect(daemon.address("grpc")).unwrap();
    stream.write_all(&HALF).unwrap();
    let (status, _) = daemon.stop();
    assert!(status.success());
}
