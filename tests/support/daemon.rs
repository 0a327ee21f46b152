//! A running daemon: started from the text of a configuration, asked by its admin side, stopped
//! by signals. Whoever includes this file has `process` in scope.

#![allow(
    dead_code,
    clippy::print_stderr,
    reason = "each test that includes it uses a part; the log of a test that fails is shown"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::process::until;

pub(crate) use super::process::ports::free_port;

/// A daemon; it ends with the test.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    ports: [u16; 3],
}

/// What `/readyz` and its like answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

impl Daemon {
    /// Starts a daemon with one receiver `apps` (gRPC and HTTP) and an admin side on free ports,
    /// and with these sections besides. Returns when it is ready.
    pub(crate) fn start(sections: &str) -> Self {
        Self::start_by(sections, |_| {})
    }

    /// Like [`Daemon::start`], by a command that `prepare` has changed.
    pub(crate) fn start_by(sections: &str, prepare: impl Fn(&mut Command)) -> Self {
        let config = |[grpc, http, admin]: [u16; 3]| {
            format!(
                "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n\
                 [receivers.apps]\ntype = \"otlp\"\n\
                 grpc = {{ endpoint = \"127.0.0.1:{grpc}\" }}\n\
                 http = {{ endpoint = \"127.0.0.1:{http}\" }}\n{sections}"
            )
        };
        Self::start_on(&config, &prepare)
    }

    /// Starts a daemon on the whole configuration that is made of the ports of `grpc`, `http` and
    /// `admin`; the last one answers without TLS.
    pub(crate) fn start_whole(config: impl Fn([u16; 3]) -> String) -> Self {
        Self::start_on(&config, &|_| {})
    }

    fn start_on(config: &impl Fn([u16; 3]) -> String, prepare: &impl Fn(&mut Command)) -> Self {
        // Between choosing a port and listening on it another process may take it.
        for _ in 0..10 {
            if let Some(daemon) = Self::try_start(config, prepare) {
                return daemon;
            }
        }
        panic!("no free ports were found");
    }

    fn try_start(
        config: &impl Fn([u16; 3]) -> String,
        prepare: &impl Fn(&mut Command),
    ) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let config = config(ports);
        let file = folder.path().join("otlpd.toml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
        command.arg("--config").arg(&file);
        command.stdout(Stdio::null());
        prepare(&mut command);
        command.stdin(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let mut daemon = Self {
            child,
            folder,
            ports,
        };
        let admin = daemon.address("admin");
        let mut gone = false;
        until("the daemon listens or has ended", || {
            gone = daemon.child.try_wait().unwrap().is_some();
            gone || ask(admin, "/readyz").is_some_and(|answer| answer.code == 200)
        });
        if gone {
            let log = daemon.log();
            assert!(log.contains("the address is in use"), "{log}");
            return None;
        }
        Some(daemon)
    }

    /// Where `grpc`, `http` or `admin` listens.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let [grpc, http, admin] = self.ports;
        let port = match name {
            "grpc" => grpc,
            "http" => http,
            _ => admin,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// The same as text, for command lines.
    pub(crate) fn endpoint(&self, name: &str) -> String {
        self.address(name).to_string()
    }

    /// What the admin side answers.
    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(self.address("admin"), path).expect("the admin side answers")
    }

    /// What the admin side answers, while there is one.
    pub(crate) fn try_get(&self, path: &str) -> Option<Answer> {
        ask(self.address("admin"), path)
    }

    /// `/status`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status").body).unwrap()
    }

    /// `ledger.<signal>.exporters.<exporter>` of `/status`.
    pub(crate) fn account(&self, signal: &str, exporter: &str) -> Value {
        self.status()["ledger"][signal]["exporters"][exporter].clone()
    }

    /// The lane of this exporter in `/status`.
    pub(crate) fn lane(&self, exporter: &str) -> Value {
        let status = self.status();
        let lanes = status["lanes"].as_array().unwrap();
        let lane = lanes.iter().find(|lane| lane["exporter"] == exporter);
        lane.unwrap().clone()
    }

    /// Everything that it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The file of its configuration.
    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("otlpd.toml")
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A line of `/proc/PID/status` that is a size, in bytes.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        let kib = found.unwrap().trim_start_matches(':').trim();
        kib.trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), self.pid().to_string()]);
        assert!(kill.status().unwrap().success());
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end: how, and the ledger that it printed.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Value) {
        until("the daemon ends", || self.has_ended());
        let status = self.child.wait().unwrap();
        let log = self.log();
        let (_, ledger) = log.rsplit_once("ledger: ").expect(&log);
        (status, serde_json::from_str(ledger.trim()).expect(ledger))
    }

    /// SIGTERM, and [`Daemon::wait`].
    pub(crate) fn stop(&mut self) -> (ExitStatus, Value) {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last = log.lines().rev().take(40).collect::<Vec<_>>();
            for line in last.into_iter().rev() {
                eprintln!("otlpd: {line}");
            }
        }
        // It may have ended already; either way nothing of it is left.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One request to the admin side; nothing if there is none.
fn ask(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = "host: otlpd\r\nconnection: close\r\n";
    write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer {
        code: head.split(' ').nth(1)?.parse().ok()?,
        body: body.to_owned(),
    })
}

/// Every account of a ledger, with the names of its signal and exporter.
pub(crate) fn accounts(ledger: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (signal, table) in ledger.as_object().unwrap() {
        for (exporter, account) in table["exporters"].as_object().unwrap() {
            found.push((format!("{signal} {exporter}"), account.clone()));
        }
    }
    assert!(!found.is_empty(), "{ledger}");
    found
}

/// All that an account calls dropped.
pub(crate) fn dropped(account: &Value) -> u64 {
    let reasons = account["dropped"].as_object().unwrap();
    reasons.values().map(|items| items.as_u64().unwrap()).sum()
}

/// Asserts that every account of a ledger adds up, and that nothing is blamed on a bug.
pub(crate) fn assert_balances(ledger: &Value) {
    for (name, account) in accounts(ledger) {
        let column = |name: &str| account[name].as_u64().unwrap();
        let settled = column("delivered") + column("rejected") + dropped(&account);
        assert_eq!(
            column("received"),
            settled + column("in_process"),
            "{name}: {account}"
        );
        assert_eq!(account["dropped"].get("bug"), None, "{name}: {account}");
    }
}
