//! Serving: the accept loop, and the life of each connection from accept to goodbye.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::time::{sleep, sleep_until};

use super::accepted::Accepted;
use super::corked::Corked;
use super::dial::replace_at;
use super::heads::Contradiction;
use super::listen::Listener;
use super::peer::Peer;
use super::stream::Stream;
use crate::shutdown::Drain;

mod departures;
mod places;
mod traffic;

use places::{Places, Seat};
pub use traffic::Traffic;

/// The bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most connections at once. When as many are open, one without a request under way is
    /// asked to go for each that comes; while none is, further ones wait in the listener's
    /// backlog.
    pub max_connections: usize,
    /// The age at which a connection is asked to go; zero is never.
    pub max_age: Duration,
    /// How long a connection may be without a request under way until it is asked to go; zero is
    /// for ever.
    pub max_idle: Duration,
    /// How long a connection may be open before its first request; it is asked to go then, too.
    pub patience: Duration,
    /// How long it may then take to finish what it began.
    pub grace: Duration,
}

/// How long a connection without a request under way has to say goodbye. One that never spoke,
/// such as a probe that only connects, would not notice that it is asked to.
const SHORT_GRACE: Duration = Duration::from_secs(1);

/// How long it has when nobody waits for its place: its client may be short of CPU, and what is on
/// its way would be lost with the connection. One that is alive answers HTTP/2's goodbye at once.
const LONG_GRACE: Duration = Duration::from_secs(3);

/// How long an idle HTTP/1.1 connection has for one more request when we stop, and a client for the
/// rest of its handshake.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// Accepts connections and serves them until the drain begins; then they finish what they
/// began, until its deadline. `open` makes a connection's builder and service, once its client was
/// greeted.
pub async fn serve<S, B, F>(mut listener: Listener, limits: Limits, mut drain: Drain, open: F)
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    F: Fn(Peer, Arc<Traffic>) -> (Builder<TokioExecutor>, S) + Send + Sync + 'static,
{
    let places = Places::new(limits.max_connections);
    let open = Arc::new(open);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = drain.begun() => return,
        };
        // Only who has come may ask others for their place; and who has come is served, even if
        // we stop before there is one.
        let place = tokio::select! {
            place = places.take() => place,
            _ = drain.begun() => None,
        };
        let stay = Stay {
            limits: limits.clone(),
            seat: places.seat(place),
            drain: drain.clone(),
        };
        tokio::spawn(receive(accepted, Arc::clone(&open), stay));
    }
}

/// Greets a client, and serves it.
async fn receive<S, B, F>(accepted: Accepted, open: Arc<F>, mut stay: Stay)
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    F: Fn(Peer, Arc<Traffic>) -> (Builder<TokioExecutor>, S),
{
    let (front, address) = (accepted.front(), accepted.address());
    let given_up = async {
        tokio::select! {
            () = stay.seat.traffic.asked() => {}
            _ = stay.drain.begun() => tokio::select! {
                () = sleep(LAST_CHANCE) => {}
                () = stay.drain.over() => {}
            },
        }
    };
    let greeted = tokio::select! {
        greeted = accepted.greet() => greeted,
        () = given_up => return front.gave_up(address),
    };
    let Some((stream, peer)) = greeted else {
        return;
    };
    let traffic = &stay.seat.traffic;
    let (builder, service) = open(peer, Arc::clone(traffic));
    let only_http2 = !builder.is_http1_available();
    traffic.multiplexed.store(only_http2, Ordering::Relaxed);
    if let Err(error) = converse(stream, builder, service, stay).await {
        let error = error.as_ref();
        tracing::debug!(%error, "connection ended");
        front.complain_if_foreign(address, error);
    }
}

/// What a connection's stay depends on.
struct Stay {
    limits: Limits,
    seat: Seat,
    drain: Drain,
}

/// How a connection takes leave.
struct Leave {
    /// How long it has to finish what it began; until the deadline of the stop, if not said.
    grace: Option<Duration>,
    /// How long it may be without a request under way meanwhile.
    rest: Duration,
    /// It may say one thing more, over HTTP/1.1.
    speaks_again: bool,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn converse<S, B>(
    stream: Stream,
    builder: Builder<TokioExecutor>,
    service: S,
    stay: Stay,
) -> Result<(), Error>
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let Stay {
        limits,
        mut seat,
        mut drain,
    } = stay;
    let traffic = Arc::clone(&seat.traffic);
    let (stream, contradiction) = Corked::watched(stream);
    let service = closing_when_asked(service, &traffic, contradiction);
    let connection = builder.serve_connection(stream, service);
    tokio::pin!(connection);
    let old = replace_at(limits.max_age);
    let old_age = async {
        match old {
            Some(old) => sleep_until(old).await,
            None => std::future::pending().await,
        }
    };
    let gently = Leave {
        grace: Some(limits.grace),
        rest: LONG_GRACE,
        speaks_again: true,
    };
    let leave = tokio::select! {
        ended = connection.as_mut() => return ended,
        () = old_age => gently,
        () = traffic.silence(limits.patience) => Leave { rest: SHORT_GRACE, speaks_again: false, ..gently },
        () = traffic.idle_for(limits.max_idle) => gently,
        () = traffic.asked() => {
            let is_stranger = traffic.last_heard().is_none() && traffic.is_idle();
            // Others wait, and it has nothing to finish.
            if !seat.stand_up() && is_stranger {
                return Ok(());
            }
            Leave { rest: SHORT_GRACE, speaks_again: !is_stranger, ..gently }
        }
        _ = drain.begun() => Leave { grace: None, ..gently },
    };
    if leave.speaks_again {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = traffic.last_request() => {}
            () = drain.over() => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    let grace = async {
        match leave.grace {
            Some(grace) => sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // What has come meanwhile goes first.
        biased;
        ended = connection.as_mut() => return ended,
        // One with nothing to finish does not hear us, or does not want to.
        () = traffic.rest(leave.rest) => {}
        () = grace => {}
        () = drain.over() => {}
    }
    Ok(())
}

/// Marks a request over HTTP/1.1 that declares the length of its body in two ways. It is to be
/// refused; its connection ends with the answer.
#[derive(Clone, Copy, Debug)]
pub struct TwoLengths;

/// The same service; on a connection that is asked to go, and behind a request that contradicts
/// itself, answers of HTTP/1.1 say that they are the last.
fn closing_when_asked<S, B>(
    service: S,
    traffic: &Arc<Traffic>,
    contradiction: Contradiction,
) -> impl Service<Request<Incoming>, Response = Response<B>, Error = S::Error, Future: Send> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body,
{
    let traffic = Arc::clone(traffic);
    let requests = AtomicU64::new(0);
    service_fn(move |mut request: Request<Incoming>| {
        let contradicts = contradiction.is(requests.fetch_add(1, Ordering::Relaxed));
        if contradicts {
            request.extensions_mut().insert(TwoLengths);
        }
        let closes = (request.version() < Version::HTTP_2).then(|| Arc::clone(&traffic));
        if closes.is_none() {
            traffic.multiplexed.store(true, Ordering::Relaxed);
        }
        // An async block would have room for the answer's future twice.
        service.call(request).map_ok(move |mut answer| {
            let leaves = closes.is_some_and(|traffic| traffic.leaving.load(Ordering::Relaxed));
            if leaves || contradicts {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            answer
        })
    })
}
