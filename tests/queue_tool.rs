//! `otlpd queue` on what a daemon has on disk, while it runs and after it has stopped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlpd::net::compression::{Encoding, deflate};
use otlpd::otlp::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

mod support {
    pub(crate) mod daemon;
    pub(crate) mod oracle;
    pub(crate) mod payloads;
    pub(crate) mod process;
}
use support::daemon::{Daemon, free_port};
use support::oracle::{Decoded, decode};
use support::payloads;
use support::process::{Running, until};

/// One request of each signal; that of logs is large, and sent compressed.
fn requests() -> [(Signal, Vec<u8>); 3] {
    [
        (Signal::Traces, payloads::traces(30)),
        (Signal::Logs, payloads::logs(2000)),
        (Signal::Metrics, payloads::metrics(20)),
    ]
}

/// A daemon whose backend is at this address, with all that it keeps on disk in `folder`.
fn start(folder: &Path, backend: &str) -> Daemon {
    Daemon::start(&format!(
        "[intake]\nacknowledge = \"stored\"\n\
         [storage]\ndirectory = '{}'\n\
         [exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{backend}\"\n\
         queue = {{ kind = \"disk\", max_bytes = \"64MiB\" }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n\
         [shutdown]\ndeadline = \"1s\"\n",
        folder.display()
    ))
}

/// Sends all of them, and fails unless all are taken.
fn send(daemon: &Daemon) {
    for (signal, body) in requests() {
        let (headers, body) = match signal {
            Signal::Logs => {
                let packed = deflate(Encoding::Gzip, &[body.into()]).unwrap();
                ("content-encoding: gzip\r\n", packed.to_vec())
            }
            _ => ("", body),
        };
        let mut stream = TcpStream::connect(daemon.address("http")).unwrap();
        write!(
            stream,
            "POST {} HTTP/1.1\r\nhost: otlpd\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/x-protobuf\r\n{headers}\r\n",
            signal.http_path(),
            body.len()
        )
        .unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn queue(args: &[&str], folder: &Path) -> Output {
    command(args, folder).output().unwrap()
}

fn command(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
    command
        .arg("queue")
        .args(args)
        .arg("--directory")
        .arg(folder);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it says when all is in order.
fn sound(args: &[&str], folder: &Path) -> Vec<u8> {
    let output = queue(args, folder);
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

/// What opentelemetry-proto reads in exported lines of this signal.
fn lines_of(signal: Signal, folder: &Path) -> Vec<Decoded> {
    let lines = sound(&["export", "--signal", signal.name()], folder);
    let read = |line: &str| match signal {
        Signal::Traces => {
            let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
            Decoded::Traces(request)
        }
        Signal::Metrics => {
            let request: ExportMetricsServiceRequest = serde_json::from_str(line).unwrap();
            Decoded::Metrics(request)
        }
        _ => {
            let request: ExportLogsServiceRequest = serde_json::from_str(line).unwrap();
            Decoded::Logs(request)
        }
    };
    text(&lines).lines().map(read).collect()
}

/// Inspects, verifies and exports; the three requests must be there, byte for byte.
fn assert_all_are_there(folder: &Path) {
    let report: Value =
        serde_json::from_slice(&sound(&["inspect", "--format", "json"], folder)).unwrap();
    let waiting: Vec<&Value> = report["queues"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|queue| queue["requests"] != 0)
        .collect();
    assert_eq!(waiting.len(), 1, "{report:#}");
    let waiting = waiting[0];
    assert_eq!(waiting["exporter"], "backend");
    assert_eq!(waiting["priority"], "normal");
    assert_eq!(waiting["requests"], 3);
    let items = json!({"traces": 30, "metrics": 20, "logs": 2000});
    assert_eq!(waiting["items"], items);
    assert_eq!(waiting["damage"], json!([]));
    assert!(
        waiting["oldest_seconds"].as_u64().unwrap() < 600,
        "{report:#}"
    );
    let report = text(&sound(&["inspect"], folder));
    assert!(report.contains("30 spans, 20 data points, 2000 log records in 3 requests"));

    let report = text(&sound(&["verify"], folder));
    assert!(report.starts_with("3 records in "), "{report}");
    for (signal, body) in requests() {
        assert_eq!(lines_of(signal, folder), [decode(signal, &body).unwrap()]);
        let args = ["export", "--format", "binary", "--signal", signal.name()];
        let binary = sound(&args, folder);
        let (length, message) = binary.split_first_chunk().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, body.len());
        assert!(message == body, "{}", signal.name());
    }
    let all = text(&sound(&["export", "--queue", "backend"], folder));
    assert_eq!(all.lines().count(), 3);
}

/// The files of the log in which all of it is.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let log = folder.join("queue/backend/normal");
    let mut files: Vec<PathBuf> = fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.len() > 10_000))
        .collect();
    files.sort();
    files
}

