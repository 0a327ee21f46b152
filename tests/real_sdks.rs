//! The stock OpenTelemetry SDKs of five languages, over gRPC and HTTP/protobuf, plain and
//! gzipped, send known numbers of spans, log records and data points through the built daemon
//! to another OTLP endpoint, and all of them arrive, once.
//!
//! `tests/sdks/install.sh` installs the SDKs below `target/sdks/`. A language that is not there
//! is left out, and a line says so; with `OTLPD_SDKS=required` one whose tools are on this
//! machine must be there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::explicit_write,
    reason = "a test may panic and print, and one line here must pass by what hides that"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use daemon::Daemon;
use process::until;

/// Items of each signal from each client: two requests, as the batch processors of all SDKs
/// send 512 at once.
const COUNT: usize = 1000;

/// Each scenario keeps both cores busy by itself.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A language, the tools that its installation needs, and how its client is started.
struct Language {
    name: &'static str,
    tools: &'static [&'static str],
    client: fn(&Path) -> Command,
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "python",
        tools: &["python3"],
        client: |sdks| {
            let mut client = Command::new(sdks.join("python/bin/python"));
            client.arg(source("python/send.py"));
            client
        },
    },
    Language {
        name: "javascript",
        tools: &["node", "npm"],
        client: |sdks| {
            let mut client = Command::new("node");
            client.env("NODE_PATH", sdks.join("javascript/node_modules"));
            client.arg(source("javascript/send.js"));
            client
        },
    },
    Language {
        name: "go",
        tools: &["go"],
        client: |sdks| Command::new(sdks.join("go/send")),
    },
    Language {
        name: "java",
        tools: &["java", "javac", "mvn"],
        client: |sdks| {
            let mut client = Command::new("java");
            let path = format!("{0}/classes:{0}/lib/*", sdks.join("java").display());
            client.args(["-cp", &path, "Send"]);
            client
        },
    },
    Language {
        name: "rust",
        tools: &["cargo"],
        client: |sdks| Command::new(sdks.join("rust/debug/send")),
    },
];

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdks")
        .join(path)
}

/// Where `install.sh` puts what it installs.
fn sdks() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("sdks")
}

/// The languages whose SDKs are installed; none without Python, in which the sink is written.
fn languages() -> Vec<&'static Language> {
    let (here, missing): (Vec<&Language>, Vec<&Language>) = LANGUAGES
        .iter()
        .partition(|language| sdks().join(format!("{}.installed", language.name)).exists());
    let required = std::env::var("OTLPD_SDKS").is_ok_and(|value| value == "required");
    for Language { name, tools, .. } in missing {
        let lacking: Vec<&&str> = tools.iter().filter(|tool| !runs(tool)).collect();
        let cause = match lacking.as_slice() {
            [] => "run tests/sdks/install.sh".to_owned(),
            lacking => format!("not on this machine: {lacking:?}"),
        };
        assert!(
            !required || !lacking.is_empty(),
            "{name} is not installed: {cause}"
        );
        say(&format!(
            "SKIPPED: the SDK of {name} is not installed: {cause}"
        ));
    }
    if here.iter().any(|language| language.name == "python") {
        return here;
    }
    say("SKIPPED: no SDK is tried, because the sink needs Python");
    Vec::new()
}

fn runs(tool: &str) -> bool {
    // All of them know one of these, and end.
    ["--version", "version"].into_iter().any(|argument| {
        let tool = Command::new(tool)
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tool.is_ok_and(|status| status.success())
    })
}

/// A line for whoever reads the output of `cargo test`, which hides what passing tests print.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// The sink of `tests/sdks/sink.py`.
struct Sink {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    grpc: String,
    http: String,
}

/// What the sink counted of one service and signal over one protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Count {
    service: String,
    signal: String,
    protocol: String,
    items: usize,
    unique: usize,
    strange: usize,
}

impl Sink {
    /// One whose ports are taken, and refuse connections.
    fn closed() -> Self {
        let mut child = Command::new(sdks().join("python/bin/python"))
            .arg(source("sink.py"))
            .arg(COUNT.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sink = Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            grpc: String::new(),
            http: String::new(),
        };
        let ports = sink.answer();
        sink.grpc = ports["grpc"].as_str().unwrap().to_owned();
        sink.http = ports["http"].as_str().unwrap().to_owned();
        sink
    }

