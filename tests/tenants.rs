//! A tenant that sends more than it may holds up itself and nobody else: it waits at the door, and
//! is then told for how long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is another process, and lives in real time"
)]

mod support {
    pub(crate) mod calls;
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use otlpd::otlp::status::Status;
use prost::Message;
use support::calls::Capture;
use support::door::{Called, Daemon, H2, LOGS, Setup, framed, until, whole};
use support::payloads;
use tokio::task::JoinSet;

const TENANT: &str = "x-scope-orgid";

fn daemon(sections: &str) -> Daemon {
    let sections = format!(
        "{sections}\n[exporters.out]\ntype = \"discard\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
    );
    Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    })
}

/// A connection of one tenant, over gRPC or HTTP.
struct Client {
    connection: H2,
    tenant: &'static str,
    grpc: bool,
}

impl Client {
    async fn connect(daemon: &Daemon, tenant: &'static str, grpc: bool) -> Self {
        let address = if grpc { daemon.grpc } else { daemon.http };
        Self {
            connection: H2::connect(address).await,
            tenant,
            grpc,
        }
    }

    /// Half of them over gRPC, half over HTTP.
    async fn many(daemon: &Daemon, tenant: &'static str, count: usize) -> Vec<Self> {
        let mut clients = Vec::new();
        for index in 0..count {
            clients.push(Self::connect(daemon, tenant, index % 2 == 0).await);
        }
        clients
    }

    /// Sends so many log records: nothing if they were taken, else what the refusal says.
    async fn send(&mut self, records: usize) -> Result<(), Status> {
        let body = payloads::logs(records);
        let called = if self.grpc {
            let headers = [(TENANT, self.tenant)];
            self.connection.call(LOGS, &headers, framed(0, &body)).await
        } else {
            let kind = ("content-type", "application/x-protobuf");
            let headers = [kind, (TENANT, self.tenant)];
            let sent = self
                .connection
                .send("POST", "/v1/logs", &headers, whole(body));
            sent.await.unwrap()
        };
        if self.grpc {
            told(&called, called.status.clone())
        } else if called.http == 200 {
            Ok(())
        } else {
            let status = Status::decode(&called.data).unwrap();
            // The header is in whole seconds, and never sooner than the body says.
            let delay = status.retry_delay().unwrap();
            let header = called.headers["retry-after"].to_str().unwrap();
            assert_eq!(called.http, 503);
            assert_eq!(header, delay.as_secs_f64().ceil().max(1.0).to_string());
            told(&called, status)
        }
    }
}

/// Nothing but a success, and a refusal that every SDK comes back after, is an answer.
fn told(called: &Called, status: Status) -> Result<(), Status> {
    match status.code.number() {
        0 => Ok(()),
        14 => {
            let delay = status
                .retry_delay()
                .expect("a refusal says when to come back");
            assert!(delay > Duration::ZERO, "{called:?}");
            Err(status)
        }
        _ => panic!("{called:?}"),
    }
}

