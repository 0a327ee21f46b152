//! OTLP/HTTP, binary protobuf.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::Instant;

use super::body::{Joined, ReadError, in_time, next_data};
use super::refusal::Failed;
use crate::intake::{self, Accepted, Admission, Intake, Refused};
use crate::net::compression::{self, Encoding};
use crate::otlp::Signal;
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, Status, retry_after_header};
use crate::telemetry::metrics::{Fault, ReceiverMetrics};

/// What the requests of one HTTP listener need.
pub(super) struct Http {
    /// The door.
    pub(super) intake: Intake,
    /// The largest body, as it comes and uncompressed, in bytes.
    pub(super) limit: usize,
    /// What is counted.
    pub(super) metrics: ReceiverMetrics,
}

/// What a body of undeclared length is paid for at a time, in bytes.
const STEP: usize = 64 << 10;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

impl Http {
    /// Answers one request.
    pub(super) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let began = Instant::now();
        let json = media_type(request.headers()).is_some_and(|kind| kind == JSON);
        let signal = Signal::from_http_path(path(request.uri().path()))
            .filter(|signal| self.intake.takes(*signal));
        let response = match self.take(signal, request).await {
            Ok(accepted) => {
                if let Some(signal) = signal {
                    self.metrics
                        .accepted(signal, accepted.items, accepted.rejected);
                }
                success(&accepted)
            }
            Err(failed) => {
                failed.count(&self.metrics, signal);
                failure(&failed, json)
            }
        };
        self.metrics.took(began.elapsed());
        Ok(response)
    }

    async fn take(
        &self,
        signal: Option<Signal>,
        request: Request<Incoming>,
    ) -> Result<Accepted, Failed> {
        let (signal, encoding) = look(signal, &request)?;
        let deadline = self.intake.deadline(None);
        let read = self.read(signal, request.into_body(), encoding, deadline);
        let request = read.await?;
        let wire = request.body.len();
        let accepted = self.intake.submit(request).await?;
        self.metrics.body(wire, accepted.bytes);
        Ok(accepted)
    }

    async fn read(
        &self,
        signal: Signal,
        mut body: Incoming,
        encoding: Option<Encoding>,
        deadline: Instant,
    ) -> Result<intake::Request, Failed> {
        let declared = body.size_hint().exact();
        let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > self.limit) {
            return Err(Refused::TooLarge { limit: self.limit }.into());
        }
        let expected = length.unwrap_or_else(|| self.intake.expected());
        let mut admission = self.intake.admit(signal, expected, deadline).await?;
        let read = match length {
            Some(length) => {
                let joined = Joined::new(Bytes::new(), length);
                in_time(joined.read(&mut body))
                    .await?
                    .map_err(|error| broken(&error))
            }
            None => in_time(self.read_undeclared(&mut body, &mut admission)).await?,
        };
        let reservation = admission.reservation;
        Ok(intake::Request {
            signal,
            body: read?,
            encoding,
            limit: self.limit,
            reservation,
            deadline,
        })
    }

    /// Reads a chunked body, paying as it grows.
    async fn read_undeclared(
        &self,
        body: &mut Incoming,
        admission: &mut Admission,
    ) -> Result<Bytes, Failed> {
        let mut joined = Vec::new();
        while let Some(chunk) = next_data(body).await.map_err(|error| broken(&error))? {
            let total = joined.len() + chunk.len();
            if total > self.limit {
                return Err(Refused::TooLarge { limit: self.limit }.into());
            }
            let paid = admission.reservation.bytes();
            if total > paid {
                // As the vector grows: what it has allocated is what is paid for.
                let more = (total - paid).max(STEP).max(joined.len() / 2);
                self.intake.grow(admission, more).await?;
            }
            joined.reserve_exact(admission.reservation.bytes().saturating_sub(joined.len()));
            joined.extend_from_slice(&chunk);
        }
        joined.shrink_to_fit();
        self.intake.settle_length(admission, joined.len()).await?;
        Ok(joined.into())
    }
}

/// What can be said of a request by its head alone.
fn look(
    signal: Option<Signal>,
    request: &Request<Incoming>,
) -> Result<(Signal, Option<Encoding>), Failed> {
    let Some(signal) = signal else {
        let problem = format!(
            "{} is not served here: post to /v1/traces, /v1/metrics or /v1/logs, and see that a \
             pipeline takes it",
            request.uri().path()
        );
        let status = Status::new(GrpcCode::Unimplemented, problem);
        return Err(Failed::fault(Fault::NoSuchPath, status));
    };
    if request.method() != Method::POST {
        let status = Status::new(GrpcCode::Internal, "only POST is served here");
        return Err(Failed::fault(Fault::Method, status));
    }
    if media_type(request.headers()).is_none_or(|kind| kind != PROTOBUF) {
        let problem = "the content type must be application/x-protobuf";
        let status = Status::new(GrpcCode::InvalidArgument, problem);
        return Err(Failed::fault(Fault::MediaType, status));
    }
    let coding = request.headers().get(header::CONTENT_ENCODING);
    let coding = coding.map_or(Ok(""), |value| value.to_str().map_err(|_| "?"));
    match compression::parse_coding(coding.unwrap_or("?")) {
        Ok(encoding) => Ok((signal, encoding)),
        Err(_unsupported) => {
            let problem = "the content encoding is not supported: use gzip or zstd";
            let status = Status::new(GrpcCode::InvalidArgument, problem);
            Err(Failed::fault(Fault::Encoding, status))
        }
    }
}

/// The path, with a doubled slash at its front taken for one: clients make it of a base that
/// ends in a slash.
fn path(path: &str) -> &str {
    let start = path.len() - path.trim_start_matches('/').len();
    path.get(start.saturating_sub(1)..).unwrap_or(path)
}

/// The content type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

fn broken(error: &ReadError) -> Failed {
    Failed::invalid(Fault::Framing, &error.to_string())
}

fn success(accepted: &Accepted) -> Response<Full<Bytes>> {
    let body = if accepted.rejected == 0 && accepted.message.is_empty() {
        response::full_success()
    } else {
        response::partial_success(accepted.rejected, &accepted.message)
    };
    let mut response = Response::new(Full::new(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    response
}

/// A failure, with a `google.rpc.Status` for its body in the encoding of the request.
fn failure(failed: &Failed, json: bool) -> Response<Full<Bytes>> {
    let status = &failed.status;
    let (kind, body) = if json {
        let body = json!({"code": status.code.number(), "message": status.message});
        (JSON, body.to_string().into())
    } else {
        (PROTOBUF, status.encode())
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = failed.http_status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(delay) = status.retry_delay() {
        headers.insert(header::RETRY_AFTER, retry_after_header(delay));
    }
    if let Some((name, value)) = failed.hint() {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
