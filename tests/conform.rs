//! `otlpd conform`: against the daemon, which passes, and against servers that are wrong in one
//! known way each, of which it finds that and nothing else.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "support/altered.rs"]
mod altered;
#[path = "support/door.rs"]
mod door;
#[path = "support/pki.rs"]
mod pki;

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use altered::{Altered, Change};
use door::{DISCARD, Daemon, Setup, free_port};
use serde_json::Value;

/// Runs `otlpd conform ARGS`.
fn conform(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
    command.arg("conform").args(args).stdin(Stdio::null());
    command.output().unwrap()
}

/// The same with `--format json`: its exit code and the run.
fn run(args: &[&str]) -> (i32, Value) {
    let output = conform(&[&["--format", "json"], args].concat());
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.code().unwrap(),
        report.expect("one JSON object"),
    )
}

/// The ids of the lines of this verdict, and all that is said of them.
fn lines<'a>(report: &'a Value, verdict: &str) -> Vec<(&'a str, &'a Value)> {
    let lines = report["lines"].as_array().unwrap().iter();
    let found = lines.filter(|line| line["verdict"] == verdict);
    found
        .map(|line| (line["id"].as_str().unwrap(), line))
        .collect()
}

fn ids(report: &Value, verdict: &str) -> BTreeSet<String> {
    let found = lines(report, verdict);
    found.into_iter().map(|(id, _)| id.to_owned()).collect()
}

/// A daemon that refuses all for now, as one does that is overloaded or whose destination fails.
fn refusing() -> Daemon {
    let sections = DISCARD.replace(
        "[pipelines.main]",
        "[processors.rehearsal]\ntype = \"fault\"\nerror = \"unavailable\"\n\
         [pipelines.main]\nprocessors = [\"rehearsal\"]",
    );
    Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    })
}

/// A daemon that gives up slow clients soon, though none that a machine holds up for a moment, and
/// takes no large requests: in a build without optimisation those take their time.
fn impatient() -> Daemon {
    Daemon::start(&Setup {
        grpc: ", max_recv_msg_size = \"4MiB\"",
        http: ", read_header_timeout = \"6s\", read_timeout = \"6s\", max_request_body_size = \"4MiB\"",
        ..Setup::default()
    })
}

/// The lines about data are asked for in `conform_data.rs`.
#[test]
fn otlpd_passes_every_must_and_should() {
    let (daemon, refusing) = (impatient(), refusing());
    let (grpc, http) = (daemon.grpc.to_string(), format!("http://{}", daemon.http));
    let refusing = (
        refusing.grpc.to_string(),
        format!("http://{}", refusing.http),
        refusing,
    );
    let (code, report) = run(&[
        &[
            "--grpc",
            &grpc,
            "--http",
            &http,
            "--slow",
            "60s",
            "--timeout",
            "60s",
        ][..],
        &[
            "--signals",
            "traces,metrics,logs,profiles",
            "--floods",
            "--only",
            "G,H,T",
            "--skip",
            "G32",
            "--request-limit",
            "4MiB",
        ],
        &[
            "--overloaded-grpc",
            &refusing.0,
            "--overloaded-http",
            &refusing.1,
        ],
        &["--failing-grpc", &refusing.0, "--failing-http", &refusing.1],
    ]
    .concat());
    let failing = lines(&report, "fail");
    assert!(failing.is_empty(), "{failing:#?}");
    assert_eq!(code, 0);
    // What has to be arranged was arranged.
    for id in [
        "G1", "G5", "G8", "G9", "G12", "H1", "H11", "H18", "H40", "H48", "T9", "T10",
    ] {
        assert!(ids(&report, "pass").contains(id), "{id}: {report:#}");
    }
}

/// A token, as good as any.
const TOKEN: &str = "conform-conform-conform";

/// Everything that has to be configured: TLS with client certificates, tokens, CORS.
#[test]
fn otlpd_passes_with_tls_tokens_and_browsers_too() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), pki::Authority::new("conform"));
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (server, client) = (authority.issue(1), authority.issue(2));
    let ca = file("ca.crt", &authority.certificate);
    let (cert, key) = (
        file("tls.crt", &server.certificate),
        file("tls.key", &server.key),
    );
    let own = (
        file("own.crt", &client.certificate),
        file("own.key", &client.key),
    );
    let tls =
        format!(", tls = {{ cert_file = {cert:?}, key_file = {key:?}, client_ca_file = {ca:?} }}");
    let origin = "https://app.example.com";
    let daemon = Daemon::start(&Setup {
        grpc: &tls,
        http: &format!(
            "{tls}, cors = {{ allowed_origins = [{origin:?}], allow_credentials = true }}"
        ),
        sections: &format!(
            "[receivers.apps.auth]\ntype = \"bearer\"\ntokens = [\"{TOKEN}\"]\n{DISCARD}"
        ),
        ..Setup::default()
    });
    let (grpc, http) = (
        format!("https://{}", daemon.grpc),
        format!("https://{}", daemon.http),
    );
    let arguments = [
        &["--grpc", &grpc, "--http", &http, "--tls-ca", &ca][..],
        &["--client-cert", &own.0, "--client-key", &own.1],
        &["--bearer", TOKEN, "--cors-origin", origin],
        &[
            "--only",
            "G1,G30,H1,H13,H37,H38,H52,H53,H54,H55,T",
            "--timeout",
            "30s",
        ],
    ];
    let (code, report) = run(&arguments.concat());
    let failing = [lines(&report, "fail"), lines(&report, "differs")].concat();
    assert!(failing.is_empty(), "{failing:#?}");
    assert_eq!(code, 0);
    for id in [
        "G30", "H38", "H52", "H54", "T1", "T1b", "T1c", "T2", "T2b", "T5", "T6", "T6b",
    ] {
        assert!(ids(&report, "pass").contains(id), "{id}: {report:#}");
    }
}

