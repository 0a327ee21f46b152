//! The admin listener, over a real socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use otlpd::admin::{self, PipelineSummary, Sources};
use otlpd::auth::{AuthConfig, Authenticator};
use otlpd::budget::Budget;
use otlpd::delivery::left::LeftQueue;
use otlpd::host::cpu::CpuAllowance;
use otlpd::intake::priority::{Priorities, PriorityConfig};
use otlpd::intake::tenants::{Tenants, TenantsConfig};
use otlpd::intake::{Door, IntakeConfig};
use otlpd::net::listen::Listener;
use otlpd::net::tls::{Alpn, Register, Server};
use otlpd::otlp::Signal;
use otlpd::processors::fault::{self, FaultConfig};
use otlpd::telemetry::health::{Health, State};
use otlpd::telemetry::lanes::{Breaker, LaneFacts, LaneStats, Lanes};
use otlpd::telemetry::ledger::{Fate, Ledger, Reason};
use otlpd::telemetry::metrics::{Fault, ReadingMetrics, ReceiverMetrics, Refusal, Registry, table};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(
            self.head.contains("content-type: application/json"),
            "{}",
            self.head
        );
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A daemon's worth of sources, served on a free port.
struct Daemon {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    health: Arc<Health>,
    backend: Arc<LaneStats>,
    registry: Arc<Registry>,
    _cpu: watch::Sender<CpuAllowance>,
}

/// One listener that uses TLS.
fn tls() -> Register {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert_file, key_file) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&cert_file, made.cert.pem()).unwrap();
    std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
    let config = toml::Table::from_iter([
        ("cert_file".to_owned(), cert_file.to_str().unwrap().into()),
        ("key_file".to_owned(), key_file.to_str().unwrap().into()),
    ]);
    let register = Register::default();
    let config = config.try_into().unwrap();
    let component = "receivers.apps.grpc";
    Server::open(&config, Alpn::Http2, component, &register).unwrap();
    register
}

/// A queue that nobody has.
fn left() -> LeftQueue {
    LeftQueue {
        exporter: "renamed".to_owned(),
        folder: "/queue/renamed".to_owned(),
        requests: 2,
        items: 20,
        bytes: 2000,
        age_seconds: 60,
    }
}

async fn start() -> Daemon {
    start_with(None).await
}

/// The same, for whoever this lets in.
async fn start_with(auth: Option<Arc<Authenticator>>) -> Daemon {
    let listener = Listener::bind("127.0.0.1:0", "admin").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cpu_tx, cpu) = watch::channel(CpuAllowance {
        cpus: 1.5,
        threads: 2,
        source: "1.5 CPUs from cgroup v2 cpu.max at /pod, 2 threads".to_owned(),
    });
    let lanes = Arc::new(Lanes::default());
    let lane = |exporter: &str, required| {
        lanes.open(LaneFacts {
            exporter: exporter.to_owned(),
            required,
            when_full: if required { "refuse" } else { "drop_oldest" },
            full_refuses: required,
            queue_kind: "memory",
            queue_capacity_bytes: 64 << 20,
        })
    };
    let backend = lane("backend", true);
    lane("second", false);
    let tls = tls();
    let rehearsal: FaultConfig = toml::from_str("latency = \"1s\"\ndrop = true").unwrap();
    let sources = Sources {
        ledger: Arc::default(),
        budget: Budget::new(128 << 20),
        budget_source: "intake.memory_budget".to_owned(),
        door: Arc::new(Door::new(&IntakeConfig::default())),
        health: Arc::default(),
        cpu,
        pipelines: vec![PipelineSummary {
            name: "main".to_owned(),
            receivers: vec!["apps".to_owned()],
            processors: vec![],
            exporters: vec!["backend".to_owned(), "second".to_owned()],
            signals: Signal::ALL.map(Signal::name).to_vec(),
        }],
        lanes: Arc::clone(&lanes),
        faults: vec![Arc::new(fault::Fault::new("rehearsal", &rehearsal))],
        registry: Arc::default(),
        upgrades: Arc::default(),
        left_queues: Arc::new(vec![left()].into()),
        tls: tls.clone(),
        dead_letters: Arc::default(),
    };
    let daemon = Daemon {
        address,
        ledger: Arc::clone(&sources.ledger),
        health: Arc::clone(&sources.health),
        backend,
        registry: Arc::clone(&sources.registry),
        _cpu: cpu_tx,
    };
    tokio::spawn(admin::serve(listener, Arc::new(sources), auth));
    daemon
}

