//! Requests that one destination refuses and another takes, and what becomes of them.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use otlpd::otlp::Signal;
use prost::Message;

use crate::calls::{Capture, Client};
use crate::daemon::Daemon;
use crate::process::until;

/// What the destination cannot stand in a request.
pub(crate) const MARKER: &str = "marked";

/// A request of one log record with this body.
pub(crate) fn request(body: &str) -> Vec<u8> {
    let value = Some(Value::StringValue(body.to_owned()));
    let record = LogRecord {
        body: Some(AnyValue { value }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs {
        log_records: vec![record],
        ..ScopeLogs::default()
    };
    let resource_logs = vec![ResourceLogs {
        scope_logs: vec![scope],
        ..ResourceLogs::default()
    }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// Requests in one, as a merged one is.
pub(crate) fn merged(bodies: &[&str]) -> Vec<u8> {
    bodies.iter().flat_map(|body| request(body)).collect()
}

/// Refuses for good what holds the marker, and takes everything else.
pub(crate) async fn squeamish() -> Capture {
    Capture::judging(|(_, body)| match holds(body, MARKER) {
        true => 3,
        false => 0,
    })
    .await
}

pub(crate) fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// A daemon that keeps its dead letters in `folder`. `lane` may end with a `[storage]` table.
pub(crate) fn daemon(folder: &Path, exporter: &str, address: SocketAddr, lane: &str) -> Daemon {
    let storage = match lane.contains("[storage]") {
        true => "",
        false => "[storage]\n",
    };
    Daemon::start(&format!(
        "[exporters.backend]\ntype = \"{exporter}\"\nendpoint = \"http://{address}\"\n\
         compression = \"none\"\n{lane}\n{storage}directory = \"{}\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        folder.display()
    ))
}

/// Sends these requests, all of which are taken.
pub(crate) async fn send(daemon: &Daemon, requests: &[Vec<u8>]) {
    let mut client = Client::grpc(daemon.address("grpc")).await;
    for request in requests {
        let heard = client.send(Signal::Logs, request).await;
        assert_eq!(heard.code, 0, "{heard:?}");
    }
}

/// Has marked requests with these bodies become dead letters in `folder`, by a daemon that has
/// ended.
pub(crate) async fn leave(folder: &Path, bodies: &[&str]) {
    let refusing = squeamish().await;
    let mut daemon = daemon(
        folder,
        "otlp_grpc",
        refusing.address,
        "batch.max_items = 1\nmax_in_flight = 1",
    );
    let requests: Vec<_> = bodies
        .iter()
        .map(|body| request(&format!("{MARKER} {body}")))
        .collect();
    send(&daemon, &requests).await;
    until("all are dead letters", || {
        daemon.account("logs", "backend")["dead_lettered"] == bodies.len()
    });
    let (status, ledger) = daemon.stop();
    assert!(status.success(), "{ledger}");
}

/// `otlpd replay --directory FOLDER ARGS`, to its end.
pub(crate) fn replay(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
    command
        .arg("replay")
        .arg("--directory")
        .arg(folder)
        .args(args);
    command.output().unwrap()
}

/// A row of the ledger that a replay prints: requests and items.
pub(crate) fn row(output: &Output, name: &str) -> (u64, u64) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let found = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| {
            let requests = words.next().unwrap().parse().unwrap();
            (requests, words.nth(1).unwrap().parse().unwrap())
        })
    });
    found.unwrap_or_else(|| panic!("no {name} in {output:?}"))
}
