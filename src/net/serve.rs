//! Serving: the accept loop, and the life of each connection from accept to goodbye.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, sleep_until, timeout};

use super::corked::Corked;
use super::dial::replace_at;
use super::listen::Listener;
use crate::shutdown::Drain;

/// The bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most connections at once. When as many are open, those without a request under way
    /// are asked to go; while none is, further ones wait in the listener's backlog.
    pub max_connections: usize,
    /// The age at which a connection is asked to go; zero is never.
    pub max_age: Duration,
    /// How long a connection may be open before its first request; it is asked to go then, too.
    pub patience: Duration,
    /// How long it may then take to finish what it began.
    pub grace: Duration,
}

/// What goes on on one connection.
#[derive(Debug, Default)]
pub struct Traffic {
    under_way: AtomicUsize,
    /// Whether a request has ever come.
    spoke: AtomicBool,
}

/// A request that is under way until this is dropped.
struct UnderWay(Arc<Traffic>);

impl Traffic {
    /// Answers a request, which is under way from this call on until it is answered, or until
    /// the answer is given up.
    pub fn during<F: Future>(
        self: &Arc<Self>,
        answer: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.spoke.store(true, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(Arc::clone(self));
        async move {
            let answer = answer.await;
            drop(under_way);
            answer
        }
    }

    fn spoke(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// Waits until it is clear that nothing is said here.
    async fn silence(&self, patience: Duration) {
        sleep(patience).await;
        if self.spoke() {
            std::future::pending::<()>().await;
        }
    }

    fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Waits until no request was under way at the end of a period of this length.
    async fn rest(&self, period: Duration) {
        loop {
            sleep(period).await;
            if self.is_idle() {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a connection without a request under way has to say goodbye. One that never spoke,
/// such as a probe that only connects, would not notice that it is asked to.
const SHORT_GRACE: Duration = Duration::from_secs(1);

/// The places for connections on one listener.
struct Places {
    free: Arc<Semaphore>,
    wanted: Notify,
}

impl Places {
    /// A place; while there is none, idle connections are asked for theirs.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        let mut place = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            self.wanted.notify_waiters();
            if let Ok(place) = timeout(SHORT_GRACE, place.as_mut()).await {
                return place.ok();
            }
        }
    }

    /// Waits until the place of this connection is asked for, and it can do without.
    async fn asked_for(&self, traffic: &Traffic) {
        loop {
            self.wanted.notified().await;
            if traffic.is_idle() {
                return;
            }
        }
    }
}

/// Accepts connections and serves them until the drain begins; then they finish what they
/// began, until its deadline. `open` makes a connection's builder and service.
pub async fn serve<S, B, F>(mut listener: Listener, limits: Limits, mut drain: Drain, open: F)
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    F: Fn(SocketAddr, Arc<Traffic>) -> (Builder<TokioExecutor>, S),
{
    let places = Arc::new(Places {
        free: Arc::new(Semaphore::new(limits.max_connections)),
        wanted: Notify::new(),
    });
    loop {
        let accepted = async {
            // Only who has come may ask others for their place.
            let (stream, peer) = listener.accept().await;
            (places.take().await, stream, peer)
        };
        let (place, stream, peer) = tokio::select! {
            accepted = accepted => accepted,
            _ = drain.begun() => return,
        };
        let traffic = Arc::<Traffic>::default();
        let (builder, service) = open(peer, Arc::clone(&traffic));
        let stay = Stay {
            limits: limits.clone(),
            traffic,
            places: Arc::clone(&places),
            drain: drain.clone(),
        };
        tokio::spawn(async move {
            converse(stream, builder, service, stay).await;
            drop(place);
        });
    }
}

/// What a connection's stay depends on.
struct Stay {
    limits: Limits,
    traffic: Arc<Traffic>,
    places: Arc<Places>,
    drain: Drain,
}

async fn converse<S, B>(stream: TcpStream, builder: Builder<TokioExecutor>, service: S, stay: Stay)
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let Stay {
        limits,
        traffic,
        places,
        mut drain,
    } = stay;
    let connection = builder.serve_connection(Corked::new(stream), service);
    tokio::pin!(connection);
    let old = replace_at(limits.max_age);
    let old_age = async {
        match old {
            Some(old) => sleep_until(old).await,
            None => std::future::pending().await,
        }
    };
    let leaves_by = tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = old_age => Some(limits.grace),
        () = traffic.silence(limits.patience) => Some(limits.grace),
        () = places.asked_for(&traffic) => Some(limits.grace),
        _ = drain.begun() => None,
    };
    connection.as_mut().graceful_shutdown();
    let grace = async {
        match leaves_by {
            Some(grace) => sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = connection.as_mut() => log(ended),
        // One with nothing to finish does not hear us, or does not want to.
        () = traffic.rest(SHORT_GRACE) => {}
        () = grace => {}
        () = drain.over() => {}
    }
}

fn log<E: fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
