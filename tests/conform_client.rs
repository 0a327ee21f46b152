//! `otlpd conform client` says of exporters what they are: of otlpd's own, that each line passes;
//! of one with bad manners, exactly which lines fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;
#[path = "support/sender.rs"]
mod sender;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use daemon::{Daemon, free_port};
use sender::{Manners, Sender};

/// A suite that is playing.
struct Suite {
    child: Child,
    address: SocketAddr,
    said: BufReader<std::process::ChildStderr>,
}

impl Suite {
    /// Starts it with these arguments; it reports in JSON.
    fn start(listen: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
        command.args(["conform", "client", "--format", "json", "--listen", listen]);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        said.read_line(&mut greeting).unwrap();
        let address = greeting.strip_prefix("listening on ").expect(&greeting);
        let address = address.split(',').next().unwrap().parse().unwrap();
        Self {
            child,
            address,
            said,
        }
    }

    /// Waits for its end: the exit code and the report.
    fn report(mut self) -> (Option<i32>, Value) {
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            self.said.read_to_string(&mut text).unwrap();
            text
        });
        let mut report = String::new();
        let mut out = self.child.stdout.take().unwrap();
        out.read_to_string(&mut report).unwrap();
        let code = self.child.wait().unwrap().code();
        let said = said.join().unwrap();
        let report = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}{said}"));
        (code, report)
    }
}

/// The verdict on each line.
fn verdicts(report: &Value) -> BTreeMap<String, String> {
    let lines = report["lines"].as_array().unwrap();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines
        .iter()
        .map(|line| (text(line, "id"), text(line, "verdict")))
        .collect()
}

/// The lines that are said to be so.
fn ids(report: &Value, verdict: &str) -> Vec<String> {
    let mut lines = verdicts(report);
    lines.retain(|_, found| found == verdict);
    lines.into_keys().collect()
}

/// A machine that stands still for some seconds makes delays out of nothing, and answers late: what
/// is judged wrong is judged once more. Whoever is wrong is so each time.
const TRIES: usize = 3;

#[test]
fn otlpds_own_exporters_pass_every_line_that_can_be_seen() {
    let mut found = String::new();
    for _ in 0..TRIES {
        match judge_our_own() {
            Ok(()) => return,
            Err(report) => found = report,
        }
    }
    panic!("{found}");
}

/// Whether all is well; else the report.
fn judge_our_own() -> Result<(), String> {
    // Between choosing the port and listening on it another process may take it; then the suite
    // does not greet, and the test fails with its reason.
    let listen = format!("127.0.0.1:{}", free_port());
    let lane = "timeout = \"3s\"\nbreaker = { failures = 0 }\n\
                retry_on_failure = { initial_interval = \"200ms\", max_interval = \"5s\" }";
    let daemon = Daemon::start(&format!(
        "[exporters.by_grpc]\ntype = \"otlp_grpc\"\nendpoint = \"http://{listen}\"\n{lane}\n\
         [exporters.by_http]\ntype = \"otlp_http\"\nendpoint = \"http://{listen}\"\n{lane}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"by_grpc\", \"by_http\"]\n"
    ));
    let feed = format!("http://{}", daemon.endpoint("http"));
    let arguments = ["--feed", &feed, "--quiet", "3s", "--patience", "60s"];
    let (code, report) = Suite::start(&listen, &arguments).report();
    let passed = ids(&report, "pass");
    let missing = [
        "C1", "C2", "C3", "C4", "C5a", "C5b", "C6a", "C6b", "C7", "C8", "C9", "C10", "C11", "C12",
        "C14", "C15", "C17", "C18", "C19", "C20", "C21", "C24", "C25", "C27", "C28",
    ]
    .into_iter()
    .filter(|id| !passed.iter().any(|passed| passed == id));
    let missing: Vec<&str> = missing.collect();
    let wrong = [ids(&report, "fail"), ids(&report, "differs")].concat();
    match (code, wrong.is_empty(), missing.is_empty()) {
        (Some(0), true, true) => Ok(()),
        _ => Err(format!(
            "code {code:?}, wrong {wrong:?}, not passed {missing:?}: {report:#}"
        )),
    }
}

