//! What scanners of TLS look for, asked with the `openssl` command: which suites are spoken, how
//! sessions are taken up again, whether a client may renegotiate, and what of a chain is sent.
//!
//! Versions, ALPN and certificates of clients are in `tls_listeners.rs`. Where there is no
//! `openssl`, a line says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::explicit_write,
    reason = "a test may panic, and say why it is left out"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use daemon::Daemon;
use tempfile::TempDir;

fn openssl_is_here() -> bool {
    let found = Command::new("openssl").arg("version").output();
    let here = found.is_ok_and(|output| output.status.success());
    if !here {
        let line = "SKIPPED: there is no `openssl` to probe TLS with";
        writeln!(std::io::stderr(), "{line}").unwrap();
    }
    here
}

/// Runs `openssl` in a folder, with this as its input; what it says on both streams.
fn openssl(folder: &Path, command: &str, input: &str) -> String {
    let mut child = Command::new("openssl")
        .current_dir(folder)
        .args(command.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// A root (`root.crt`), a CA between, and a server with a key of this kind; `chain.crt` is what
/// the server is to send.
fn certificates(key: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("ca.ext"),
        "basicConstraints = critical, CA:true\n",
    )
    .unwrap();
    let names = "subjectAltName = DNS:localhost, IP:127.0.0.1\n";
    fs::write(path.join("server.ext"), names).unwrap();
    let new = format!("-newkey {key} -nodes");
    for command in [
        format!("req -x509 {new} -keyout root.key -out root.crt -days 2 -subj /CN=root"),
        format!("req {new} -keyout between.key -out between.csr -subj /CN=between"),
        format!("req {new} -keyout server.key -out server.csr -subj /CN=server"),
        "x509 -req -in between.csr -CA root.crt -CAkey root.key -out between.crt -days 2 \
         -CAcreateserial -extfile ca.ext"
            .to_owned(),
        "x509 -req -in server.csr -CA between.crt -CAkey between.key -out server.crt -days 2 \
         -CAcreateserial -extfile server.ext"
            .to_owned(),
    ] {
        openssl(path, &command, "");
    }
    let parts = ["server.crt", "between.crt"].map(|name| fs::read(path.join(name)).unwrap());
    fs::write(path.join("chain.crt"), parts.concat()).unwrap();
    folder
}

const EC: &str = "ec -pkeyopt ec_paramgen_curve:prime256v1";
const RSA: &str = "rsa:2048";

fn daemon(folder: &Path) -> Daemon {
    let [certificate, key] = ["chain.crt", "server.key"].map(|name| folder.join(name));
    let tls = format!("{{ cert_file = {certificate:?}, key_file = {key:?} }}");
    let sections = "[exporters.nothing]\ntype = \"discard\"\n\
                    [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"nothing\"]\n";
    Daemon::start_by(sections, |command| {
        for listener in ["grpc", "http"] {
            command.args(["--set", &format!("receivers.apps.{listener}.tls={tls}")]);
        }
        // So that it ends what does not go on, but nothing that a machine holds up for a moment.
        command.args(["--set", "receivers.apps.http.read_header_timeout=6s"]);
    })
}

/// `openssl s_client` towards this daemon.
fn probe(folder: &Path, daemon: &Daemon, listener: &str, options: &str, input: &str) -> String {
    let address = daemon.endpoint(listener);
    let command = format!("s_client -connect {address} -CAfile root.crt {options}");
    openssl(folder, &command, input)
}

#[test]
fn the_whole_chain_is_sent_and_nothing_is_compressed() {
    if !openssl_is_here() {
        return;
    }
    for key in [EC, RSA] {
        let folder = certificates(key);
        let daemon = daemon(folder.path());
        for listener in ["grpc", "http"] {
            // Neither a name that the certificate lacks nor none at all is turned away.
            for name in [
                "-servername localhost",
                "-servername example.com",
                "-noservername",
            ] {
                let options = format!("{name} -verify_return_error");
                let said = probe(folder.path(), &daemon, listener, &options, "");
                assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
                assert!(said.contains("Compression: NONE"), "{said}");
            }
        }
    }
}

/// Whoever records the traffic cannot read it when the key is stolen later (ECDHE), and nobody
/// can change it (AEAD).
#[test]
fn only_suites_with_forward_secrecy_and_authenticated_encryption_are_spoken() {
    if !openssl_is_here() {
        return;
    }
    for (key, kind) in [(EC, "ECDSA"), (RSA, "RSA")] {
        let folder = certificates(key);
        let daemon = daemon(folder.path());
        let all = openssl(folder.path(), "ciphers ALL:eNULL:@SECLEVEL=0", "");
        let mut spoken = Vec::new();
        for suite in all
            .trim()
            .split(':')
            .filter(|name| !name.starts_with("TLS_"))
        {
            let options = format!("-tls1_2 -cipher {suite}:@SECLEVEL=0");
            let said = probe(folder.path(), &daemon, "grpc", &options, "");
            if said.contains(&format!("Cipher is {suite}")) {
                spoken.push(suite.to_owned());
            }
        }
        let expected = [
            "AES256-GCM-SHA384",
            "CHACHA20-POLY1305",
            "AES128-GCM-SHA256",
        ];
        let expected = expected.map(|suite| format!("ECDHE-{kind}-{suite}"));
        assert_eq!(spoken, expected);
    }
}

#[test]
fn sessions_are_taken_up_again_but_no_request_comes_before_its_client_is_known_to_be_fresh() {
    if !openssl_is_here() {
        return;
    }
    let folder = certificates(EC);
    let daemon = daemon(folder.path());
    for version in ["-tls1_2", "-tls1_3"] {
        // "Q" at the beginning of a line ends it, when the tickets have come with the answer.
        let request = "GET /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let options = format!("{version} -ign_eof -sess_out session");
        let said = probe(folder.path(), &daemon, "http", &options, request);
        assert!(said.contains("HTTP/1.1 405"), "{said}");
        assert!(
            !said.contains("Max Early Data: ") || said.contains("Max Early Data: 0"),
            "{said}"
        );
        let options = format!("{version} -sess_in session");
        let said = probe(folder.path(), &daemon, "http", &options, "");
        assert!(said.contains("Reused, TLSv1."), "{said}");
        assert!(!said.contains("Early data was accepted"), "{said}");
    }
}

/// It has cost servers much CPU time for nothing, and once let others speak before the client.
#[test]
fn a_client_cannot_renegotiate() {
    if !openssl_is_here() {
        return;
    }
    let folder = certificates(EC);
    let daemon = daemon(folder.path());
    let request = "GET /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let input = format!("R\n{request}");
    let said = probe(folder.path(), &daemon, "http", "-tls1_2", &input);
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    assert!(said.contains("RENEGOTIATING"), "{said}");
    // It was not done a second time, and what waited for it was never sent.
    let once = probe(folder.path(), &daemon, "http", "-tls1_2", "");
    let handshakes = |said: &str| said.matches("verify return:1").count();
    assert_eq!(handshakes(&said), handshakes(&once), "{said}");
    assert!(!said.contains("HTTP/1.1"), "{said}");
    // It serves on.
    let said = probe(folder.path(), &daemon, "http", "-ign_eof", request);
    assert!(said.contains("HTTP/1.1 405"), "{said}");
}
