//! Serving: the accept loop, and the life of each connection from accept to goodbye.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::corked::Corked;
use super::dial::replace_at;
use super::listen::Listener;
use crate::shutdown::Drain;

/// The bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most connections at once; further ones wait in the listener's backlog.
    pub max_connections: usize,
    /// The age at which a connection is asked to go; zero is never.
    pub max_age: Duration,
    /// How long it may then take to finish what it began.
    pub grace: Duration,
}

/// Accepts connections and serves them until the drain begins; then they finish what they
/// began, until its deadline. `open` makes a connection's builder and service.
pub async fn serve<S, B, F>(mut listener: Listener, limits: Limits, mut drain: Drain, open: F)
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    F: Fn(SocketAddr) -> (Builder<TokioExecutor>, S),
{
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, (stream, peer)) = tokio::select! {
            accepted = accepted => accepted,
            _ = drain.begun() => return,
        };
        let (builder, service) = open(peer);
        let (limits, drain) = (limits.clone(), drain.clone());
        tokio::spawn(async move {
            converse(stream, builder, service, limits, drain).await;
            drop(slot);
        });
    }
}

async fn converse<S, B>(
    stream: TcpStream,
    builder: Builder<TokioExecutor>,
    service: S,
    limits: Limits,
    mut drain: Drain,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let connection = builder.serve_connection(Corked::new(stream), service);
    tokio::pin!(connection);
    let old = replace_at(limits.max_age);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = sleep_until(old.unwrap_or_else(Instant::now)), if old.is_some() => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.grace, connection.as_mut()).await.ok()
        }
        deadline = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            timeout_at(deadline, connection.as_mut()).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(error, "connection ended");
    }
}
