//! A client's HTTP/2 connection that opens itself, ages, and is replaced when it breaks.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body::Body;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::corked::Corked;
use super::dial::{Dialler, replace_at};

/// One connection to one target, shared by all requests to it.
pub struct Channel<B> {
    dialler: Dialler,
    max_age: Duration,
    open: Mutex<Option<Open<B>>>,
    dialling: tokio::sync::Mutex<()>,
}

struct Open<B> {
    sender: SendRequest<B>,
    replace_at: Option<Instant>,
}

/// A connection on which nothing arrives for this long is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long the sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

impl<B> Channel<B>
where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    /// A channel that is not open yet. A connection older than `max_age` is replaced.
    pub fn new(dialler: Dialler, max_age: Duration) -> Self {
        let dialling = tokio::sync::Mutex::new(());
        Self {
            dialler,
            max_age,
            open: Mutex::new(None),
            dialling,
        }
    }

    /// A handle to send one request by; opens the connection if need be.
    pub async fn sender(&self) -> io::Result<SendRequest<B>> {
        if let Some(sender) = self.current() {
            return Ok(sender);
        }
        let _one_at_a_time = self.dialling.lock().await;
        if let Some(sender) = self.current() {
            return Ok(sender);
        }
        let stream = Corked::new(self.dialler.dial().await?);
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        // It ends with its last handle; what went wrong on it, each request is told.
        tokio::spawn(async move { drop(connection.await) });
        let open = Open {
            sender: sender.clone(),
            replace_at: replace_at(self.max_age),
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(sender)
    }

    fn current(&self) -> Option<SendRequest<B>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = open.as_ref().is_some_and(|open| {
            !open.sender.is_closed() && open.replace_at.is_none_or(|at| Instant::now() < at)
        });
        if !usable {
            *open = None;
        }
        open.as_ref().map(|open| open.sender.clone())
    }
}
