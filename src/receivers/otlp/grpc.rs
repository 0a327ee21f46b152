//! OTLP/gRPC on hyper's HTTP/2: the five bytes of gRPC framing are read by us, and the message
//! stays the bytes that arrived.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{Joined, ReadError, in_time, next_data};
use super::guard::Guard;
use super::refusal::Failed;
use crate::auth::Identity;
use crate::intake::{self, Accepted, Caller, Intake, Refused};
use crate::net::compression::{self, Encoding};
use crate::net::peer::Peer;
use crate::otlp::Signal;
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, Status, grpc_trailers, parse_grpc_timeout};
use crate::telemetry::metrics::{Fault, ReceiverMetrics};

/// What the requests of one gRPC listener need.
pub(super) struct Grpc {
    /// The door.
    pub(super) intake: Intake,
    /// Who is let in.
    pub(super) guard: Guard,
    /// The largest message, uncompressed, in bytes.
    pub(super) limit: usize,
    /// What is counted.
    pub(super) metrics: ReceiverMetrics,
}

/// The longest that a client may take to send a request, once it was let in.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The encodings that we read, as gRPC lists them.
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

impl Grpc {
    /// Answers one call of this peer.
    pub(super) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Response<Answer>, Infallible> {
        let began = Instant::now();
        let response = match not_grpc(&request) {
            Some((fault, response)) => {
                self.metrics.faulty(fault);
                response
            }
            None => self.call(request, &peer).await,
        };
        self.metrics.took(began.elapsed());
        Ok(response)
    }

    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response<Answer> {
        let signal = Signal::from_grpc_path(request.uri().path())
            .filter(|signal| self.intake.takes(*signal));
        let outcome = match (self.guard.pass(request.headers(), peer).await, signal) {
            (Err(denied), _) => Err(denied),
            (Ok(identity), Some(signal)) => self.take(signal, request, identity).await,
            (Ok(_), None) => Err(unserved(request.uri().path())),
        };
        match (signal, outcome) {
            (Some(signal), Ok(accepted)) => {
                self.metrics
                    .accepted(signal, accepted.items, accepted.rejected);
                Answer::success(&accepted)
            }
            (_, Ok(accepted)) => Answer::success(&accepted),
            (signal, Err(failed)) => {
                failed.count(&self.metrics, signal);
                Answer::failure(&failed.status)
            }
        }
    }

    async fn take(
        &self,
        signal: Signal,
        request: Request<Incoming>,
        identity: Option<Identity>,
    ) -> Result<Accepted, Failed> {
        let encoding = encoding(request.headers())?;
        let patience = request
            .headers()
            .get("grpc-timeout")
            .and_then(parse_grpc_timeout);
        let caller = self
            .intake
            .caller(request.headers(), identity.as_ref(), patience);
        let request = self
            .read(signal, request.into_body(), encoding, caller)
            .await?;
        let wire = request.body.len();
        let accepted = self.intake.submit(request).await?;
        self.metrics.body(wire, accepted.bytes);
        Ok(accepted)
    }

    /// Reads the one message of the call, once it is paid for.
    async fn read(
        &self,
        signal: Signal,
        mut body: Incoming,
        encoding: Option<Encoding>,
        caller: Caller,
    ) -> Result<intake::Request, Failed> {
        let expected = self.intake.expected();
        let mut admission = self.intake.admit(signal, expected, caller).await?;
        let mut prefix = Prefix::default();
        let first = in_time(READ_TIMEOUT, prefix.read(&mut body)).await??;
        let length = prefix.length();
        if length > self.limit {
            return Err(Refused::TooLarge { limit: self.limit }.into());
        }
        self.intake.settle_length(&mut admission, length).await?;
        let joined = in_time(READ_TIMEOUT, Joined::new(first, length).read(&mut body)).await?;
        Ok(intake::Request {
            signal,
            body: joined.map_err(|error| broken(&error))?,
            encoding: prefix.encoding(encoding)?,
            limit: self.limit,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: admission.charge,
        })
    }
}

