//! The connections: gRPC on HTTP/2 and OTLP over HTTP/1.1, both framed by hand on hyper.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::LoadArgs;
use super::answer::Answer;
use crate::cli::bench::args::Protocol;
use crate::cli::bench::request::Shape;
use crate::net::dial::Dialler;
use crate::net::tls::{Alpn, Register};

/// Where requests go and what their heads are.
#[derive(Debug)]
pub(super) struct Target {
    endpoint: String,
    dialler: Dialler,
    protocol: Protocol,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    longest_frame: usize,
}

/// A body in pieces, each of which becomes a frame of HTTP/2 or smaller ones.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    longest: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(self.longest);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Target {
    /// The error is a sentence about the endpoint.
    pub(super) fn new(args: &LoadArgs, shape: Shape) -> Result<Self, String> {
        let (endpoint, timeout) = (args.endpoint.as_str(), args.timeout);
        let alpn = match shape.protocol {
            Protocol::Grpc => Alpn::Http2,
            Protocol::Http => Alpn::Http1,
        };
        let (tls, register) = (args.tls.config(), Register::default());
        let whose = ("--endpoint", &register);
        let dialler = Dialler::new((endpoint, 4317), tls.as_ref(), alpn, whose)?;
        let authority = dialler.target.authority.as_str();
        let signal = shape.kind.signal();
        let mut headers = HeaderMap::new();
        let mut put = |name, value| headers.insert(HeaderName::from_static(name), value);
        let encoding = shape.compression.header().map(HeaderValue::from_static);
        let uri = match shape.protocol {
            Protocol::Grpc => {
                put("content-type", HeaderValue::from_static("application/grpc"));
                put("te", HeaderValue::from_static("trailers"));
                let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
                let text = format!("{}m", millis.min(99_999_999));
                put(
                    "grpc-timeout",
                    HeaderValue::try_from(text).map_err(|e| e.to_string())?,
                );
                encoding.map(|encoding| put("grpc-encoding", encoding));
                let scheme = dialler.scheme();
                format!("{scheme}://{authority}{}", signal.grpc_path())
            }
            Protocol::Http => {
                put(
                    "content-type",
                    HeaderValue::from_static("application/x-protobuf"),
                );
                let host = HeaderValue::try_from(authority).map_err(|error| error.to_string())?;
                put("host", host);
                encoding.map(|encoding| put("content-encoding", encoding));
                signal.http_path().to_owned()
            }
        };
        Ok(Self {
            endpoint: endpoint.to_owned(),
            dialler,
            protocol: shape.protocol,
            uri: Uri::try_from(uri).map_err(|error| format!("{endpoint}: {error}"))?,
            headers,
            timeout,
            longest_frame: args.frame_kib.map_or(usize::MAX, |kib| kib.max(1) << 10),
        })
    }

    fn request(&self, body: Bytes) -> Request<Pieces> {
        let mut request = Request::new(Pieces {
            rest: body,
            longest: self.longest_frame,
        });
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// One connection, made anew when it is gone. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    target: Arc<Target>,
    sender: Arc<Mutex<Option<Sender>>>,
}

#[derive(Debug)]
enum Sender {
    Grpc(http2::SendRequest<Pieces>),
    Http(http1::SendRequest<Pieces>),
}

