//! Starts the built binary as an operator would, on ports of the system's choosing, and ends it
//! by its handle.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

#[path = "ports.rs"]
pub(crate) mod ports;

/// How long a test waits for a condition before it fails: long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running `otlpd bench sink` or `otlpd bench proxy`; it ends with the test.
pub(crate) struct Running {
    child: Child,
    listening: Value,
}

impl Running {
    /// Starts `otlpd bench ARGS` and reads the line that says where it listens.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = otlpd()
            .arg("bench")
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let mut first: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            listening: first["listening"].take(),
        }
    }

    /// A sink for gRPC and HTTP with these flags as well.
    pub(crate) fn sink(args: &[&str]) -> Self {
        let any = "127.0.0.1:0";
        let addresses = ["sink", "--grpc", any, "--http", any, "--control", any];
        Self::start(&[&addresses, args].concat())
    }

    /// The address of the listener of this name.
    pub(crate) fn address(&self, name: &str) -> &str {
        self.listening[name].as_str().unwrap()
    }

    /// What the sink has accounted for.
    pub(crate) fn stats(&self) -> Value {
        serde_json::from_str(&self.ask("GET", "/stats")).unwrap()
    }

    /// Tells the sink how to behave.
    pub(crate) fn control(&self, query: &str) {
        self.ask("POST", &format!("/control?{query}"));
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address("control")).unwrap();
        let head = "host: sink\r\nconnection: close\r\ncontent-length: 0\r\n";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs `otlpd bench load ARGS --json` to its end.
pub(crate) fn load(args: &[&str]) -> Value {
    finish(start_load(args))
}

/// Starts `otlpd bench load ARGS --json`. Where it is not said how long an answer may take, and
/// what was acknowledged may be on its way, it is as long as a test waits for anything.
pub(crate) fn start_load(args: &[&str]) -> Child {
    let mut load = otlpd();
    load.args(["bench", "load", "--json"]).args(args);
    for flag in ["--timeout", "--settle"] {
        if !args.contains(&flag) {
            load.args([flag, "180s"]);
        }
    }
    load.stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for the report.
pub(crate) fn finish(load: Child) -> Value {
    let output = load.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = std::time::SystemTime::now();
    while !condition() {
        assert!(
            begun.elapsed().unwrap() < PATIENCE,
            "waited in vain: {what}"
        );
        pause();
    }
}

/// Between two looks at a condition: the processes that are waited for need the CPU.
pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(5));
}

fn otlpd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_otlpd"))
}
