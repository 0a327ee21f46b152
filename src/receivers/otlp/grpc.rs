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
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::body::{Joined, READ_TIMEOUT, ReadError};
use super::refusal;
use crate::intake::{self, Accepted, Intake, Refused};
use crate::net::compression::{self, Encoding};
use crate::otlp::Signal;
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, Status, grpc_trailers, parse_grpc_timeout};

/// What the requests of one gRPC listener need.
pub struct Grpc {
    /// The door.
    pub intake: Intake,
    /// The largest message, uncompressed, in bytes.
    pub limit: usize,
}

/// The encodings that we read, as gRPC lists them.
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

impl Grpc {
    /// Answers one call.
    pub async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        if let Some(refusal) = not_grpc(&request) {
            return Ok(refusal);
        }
        Ok(match self.call(request).await {
            Ok(accepted) => Answer::success(&accepted),
            Err(status) => Answer::failure(&status),
        })
    }

    async fn call(&self, request: Request<Incoming>) -> Result<Accepted, Status> {
        let path = request.uri().path();
        let signal = Signal::from_grpc_path(path)
            .filter(|signal| self.intake.takes(*signal))
            .ok_or_else(|| {
                let problem = format!("{path} is not served here: no pipeline takes it");
                Status::new(GrpcCode::Unimplemented, problem)
            })?;
        let encoding = encoding(request.headers())?;
        let patience = request.headers().get("grpc-timeout").and_then(parse_grpc_timeout);
        let deadline = self.intake.deadline(patience);
        let request = self.read(signal, request.into_body(), encoding, deadline).await?;
        self.intake.submit(request).await.map_err(|refused| refusal::grpc(&refused))
    }

    /// Reads the one message of the call, once it is paid for.
    async fn read(
        &self,
        signal: Signal,
        mut body: Incoming,
        encoding: Option<Encoding>,
        deadline: tokio::time::Instant,
    ) -> Result<intake::Request, Status> {
        let refuse = |refused: Refused| refusal::grpc(&refused);
        let expected = self.intake.expected();
        let mut admission =
            self.intake.admit(signal, expected, deadline).await.map_err(refuse)?;
        let mut prefix = Prefix::default();
        let first = timeout(READ_TIMEOUT, prefix.read(&mut body)).await.map_err(|_| slow())??;
        let length = prefix.length();
        if length > self.limit {
            return Err(refuse(Refused::TooLarge { limit: self.limit }));
        }
        self.intake.settle_length(&mut admission, length).await.map_err(refuse)?;
        let joined = Joined::new(first, length);
        let message = timeout(READ_TIMEOUT, joined.read(&mut body))
            .await
            .map_err(|_| slow())?
            .map_err(|error| broken(&error))?;
        Ok(intake::Request {
            signal,
            body: message,
            encoding: prefix.encoding(encoding)?,
            limit: self.limit,
            reservation: admission.reservation,
            deadline: admission.deadline,
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
    async fn read(&mut self, body: &mut Incoming) -> Result<Bytes, Status> {
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

    fn encoding(&self, declared: Option<Encoding>) -> Result<Option<Encoding>, Status> {
        match (self.bytes[0], declared) {
            (0, _) => Ok(None),
            (1, Some(encoding)) => Ok(Some(encoding)),
            (1, None) => Err(Status::new(
                GrpcCode::Internal,
                "the message is flagged as compressed, but grpc-encoding names no encoding",
            )),
            _ => Err(invalid("the flag before the message is neither 0 nor 1")),
        }
    }
}

/// The next bytes of a body; `None` at its end. Trailers are passed over.
pub(super) async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, ReadError> {
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => return Ok(Some(data)),
            Ok(Err(_trailers)) => {}
            Err(error) => return Err(ReadError::Broken(error.to_string())),
        }
    }
    Ok(None)
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Status> {
    let Some(value) = headers.get("grpc-encoding") else { return Ok(None) };
    let name = value.to_str().unwrap_or("?");
    compression::parse_coding(name).map_err(|_| {
        let problem = format!("grpc-encoding {name:?} is not supported: use gzip or zstd");
        Status::new(GrpcCode::Unimplemented, problem)
    })
}

fn not_grpc(request: &Request<Incoming>) -> Option<Response<Answer>> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let status = if request.method() != Method::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if !kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        return None;
    };
    let mut response = Response::new(Answer { data: None, trailers: None });
    *response.status_mut() = status;
    Some(response)
}

fn invalid(problem: &str) -> Status {
    Status::invalid_argument(problem, "", problem)
}

fn slow() -> Status {
    let problem = "the request was not sent within the time that one may take";
    Status::unavailable(problem, Duration::from_secs(1))
}

fn broken(error: &ReadError) -> Status {
    invalid(&error.to_string())
}

/// The body of an answer: at most one frame of data, and the trailers.
#[derive(Debug)]
pub struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn success(accepted: &Accepted) -> Response<Self> {
        let data = if accepted.rejected == 0 && accepted.message.is_empty() {
            Bytes::from_static(&[0; 5])
        } else {
            framed(&response::partial_success(accepted.rejected, &accepted.message))
        };
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        grpc_response(Self { data: Some(data), trailers: Some(trailers) })
    }

    /// Trailers only: everything stands in the headers.
    fn failure(status: &Status) -> Response<Self> {
        let mut response = grpc_response(Self { data: None, trailers: None });
        response.headers_mut().extend(grpc_trailers(status));
        response.headers_mut().insert("grpc-accept-encoding", ACCEPTED);
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
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
