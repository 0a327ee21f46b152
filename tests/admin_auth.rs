//! Who may read the admin side, and what is said where everybody may.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use daemon::Daemon;
use process::until;

const PIPELINE: &str = "[exporters.out]\ntype = \"discard\"\n\
                        [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n";

/// A daemon with these keys in `[admin]`, and sections that follow it.
fn start(host: &str, admin: &str) -> Daemon {
    Daemon::start_whole(|[grpc, _, port]| {
        format!(
            "[admin]\nendpoint = \"{host}:{port}\"\n{admin}\n\
             [receivers.apps]\ntype = \"otlp\"\n\
             grpc = {{ endpoint = \"127.0.0.1:{grpc}\" }}\n{PIPELINE}"
        )
    })
}

/// One request with this header line: the head of the answer, and its body.
fn ask(address: SocketAddr, path: &str, header: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn probes_are_answered_and_everything_else_is_for_who_may() {
    let daemon = start(
        "127.0.0.1",
        "[admin.auth]\ntype = \"bearer\"\ntokens = [\"hunter2\"]",
    );
    let address = daemon.address("admin");
    let good = "authorization: Bearer hunter2\r\n";
    for path in ["/livez", "/readyz"] {
        let (head, _) = ask(address, path, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    }
    for path in ["/status", "/metrics", "/", "/nothing"] {
        for header in ["", "authorization: Bearer other\r\n"] {
            let (head, body) = ask(address, path, header);
            assert!(head.starts_with("HTTP/1.1 401"), "{path}: {head}");
            assert!(head.contains("www-authenticate: Bearer"), "{head}");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!(body["error"].is_string(), "{body}");
        }
    }
    let (head, _) = ask(address, "/nothing", good);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (_, metrics) = ask(address, "/metrics", good);
    for (reason, count) in [("missing", 4), ("invalid", 4)] {
        let line = format!("otlpd_admin_denied_requests_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    let (_, status) = ask(address, "/status", good);
    for said in [daemon.log(), metrics, status] {
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert!(daemon.log().contains("was not let in"));
}

#[test]
fn what_others_can_reach_needs_somebody_who_asks_or_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("otlpd.toml");
    let validate = |endpoint: &str, admin: &str| {
        let config = format!(
            "[admin]\nendpoint = \"{endpoint}\"\n{admin}\n\
             [receivers.apps]\ntype = \"otlp\"\n\
             grpc = {{ endpoint = \"127.0.0.1:4317\" }}\n{PIPELINE}"
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
        let output = command.arg("validate").arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    for endpoint in [
        "0.0.0.0:13133",
        "[::]:13133",
        "10.0.0.7:13133",
        "host:13133",
    ] {
        let (fine, said) = validate(endpoint, "");
        assert!(!fine, "{endpoint}");
        assert!(said.contains("allow_unauthenticated = true"), "{said}");
        assert!(said.contains("otlpd.toml:2:12"), "{said}");
    }
    for (endpoint, admin) in [
        ("127.0.0.1:13133", ""),
        ("localhost:13133", ""),
        ("[::1]:13133", ""),
        ("unix:/run/otlpd/admin.sock", ""),
        ("0.0.0.0:13133", "enabled = false"),
        ("0.0.0.0:13133", "allow_unauthenticated = true"),
        (
            "0.0.0.0:13133",
            "auth = { type = \"bearer\", tokens = [\"t\"] }",
        ),
    ] {
        let (fine, said) = validate(endpoint, admin);
        assert!(fine, "{endpoint} {admin}: {said}");
    }
}

#[test]
fn where_everybody_may_read_the_log_says_so_loudly() {
    let daemon = start("0.0.0.0", "allow_unauthenticated = true");
    assert_eq!(daemon.get("/status").code, 200);
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("allow_unauthenticated"));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{log}");
    let quiet = start("127.0.0.1", "allow_unauthenticated = true");
    assert!(!quiet.log().contains("allow_unauthenticated"));
}

/// Health checks need no credentials; an upgrade shows those of its configuration.
#[test]
fn the_commands_of_this_machine_still_work() {
    for auth in [
        "type = \"bearer\"\ntokens = [\"scraper hunter2\"]",
        "type = \"basic\"\nusers = { ann = \"hunter2\" }",
    ] {
        let daemon = start("127.0.0.1", &format!("[admin.auth]\n{auth}"));
        let config = daemon.config();
        let run = |command: &[&str]| {
            let mut otlpd = Command::new(env!("CARGO_BIN_EXE_otlpd"));
            let output = otlpd.args(command).arg("--config").arg(&config).output();
            let output = output.unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8(said).unwrap())
        };
        for command in [&["health"][..], &["health", "--ready"]] {
            let (fine, said) = run(command);
            assert!(fine, "{command:?}: {said}");
        }
        // Of another process than the one that answers nothing is asked.
        let (fine, said) = run(&["upgrade", "--pid", "1"]);
        assert!(!fine && said.contains("answers at"), "{said}");
        until("it is up still", || daemon.try_get("/livez").is_some());
    }
}