/// gRPC's five bytes before a message: a flag and a length.
#[derive(Default)]
struct Prefix {
    bytes: [u8; 5],
    filled: usize,
}

impl Prefix {
    /// Fills the prefix from the body; returns what arrived behind it.
    async fn read(&mut self, body: &mut Incoming) -> Result<Bytes, Failed> {
        loop {
            let mut chunk = match next_data(body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Err(invalid("the call carries no whole message")),
                Err(error) => return Err(broken(&error)),
            };
            if let Some(missing) = self.bytes.get_mut(self.filled..) {
                let count = missing.len().min(chunk.len());
                if let Some(missing) = missing.get_mut(..count) {
                    chunk.copy_to_slice(missing);
                    self.filled += count;
                }
            }
            if self.filled == self.bytes.len() {
                return Ok(chunk);
            }
        }
    }

    fn length(&self) -> usize {
        let [_, a, b, c, d] = self.bytes;
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
    }

    fn encoding(&self, declared: Option<Encoding>) -> Result<Option<Encoding>, Failed> {
        match (self.bytes[0], declared) {
            (0, _) => Ok(None),
            (1, Some(encoding)) => Ok(Some(encoding)),
            (1, None) => {
                let problem =
                    "the message is flagged as compressed, but grpc-encoding names no encoding";
                Err(Failed::fault(
                    Fault::Framing,
                    Status::new(GrpcCode::Internal, problem),
                ))
            }
            _ => Err(invalid("the flag before the message is neither 0 nor 1")),
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Failed> {
    let Some(value) = headers.get("grpc-encoding") else {
        return Ok(None);
    };
    let name = value.to_str().unwrap_or("?");
    compression::parse_coding(name).map_err(|_| {
        let problem = format!("grpc-encoding {name:?} is not supported: use gzip or zstd");
        Failed::fault(
            Fault::Encoding,
            Status::new(GrpcCode::Unimplemented, problem),
        )
    })
}

fn unserved(path: &str) -> Failed {
    let problem = format!("{path} is not served here: there is no such method, or no pipeline");
    Failed::fault(
        Fault::NoSuchPath,
        Status::new(GrpcCode::Unimplemented, problem),
    )
}

fn not_grpc(request: &Request<Incoming>) -> Option<(Fault, Response<Answer>)> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let (fault, status) = if request.method() != Method::POST {
        (Fault::Method, StatusCode::METHOD_NOT_ALLOWED)
    } else if !kind.is_some_and(is_grpc) {
        (Fault::MediaType, StatusCode::UNSUPPORTED_MEDIA_TYPE)
    } else {
        return None;
    };
    let mut response = Response::new(Answer {
        data: None,
        trailers: None,
    });
    *response.status_mut() = status;
    Some((fault, response))
}

/// Whether this media type is gRPC with protobuf messages. gRPC-Web is another protocol.
fn is_grpc(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

fn invalid(problem: &str) -> Failed {
    Failed::invalid(Fault::Framing, problem)
}

fn broken(error: &ReadError) -> Failed {
    invalid(&error.to_string())
}

/// The body of an answer: at most one frame of data, and the trailers.
#[derive(Debug)]
pub(super) struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn success(accepted: &Accepted) -> Response<Self> {
        let data = if accepted.rejected == 0 && accepted.message.is_empty() {
            Bytes::from_static(&[0; 5])
        } else {
            framed(&response::partial_success(
                accepted.rejected,
                &accepted.message,
            ))
        };
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        grpc_response(Self {
            data: Some(data),
            trailers: Some(trailers),
        })
    }

    /// Trailers only: everything stands in the headers.
    fn failure(status: &Status) -> Response<Self> {
        let mut response = grpc_response(Self {
            data: None,
            trailers: None,
        });
        response.headers_mut().extend(grpc_trailers(status));
        response
            .headers_mut()
            .insert("grpc-accept-encoding", ACCEPTED);
        response
    }
}

fn grpc_response(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(message.len() + 5);
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(
            self.trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
