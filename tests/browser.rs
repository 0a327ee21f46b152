//! A real browser, with pages of two origins: the stock exporters and scripts of the one that is
//! allowed deliver, in every way that a page can; those of the other are kept by the browser.
//!
//! It needs Chromium, and the page's script, which `tests/sdks/install.sh javascript` bundles; it
//! says so where one of them is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::explicit_write,
    reason = "a test may panic, and say why it is left out"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use daemon::Daemon;
use tempfile::TempDir;

/// Names of attempts, and how they ended.
type Report = BTreeMap<String, String>;

/// How long the browser may take: it starts within a second or two.
const PATIENCE: Duration = Duration::from_secs(180);

fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// Where `install.sh` puts it.
fn script() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("sdks/javascript/page.js")
}

/// A browser and the page's script, or a line that says what is missing.
fn browser() -> Option<&'static str> {
    let missing = match (chromium(), script().is_file()) {
        (Some(browser), true) => return Some(browser),
        (None, _) => "chromium is not on this machine",
        (_, false) => "run tests/sdks/install.sh javascript",
    };
    writeln!(std::io::stderr(), "SKIPPED: a real browser: {missing}").unwrap();
    None
}

/// The page's own server; it gives out the script and takes its reports.
struct Site {
    address: SocketAddr,
    reports: Receiver<Report>,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tx, reports) = sync_channel(8);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tx = tx.clone();
                std::thread::spawn(move || {
                    if let Some(report) = serve(&stream.unwrap()) {
                        tx.send(report).ok();
                    }
                });
            }
        });
        Self { address, reports }
    }

    /// The same page by one of this host's two names, which are two origins.
    fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.address.port())
    }
}

/// One request on a connection of its own; a report if it was one.
fn serve(stream: &TcpStream) -> Option<Report> {
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    let (kind, text) = match first.split(' ').nth(1)? {
        "/page.js" => ("text/javascript", std::fs::read_to_string(script()).ok()?),
        "/report" => ("text/plain", String::new()),
        _ => (
            "text/html",
            "<!doctype html><script src=\"/page.js\"></script>".to_owned(),
        ),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}",
        text.len()
    )
    .ok()?;
    serde_json::from_slice(&body).ok()
}

/// A browser that shows a page; it ends with the test.
struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    fn show(program: &str, page: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-dev-shm-usage", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It has many processes, which are to end with it.
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            child,
            _profile: profile,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let kill = Command::new("kill").args(["-KILL", "--", &group]).status();
        kill.ok();
        self.child.wait().ok();
    }
}

/// What a page of this origin reports of a collector with this `cors`.
fn attempts(program: &str, site: &Site, host: &str, daemon: &Daemon) -> Report {
    let collector = daemon.endpoint("http");
    let page = format!("{}/?collector=http://{collector}", site.origin(host));
    let _browser = Browser::show(program, &page);
    site.reports.recv_timeout(PATIENCE).unwrap()
}

fn daemon(cors: &str) -> Daemon {
    let sections = "[exporters.nothing]\ntype = \"discard\"\n\
                    [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"nothing\"]\n";
    Daemon::start_by(sections, |command| {
        if !cors.is_empty() {
            command.args(["--set", &format!("receivers.apps.http.cors={cors}")]);
        }
    })
}

/// How many items of each signal have come in.
fn received(daemon: &Daemon) -> [u64; 3] {
    let status = daemon.status();
    ["traces", "metrics", "logs"].map(|signal| {
        let received = &status["ledger"][signal]["received"];
        received.as_u64().unwrap_or_default()
    })
}

fn report(of: &[(&str, &str)]) -> Report {
    let of = of.iter();
    of.map(|(name, ending)| ((*name).to_owned(), (*ending).to_owned()))
        .collect()
}

#[test]
fn a_page_that_is_allowed_delivers_and_another_is_blocked() {
    let Some(program) = browser() else { return };
    let site = Site::start();
    let allowed = site.origin("127.0.0.1");
    let daemon = daemon(&format!(
        "{{ allowed_origins = [\"{allowed}\"], allowed_headers = [\"x-team\"] }}"
    ));
    let expected = report(&[
        ("spans_json", "sent"),
        ("spans_protobuf", "sent"),
        ("logs", "sent"),
        ("metrics", "sent"),
        ("fetch", "200"),
        ("fetch_bad", "400"),
        ("fetch_nowhere", "404"),
        ("fetch_with_credentials", "blocked"),
        ("fetch_with_unknown_header", "blocked"),
    ]);
    assert_eq!(attempts(program, &site, "127.0.0.1", &daemon), expected);
    assert_eq!(received(&daemon), [2, 1, 1]);

    let others = attempts(program, &site, "localhost", &daemon);
    assert!(
        others
            .values()
            .all(|ending| ["failed", "blocked"].contains(&ending.as_str())),
        "{others:?}"
    );
    assert_eq!(received(&daemon), [2, 1, 1]);
}

#[test]
fn a_pattern_allows_both_and_credentials_go_along_where_they_may() {
    let Some(program) = browser() else { return };
    let site = Site::start();
    let daemon = daemon(
        "{ allowed_origins = [\"http://127.0.0.1:*\", \"http://localhost:*\"], \
         allowed_headers = [\"*\"], allow_credentials = true }",
    );
    for host in ["127.0.0.1", "localhost"] {
        let endings = attempts(program, &site, host, &daemon);
        for (name, ending) in &endings {
            let expected = match name.as_str() {
                "fetch_bad" => "400",
                "fetch_nowhere" => "404",
                name if name.starts_with("fetch") => "200",
                _ => "sent",
            };
            assert_eq!(ending, expected, "{host}: {endings:?}");
        }
    }
    assert_eq!(received(&daemon), [4, 2, 2]);
}

#[test]
fn without_cors_no_page_of_another_origin_delivers() {
    let Some(program) = browser() else { return };
    let site = Site::start();
    let daemon = daemon("");
    let endings = attempts(program, &site, "127.0.0.1", &daemon);
    assert!(
        endings
            .values()
            .all(|ending| ["failed", "blocked"].contains(&ending.as_str())),
        "{endings:?}"
    );
    assert_eq!(received(&daemon), [0, 0, 0]);
}