/// The lines that fail for a client of these manners, and those that differ; the rest pass.
fn judged(manners: Manners) -> (Vec<String>, Vec<String>) {
    let arguments = [
        "--protocol",
        "http/protobuf",
        "--quiet",
        "2s",
        "--patience",
        "8s",
    ];
    let suite = Suite::start("127.0.0.1:0", &arguments);
    let sender = Sender::start(suite.address, manners);
    let (code, report) = suite.report();
    drop(sender);
    let failed = ids(&report, "fail");
    assert_eq!(code, Some(i32::from(!failed.is_empty())), "{report:#}");
    (failed, ids(&report, "differs"))
}

/// The manners of a client, which lines fail for it, and which differ.
type Known = (
    &'static str,
    Manners,
    &'static [&'static str],
    &'static [&'static str],
);

fn clients() -> Vec<Known> {
    let good = Manners::default;
    let retries_all = Manners {
        retries: |status| status >= 400,
        ..good()
    };
    let never_retries = Manners {
        retries: |_| false,
        retries_what_broke: false,
        ..good()
    };
    let hasty = Manners {
        heeds_retry_after: false,
        ..good()
    };
    let retries_partial = Manners {
        retries_partial_success: true,
        ..good()
    };
    let retries_large = Manners {
        retries_large_answers: true,
        ..good()
    };
    let regular = Manners {
        has_jitter: false,
        backs_off: false,
        ..good()
    };
    let wasteful = Manners {
        keeps_connections: false,
        sends_empty_requests: true,
        ..good()
    };
    let follows = Manners {
        follows_redirects_by_get: true,
        ..good()
    };
    let after_never: &[&str] = &["C19", "C5a", "C6a", "C6b", "C7", "C8"];
    vec![
        ("good manners", good(), &[], &[]),
        ("retries everything", retries_all, &["C5b"], &[]),
        ("never retries", never_retries, after_never, &[]),
        ("ignores Retry-After", hasty, &["C6a"], &[]),
        (
            "retries partial successes",
            retries_partial,
            &["C11", "C9"],
            &[],
        ),
        ("retries after large answers", retries_large, &["C14"], &[]),
        ("does not back off", regular, &["C7"], &[]),
        ("closes, and sends nothing", wasteful, &["C19", "C28"], &[]),
        ("follows a redirect by a GET", follows, &[], &["C20"]),
    ]
}

#[test]
fn of_a_client_with_bad_manners_exactly_those_lines_fail() {
    // Each is watched for half a minute, most of it waiting; so all at once.
    std::thread::scope(|scope| {
        let judging = clients()
            .into_iter()
            .map(|(what, manners, failed, differ)| {
                let judging = scope.spawn(move || judged(manners));
                (what, manners, judging, failed, differ)
            });
        for (what, manners, judging, failed, differ) in judging.collect::<Vec<_>>() {
            let mut found = judging.join().unwrap();
            for _ in 1..TRIES {
                if found.0 != failed || found.1 != differ {
                    found = judged(manners);
                }
            }
            assert_eq!(found.0, failed, "{what}");
            assert_eq!(found.1, differ, "{what}");
        }
    });
}

#[test]
fn a_client_that_says_what_its_body_is_not_is_found_out() {
    let manners = Manners {
        headers: "content-type: application/x-protobuf\r\nuser-agent: python-requests\r\n\
                  content-encoding: gzip\r\n",
        ..Manners::default()
    };
    // It cannot be read, so no scenario has a request.
    let suite = Suite::start(
        "127.0.0.1:0",
        &["--protocol", "http/protobuf", "--patience", "2s"],
    );
    let sender = Sender::start(suite.address, manners);
    let (code, report) = suite.report();
    drop(sender);
    assert_eq!(code, Some(1));
    assert_eq!(ids(&report, "fail"), ["C17", "C18"], "{report:#}");
}
