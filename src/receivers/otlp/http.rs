//! OTLP/HTTP, binary protobuf.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderValue, Method, Request, Response, Version, request};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::body::{Joined, ReadError, in_time, next_data};
use super::guard::Guard;
use super::refusal::Failed;
use crate::auth::Identity;
use crate::intake::{self, Accepted, Admission, Caller, Intake, Refused};
use crate::net::compression::{self, Encoding, Unsupported};
use crate::net::peer::Peer;
use crate::otlp::Signal;
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, Status, retry_after_header};
use crate::telemetry::metrics::{Fault, ReceiverMetrics};

/// What the requests of one HTTP listener need.
pub(super) struct Http {
    /// The door.
    pub(super) intake: Intake,
    /// Who is let in.
    pub(super) guard: Guard,
    /// The largest body, as it comes and uncompressed, in bytes.
    pub(super) limit: usize,
    /// The longest that a client may take to send its body, once it is let in.
    pub(super) read_timeout: Duration,
    /// What is counted.
    pub(super) metrics: ReceiverMetrics,
}

/// A client that was refused before its body was read is listened to for so long, and for so
/// many bytes, that it comes to read the answer: closing on it at once would reset the
/// connection, and the answer would be lost with it.
const DRAIN: (Duration, usize) = (Duration::from_secs(10), 256 << 20);

/// The same for one that was not let in, and is nobody to do much for.
const DRAIN_DENIED: (Duration, usize) = (Duration::from_secs(2), 4 << 20);

/// What a body of undeclared length is paid for at a time, in bytes.
const STEP: usize = 64 << 10;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

impl Http {
    /// Answers one request of this peer.
    pub(super) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let began = Instant::now();
        let json = media_type(request.headers()).is_some_and(|kind| kind == JSON);
        let signal = Signal::from_http_path(path(request.uri().path()))
            .filter(|signal| self.intake.takes(*signal));
        let (head, mut body) = request.into_parts();
        let outcome = match self.guard.pass(&head.headers, &peer).await {
            Ok(identity) => {
                let identity = identity.as_ref();
                self.take(signal, &head, &mut body, identity).await
            }
            Err(denied) => Err(denied),
        };
        let response = match outcome {
            Ok(accepted) => {
                if let Some(signal) = signal {
                    self.metrics
                        .accepted(signal, accepted.items, accepted.rejected);
                }
                success(&accepted)
            }
            Err(failed) => {
                failed.count(&self.metrics, signal);
                if is_worth_draining(&head, &body) {
                    let bounds = if failed.is_denied() {
                        DRAIN_DENIED
                    } else {
                        DRAIN
                    };
                    tokio::spawn(drain(body, bounds));
                }
                failure(&failed, json)
            }
        };
        self.metrics.took(began.elapsed());
        Ok(response)
    }

    async fn take(
        &self,
        signal: Option<Signal>,
        head: &request::Parts,
        body: &mut Incoming,
        identity: Option<&Identity>,
    ) -> Result<Accepted, Failed> {
        let (signal, encoding) = look(signal, head)?;
        let caller = self.intake.caller(&head.headers, identity, None);
        let read = self.read(signal, body, encoding, caller);
        let request = read.await?;
        let wire = request.body.len();
        let accepted = self.intake.submit(request).await?;
        self.metrics.body(wire, accepted.bytes);
        Ok(accepted)
    }

    async fn read(
        &self,
        signal: Signal,
        body: &mut Incoming,
        encoding: Option<Encoding>,
        caller: Caller,
    ) -> Result<intake::Request, Failed> {
        let declared = body.size_hint().exact();
        let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > self.limit) {
            return Err(Refused::TooLarge { limit: self.limit }.into());
        }
        let expected = length.unwrap_or_else(|| self.intake.expected());
        let mut admission = self.intake.admit(signal, expected, caller).await?;
        let read = match length {
            Some(length) => {
                let joined = Joined::new(Bytes::new(), length);
                in_time(self.read_timeout, joined.read(body))
                    .await?
                    .map_err(|error| broken(&error))
            }
            None => {
                let joined = self.read_undeclared(body, &mut admission);
                in_time(self.read_timeout, joined).await?
            }
        };
        Ok(intake::Request {
            signal,
            body: read?,
            encoding,
            limit: self.limit,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: admission.charge,
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
                let needed = total - paid;
                let wished = needed.max(STEP).max(joined.len() / 2);
                self.intake.grow(admission, needed, wished).await?;
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
    head: &request::Parts,
) -> Result<(Signal, Option<Encoding>), Failed> {
    let Some(signal) = signal else {
        let problem = format!(
            "{} is not served here: post to /v1/traces, /v1/metrics or /v1/logs, and see that a \
             pipeline takes it",
            head.uri.path()
        );
        let status = Status::new(GrpcCode::Unimplemented, problem);
        return Err(Failed::fault(Fault::NoSuchPath, status));
    };
    if head.method != Method::POST {
        let status = Status::new(GrpcCode::Internal, "only POST is served here");
        return Err(Failed::fault(Fault::Method, status));
    }
    if media_type(&head.headers).is_none_or(|kind| kind != PROTOBUF) {
        let problem = "the content type must be application/x-protobuf";
        let status = Status::new(GrpcCode::InvalidArgument, problem);
        return Err(Failed::fault(Fault::MediaType, status));
    }
    match coding(&head.headers) {
        Ok(encoding) => Ok((signal, encoding)),
        Err(_unsupported) => {
            let problem = "the content encoding is not supported: use gzip or zstd";
            let status = Status::new(GrpcCode::InvalidArgument, problem);
            Err(Failed::fault(Fault::Encoding, status))
        }
    }
}

/// The content coding. One that stands in several lines, or is no text, is a list of them or
/// worse, and not supported.
fn coding(headers: &HeaderMap) -> Result<Option<Encoding>, Unsupported> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => compression::parse_coding(value.to_str().map_err(|_| Unsupported)?),
        (Some(_), Some(_)) => Err(Unsupported),
    }
}

/// Whether the client of this refused request may be sending its body still. Over HTTP/2 a reset
/// of the stream says all that there is to say, and a client that asked whether it may send
/// (`Expect: 100-continue`) has been told.
fn is_worth_draining(head: &request::Parts, body: &Incoming) -> bool {
    head.version < Version::HTTP_2
        && !head.headers.contains_key(header::EXPECT)
        && !body.is_end_stream()
}

/// Reads a body that nobody wants.
async fn drain(mut body: Incoming, (time, bytes): (Duration, usize)) {
    let read = async {
        let mut left = bytes;
        while let Ok(Some(chunk)) = next_data(&mut body).await {
            let Some(still) = left.checked_sub(chunk.len()) else {
                return;
            };
            left = still;
        }
    };
    // Whichever comes first, the connection is closed if the body has not ended.
    timeout(time, read).await.ok();
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
        (JSON, status.encode_json())
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
