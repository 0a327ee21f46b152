//! Other people's programs around otlpd: chains in which another collector stands between two of
//! ours, the stock gRPC health client, and clients that ping.
//!
//! What is needed is installed by `tests/sdks/install.sh python` (with Rotel, where there is a
//! package of it for this machine) and `tests/differential/install.sh` (the Collector in Go); a
//! line says what is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;
#[path = "support/sdks.rs"]
mod sdks;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daemon::{Daemon, free_port};
use process::until;
use sdks::{Clients, Language, Sink, expected, languages, say, sent};
use serde_json::{Value, json};

/// Another collector; it ends with the test.
struct Other {
    child: Child,
    grpc: String,
    http: String,
}

impl Other {
    /// Waits until it listens.
    fn start(command: &mut Command, grpc: String, http: String) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut other = Self { child, grpc, http };
        until("the other collector to listen", || {
            assert_eq!(other.child.try_wait().unwrap(), None, "it has ended");
            [&other.grpc, &other.http].map(|address| TcpStream::connect(address).is_ok())
                == [true, true]
        });
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn local_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn target() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap().to_owned()
}

/// The program if it is there.
fn found(program: PathBuf, script: &str) -> Option<PathBuf> {
    if !program.is_file() {
        say(&format!(
            "SKIPPED: {} is missing: run {script}",
            program.display()
        ));
        return None;
    }
    Some(program)
}

fn collector() -> Option<PathBuf> {
    let cache = std::env::var_os("OTLPD_COLLECTOR_CACHE").map(PathBuf::from);
    let folder = cache.unwrap_or_else(|| target().join("collector"));
    found(folder.join("otelcol"), "tests/differential/install.sh")
}

fn rotel() -> Option<PathBuf> {
    let packages = target().join("sdks/python/lib");
    let pythons = packages.read_dir().ok().into_iter().flatten().flatten();
    let agent = pythons
        .map(|python| python.path().join("site-packages/rotel/rotel-agent"))
        .find(|agent| agent.is_file());
    found(agent.unwrap_or_default(), "tests/sdks/install.sh python")
}

/// Python's SDK alone: the others are in the tests that are about them.
fn python() -> Vec<&'static Language> {
    let all = languages().into_iter();
    all.filter(|language| language.name == "python").collect()
}

fn pipeline(exporter: &str, endpoint: &str, more: &str) -> String {
    format!(
        "[exporters.next]\ntype = \"{exporter}\"\nendpoint = \"http://{endpoint}\"\n{more}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"next\"]\n"
    )
}

/// SDK -> otlpd -> `other` -> otlpd -> sink; how we send to `other` and how it is told to send on.
fn chain(way: &[&str; 2], other: impl Fn(&Daemon) -> Other) {
    let languages = python();
    if languages.is_empty() {
        return;
    }
    let mut sink = Sink::closed();
    sink.open();
    let mut last = Daemon::start(&pipeline("otlp_grpc", &sink.grpc, ""));
    let between = other(&last);
    let [exporter, more] = way;
    let address = match *exporter {
        "otlp_grpc" => &between.grpc,
        _ => &between.http,
    };
    let mut first = Daemon::start(&pipeline(exporter, address, more));
    let addresses = ["grpc", "http"].map(|protocol| first.endpoint(protocol));
    Clients::start(&languages, &addresses, None).wait();
    sink.wait(&languages, &["grpc"]);
    for daemon in [&mut first, &mut last] {
        let (ended, ledger) = daemon.stop();
        assert!(ended.success(), "{ended}: {}", daemon.log());
        for signal in ["traces", "metrics", "logs"] {
            let delivered = &ledger[signal]["exporters"]["next"]["delivered"];
            assert_eq!(*delivered, sent(&languages, signal), "{ledger}");
        }
    }
    assert_eq!(sink.counts(), expected(&languages, &["grpc"]));
}