impl Client {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
            sender: Arc::default(),
        }
    }

    /// Connects where there is no connection; a server that is just starting is waited for.
    pub(super) async fn connect(&self) -> Result<(), String> {
        let give_up = Instant::now() + self.target.timeout;
        let mut sender = self.sender.lock().await;
        while sender.is_none() {
            match dial(&self.target).await {
                Ok(connected) => *sender = Some(connected),
                Err(error) if Instant::now() > give_up => {
                    return Err(format!(
                        "cannot connect to {}: {error}",
                        self.target.endpoint
                    ));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        Ok(())
    }

    /// One attempt, within the timeout.
    pub(super) async fn send(&self, body: Bytes) -> Answer {
        let attempt = tokio::time::timeout(self.target.timeout, self.attempt(body)).await;
        if attempt.is_err() && self.target.protocol == Protocol::Http {
            // The late answer would come on this connection.
            *self.sender.lock().await = None;
        }
        attempt.unwrap_or(Answer::Nothing("timeout"))
    }

    async fn attempt(&self, body: Bytes) -> Answer {
        let request = self.target.request(body);
        match self.exchange(request).await {
            Ok(answer) => answer,
            Err(why) => {
                if why == "connect" {
                    // A server that refuses connections is not asked as fast as the CPU can.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Answer::Nothing(why)
            }
        }
    }

    /// What a connection that just ends has not sent, a new one sends: as any client does.
    async fn exchange(&self, request: Request<Pieces>) -> Result<Answer, &'static str> {
        match self.exchange_once(request).await {
            Err(Unsent::Whole(request)) => match self.exchange_once(*request).await {
                Err(Unsent::Whole(_)) => Err("connection"),
                Err(Unsent::Because(why)) => Err(why),
                Ok(answer) => Ok(answer),
            },
            Err(Unsent::Because(why)) => Err(why),
            Ok(answer) => Ok(answer),
        }
    }

    async fn exchange_once(&self, request: Request<Pieces>) -> Result<Answer, Unsent> {
        let mut held = self.sender.lock().await;
        if held.as_ref().is_none_or(Sender::is_closed) {
            let connected = dial(&self.target).await;
            *held = Some(connected.map_err(|_| Unsent::Because("connect"))?);
        }
        let answer = match held.as_mut() {
            Some(Sender::Grpc(sender)) => {
                let mut sender = sender.clone();
                drop(held);
                let response = sender.try_send_request(request).await;
                grpc_answer(response.map_err(Unsent::from)?).await
            }
            Some(Sender::Http(sender)) => {
                if sender.ready().await.is_err() {
                    *held = None;
                    return Err(Unsent::Whole(Box::new(request)));
                }
                let response = sender.try_send_request(request).await;
                http_answer(response.map_err(Unsent::from)?).await
            }
            None => Err("connect"),
        };
        answer.map_err(Unsent::Because)
    }
}

/// A request that was not sent, or not known to be.
enum Unsent {
    /// Nothing of it has left.
    Whole(Box<Request<Pieces>>),
    /// It may have left.
    Because(&'static str),
}

impl From<TrySendError<Request<Pieces>>> for Unsent {
    fn from(mut error: TrySendError<Request<Pieces>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Whole(Box::new(request)),
            None => Self::Because("connection"),
        }
    }
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::Grpc(sender) => sender.is_closed(),
            Self::Http(sender) => sender.is_closed(),
        }
    }
}

async fn dial(target: &Target) -> Result<Sender, String> {
    let stream = target.dialler.dial().await;
    let stream = stream.map_err(|error| error.to_string())?;
    let io = TokioIo::new(stream);
    match target.protocol {
        Protocol::Grpc => {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .max_send_buf_size(4 << 20)
                .handshake(io)
                .await
                .map_err(|error| error.to_string())?;
            // The senders see the end of the connection as errors of their own.
            tokio::spawn(async move { connection.await.ok() });
            Ok(Sender::Grpc(sender))
        }
        Protocol::Http => {
            let (sender, connection) = http1::handshake(io)
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(async move { connection.await.ok() });
            Ok(Sender::Http(sender))
        }
    }
}

async fn grpc_answer(response: http::Response<Incoming>) -> Result<Answer, &'static str> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await.map_err(|_| "connection")?;
    let trailers = collected.trailers().cloned();
    let body = collected.to_bytes();
    if head.status != http::StatusCode::OK {
        return Ok(Answer::of_http(head.status, &head.headers, &[]));
    }
    Ok(Answer::of_grpc(&head.headers, trailers.as_ref(), &body))
}

async fn http_answer(response: http::Response<Incoming>) -> Result<Answer, &'static str> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| "connection")?.to_bytes();
    Ok(Answer::of_http(head.status, &head.headers, &body))
}

/// Asks the sink for what is missing until nothing is, or `settle` is over.
pub(super) async fn check(
    sink: &str,
    lines: String,
    settle: Duration,
) -> Result<serde_json::Value, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot ask the sink at {sink}: {error}");
    let lines = Bytes::from(lines);
    let give_up = Instant::now() + settle;
    loop {
        let stream = TcpStream::connect(sink)
            .await
            .map_err(|error| failed(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        tokio::spawn(async move { connection.await.ok() });
        let request = Request::post("/check")
            .header("host", sink)
            .body(Full::new(lines.clone()))
            .map_err(|error| failed(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| failed(&error))?;
        let found: serde_json::Value =
            serde_json::from_slice(&body.to_bytes()).map_err(|error| failed(&error))?;
        let missing = found.get("missing").and_then(serde_json::Value::as_u64);
        if missing == Some(0) || Instant::now() > give_up {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
