//! Where a collector under test delivers to, so that what it passes on can be compared with what
//! it was sent (`--sink`).

use std::convert::Infallible;
use std::net::TcpListener;
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

/// The most that is kept of what comes in each encoding, in bytes; the oldest goes first.
const MAX_KEPT: usize = 16 << 20;
/// The largest message that is kept, in bytes: what is looked for is small.
const MAX_MESSAGE: usize = 1 << 20;
/// The most that is read of one request, in bytes.
const MAX_BODY: usize = 64 << 20;

/// A server that takes everything, over gRPC and HTTP on one port.
pub(super) struct Sink {
    listener: Mutex<Option<TcpListener>>,
    kept: Mutex<Kept>,
    beat: watch::Sender<u64>,
}

/// What came, the oldest first.
#[derive(Debug, Default)]
struct Kept {
    protobuf: Vec<Vec<u8>>,
    json: Vec<Vec<u8>>,
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
    pub(super) fn bind(address: &str) -> Result<Self, String> {
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

    fn keep(&self, wire: Wire, message: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let list = match wire {
            Wire::HttpJson => &mut kept.json,
            Wire::Grpc | Wire::HttpProtobuf => &mut kept.protobuf,
        };
        list.push(message);
        while list.iter().map(Vec::len).sum::<usize>() > MAX_KEPT && list.len() > 1 {
            list.remove(0);
        }
        drop(kept);
        self.beat.send_modify(|beat| *beat += 1);
    }

    /// What is looked for, as soon as it is there.
    async fn find<T>(&self, patience: Duration, look: impl Fn(&Kept) -> Option<T>) -> Option<T> {
        let give_up = Instant::now() + patience;
        let mut beat = self.beat.subscribe();
        loop {
            beat.borrow_and_update();
            let found = look(&self.kept.lock().unwrap_or_else(PoisonError::into_inner));
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
        && message.len() <= MAX_MESSAGE
    {
        sink.keep(wire, message);
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

    /// What became of the item with this mark, such as its trace id, at the destination of the
    /// collector under test.
    pub(super) async fn passed_on(&self, mark: &[u8]) -> Result<Passed, Verdict> {
        let look = |kept: &Kept| {
            let mut latest = kept.protobuf.iter().rev();
            let found = latest.find_map(|message| find(message, mark));
            // Where one came as JSON, no other will come as protobuf.
            let other = || skipped("what is passed on comes as JSON, and this line reads protobuf");
            found
                .map(Ok)
                .or_else(|| (!kept.json.is_empty()).then(|| Err(other())))
        };
        self.look_for(look).await
    }

    /// The JSON with this text in it at the destination of the collector under test.
    pub(super) async fn passed_on_as_json(&self, mark: &str) -> Result<Vec<u8>, Verdict> {
        let has = |body: &&Vec<u8>| memchr::memmem::find(body, mark.as_bytes()).is_some();
        let look = |kept: &Kept| {
            let found = kept.json.iter().rev().find(has).cloned();
            let other = || skipped("what is passed on comes as protobuf: let it be sent as JSON");
            found.map(Ok).or_else(|| {
                kept.protobuf
                    .iter()
                    .any(|body| has(&body))
                    .then(|| Err(other()))
            })
        };
        self.look_for(look).await
    }

    async fn look_for<T>(
        &self,
        look: impl Fn(&Kept) -> Option<Result<T, Verdict>>,
    ) -> Result<T, Verdict> {
        // It may have to wait behind what was sent before.
        let patience = self.known.timeout * 3;
        let found = self.sees_the_destination()?.find(patience, look).await;
        found.unwrap_or_else(|| {
            let got = format!("nothing within {patience:?}");
            Err(failed("the item at the destination", got))
        })
    }
}
