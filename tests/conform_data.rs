//! `otlpd conform` on JSON, protobuf and profiles: against the daemon with its destination in
//! sight, against servers that are wrong about some requests, and against collectors that lose
//! some of what they pass on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "support/censor.rs"]
mod censor;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::Value;

use censor::{Judge, Rewrite, Server};
use daemon::{Daemon, free_port};

/// Runs `otlpd conform ARGS`, and returns the report.
fn conform(args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
    command.args(["conform", "--format", "json", "--timeout", "120s"]);
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"))
}

/// The lines of this verdict.
fn ids(report: &Value, verdict: &str) -> Vec<String> {
    let lines = report["lines"].as_array().unwrap().iter();
    let found = lines.filter(|line| line["verdict"] == verdict);
    found
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect()
}

const DISCARD: &str = "[exporters.out]\ntype = \"discard\"\n\
                       [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n";

#[test]
fn otlpd_passes_every_must_and_should_and_passes_on_what_it_took() {
    let sink = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let daemon = Daemon::start(&format!(
        "[exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://{sink}\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
    ));
    let (grpc, http) = (
        daemon.endpoint("grpc"),
        format!("http://{}", daemon.endpoint("http")),
    );
    let (sink, signals) = (sink.to_string(), "traces,metrics,logs,profiles");
    let report = conform(&[
        "--grpc",
        &grpc,
        "--http",
        &http,
        "--sink",
        &sink,
        "--signals",
        signals,
        "--only",
        "J,P,R",
    ]);
    let failing = ids(&report, "fail");
    assert!(failing.is_empty(), "{failing:?} {report:#}");
    let passed = ids(&report, "pass");
    for id in [
        "J1", "J12b", "J17b", "J21b", "J27b", "J34", "P1", "P2", "P11", "P14", "P24", "R8",
    ] {
        assert!(passed.iter().any(|found| found == id), "{id}: {report:#}");
    }
}

fn has(body: &[u8], part: &str) -> bool {
    body.windows(part.len())
        .any(|found| found == part.as_bytes())
}

fn is_json(body: &[u8]) -> bool {
    body.first() == Some(&b'{')
}

/// What a server is wrong about, and which lines fail for it, beyond those of the daemon behind.
const WRONG: &[(&str, Judge, &[&str])] = &[
    (
        "takes ids in base64",
        |body| has(body, "W47/95gDgQ").then_some(200),
        &["J3"],
    ),
    (
        "refuses integers that are numbers",
        |body| has(body, "\"asInt\":7").then_some(400),
        &["J11"],
    ),
    (
        "refuses NaN and the infinities",
        |body| (has(body, "\"NaN\"") || has(body, "nfinity\"")).then_some(400),
        &["J17"],
    ),
    (
        "refuses null",
        |body| (is_json(body) && has(body, ":null")).then_some(400),
        &["J18"],
    ),
    (
        "refuses a list without values",
        |body| has(body, "\"arrayValue\":{}}").then_some(400),
        &["J20"],
    ),
    (
        "refuses base64 that is URL-safe",
        |body| has(body, "--___g").then_some(400),
        &["J21"],
    ),
    (
        "takes what is not UTF-8",
        |body| (is_json(body) && std::str::from_utf8(body).is_err()).then_some(200),
        &["J28"],
    ),
    (
        "refuses keys that it does not know",
        |body| has(body, "conformUnknown").then_some(400),
        &["J9"],
    ),
    (
        "asks to try deep nesting again",
        |body| (body.len() > 100_000 && is_json(body)).then_some(503),
        &["J23"],
    ),
    (
        "refuses fields that it does not know",
        |body| has(body, "not known").then_some(400),
        &["P1"],
    ),
    (
        "asks to try damaged requests again",
        |body| (body.len() == 11 && body[0] == 10).then_some(503),
        &["P22"],
    ),
];

#[test]
fn of_a_wrong_server_exactly_what_it_is_wrong_about_is_found() {
    let daemon = Daemon::start(DISCARD);
    let behind = daemon.address("http");
    std::thread::scope(|scope| {
        let judging = WRONG.iter().map(|(what, judge, expected)| {
            let judging = scope.spawn(move || {
                let server = Server::censor(behind, *judge);
                let http = format!("http://{}", server.http);
                conform(&["--http", &http, "--only", "J,P", "--skip", "P23"])
            });
            (what, judging, expected)
        });
        for (what, judging, expected) in judging.collect::<Vec<_>>() {
            let report = judging.join().unwrap();
            let failing = ids(&report, "fail");
            assert_eq!(failing, *expected, "{what}: {report:#}");
        }
    });
}

