//! The admin side: what an operator, an orchestrator and a scraper read.

mod answer;
mod guard;
mod scrape;
mod status;

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use self::guard::Guard;
use crate::auth::{AuthConfig, Authenticator};
use crate::budget::Budget;
use crate::delivery::dead_letters::{DeadLetters, LetterCounts};
use crate::delivery::left::LeftQueue;
use crate::host::cpu::CpuAllowance;
use crate::intake::Door;
use crate::net::accepted::Accepted;
use crate::net::listen::Listener;
use crate::net::tls::{Register, ServerTlsConfig};
use crate::processors::fault::Fault;
use crate::telemetry::health::{Health, Readiness, Trouble};
use crate::telemetry::lanes::{LaneSnapshot, Lanes};
use crate::telemetry::ledger::Ledger;
use crate::telemetry::metrics::Registry;
use crate::telemetry::upgrades::Upgrades;

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Whether there is an admin listener at all.
    pub enabled: bool,
    /// `HOST:PORT` or `unix:PATH` to listen on. What others can reach needs `auth`: the default is
    /// for this machine only.
    pub endpoint: String,
    /// Clients are greeted by TLS; in the clear if absent.
    pub tls: Option<ServerTlsConfig>,
    /// Who is let in to all but `/livez` and `/readyz`; everybody if absent. Read apart.
    #[serde(skip)]
    pub auth: Option<AuthConfig>,
    /// Everybody is let in though other machines can reach the endpoint.
    pub allow_unauthenticated: bool,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: "127.0.0.1:13133".to_owned(),
            tls: None,
            auth: None,
            allow_unauthenticated: false,
        }
    }
}

/// All that the admin side reads. It changes nothing.
#[derive(Debug)]
pub struct Sources {
    /// What became of every item.
    pub ledger: Arc<Ledger>,
    /// What pays for what is held.
    pub budget: Budget,
    /// What set the size of the budget, for a person.
    pub budget_source: String,
    /// Where requests are held.
    pub door: Arc<Door>,
    /// Where the process is in its life.
    pub health: Arc<Health>,
    /// The CPUs that we may use, as last read.
    pub cpu: watch::Receiver<CpuAllowance>,
    /// The pipelines that run.
    pub pipelines: Vec<PipelineSummary>,
    /// The lanes that there are.
    pub lanes: Arc<Lanes>,
    /// Faults that are injected.
    pub faults: Vec<Arc<Fault>>,
    /// What is counted where it happens.
    pub registry: Arc<Registry>,
    /// The attempts to replace this process.
    pub upgrades: Arc<Upgrades>,
    /// Where TLS is used, and what is counted there.
    pub tls: Register,
    /// What was given up for good; set once the storage is open.
    pub dead_letters: Arc<OnceLock<DeadLetters>>,
    /// Queues on disk that nobody delivers; set once the storage is open.
    pub left_queues: Arc<OnceLock<Vec<LeftQueue>>>,
}

impl Sources {
    fn left_queues(&self) -> &[LeftQueue] {
        self.left_queues
            .get()
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// What there is to say of the dead letters; `None` where they are off.
    fn dead_letters(&self) -> Option<LetterCounts> {
        self.dead_letters.get().and_then(DeadLetters::counts)
    }

    /// Whether clients should send to us. Dead letters that cannot be written are no reason not
    /// to: they are said, and wait in queues on disk or are counted as lost.
    fn readiness(&self, lanes: &[LaneSnapshot]) -> Readiness {
        let mut readiness = self.health.readiness(lanes);
        let letters = self.dead_letters();
        if let Some(letters) = letters.filter(|letters| letters.last_error.is_some()) {
            readiness.reasons.push(Trouble {
                reason: "dead_letters_failing",
                message:
                    "what is given up cannot be written to the dead letters: in a queue on disk \
                          it waits for that, else it is lost; give the disk room, or see \
                          storage.directory and storage.dead_letters_max_bytes"
                        .to_owned(),
                exporter: None,
                since_seconds: letters.failing_seconds,
                last_error: letters.last_error,
            });
        }
        readiness
    }
}

/// One pipeline, as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PipelineSummary {
    /// Its name.
    pub name: String,
    /// The names of its receivers.
    pub receivers: Vec<String>,
    /// The names of its processors, in their order.
    pub processors: Vec<String>,
    /// The names of its exporters.
    pub exporters: Vec<String>,
    /// The signals that it carries.
    pub signals: Vec<&'static str>,
}

/// How many connections are served at once; the others wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 32;

/// How long a connection may take, from its beginning to the last byte of the one
/// answer: nobody can keep one by sending or reading slowly.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// Serves for ever whoever `auth` lets in, probes in any case; dropping the future closes the listener and all its connections. While otlpd
/// drains it is served on, so that whoever asks is told so.
pub async fn serve(
    mut listener: Listener,
    sources: Arc<Sources>,
    auth: Option<Arc<Authenticator>>,
) {
    let guard = Arc::new(Guard::new(auth, &sources.registry));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let accepted = listener.accept().await;
        let (sources, guard) = (Arc::clone(&sources), Arc::clone(&guard));
        connections.spawn(async move {
            // A client that breaks off, or is too slow, has only itself to tell.
            let served = serve_connection(accepted, &sources, &guard);
            let _outcome = tokio::time::timeout(CONNECTION_TIME, served).await;
            drop(place);
        });
    }
}

async fn serve_connection(accepted: Accepted, sources: &Sources, guard: &Guard) {
    let Some((stream, peer)) = accepted.greet().await else {
        return;
    };
    let peer = &peer;
    let service = service_fn(|request: Request<Incoming>| async move {
        let outcome = guard.check(request.headers(), peer).await;
        let answer = match outcome {
            Err(denied) if !answer::is_open(request.uri().path()) => {
                guard.count(&denied, peer);
                answer::denied(&denied)
            }
            outcome => answer::answer(sources, &request, outcome.is_ok()),
        };
        Ok::<_, Infallible>(answer)
    });
    let connection = http1::Builder::new()
        // One request each: there are few, and none can then wait behind an idle connection.
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let _outcome = connection.await;
}