#[test]
fn the_text_is_aligned_and_ends_with_the_totals() {
    let daemon = Daemon::start(&Setup::default());
    let (grpc, http) = (daemon.grpc.to_string(), format!("http://{}", daemon.http));
    let output = conform(&[
        "--grpc",
        &grpc,
        "--http",
        &http,
        "--only",
        "G1,G20,G25,H1,H44,T7",
        "--timeout",
        "60s",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(
        text.lines().last().unwrap(),
        "4 passed, 0 failed, 2 skipped"
    );
    let rows: Vec<&str> = text.lines().skip(2).take(6).collect();
    assert!(
        rows[0].starts_with("pass    G1   MUST   Export of each signal"),
        "{text}"
    );
    assert!(
        rows[2].starts_with("skip    G25  CHOICE the client's deadline"),
        "{text}"
    );
    let junit = ["--grpc", &grpc, "--only", "G1", "--format", "junit"];
    let junit = conform(&[&junit[..], &["--timeout", "60s"]].concat());
    let xml = String::from_utf8(junit.stdout).unwrap();
    assert!(
        xml.contains("<testcase classname=\"MUST\" name=\"G1 Export"),
        "{xml}"
    );
}

#[test]
fn what_was_not_understood_is_code_two_and_nobody_there_is_code_one() {
    for args in [
        &[][..],
        &["--grpc", "h:1", "--only", "Q"],
        &["--http", "ftp://x"],
    ] {
        assert_eq!(conform(args).status.code(), Some(2), "{args:?}");
    }
    let nobody = format!("127.0.0.1:{}", free_port());
    let output = conform(&["--grpc", &nobody]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("cannot connect to http://{nobody}")),
        "{said}"
    );
    assert_eq!(conform(&["--list"]).status.code(), Some(0));
}

/// `OTLPD_BLESS=1 cargo test --test conform lists` writes them anew.
#[test]
fn the_page_lists_every_line() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md");
    let page = std::fs::read_to_string(path).unwrap();
    let list = String::from_utf8(conform(&["--list"]).stdout).unwrap();
    let (before, rest) = page.split_once("```text\n").unwrap();
    let (_, after) = rest.split_once("```\n").unwrap();
    let expected = format!("{before}```text\n{list}```\n{after}");
    if std::env::var_os("OTLPD_BLESS").is_some() {
        std::fs::write(path, &expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "docs/conformance.md lacks lines of --list: OTLPD_BLESS=1"
    );
}

#[test]
fn an_endpoint_that_was_not_given_is_the_reason_to_skip_its_lines() {
    let daemon = Daemon::start(&Setup::default());
    let grpc = daemon.grpc.to_string();
    let (code, report) = run(&["--grpc", &grpc, "--only", "G1,H1"]);
    assert_eq!(code, 0);
    let skipped = lines(&report, "skip");
    assert_eq!(skipped.len(), 1);
    assert_eq!(
        skipped[0].1["reason"],
        "no HTTP endpoint was given (--http)"
    );
}

/// The lines about wrong answers: all but those that wait, and those whose subject is the
/// connection, which is the altering server's own.
const ABOUT_ANSWERS: [&str; 8] = [
    "--only",
    "G,H",
    "--skip",
    "G23,G26,G27,G32,H18b,H22,H23,H35,H36,H48,H49,H50,H51",
    "--request-limit",
    "1MiB",
    "--timeout",
    "30s",
];

/// What a server that changes answers so fails, and where it differs.
fn findings(daemon: &Daemon, change: Change) -> (BTreeSet<String>, BTreeSet<String>) {
    let server = Altered::start(daemon.grpc, daemon.http, change);
    let (grpc, http) = (server.grpc.to_string(), format!("http://{}", server.http));
    let (_, report) = run(&[&["--grpc", &grpc, "--http", &http][..], &ABOUT_ANSWERS].concat());
    (ids(&report, "fail"), ids(&report, "differs"))
}

#[test]
fn a_server_that_is_wrong_in_one_way_fails_the_lines_about_that() {
    let limits = (
        ", max_recv_msg_size = \"1MiB\"",
        ", max_request_body_size = \"1MiB\"",
    );
    let daemon = Daemon::start(&Setup {
        grpc: limits.0,
        http: limits.1,
        ..Setup::default()
    });
    let (fails, differs) = findings(&daemon, Change::Nothing);
    assert!(fails.is_empty(), "the altering server itself: {fails:?}");
    // A few at once: most of a run is waiting.
    let check = |(change, expected): &(Change, altered::Expected)| {
        let found = findings(&daemon, *change);
        let beyond = |found: &BTreeSet<String>, usual: &BTreeSet<String>| {
            let more: Vec<&str> = found.difference(usual).map(String::as_str).collect();
            more.join(" ")
        };
        let fewer = beyond(&fails, &found.0);
        let found = (beyond(&found.0, &fails), beyond(&found.1, &differs), fewer);
        let fits = found
            == (
                expected.fails.to_owned(),
                expected.differs.to_owned(),
                String::new(),
            );
        (!fits).then(|| format!("{change:?}: fails, differs, passes now: {found:?}"))
    };
    let wrong: Vec<String> = altered::CHANGES
        .chunks(4)
        .flat_map(|some| {
            std::thread::scope(|scope| {
                let running: Vec<_> = some.iter().map(|one| scope.spawn(|| check(one))).collect();
                let found = running.into_iter().map(|one| one.join().unwrap());
                found.collect::<Vec<_>>()
            })
        })
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