/// What many collectors do: fields that the types do not have are lost.
fn decoded_and_encoded(path: &str, body: &[u8]) -> Vec<u8> {
    match path {
        "/v1/traces" => ExportTraceServiceRequest::decode(body)
            .unwrap_or_default()
            .encode_to_vec(),
        "/v1/metrics" => ExportMetricsServiceRequest::decode(body)
            .unwrap_or_default()
            .encode_to_vec(),
        _ => ExportLogsServiceRequest::decode(body)
            .unwrap_or_default()
            .encode_to_vec(),
    }
}

/// The same, and without schema URLs and the upper bits of flags.
fn careless(path: &str, body: &[u8]) -> Vec<u8> {
    let body = decoded_and_encoded(path, body);
    if path != "/v1/traces" {
        return body;
    }
    let mut request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    for resource in &mut request.resource_spans {
        resource.schema_url.clear();
        for span in resource
            .scope_spans
            .iter_mut()
            .flat_map(|scope| &mut scope.spans)
        {
            span.flags &= 0xff;
        }
    }
    request.encode_to_vec()
}

#[test]
fn of_a_collector_that_loses_data_exactly_that_is_found() {
    let of = |rewrite: Rewrite| {
        let sink = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let server = Server::collector(sink, rewrite);
        let (http, sink) = (format!("http://{}", server.http), sink.to_string());
        let only = "P2,P11,P12,P13,P14";
        let report = conform(&["--http", &http, "--sink", &sink, "--only", only]);
        (ids(&report, "fail"), ids(&report, "differs"))
    };
    let (failing, differing) = of(decoded_and_encoded);
    assert_eq!(
        (failing.len(), differing.as_slice()),
        (0, ["P2".to_owned()].as_slice()),
        "{failing:?}"
    );
    let (failing, _) = of(careless);
    assert_eq!(failing, ["P12", "P13"]);
}

/// As the crate with the generated types writes it, which is right but for NaN.
fn as_json(path: &str, body: &[u8]) -> String {
    assert_eq!(path, "/v1/traces");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    serde_json::to_string(&request).unwrap()
}

/// What a writer of JSON does, and which lines are to fail or differ for it.
const WRITERS: &[(Rewrite, &[&str])] = &[
    (|path, body| as_json(path, body).into(), &["J32"]),
    (
        |path, body| {
            as_json(path, body)
                .replace("\"kind\":2", "\"kind\":\"SPAN_KIND_SERVER\"")
                .into()
        },
        &["J31", "J32"],
    ),
    (
        |path, body| {
            as_json(path, body)
                .replace("\"scopeSpans\"", "\"scope_spans\"")
                .into()
        },
        &["J31", "J32"],
    ),
    (
        |path, body| {
            as_json(path, body)
                .replace("\"name\":\"conform\"", "\"name\":\"conform\",\"x\":null")
                .into()
        },
        &["J31b", "J32"],
    ),
    (
        |path, body| {
            as_json(path, body)
                .replace("\"9007199254740993\"", "9007199254740993")
                .into()
        },
        &["J31", "J32"],
    ),
];

#[test]
fn of_a_writer_of_json_exactly_what_it_writes_wrong_is_found() {
    for (number, (rewrite, expected)) in WRITERS.iter().enumerate() {
        let sink = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let server = Server::collector(sink, *rewrite);
        let (http, sink) = (format!("http://{}", server.http), sink.to_string());
        let only = "J31,J31b,J32";
        // It writes spans, and nothing else.
        let asked = ["--signals", "traces", "--only", only];
        let report = conform(&[&["--http", &http, "--sink", &sink][..], &asked].concat());
        let mut found = [ids(&report, "fail"), ids(&report, "differs")].concat();
        found.sort();
        assert_eq!(found, *expected, "writer {number}: {report:#}");
    }
}

#[test]
fn otlpd_writes_json_as_it_should() {
    let sink = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let daemon = Daemon::start(&format!(
        "[exporters.out]\ntype = \"otlp_http\"\nencoding = \"json\"\nendpoint = \"http://{sink}\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
    ));
    let grpc = daemon.endpoint("grpc");
    let sink = sink.to_string();
    let only = "J31,J32,P11";
    let report = conform(&["--grpc", &grpc, "--sink", &sink, "--only", only]);
    assert_eq!(ids(&report, "pass"), ["J31", "J31b", "J32"], "{report:#}");
    // What it reads in protobuf it says that it cannot see.
    assert_eq!(ids(&report, "skip"), ["P11"], "{report:#}");
}
