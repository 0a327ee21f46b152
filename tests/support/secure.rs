//! A daemon that is reached by TLS, and what others see of it. Whoever includes this file has
//! `daemon` and `process` in scope.

#![allow(
    dead_code,
    clippy::print_stdout,
    reason = "each test that includes it uses a part, and says what it could not do"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use super::daemon::Daemon;

/// A daemon whose two listeners have the certificate `tls.crt` of this folder, and these keys of
/// `tls` besides; what it is sent, it discards.
pub(crate) fn start(folder: &Path, tls: &str) -> Daemon {
    start_with(folder, tls, "")
}

const DISCARD: &str = "[exporters.out]\ntype = \"discard\"\n\
                       [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n";

/// The same, with these keys of `keepalive` as well.
pub(crate) fn start_with(folder: &Path, tls: &str, keepalive: &str) -> Daemon {
    let folder = folder.display();
    Daemon::start_whole(|[grpc, http, admin]| {
        let tls = format!(
            "tls = {{ cert_file = \"{folder}/tls.crt\", key_file = \"{folder}/tls.key\", \
             reload_interval = \"100ms\"{tls} }}\nkeepalive = {{ {keepalive} }}"
        );
        format!(
            "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n\
             [receivers.apps]\ntype = \"otlp\"\n\
             [receivers.apps.grpc]\nendpoint = \"127.0.0.1:{grpc}\"\n{tls}\n\
             [receivers.apps.http]\nendpoint = \"127.0.0.1:{http}\"\n{tls}\n{DISCARD}"
        )
    })
}

/// A counter of `/metrics`, by the beginning of its series' line; 0 if there is none.
pub(crate) fn counted(daemon: &Daemon, series: &str) -> u64 {
    let page = daemon.get("/metrics").body;
    let line = page.lines().find(|line| line.starts_with(series));
    let value = line.and_then(|line| line.rsplit_once(' '));
    value.map_or(0, |(_, value)| value.parse().unwrap())
}

/// How many handshakes with this listener failed for this reason.
pub(crate) fn failed(daemon: &Daemon, listener: &str, reason: &str) -> u64 {
    let labels = format!("component=\"receivers.apps.{listener}\",reason=\"{reason}\"");
    counted(
        daemon,
        &format!("otlpd_tls_failed_handshakes_total{{{labels}}}"),
    )
}

/// Whether this machine has the program; if not, it is said.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg(if program == "openssl" {
            "version"
        } else {
            "--version"
        })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let has = found.is_ok_and(|status| status.success());
    if !has {
        println!("SKIPPED: there is no {program} on this machine");
    }
    has
}

/// What `openssl s_client ARGS` says, given nothing to send.
pub(crate) fn s_client(address: &str, args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// What curl says of an empty request for traces to this URL: the version and code of the answer,
/// `0 000` where there is none.
pub(crate) fn curl(url: &str, args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--output", "/dev/null"])
        .args(["--write-out", "%{http_version} %{http_code}"])
        .args([
            "--header",
            "content-type: application/x-protobuf",
            "--data-binary",
            "",
        ])
        .args(args)
        .arg(format!("{url}/v1/traces"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