fn held(daemon: &Daemon) -> u64 {
    daemon.metric("otlpd_held_requests ")
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_connections_in_debt_are_held_while_others_are_served() {
    let daemon = daemon(
        "[intake]\nmax_wait = \"10m\"\n[shutdown]\ndeadline = \"10s\"\n[tenants]\n\
         default = { items_per_second = 1, burst = \"1s\" }\n[tenants.limits.calm]\n",
    );
    // Lets the greedy into a debt of a quarter of an hour.
    let mut greedy = Client::many(&daemon, "greedy", 51).await;
    greedy.remove(0).send(1000).await.unwrap();
    let mut waiting = JoinSet::new();
    for mut client in greedy {
        waiting.spawn(async move { client.send(10).await });
    }
    until("all the others of the greedy are held", || {
        held(&daemon) == 50
    });
    for mut client in Client::many(&daemon, "calm", 10).await {
        for _ in 0..10 {
            client.send(10).await.unwrap();
        }
    }
    // None of them has waited for any of the greedy, who are where they were.
    assert_eq!(held(&daemon), 50);
    assert!(waiting.try_join_next().is_none());
    let accepted = |tenant: &str| {
        let labels = format!("{{tenant=\"{tenant}\",signal=\"logs\"}}");
        daemon.metric(&format!("otlpd_tenant_accepted_items_total{labels}"))
    };
    assert_eq!((accepted("calm"), accepted("other")), (1000, 1000));
    assert_eq!(daemon.metric("otlpd_tenant_refused_requests_total"), 0);
    // Held requests are not lost when otlpd stops: they are told to go elsewhere.
    daemon.terminate();
    while let Some(refused) = waiting.join_next().await {
        assert!(refused.unwrap().is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shares_a_connection_with_one_in_debt_gets_through() {
    let daemon = daemon(
        "[intake]\nmemory_budget = \"64MiB\"\nmax_wait = \"10m\"\n[shutdown]\n\
         deadline = \"1s\"\n[tenants]\ndefault = { items_per_second = 1, burst = \"1s\" }\n\
         [tenants.limits.calm]\n",
    );
    for (grpc, held_before) in [(true, 0), (false, 20)] {
        let mut calm = Client::connect(&daemon, "calm", grpc).await;
        let mut greedy = Client {
            connection: calm.connection.clone(),
            tenant: "greedy",
            grpc,
        };
        if held_before == 0 {
            greedy.send(10_000).await.unwrap();
        }
        // Several times what such a connection takes in before anybody reads.
        for _ in 0..20 {
            let mut one = Client {
                connection: greedy.connection.clone(),
                ..greedy
            };
            tokio::spawn(async move { one.send(800).await });
        }
        until("all of them are held", || held(&daemon) == held_before + 20);
        for _ in 0..5 {
            calm.send(800).await.unwrap();
        }
        assert_eq!(held(&daemon), held_before + 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_for_how_long_the_debt_lasts() {
    let daemon = daemon(
        "[intake]\nmax_wait = \"100ms\"\n[tenants]\n\
         default = { items_per_second = 10, burst = \"1s\" }\n",
    );
    let mut clients = Client::many(&daemon, "greedy", 51).await;
    let begun = Instant::now();
    clients.remove(0).send(2010).await.unwrap();
    let mut refused = JoinSet::new();
    for mut client in clients {
        refused.spawn(async move { client.send(1).await.unwrap_err() });
    }
    while let Some(status) = refused.join_next().await {
        let delay = status.unwrap().retry_delay().unwrap();
        // 2000 more than there were, 10 of them paid back each second; up to a quarter of jitter.
        let owed = Duration::from_secs(200);
        assert!(delay + begun.elapsed() >= owed, "{delay:?}");
        assert!(delay <= owed.mul_f64(1.26), "{delay:?}");
    }
    for series in ["otlpd_receiver", "otlpd_tenant"] {
        let series = format!("{series}_refused_requests_total");
        assert_eq!(daemon.metric(&series), 50, "{series}");
    }
    let labels = "{tenant=\"other\",reason=\"rate_limited\"}";
    let by_reason = format!("otlpd_tenant_refused_requests_total{labels}");
    assert_eq!(daemon.metric(&by_reason), 50);
    let taken = daemon.status()["ledger"]["logs"]["received"].clone();
    assert_eq!(taken, 2010, "what is refused is not taken");
}

/// What a flood of fifty connections came to.
#[derive(Debug, Default)]
struct Flood {
    accepted: u64,
    delays: Vec<Duration>,
}

async fn flood(clients: Vec<Client>, stop: Arc<AtomicBool>) -> Flood {
    let mut sending = JoinSet::new();
    for mut client in clients {
        let stop = Arc::clone(&stop);
        sending.spawn(async move {
            let mut flood = Flood::default();
            while !stop.load(Ordering::Relaxed) {
                match client.send(20).await {
                    Ok(()) => flood.accepted += 20,
                    Err(status) => flood.delays.extend(status.retry_delay()),
                }
            }
            flood
        });
    }
    let mut all = Flood::default();
    while let Some(one) = sending.join_next().await {
        let one = one.unwrap();
        all.accepted += one.accepted;
        all.delays.extend(one.delays);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_gets_its_rate_and_no_more_and_nobody_else_is_refused() {
    let daemon = daemon(
        "[intake]\nmax_wait = \"250ms\"\n[tenants]\n\
         default = { items_per_second = 200, burst = \"500ms\" }\n[tenants.limits.calm]\n",
    );
    let stop = Arc::new(AtomicBool::new(false));
    let clients = Client::many(&daemon, "greedy", 50).await;
    let begun = Instant::now();
    let flooding = tokio::spawn(flood(clients, Arc::clone(&stop)));
    until("the greedy are refused", || {
        daemon.metric("otlpd_tenant_refused_requests_total") > 0
    });
    for mut client in Client::many(&daemon, "calm", 10).await {
        for _ in 0..20 {
            client.send(20).await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let flood = flooding.await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    // Before the first was read, all fifty were let in.
    let allowed = 200.0 * seconds + 100.0 + 50.0 * 20.0;
    assert!(
        flood.accepted as f64 <= allowed,
        "{} of {allowed}",
        flood.accepted
    );
    assert!(!flood.delays.is_empty());
    for delay in flood.delays {
        assert!(delay <= Duration::from_secs(5).mul_f64(1.25), "{delay:?}");
    }
    let of_calm = "otlpd_tenant_accepted_items_total{tenant=\"calm\",signal=\"logs\"}";
    assert_eq!(daemon.metric(of_calm), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_data_piles_up_leaves_room_to_others() {
    // Nothing listens there, and the queue has room for more than the budget pays.
    let sections = "[intake]\nmemory_budget = \"32MiB\"\nmax_wait = \"10m\"\n[tenants]\n\
        [exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://127.0.0.1:9\"\n\
        [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n";
    let daemon = Daemon::start(&Setup {
        sections,
        ..Setup::default()
    });
    // Half a megabyte each, 48 of them: more than half of the budget. The first tells gRPC, whose
    // requests declare no length before they are let in, what to expect of the others.
    let size = payloads::logs(1400).len() as u64;
    let mut clients = Client::many(&daemon, "greedy", 48).await;
    clients.remove(0).send(1400).await.unwrap();
    let mut piling = JoinSet::new();
    for mut client in clients {
        // Where the machine stands still, one may be too slow for those who wait, and comes again.
        piling.spawn(async move { while client.send(1400).await.is_err() {} });
    }
    let mut accepted = 1;
    until("half of the budget is taken, and the rest held", || {
        while let Some(taken) = piling.try_join_next() {
            taken.unwrap();
            accepted += 1;
        }
        accepted == (16 << 20) / size && accepted + held(&daemon) == 48
    });
    for mut client in Client::many(&daemon, "calm", 4).await {
        client.send(1400).await.unwrap();
    }
    assert_eq!(accepted + held(&daemon), 48);
    assert!(piling.try_join_next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_different_tenants_are_not_merged() {
    let capture = Capture::start().await;
    let sections = format!(
        "[tenants]\n[exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\nmax_in_flight = 1\nbatch = {{ linger = \"300ms\" }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n",
        capture.address
    );
    let daemon = Daemon::start(&Setup {
        sections: &sections,
        ..Setup::default()
    });
    let mut one = Client::connect(&daemon, "one", true).await;
    let mut two = Client::connect(&daemon, "two", false).await;
    for _ in 0..10 {
        one.send(1).await.unwrap();
        two.send(2).await.unwrap();
    }
    let account = || daemon.status()["ledger"]["logs"]["exporters"]["out"]["delivered"].clone();
    until("all of it is delivered", || account() == 30);
    let mut requests = 0;
    for (_, message) in capture.calls() {
        let decoded = ExportLogsServiceRequest::decode(message).unwrap();
        let records = |group: &opentelemetry_proto::tonic::logs::v1::ResourceLogs| {
            group
                .scope_logs
                .iter()
                .map(|scope| scope.log_records.len())
                .sum::<usize>()
        };
        let first = records(&decoded.resource_logs[0]);
        assert!(
            decoded
                .resource_logs
                .iter()
                .all(|group| records(group) == first)
        );
        requests += decoded.resource_logs.len();
    }
    assert_eq!(requests, 20);
}
