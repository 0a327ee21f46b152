//! The exporter that writes OTLP/JSON: what leaves is what came, and what a destination answers in
//! JSON is understood.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/calls.rs"]
mod calls;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

use calls::Client;
use daemon::{Daemon, assert_balances};
use otlpd::net::compression::{Encoding, inflate};
use otlpd::otlp::{Signal, json};
use process::{Running, load, until};
use serde_json::{Value, json};

/// A request as it arrived: its headers in lower case, and its body.
struct Arrived {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Arrived {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.iter().filter_map(|line| line.split_once(": "));
        values.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// An HTTP destination that gives these answers, each to one request and in turn.
fn destination(answers: Vec<String>) -> (SocketAddr, Receiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tx, rx) = sync_channel(answers.len());
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            tx.send(serve(stream, &answer)).ok();
        }
    });
    (address, rx)
}

fn serve(stream: TcpStream, answer: &str) -> Arrived {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let mut arrived = Arrived {
        head,
        body: Vec::new(),
    };
    let length = arrived.header("content-length").unwrap().parse().unwrap();
    arrived.body = vec![0; length];
    reader.read_exact(&mut arrived.body).unwrap();
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    arrived
}

fn answer(code: u16, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {code} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn daemon(to: &str, more: &str) -> Daemon {
    Daemon::start(&format!(
        "[exporters.backend]\ntype = \"otlp_http\"\nendpoint = \"http://{to}\"\nencoding = \"json\"\n\
         {more}\n[pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n"
    ))
}

/// From one daemon to the other in JSON, and from there to a sink that keeps account.
fn arrives(compression: &str) {
    const REQUESTS: u64 = 10;
    const ITEMS: u64 = 30;
    let sink = Running::sink(&[]);
    let mut second = Daemon::start(&format!(
        "[exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        sink.address("grpc")
    ));
    let mut first = daemon(
        &second.endpoint("http"),
        &format!("compression = \"{compression}\""),
    );
    let (requests, items) = (REQUESTS.to_string(), ITEMS.to_string());
    let endpoint = first.endpoint("grpc");
    for signal in ["traces", "metrics", "logs"] {
        let flags = [
            ["--signal", signal],
            ["--endpoint", &endpoint],
            ["--requests", &requests],
            ["--items", &items],
            // Large enough, and compressed as the exporter does it: what came must not leave.
            ["--compression", compression],
            ["--check", sink.address("control")],
        ];
        let report = load(flags.as_flattened());
        assert_eq!(report["check"]["arrived"], REQUESTS * ITEMS, "{report}");
        assert_eq!(report["check"]["missing"], 0, "{report}");
    }
    let stats = sink.stats();
    assert_eq!(stats["unique"], 3 * REQUESTS * ITEMS, "{stats}");
    for none in ["duplicate", "foreign", "beyond", "rejected"] {
        assert_eq!(stats[none], 0, "{none}: {stats}");
    }
    for daemon in [&mut first, &mut second] {
        let (status, ledger) = daemon.stop();
        assert!(status.success());
        assert_balances(&ledger);
    }
}

#[test]
fn what_is_sent_in_json_arrives_plain() {
    arrives("none");
}

#[test]
fn what_is_sent_in_json_arrives_in_gzip() {
    arrives("gzip");
}

#[test]
fn what_is_sent_in_json_arrives_in_zstd() {
    arrives("zstd");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_object_with_its_media_type() {
    for (compression, encoding) in [
        ("none", None),
        ("gzip", Some(Encoding::Gzip)),
        ("zstd", Some(Encoding::Zstd)),
    ] {
        let (address, arrived) = destination(vec![answer(200, "application/json", "{}")]);
        let more = format!("compression = \"{compression}\"");
        let daemon = daemon(&format!("{address}/otlp"), &more);
        let mut client = Client::grpc(daemon.address("grpc")).await;
        let body = payloads::logs(200);
        assert_eq!(client.send(Signal::Logs, &body).await.code, 0);
        let arrived = arrived.recv().unwrap();
        assert_eq!(arrived.head[0], "POST /otlp/v1/logs HTTP/1.1");
        assert_eq!(arrived.header("content-type"), Some("application/json"));
        let coding = encoding.map(Encoding::name);
        assert_eq!(arrived.header("content-encoding"), coding);
        let text = match encoding {
            None => arrived.body,
            Some(encoding) => inflate(encoding, &arrived.body, 1 << 20, &mut |_| true).unwrap(),
        };
        let mut expected = Vec::new();
        json::write(Signal::Logs, &body, &mut expected).unwrap();
        assert!(text == expected, "{}", String::from_utf8_lossy(&text));
    }
}

/// The account of an exporter, when this many items have been settled.
fn settled(daemon: &Daemon, items: u64) -> Value {
    let mut account = Value::Null;
    until("it is settled", || {
        account = daemon.account("logs", "backend");
        let settled = ["delivered", "rejected"].map(|name| account[name].as_u64().unwrap());
        settled.iter().sum::<u64>() + daemon::dropped(&account) == items
    });
    account
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_in_json_are_understood() {
    for (body, rejected) in [
        ("{}", 0),
        (r#"{"partialSuccess":{}}"#, 0),
        (r#"{"partialSuccess":null}"#, 0),
        (
            r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"x"}}"#,
            3,
        ),
        (r#"{"partialSuccess":{"rejectedLogRecords":3}}"#, 3),
        ("<html>", 0),
        ("", 0),
    ] {
        let kind = "Application/JSON; charset=utf-8";
        let (address, _arrived) = destination(vec![answer(200, kind, body)]);
        let daemon = daemon(&address.to_string(), "");
        let mut client = Client::grpc(daemon.address("grpc")).await;
        client.send(Signal::Logs, &payloads::logs(10)).await;
        let account = settled(&daemon, 10);
        assert_eq!(account["rejected"], rejected, "{body}: {account}");
        assert_eq!(account["delivered"], 10 - rejected, "{body}: {account}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_refusal_in_json_says_is_told_whatever_was_sent() {
    let status = json!({"code": 3, "message": "no such thing", "details": [{"@type": "x"}]});
    let refusal = answer(400, "application/json", &status.to_string());
    for encoding in ["json", "proto"] {
        let (address, _arrived) = destination(vec![refusal.clone()]);
        let sections = format!(
            "[exporters.backend]\ntype = \"otlp_http\"\nendpoint = \"http://{address}\"\n\
             encoding = \"{encoding}\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n"
        );
        let daemon = Daemon::start(&sections);
        let mut client = Client::grpc(daemon.address("grpc")).await;
        client.send(Signal::Logs, &payloads::logs(1)).await;
        let account = settled(&daemon, 1);
        assert_eq!(daemon::dropped(&account), 1, "{account}");
        let told = daemon.lane("backend").to_string();
        assert!(
            told.contains("HTTP 400 Bad Request: no such thing"),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_destination_that_answers_in_json_is_tried_again() {
    let busy = answer(503, "application/json", r#"{"code":14,"message":"busy"}"#);
    let taken = answer(200, "application/json", "{}");
    let (address, arrived) = destination(vec![busy, taken]);
    let daemon = daemon(&address.to_string(), "");
    let mut client = Client::grpc(daemon.address("grpc")).await;
    client.send(Signal::Logs, &payloads::logs(4)).await;
    let (first, second) = (arrived.recv().unwrap(), arrived.recv().unwrap());
    assert!(first.body == second.body);
    assert_eq!(settled(&daemon, 4)["delivered"], 4);
}
