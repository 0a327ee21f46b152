//! The stock OpenTelemetry SDKs that `tests/sdks/install.sh` has installed, as clients, and a sink
//! in Python that counts what arrives. Whoever includes this file has `process` in scope.

#![allow(
    dead_code,
    clippy::explicit_write,
    reason = "each test that includes it uses a part, and one line here must pass by what hides \
              the output of tests"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::process::until;

/// How long a client waits for an answer where that is not what is asked: longer than any machine
/// stands still. Milliseconds, which Python takes for seconds.
const TIMEOUT: (&str, &str) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000");

/// Items of each signal from each client: two requests, as the batch processors of all SDKs
/// send 512 at once.
pub(crate) const COUNT: usize = 1000;

/// A language, the tools that its installation needs, and how its client is started.
pub(crate) struct Language {
    pub(crate) name: &'static str,
    tools: &'static [&'static str],
    /// The signals that its SDK can send as JSON.
    json: &'static [&'static str],
    /// What its SDK can compress by, over each protocol.
    compressions: &'static [&'static str],
    client: fn(&Path) -> Command,
}

const SIGNALS: [&str; 3] = ["traces", "metrics", "logs"];

impl Language {
    /// Every way in which its client sends something of this signal.
    fn ways(&self, signal: &str) -> Vec<String> {
        let json: &[&str] = match self.json.contains(&signal) {
            true => &["json"],
            false => &[],
        };
        let protocols = ["grpc", "http"].iter().chain(json);
        protocols
            .flat_map(|protocol| {
                let packs = self.compressions.iter();
                packs.map(move |pack| format!("{protocol}/{pack}"))
            })
            .collect()
    }
}

/// What all of these send of a signal.
pub(crate) fn sent(languages: &[&Language], signal: &str) -> usize {
    let ways = languages.iter().map(|language| language.ways(signal).len());
    COUNT * ways.sum::<usize>()
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "python",
        tools: &["python3"],
        json: &SIGNALS,
        compressions: &["none", "gzip", "deflate"],
        client: |sdks| {
            let mut client = Command::new(sdks.join("python/bin/python"));
            client.arg(source("python/send.py"));
            client
        },
    },
    Language {
        name: "javascript",
        tools: &["node", "npm"],
        json: &SIGNALS,
        compressions: &["none", "gzip"],
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
        json: &["traces"],
        compressions: &["none", "gzip"],
        client: |sdks| Command::new(sdks.join("go/send")),
    },
    Language {
        name: "java",
        tools: &["java", "javac", "mvn"],
        json: &[],
        compressions: &["none", "gzip"],
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
        json: &SIGNALS,
        compressions: &["none", "gzip"],
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
pub(crate) fn languages() -> Vec<&'static Language> {
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
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// The sink of `tests/sdks/sink.py`.
pub(crate) struct Sink {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) grpc: String,
    pub(crate) http: String,
}

/// What the sink counted of one service and signal over one protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Count {
    service: String,
    signal: String,
    protocol: String,
    pub(crate) items: usize,
    unique: usize,
    strange: usize,
}

impl Sink {
    /// One whose ports are taken, and refuse connections.
    pub(crate) fn closed() -> Self {
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

    pub(crate) fn open(&mut self) {
        writeln!(self.orders, "open").unwrap();
        self.answer();
    }

    pub(crate) fn counts(&mut self) -> Vec<Count> {
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
    pub(crate) fn wait(&mut self, languages: &[&Language], protocols: &[&str]) {
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
pub(crate) fn expected(languages: &[&Language], protocols: &[&str]) -> Vec<Count> {
    let mut expected = Vec::new();
    for language in languages {
        for signal in SIGNALS {
            for way in language.ways(signal) {
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
pub(crate) struct Clients {
    running: BTreeMap<&'static str, Child>,
    said: TempDir,
}

impl Clients {
    /// Waits until all are set up, and then lets them begin.
    /// `addresses` are those for gRPC and for HTTP, without TLS unless they say so. Where the time to spread the items over is
    /// given, in seconds, the clients send five times a second.
    pub(crate) fn start(
        languages: &[&Language],
        addresses: &[String; 2],
        seconds: Option<u64>,
    ) -> Self {
        let environment = seconds.into_iter().flat_map(|_| {
            ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"].map(|name| (name, "200".into()))
        });
        let seconds = seconds.map(|seconds| seconds.to_string());
        Self::start_with(
            languages,
            addresses,
            seconds,
            &environment.collect::<Vec<_>>(),
        )
    }

    /// The same with the time that each SDK waits for an answer by itself: ten seconds.
    pub(crate) fn start_impatient(languages: &[&Language], addresses: &[String; 2]) -> Self {
        Self::start_with(languages, addresses, None, &[(TIMEOUT.0, String::new())])
    }

    /// The same with environment variables, by which SDKs are configured; an empty one is none.
    pub(crate) fn start_with(
        languages: &[&Language],
        addresses: &[String; 2],
        seconds: Option<String>,
        environment: &[(&str, String)],
    ) -> Self {
        let said = tempfile::tempdir().unwrap();
        let urls = addresses
            .each_ref()
            .map(|address| match address.contains("://") {
                true => address.clone(),
                false => format!("http://{address}"),
            });
        let start = |language: &&Language| {
            let mut client = (language.client)(&sdks());
            client.env(TIMEOUT.0, TIMEOUT.1);
            for (name, value) in environment {
                match value.is_empty() {
                    true => client.env_remove(name),
                    false => client.env(name, value),
                };
            }
            let client = client
                .args(&urls)
                .arg(COUNT.to_string())
                .args(&seconds)
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
    pub(crate) fn ended(&mut self) -> Vec<&'static str> {
        let ended = self.running.iter_mut().filter_map(|(name, client)| {
            let status = client.try_wait().unwrap();
            status.map(|_status| *name)
        });
        ended.collect()
    }

    /// Waits until all have shut their SDKs down, and said that all went well.
    pub(crate) fn wait(&mut self) {
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