/// The Collector between two of ours; `exporter` and `more` are how it sends on.
fn collector_between(program: &Path, folder: &Path, exporter: [&str; 2], last: &Daemon) -> Other {
    let [kind, encoding] = exporter;
    let [grpc, http] = [local_address(), local_address()];
    let mut settings = match kind {
        "otlp_grpc" => json!({ "endpoint": last.endpoint("grpc"), "tls": { "insecure": true } }),
        _ => json!({ "endpoint": format!("http://{}", last.endpoint("http")) }),
    };
    if !encoding.is_empty() {
        settings["encoding"] = encoding.into();
    }
    let pipeline = json!({ "receivers": ["otlp"], "exporters": [kind] });
    let config = json!({
        "receivers": { "otlp": { "protocols": {
            "grpc": { "endpoint": grpc, "max_recv_msg_size_mib": 64 },
            "http": { "endpoint": http },
        } } },
        "exporters": { kind: settings },
        "service": {
            "telemetry": { "metrics": { "level": "none" } },
            "pipelines": { "traces": pipeline, "metrics": pipeline, "logs": pipeline },
        },
    });
    let file = folder.join("collector.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(program);
    Other::start(command.arg("--config").arg(file), grpc, http)
}

#[test]
fn nothing_is_lost_by_way_of_the_collector() {
    let Some(program) = collector() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (ours, theirs) in [
        (["otlp_grpc", "compression = \"gzip\""], ["otlp_grpc", ""]),
        (["otlp_http", "encoding = \"json\""], ["otlp_http", "json"]),
        (
            ["otlp_http", "compression = \"none\""],
            ["otlp_http", "proto"],
        ),
    ] {
        chain(&ours, |last| {
            collector_between(&program, folder.path(), theirs, last)
        });
    }
}

#[test]
fn nothing_is_lost_by_way_of_rotel() {
    let Some(program) = rotel() else { return };
    for (ours, protocol) in [
        (["otlp_grpc", "compression = \"gzip\""], "grpc"),
        (["otlp_http", "compression = \"none\""], "http"),
    ] {
        chain(&ours, |last| {
            let [grpc, http] = [local_address(), local_address()];
            let endpoint = format!("http://{}", last.endpoint(protocol));
            let mut command = Command::new(&program);
            command
                .args(["start", "--exporter", "otlp"])
                .args(["--otlp-grpc-endpoint", &grpc])
                .args(["--otlp-http-endpoint", &http])
                .args(["--otlp-exporter-endpoint", &endpoint])
                .args(["--otlp-exporter-protocol", protocol]);
            Other::start(&mut command, grpc, http)
        });
    }
}

/// A script of `tests/peers/`, in Python.
fn script(name: &str) -> Option<Command> {
    let python = found(
        target().join("sdks/python/bin/python"),
        "tests/sdks/install.sh python",
    )?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let mut command = Command::new(python);
    command
        .arg(source.join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

const NOTHING: &str = "[exporters.next]\ntype = \"discard\"\n\
                       [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"next\"]\n";

#[test]
fn the_stock_health_client_is_told_that_we_serve_and_that_we_are_about_to_go() {
    let Some(mut client) = script("health.py") else {
        return;
    };
    let mut daemon = Daemon::start(NOTHING);
    let traces = "opentelemetry.proto.collector.trace.v1.TraceService";
    let mut client = client
        .args([&daemon.endpoint("grpc"), traces, "nobody"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut line = || lines.next().map(Result::unwrap);
    for (service, check, watch) in [
        ("", "SERVING", "SERVING"),
        (traces, "SERVING", "SERVING"),
        ("nobody", "NOT_FOUND", "SERVICE_UNKNOWN"),
    ] {
        let said: Value = serde_json::from_str(&line().unwrap()).unwrap();
        let expected = json!({ "service": service, "check": check, "watch": watch });
        assert_eq!(said, expected);
    }
    assert_eq!(line().as_deref(), Some("watching"));
    assert_eq!(line().as_deref(), Some("SERVING"));
    let (ended, _) = daemon.stop();
    assert!(ended.success(), "{ended}");
    assert_eq!(line().as_deref(), Some("NOT_SERVING"));
    assert!(client.wait().unwrap().success());
}

#[test]
fn a_client_that_pings_all_the_time_keeps_its_connection() {
    let Some(mut client) = script("keepalive.py") else {
        return;
    };
    let daemon = Daemon::start(NOTHING);
    let output = client.arg(daemon.endpoint("grpc")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
