//! Sockets in the file system: served, sent to, replaced where they are dead, removed at the end,
//! and handed over.

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
#[path = "support/service.rs"]
mod service;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};

use daemon::Daemon;
use process::{load, until};
use service::Service;

/// A receiver `local`, both protocols at this path, in a pipeline of its own.
fn local(path: &Path) -> String {
    let path = path.display();
    format!(
        "[receivers.local]\ntype = \"otlp\"\n\
         [receivers.local.grpc]\nendpoint = \"unix:{path}\"\nsocket_mode = \"0600\"\n\
         [receivers.local.http]\nendpoint = \"unix:{path}\"\nsocket_mode = \"0600\"\n\
         [exporters.out]\ntype = \"discard\"\n\
         [pipelines.main]\nreceivers = [\"apps\", \"local\"]\nexporters = [\"out\"]\n"
    )
}

fn send(path: &Path) {
    for (protocol, answer) in [("grpc", "grpc-status 0"), ("http", "http 200")] {
        let endpoint = format!("unix:{}", path.display());
        let report = load(&[
            "--endpoint",
            &endpoint,
            "--protocol",
            protocol,
            "--requests",
            "20",
        ]);
        assert_eq!(report["answers"][answer], 20, "{report}");
    }
}

#[test]
fn a_socket_is_served_in_place_of_a_dead_one_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    // What a process that was killed has left.
    drop(UnixListener::bind(&path).unwrap());
    let mut daemon = Daemon::start(&local(&path));
    assert!(
        daemon
            .log()
            .contains("replacing a socket that nobody listens on")
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    send(&path);
    daemon.stop();
    assert!(!path.exists());
}

#[test]
fn a_socket_that_another_process_listens_on_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let _daemon = Daemon::start(&local(&path));
    let file = folder.path().join("second.toml");
    let sections = local(&path).replace("\"apps\", ", "");
    fs::write(&file, format!("[admin]\nenabled = false\n{sections}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_otlpd"))
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another process listens there"), "{said}");
    assert!(said.contains("receivers.local.grpc"), "{said}");
    send(&path);
}

#[test]
fn both_exporters_send_to_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let receiver = Daemon::start(&local(&path));
    for (kind, slashes) in [("otlp_grpc", ""), ("otlp_http", "//")] {
        let before = receiver.account("traces", "out")["delivered"]
            .as_u64()
            .unwrap_or(0);
        let daemon = Daemon::start(&format!(
            "[exporters.neighbour]\ntype = \"{kind}\"\nendpoint = \"unix:{slashes}{}\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"neighbour\"]\n",
            path.display()
        ));
        let endpoint = daemon.endpoint("grpc");
        load(&["--endpoint", &endpoint, "--requests", "5", "--items", "10"]);
        until("all has arrived", || {
            receiver.account("traces", "out")["delivered"] == before + 50
        });
    }
}

#[test]
fn an_upgrade_hands_the_socket_over_and_its_file_goes_with_the_last_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let mut service = Service::start(&local(&path));
    send(&path);
    for _ in 0..2 {
        let (code, said) = service.upgrade();
        assert_eq!(code, Some(0), "{said}");
        // The old process has said its last word.
        service.wait();
        UnixStream::connect(&path).unwrap();
        send(&path);
    }
    service.stop();
    assert!(!path.exists());
}

/// A daemon by itself; it ends with the test.
struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_admin_side_can_be_asked_by_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let [admin, otlp] = ["admin.sock", "otlp.sock"].map(|name| folder.path().join(name));
    let sections = local(&otlp).replace("\"apps\", ", "");
    let file = folder.path().join("otlpd.toml");
    let config = format!(
        "[admin]\nendpoint = \"unix:{}\"\n{sections}",
        admin.display()
    );
    fs::write(&file, config).unwrap();
    let otlpd = || Command::new(env!("CARGO_BIN_EXE_otlpd"));
    let child = otlpd().arg("--config").arg(&file).spawn().unwrap();
    let _alone = Alone(child);
    until("it says that it is ready", || {
        let asked = otlpd()
            .args(["health", "--ready", "--config"])
            .arg(&file)
            .output();
        String::from_utf8_lossy(&asked.unwrap().stdout).contains("\"ready\": true")
    });
}
