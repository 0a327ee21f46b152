//! The built daemon, started as an operator would, on free ports, and stopped by SIGTERM.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for a condition before it fails: long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks. Looking without a pause would take one of two cores from what it waits
/// for.
const PAUSE: Duration = Duration::from_millis(20);

/// A running `otlpd`, which ends with the test.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    /// Where it takes OTLP over gRPC.
    pub(crate) grpc: String,
    /// Where it takes OTLP over HTTP.
    pub(crate) http: String,
    admin: String,
}

impl Daemon {
    /// Starts it with a receiver `apps` for both protocols, the admin listener, and this.
    pub(crate) fn start(config: &str) -> Self {
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [grpc, http, admin] = held
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().to_string());
        drop(held);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("otlpd.toml");
        let ends = format!(
            "[admin]\nendpoint = \"{admin}\"\n[receivers.apps]\ntype = \"otlp\"\n\
             grpc = {{ endpoint = \"{grpc}\" }}\nhttp = {{ endpoint = \"{http}\" }}\n"
        );
        fs::write(&file, format!("{config}\n{ends}")).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_otlpd"))
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            folder,
            grpc,
            http,
            admin,
        };
        until("otlpd is ready", || {
            let ended = daemon.child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", daemon.log());
            daemon
                .ask("/readyz")
                .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        daemon
    }

    /// What `/status` says.
    pub(crate) fn status(&self) -> Value {
        let answer = self.ask("/status").unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// What it has written to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Ends it by SIGTERM, and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").arg(&pid).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap()
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin).ok()?;
        let head = "host: otlpd\r\nconnection: close\r\n";
        write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = SystemTime::now();
    while !condition() {
        let waited = begun.elapsed().unwrap();
        assert!(waited < PATIENCE, "waited in vain: {what}");
        std::thread::park_timeout(PAUSE);
    }
}
