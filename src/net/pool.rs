//! A client's HTTP/1.1 connections: one request at a time on each, kept for the next one.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use tokio::time::Instant;

use super::corked::Corked;
use super::dial::{Dialler, replace_at};

/// Idle connections to one target. How many there can be is bounded by how many requests its
/// owner makes at once.
pub struct Pool<B> {
    dialler: Dialler,
    max_age: Duration,
    idle: Mutex<Vec<Connection<B>>>,
}

/// A connection that is in use, or idle in the pool.
pub struct Connection<B> {
    sender: SendRequest<B>,
    replace_at: Option<Instant>,
}

impl<B> Pool<B>
where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    /// An empty pool. A connection older than `max_age` is not used again.
    pub fn new(dialler: Dialler, max_age: Duration) -> Self {
        Self {
            dialler,
            max_age,
            idle: Mutex::default(),
        }
    }

    /// An idle connection, or a new one.
    pub async fn take(&self) -> io::Result<Connection<B>> {
        while let Some(mut connection) = self.pop() {
            if connection.sender.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let stream = Corked::new(self.dialler.dial().await?);
        let (sender, connection) = handshake(stream).await.map_err(io::Error::other)?;
        // It ends with its handle; what went wrong on it, the request is told.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection {
            sender,
            replace_at: replace_at(self.max_age),
        })
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn give_back(&self, connection: Connection<B>) {
        if !connection.sender.is_closed() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }

    fn pop(&self) -> Option<Connection<B>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|connection| {
            !connection.sender.is_closed() && connection.replace_at.is_none_or(|at| now < at)
        });
        idle.pop()
    }
}

impl<B: Body + Send + 'static> Connection<B> {
    /// Sends one request.
    pub async fn send(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        self.sender.send_request(request).await
    }
}