impl Daemon {
    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            code: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process_and_liveness_does_not() {
    let daemon = start().await;
    for (state, code) in [
        (State::Starting, 503),
        (State::Running, 200),
        (State::Draining, 503),
    ] {
        daemon.health.set(state);
        let answer = daemon.get("/readyz").await;
        assert_eq!(answer.code, code, "{state:?}");
        assert_eq!(answer.json()["ready"], code == 200);
        assert_eq!(daemon.get("/livez").await.code, 200, "{state:?}");
    }
    let reasons = &daemon.get("/readyz").await.json()["reasons"];
    assert_eq!(reasons[0]["reason"], "draining");
}

#[tokio::test]
async fn an_open_breaker_of_the_only_required_lane_is_the_reason_given() {
    let daemon = start().await;
    daemon.health.set(State::Running);
    let retry = Instant::now() + Duration::from_secs(30);
    daemon.backend.attempt(false).failed("connection refused");
    daemon.backend.set_breaker(Breaker::Open, Some(retry));
    let answer = daemon.get("/readyz").await;
    assert_eq!(answer.code, 503);
    let reason = &answer.json()["reasons"][0];
    assert_eq!(
        (&reason["reason"], &reason["exporter"]),
        (&json!("breaker_open"), &json!("backend"))
    );
    assert_eq!(reason["last_error"], "connection refused");
    daemon.backend.set_breaker(Breaker::Closed, None);
    assert_eq!(daemon.get("/readyz").await.code, 200);
}

#[tokio::test]
async fn status_has_everything_and_the_ledger_in_its_promised_shape() {
    let daemon = start().await;
    daemon.ledger.receive(Signal::Traces, 10);
    let [traces, ..] = daemon.ledger.accounts("backend");
    traces.receive(10);
    traces.settle(6, Fate::Delivered);
    traces.settle(1, Fate::Rejected);
    traces.settle(2, Fate::Dropped(Reason::QueueFull));
    daemon.backend.set_queue(1, 539, Some(Instant::now()));
    let status = daemon.get("/status").await.json();
    assert_eq!(status["ledger"]["traces"]["received"], 10);
    assert_eq!(
        status["ledger"]["traces"]["exporters"]["backend"],
        json!({
            "received": 10, "delivered": 6, "rejected": 1,
            "dropped": {"queue_full": 2}, "in_process": 1
        })
    );
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["readiness"]["state"], "starting");
    assert_eq!(
        status["pipelines"][0]["exporters"],
        json!(["backend", "second"])
    );
    let lane = &status["lanes"][0];
    assert_eq!(
        (&lane["exporter"], &lane["breaker"]),
        (&json!("backend"), &json!("closed"))
    );
    assert_eq!(
        (&lane["queue_bytes"], &lane["required"]),
        (&json!(539), &json!(true))
    );
    assert_eq!(status["budget"]["limit_bytes"], 128 << 20);
    assert_eq!(status["budget"]["held_requests"], 0);
    assert_eq!(status["cpu"]["threads"], 2);
    assert!(status["process"]["rss_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn every_metric_of_the_table_is_served_in_both_formats() {
    let daemon = start().await;
    let receiver = ReceiverMetrics::new(&daemon.registry, "apps", "grpc");
    receiver.accepted(Signal::Traces, 7, [1, 0]);
    receiver.refused(Signal::Logs, 0, Refusal::Budget);
    receiver.faulty(Fault::TooLarge);
    receiver.body(10, 100);
    receiver.took(Duration::from_millis(4));
    let _open = receiver.connection();
    ReadingMetrics::new(&daemon.registry, "files").found(1, 2);
    let (intake, tenants) = (IntakeConfig::default(), TenantsConfig::default());
    let budget = Budget::new(1 << 20);
    drop(Tenants::new(&tenants, &intake, &budget, &daemon.registry));
    drop(Priorities::new(
        &PriorityConfig::default(),
        &daemon.registry,
    ));
    let [_, metrics, ..] = daemon.ledger.accounts("back\\end \"1\"\n");
    metrics.receive(3);
    metrics.settle(2, Fate::Dropped(Reason::QueueFull));
    metrics.settle(1, Fate::Dropped(Reason::Permanent));

    let text = daemon.get("/metrics").await;
    assert!(
        text.head
            .contains("content-type: text/plain; version=0.0.4; charset=utf-8")
    );
    let asked = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text; version=1.0.0\r\n\r\n";
    let open = daemon.ask(asked).await;
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(open.head.contains(kind), "{}", open.head);
    for metric in table::all() {
        let series = metric.series();
        for page in [&text.body, &open.body] {
            assert!(
                page.lines().any(|line| line.starts_with(&series)),
                "{series}"
            );
        }
    }
    for line in [
        "otelcol_receiver_accepted_spans_total{receiver=\"apps\",transport=\"grpc\"} 7",
        "otelcol_exporter_enqueue_failed_metric_points_total{exporter=\"back\\\\end \\\"1\\\"\\n\"} 2",
        "otelcol_exporter_send_failed_metric_points_total{exporter=\"back\\\\end \\\"1\\\"\\n\"} 1",
        "otlpd_exporter_breaker_state{exporter=\"backend\",state=\"closed\"} 1",
        "otlpd_tls_reloads_total{component=\"receivers.apps.grpc\",outcome=\"success\"} 0",
        "otlpd_tls_failed_handshakes_total{component=\"receivers.apps.grpc\",reason=\"timeout\"} 0",
    ] {
        assert!(text.body.lines().any(|found| found == line), "{line}");
    }
    if let Some(directory) = std::env::var_os("OTLPD_KEEP_PAGES") {
        let directory = std::path::PathBuf::from(directory);
        std::fs::write(directory.join("page.txt"), &text.body).unwrap();
        std::fs::write(directory.join("page.om"), &open.body).unwrap();
    }
}

#[test]
fn names_kinds_and_labels_of_metrics_do_not_change_by_accident() {
    let found: Vec<String> = table::all()
        .map(|m| format!("{} {} {}", m.series(), m.kind.name(), m.labels.join(",")))
        .collect();
    let kept = include_str!("fixtures/metric_names.txt");
    let kept: Vec<&str> = kept.lines().map(str::trim_end).collect();
    let found: Vec<&str> = found.iter().map(|line| line.trim_end()).collect();
    assert_eq!(
        found, kept,
        "dashboards hang on these: change the file only on purpose"
    );
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_done_is_answered_with_what_is() {
    let daemon = start().await;
    let missing = daemon.get("/statsu?x=1").await;
    assert_eq!(missing.code, 404);
    assert_eq!(missing.json()["error"], "there is nothing at /statsu");
    let post = daemon
        .ask("POST /status HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    assert_eq!(post.code, 405);
    assert!(post.head.contains("allow: get, head"), "{}", post.head);
    for answer in [missing, post, daemon.get("/").await] {
        let paths = answer.json()["paths"].clone();
        let paths: Vec<&str> = paths
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["path"].as_str().unwrap())
            .collect();
        assert_eq!(paths, ["/livez", "/readyz", "/status", "/metrics"]);
    }
}

/// The reasons tell of destinations, and of what those said.
#[tokio::test]
async fn why_it_is_not_ready_is_for_who_may_read_everything() {
    let config = "tokens = [\"secret\"]".parse::<toml::Table>().unwrap();
    let auth = AuthConfig::read("bearer", config).unwrap().unwrap();
    let auth = Authenticator::open(&auth, "admin", &Register::default()).await;
    let daemon = start_with(Some(auth.unwrap())).await;
    let known = "GET /readyz HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n\r\n";
    let (stranger, friend) = (daemon.get("/readyz").await, daemon.ask(known).await);
    assert_eq!((stranger.code, friend.code), (503, 503));
    assert_eq!(stranger.json()["state"], friend.json()["state"]);
    assert_eq!(stranger.json()["reasons"], json!([]));
    assert_ne!(friend.json()["reasons"], json!([]));
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let daemon = start().await;
    let answer = daemon.ask("HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.code, answer.body.as_str()), (200, ""));
    assert!(answer.head.contains("content-length: "), "{}", answer.head);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_does_not_stop_the_listener() {
    let daemon = start().await;
    let answer = daemon.ask("nonsense\r\n\r\n").await;
    assert_eq!(answer.code, 400);
    let mut http2 = TcpStream::connect(daemon.address).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    http2.write_all(preface).await.unwrap();
    assert_eq!(http2.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(daemon.get("/livez").await.code, 200);
}

#[tokio::test(start_paused = true)]
async fn clients_that_send_nothing_lose_their_place_and_others_are_served() {
    let daemon = start().await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(TcpStream::connect(daemon.address).await.unwrap());
    }
    assert_eq!(daemon.get("/livez").await.code, 200);
}
