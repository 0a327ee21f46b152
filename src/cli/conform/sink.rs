//! Where a collector under test delivers to, so that what it passes on can be compared with what
//! it was sent (`--sink`).

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::client::{AnswerBody, Wire, framing, taken, unpacked};
use super::line::{Verdict, failed, skipped};
use super::probe::Probe;
use crate::cli::bench::wire::{Fields, Value};

/// The most that is kept of what comes, in bytes; the oldest goes first.
const MAX_KEPT: usize = 16 << 20;
/// The largest message that is kept, in bytes: what is looked for is small.
const MAX_MESSAGE: usize = 1 << 20;
/// The most that is read of one request, in bytes.
const MAX_BODY: usize = 64 << 20;

/// A server that takes everything, over gRPC and HTTP on one port.
pub(super) struct Sink {
    listener: Mutex<Option<TcpListener>>,
    kept: Mutex<Vec<Vec<u8>>>,
    beat: watch::Sender<u64>,
}

/// An item that came, with what is around it.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    /// The item itself.
    pub(super) item: Vec<u8>,
    /// The entry of its scope, without its other items.
    pub(super) scope: Vec<u8>,
    /// The entry of its resource, without its scopes.
    pub(super) resource: Vec<u8>,
}

impl Sink {
    /// Listens; nothing is served yet. The error is a sentence about the address.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("--sink {address}: {error}");
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener: Mutex::new(Some(listener)),
            kept: Mutex::default(),
            beat: watch::Sender::new(0),
        })
    }

    /// Begins to serve, once.
    pub(super) fn start(sink: &Arc<Self>) -> Result<(), String> {
        let mut listener = sink.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listener) = listener.take() else {
            return Ok(());
        };
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| format!("--sink: {error}"))?;
        let sink = Arc::clone(sink);
        tokio::spawn(async move {
            loop {
                // A failed accept concerns that client alone.
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let sink = Arc::clone(&sink);
                let service = service_fn(move |request| take(Arc::clone(&sink), request));
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    let serving = builder.serve_connection(TokioIo::new(stream), service);
                    serving.await.ok();
                });
            }
        });
        Ok(())
    }

    fn keep(&self, message: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(message);
        while kept.iter().map(Vec::len).sum::<usize>() > MAX_KEPT && kept.len() > 1 {
            kept.remove(0);
        }
        drop(kept);
        self.beat.send_modify(|beat| *beat += 1);
    }

    /// The item that has these bytes in a field of its own, such as its trace id.
    async fn find(&self, mark: &[u8], patience: Duration) -> Option<Passed> {
        let give_up = Instant::now() + patience;
        let mut beat = self.beat.subscribe();
        loop {
            beat.borrow_and_update();
            let found = {
                let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.iter().rev().find_map(|message| find(message, mark))
            };
            if found.is_some() || timeout_at(give_up, beat.changed()).await.is_err() {
                return found;
            }
        }
    }
}

async fn take(
    sink: Arc<Sink>,
    request: Request<Incoming>,
) -> Result<http::Response<AnswerBody>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let (wire, signal) = framing(&head);
    if let Some(message) = unpacked(&head.headers, wire, &body)
        && wire != Wire::HttpJson
        && message.len() <= MAX_MESSAGE
    {
        sink.keep(message);
    }
    Ok(taken(wire, signal))
}

/// Looks for the item through all resources and scopes.
fn find(request: &[u8], mark: &[u8]) -> Option<Passed> {
    memchr::memmem::find(request, mark)?;
    for resource in messages(request, 1) {
        for scope in messages(resource, 2) {
            for item in messages(scope, 2) {
                if memchr::memmem::find(item, mark).is_some() {
                    return Some(Passed {
                        item: item.to_vec(),
                        scope: without(scope, 2),
                        resource: without(resource, 2),
                    });
                }
            }
        }
    }
    None
}

fn messages(message: &[u8], number: u64) -> Vec<&[u8]> {
    let fields = Fields::of(message);
    let of_number = fields.filter_map(|field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    });
    of_number.collect()
}

/// The message without the messages in this field. Other fields keep their order.
fn without(message: &[u8], number: u64) -> Vec<u8> {
    use crate::cli::bench::wire::{put_bytes, put_fixed64, put_number};
    let mut kept = Vec::new();
    for field in Fields::of(message) {
        match field {
            (found, _) if found == number => {}
            (found, Value::Bytes(bytes)) => put_bytes(&mut kept, found, bytes),
            (found, Value::Number(value)) => put_number(&mut kept, found, value),
            (found, Value::Fixed64(bytes)) => {
                put_fixed64(&mut kept, found, u64::from_le_bytes(bytes));
            }
            (_, Value::Fixed32(_)) => {}
        }
    }
    kept
}

impl Passed {
    /// The value (an AnyValue) of this attribute, which is in that field of the item.
    pub(super) fn attribute(&self, field: u64, key: &str) -> Option<&[u8]> {
        let mut pairs = messages(&self.item, field).into_iter();
        pairs.find_map(|pair| {
            let is_it = messages(pair, 1).last() == Some(&key.as_bytes());
            is_it.then(|| messages(pair, 2).last().copied().unwrap_or(&[]))
        })
    }

    /// The last value of a field of the item, as it lies on the wire.
    pub(super) fn field(&self, number: u64) -> Option<Value<'_>> {
        let fields = Fields::of(&self.item);
        let of_number = fields.filter(|(found, _)| *found == number);
        of_number.last().map(|(_, value)| value)
    }
}

impl Probe {
    /// Goes on where the server's destination is ours.
    pub(super) fn sees_the_destination(&self) -> Result<&Sink, Verdict> {
        self.sink.as_deref().ok_or_else(|| {
            skipped("what is passed on is not seen without --sink, as the server's destination")
        })
    }

    /// What became of the item with this mark at the destination of the collector under test.
    pub(super) async fn passed_on(&self, mark: &[u8]) -> Result<Passed, Verdict> {
        let sink = self.sees_the_destination()?;
        // It may have to wait behind what was sent before.
        let patience = self.known.timeout * 3;
        let got = format!("nothing within {patience:?}");
        let found = sink.find(mark, patience).await;
        found.ok_or_else(|| failed("the item at the destination", got))
    }
}