    fn open(&mut self) {
        writeln!(self.orders, "open").unwrap();
        self.answer();
    }

    fn counts(&mut self) -> Vec<Count> {
        writeln!(self.orders, "counts").unwrap();
        let counts = self.answer();
        serde_json::from_value(counts).unwrap()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for everything that the clients sent to arrive over these protocols.
    fn wait(&mut self, languages: &[&Language], protocols: &[&str]) {
        let expected = expected(languages, protocols);
        let all = COUNT * expected.len();
        let mut counts = Vec::new();
        until("all that was sent to arrive", || {
            let before = std::mem::replace(&mut counts, self.counts());
            let arrived: usize = counts.iter().map(|count| count.items).sum();
            if before != counts {
                println!("{arrived} of {all} items have arrived");
            }
            arrived >= all
        });
        assert_eq!(counts, expected);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Every number once, in every way.
fn expected(languages: &[&Language], protocols: &[&str]) -> Vec<Count> {
    let mut expected = Vec::new();
    for language in languages {
        for way in ["grpc/none", "grpc/gzip", "http/none", "http/gzip"] {
            for signal in ["traces", "metrics", "logs"] {
                for protocol in protocols {
                    expected.push(Count {
                        service: format!("{}/{way}", language.name),
                        signal: signal.to_owned(),
                        protocol: (*protocol).to_owned(),
                        items: COUNT,
                        unique: COUNT,
                        strange: 0,
                    });
                }
            }
        }
    }
    expected.sort();
    expected
}

/// The clients of all languages, sending at once.
struct Clients {
    running: BTreeMap<&'static str, Child>,
    said: TempDir,
}

impl Clients {
    /// Waits until all are set up, and then lets them begin.
    fn start(languages: &[&Language], daemon: &Daemon) -> Self {
        let said = tempfile::tempdir().unwrap();
        let start = |language: &&Language| {
            let client = (language.client)(&sdks())
                .args(["grpc", "http"].map(|protocol| daemon.endpoint(protocol)))
                .arg(COUNT.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(File::create(said.path().join(language.name)).unwrap())
                .spawn();
            (language.name, client.unwrap())
        };
        let mut running: BTreeMap<_, _> = languages.iter().map(start).collect();
        for (name, client) in &mut running {
            let mut line = String::new();
            let stdout = BufReader::new(client.stdout.take().unwrap());
            stdout.take(6).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n", "{name}");
        }
        for client in running.values_mut() {
            writeln!(client.stdin.take().unwrap(), "begin").unwrap();
        }
        Self { running, said }
    }

    /// Those that have ended by now.
    fn ended(&mut self) -> Vec<&'static str> {
        let ended = self.running.iter_mut().filter_map(|(name, client)| {
            let status = client.try_wait().unwrap();
            status.map(|_status| *name)
        });
        ended.collect()
    }

    /// Waits until all have shut their SDKs down, and said that all went well.
    fn wait(&mut self) {
        for (name, client) in &mut self.running {
            let mut ended = None;
            until(&format!("the client in {name} to end"), || {
                ended = client.try_wait().unwrap();
                ended.is_some()
            });
            let said = std::fs::read_to_string(self.said.path().join(name)).unwrap();
            assert!(ended.unwrap().success(), "{name}: {ended:?}\n{said}");
            println!("the client in {name} has ended: {said}");
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for client in self.running.values_mut() {
            client.kill().ok();
            client.wait().ok();
        }
    }
}

fn exporter(name: &str, sink: &str, more: &str) -> String {
    format!(
        "[exporters.{name}]\ntype = \"otlp_{name}\"\nendpoint = \"http://{sink}\"\n{more}\n\
         [pipelines.{name}]\nreceivers = [\"apps\"]\nexporters = [\"{name}\"]\n"
    )
}

/// Stops the daemon; nothing more may arrive, and its own last account must agree.
fn conclude(mut daemon: Daemon, sink: &mut Sink, languages: &[&Language], protocols: &[&str]) {
    let (ended, ledger) = daemon.stop();
    assert!(ended.success(), "{ended}: {}", daemon.log());
    let sent = COUNT * 4 * languages.len();
    for signal in ["traces", "metrics", "logs"] {
        assert_eq!(ledger[signal]["received"], sent, "{ledger}");
        for protocol in protocols {
            let exporter = &ledger[signal]["exporters"][protocol];
            assert_eq!(exporter["delivered"], sent, "{ledger}");
        }
    }
    assert_eq!(sink.counts(), expected(languages, protocols));
}

#[test]
fn every_sdk_delivers_every_signal_over_every_protocol() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    for acknowledge in ["queued", "delivered"] {
        let mut sink = Sink::closed();
        sink.open();
        let daemon = Daemon::start(&format!(
            "[intake]\nacknowledge = \"{acknowledge}\"\n{}{}",
            exporter("grpc", &sink.grpc, "compression = \"gzip\""),
            exporter("http", &sink.http, "compression = \"none\""),
        ));
        Clients::start(&languages, &daemon).wait();
        sink.wait(&languages, &["grpc", "http"]);
        conclude(daemon, &mut sink, &languages, &["grpc", "http"]);
    }
}

#[test]
fn what_comes_while_the_destination_is_away_waits_in_the_queue() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    let mut sink = Sink::closed();
    let daemon = Daemon::start(&exporter("grpc", &sink.grpc, "compression = \"none\""));
    let begun = SystemTime::now();
    // They do not notice that it is away.
    Clients::start(&languages, &daemon).wait();
    until("seven seconds to pass", || {
        begun.elapsed().unwrap() > Duration::from_secs(7)
    });
    let delivered = &daemon.status()["ledger"]["traces"]["exporters"]["grpc"]["delivered"];
    assert_eq!(*delivered, 0);
    sink.open();
    sink.wait(&languages, &["grpc"]);
    conclude(daemon, &mut sink, &languages, &["grpc"]);
}

/// A destination that is back must be found out well within the 8 s that clients are held.
const QUICK: &str = "compression = \"none\"\nbreaker = { max_open_time = \"1s\" }\n";

/// The queue has room for a fraction of what is sent, so nearly all clients are held, those of
/// JavaScript over gRPC among them, which would never send again what is refused.
#[test]
fn clients_that_find_the_queue_full_are_held_and_lose_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    let mut sink = Sink::closed();
    let small = "queue = { max_bytes = \"256KiB\" }\nbatch = { max_bytes = \"256KiB\" }";
    let daemon = Daemon::start(&exporter("grpc", &sink.grpc, &format!("{QUICK}{small}")));
    let mut clients = Clients::start(&languages, &daemon);
    // Each client has twelve requests under way at first, one for each of its exporters.
    let enough = 12 * languages.len() as u64 * 3 / 4;
    until("many requests to be held", || {
        daemon.status()["budget"]["held_requests"].as_u64() >= Some(enough)
    });
    sink.open();
    clients.wait();
    sink.wait(&languages, &["grpc"]);
    conclude(daemon, &mut sink, &languages, &["grpc"]);
}

#[test]
fn clients_wait_for_the_destination_where_success_means_delivered() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    let mut sink = Sink::closed();
    let exporter = exporter("grpc", &sink.grpc, QUICK);
    let daemon = Daemon::start(&format!(
        "[intake]\nacknowledge = \"delivered\"\n{exporter}"
    ));
    let mut clients = Clients::start(&languages, &daemon);
    // The first request of each of half the exporters of spans.
    let enough = 512 * 2 * languages.len() as u64;
    until("many spans to wait", || {
        let waiting = &daemon.status()["ledger"]["traces"]["exporters"]["grpc"]["in_process"];
        waiting.as_u64() >= Some(enough)
    });
    assert_eq!(
        clients.ended(),
        Vec::<&str>::new(),
        "nobody can have been answered"
    );
    sink.open();
    clients.wait();
    sink.wait(&languages, &["grpc"]);
    conclude(daemon, &mut sink, &languages, &["grpc"]);
}