#[test]
fn what_waits_is_shown_verified_and_exported_while_it_runs_and_after() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut daemon = start(folder, &format!("127.0.0.1:{}", free_port()));
    send(&daemon);
    assert_all_are_there(folder);
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert_all_are_there(folder);
    what_reads_may_leave(folder);
    a_file_is_written_once(folder);
    damage_is_named_and_the_rest_exported(folder);
}

/// A pipe that nobody reads to its end is no failure.
fn what_reads_may_leave(folder: &Path) {
    let mut export = command(&["export"], folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 100];
    let mut out = export.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let output = export.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
}

fn a_file_is_written_once(folder: &Path) {
    let file = folder.join("export.jsonl");
    let args = ["export", "--output", file.to_str().unwrap()];
    let output = queue(&args, folder);
    assert!(output.status.success(), "{output:?}");
    let said = "exported 3 requests: 30 spans, 20 data points, 2000 log records\n";
    assert_eq!(text(&output.stderr), said);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3);
    assert_eq!(queue(&args, folder).status.code(), Some(1));
}

fn damage_is_named_and_the_rest_exported(folder: &Path) {
    let files = segments(folder);
    let file = &files[0];
    let mut bytes = fs::read(file).unwrap();
    // In the middle of the logs, which are most of it.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, &bytes).unwrap();
    let output = queue(&["verify"], folder);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    let name = format!("damaged: {} at ", file.display());
    assert!(report.contains(&name), "{report}");
    assert!(report.ends_with("damaged in 1 place\n"), "{report}");
    let output = queue(&["export"], folder);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&name), "{said}");
    assert_eq!(text(&output.stdout).lines().count(), 2, "{said}");
    assert!(
        said.contains("exported 2 requests: 30 spans, 20 data points;"),
        "{said}"
    );
}

#[test]
fn dead_letters_are_shown_and_exported_when_asked_for() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    // INVALID_ARGUMENT: for good.
    let sink = Running::sink(&[]);
    sink.control("mode=fail&code=3");
    let daemon = start(folder, sink.address("grpc"));
    send(&daemon);
    let letters = || {
        let report = sound(&["inspect", "--dead-letters", "--format", "json"], folder);
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["queues"], json!([]));
        report["dead_letters"].clone()
    };
    until("the dead letters are written", || {
        letters()["requests"] == 3
    });
    let items = json!({"traces": 30, "metrics": 20, "logs": 2000});
    assert_eq!(letters()["items"], items);
    assert!(letters()["oldest_seconds"].as_u64().unwrap() < 600);
    let lines = text(&sound(&["export", "--dead-letters"], folder));
    assert_eq!(lines.lines().count(), 3);
    let traces = text(&sound(
        &["export", "--dead-letters", "--signal", "traces"],
        folder,
    ));
    let request: ExportTraceServiceRequest = serde_json::from_str(&traces).unwrap();
    assert_eq!(
        Decoded::Traces(request),
        decode(Signal::Traces, &payloads::traces(30)).unwrap()
    );
    // They are not what waits.
    assert_eq!(text(&sound(&["export"], folder)), "");
}
