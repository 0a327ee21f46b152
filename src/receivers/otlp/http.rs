//! OTLP/HTTP, in binary protobuf and in JSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, Request, Response, Uri, Version, request};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::body::{Reading, Room, next_data, slow_goes};
use super::cors::Cors;
use super::guard::Guard;
use super::packed;
use super::refusal::Failed;
use super::streams::{Streams, is_large};
use crate::auth::Identity;
use crate::intake::{self, Accepted, Caller, Intake, Kind, Refused};
use crate::net::compression::{self, Coding, Unsupported};
use crate::net::peer::Peer;
use crate::net::serve::{Traffic, TwoLengths};
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, Status, retry_after_header};
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::{Fault, ReceiverMetrics};

/// What the requests of one HTTP listener need.
pub(super) struct Http {
    /// The door.
    pub(super) intake: Intake,
    /// Who is let in.
    pub(super) guard: Guard,
    /// What is under way.
    pub(super) streams: Streams,
    /// The largest body, as it comes and uncompressed, in bytes.
    pub(super) limit: usize,
    /// The longest that a client may take to send its body, once it is let in.
    pub(super) read_timeout: Duration,
    /// Which web pages may send.
    pub(super) cors: Option<Cors>,
    /// What is counted.
    pub(super) metrics: ReceiverMetrics,
}

/// A client that was refused before its body was read is listened to for so long, and for so
/// many bytes, that it comes to read the answer: closing on it at once would reset the
/// connection, and the answer would be lost with it.
const DRAIN: (Duration, usize) = (Duration::from_secs(10), 256 << 20);

/// The same for one that was not let in, and is nobody to do much for.
const DRAIN_DENIED: (Duration, usize) = (Duration::from_secs(2), 4 << 20);

impl Http {
    /// Answers one request of this peer.
    pub(super) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        (peer, traffic): (Peer, Arc<Traffic>),
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let began = Instant::now();
        let (mut head, mut body) = request.into_parts();
        // Browsers show nothing when they ask whether they may.
        if let Some(preflight) = self.cors.as_ref().and_then(|cors| cors.preflight(&head)) {
            return Ok(preflight);
        }
        let format = format(&head.headers);
        let signal = Signal::from_http_path(path(head.uri.path()))
            .filter(|signal| self.intake.takes(*signal));
        let outcome = match self.guard.pass(&head.headers, &peer).await {
            Ok(identity) => {
                let sending = (&mut body, &*traffic);
                self.take((signal, format), &mut head, sending, identity)
                    .await
            }
            Err(denied) => Err(denied),
        };
        let mut response = match outcome {
            Ok((signal, format, accepted)) => {
                self.metrics
                    .accepted(signal, accepted.items, accepted.rejected_by);
                success((signal, format), &accepted, &head.headers)
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
                failure(&failed, &head.headers)
            }
        };
        if let Some(cors) = &self.cors {
            cors.mark(head.headers.get(header::ORIGIN), response.headers_mut());
        }
        self.metrics.took(began.elapsed());
        Ok(response)
    }

    async fn take(
        &self,
        kind: (Option<Signal>, Option<Format>),
        head: &mut request::Parts,
        (body, traffic): (&mut Incoming, &Traffic),
        identity: Option<Identity>,
    ) -> Result<(Signal, Format, Accepted), Failed> {
        let (signal, format, encoding) = look(kind, head)?;
        let mut caller = self.intake.caller(&head.headers, identity.as_ref(), None);
        if head.version == Version::HTTP_2 {
            caller = caller.sharing();
        }
        slim(head);
        let budget = caller.budget(&self.intake.budget).clone();
        let wanted = || {
            let others = self.streams.is_crowded() || self.intake.is_waited_for(&budget);
            slow_goes(others, traffic)
        };
        let reading = Reading::new(self.read_timeout, None, &wanted);
        let read = self.read(signal, (body, reading, traffic), (format, encoding), caller);
        let request = read.await?;
        traffic.heard();
        let wire = request.body.len();
        let accepted = self.intake.submit(request).await?;
        self.metrics.body(wire, accepted.bytes);
        Ok((signal, format, accepted))
    }

    async fn read(
        &self,
        signal: Signal,
        (body, reading, traffic): (&mut Incoming, Reading<'_>, &Traffic),
        (format, encoding): (Format, Option<Coding>),
        caller: Caller,
    ) -> Result<intake::Request, Failed> {
        let declared = body.size_hint().exact();
        let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > self.limit) {
            return Err(Refused::TooLarge { limit: self.limit }.into());
        }
        let kind = Kind {
            signal,
            format,
            encoding,
            limit: self.limit,
        };
        let expected = match length {
            Some(length) => self.intake.needs(kind, &caller, length),
            None => self.intake.expected(),
        };
        let admitted = self.intake.admit(signal, expected, caller);
        let mut admission = traffic.held(admitted).await?;
        let reading = reading.begin();
        let mut room = Room {
            intake: &self.intake,
            admission: &mut admission,
            length,
            kind,
        };
        let read = room.read(Bytes::new(), body, &reading);
        let read = reading.in_time(read).await??;
        self.intake.turn(&mut admission).await?;
        Ok(intake::Request {
            signal,
            body: read,
            encoding,
            format,
            limit: self.limit,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: admission.charge,
        })
    }
}

/// What can be said of a request by its head alone.
fn look(
    (signal, format): (Option<Signal>, Option<Format>),
    head: &request::Parts,
) -> Result<(Signal, Format, Option<Coding>), Failed> {
    if head.extensions.get::<TwoLengths>().is_some() {
        let problem = "the request has a Content-Length and a Transfer-Encoding: which of them \
                       counts is a guess, and who stands between may have made another";
        return Err(Failed::invalid(Fault::Framing, problem));
    }
    if let Some(problem) = misframed(head) {
        return Err(Failed::invalid(Fault::Framing, problem));
    }
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
    let Some(format) = format else {
        let problem = "the content type must be application/x-protobuf or application/json";
        let status = Status::new(GrpcCode::InvalidArgument, problem);
        return Err(Failed::fault(Fault::MediaType, status));
    };
    match coding(&head.headers) {
        Ok(encoding) => Ok((signal, format, encoding)),
        Err(_unsupported) => {
            let problem = "the content encoding is not supported: use gzip, zstd or deflate";
            let status = Status::new(GrpcCode::InvalidArgument, problem);
            Err(Failed::fault(Fault::Encoding, status))
        }
    }
}

/// What HTTP/1.1 does not allow and the library lets pass (RFC 9112 sections 3.2 and 6.1).
fn misframed(head: &request::Parts) -> Option<&'static str> {
    if head.version != Version::HTTP_11 {
        return None;
    }
    if head.headers.get_all(header::HOST).iter().count() != 1 {
        return Some("a request has exactly one Host header");
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(one), None) if is_chunked(one) => None,
        _ => Some("the only Transfer-Encoding that is served is chunked, once"),
    }
}

/// The headers that are looked at once the body is read, or refused.
const NEEDED: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::ORIGIN,
];

/// Lets go of a large head, and of the connection's read buffers, which it is a part of: the body
/// may be long in coming.
fn slim(head: &mut request::Parts) {
    if !is_large(&head.headers) {
        return;
    }
    let mut kept = HeaderMap::new();
    for name in NEEDED {
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
        for copy in head.headers.get_all(&name).iter().filter_map(copy) {
            kept.append(name.clone(), copy);
        }
    }
    head.headers = kept;
    head.uri = Uri::default();
}

/// The content coding. One that stands in several lines, or is no text, is a list of them or
/// worse, and not supported.
fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Unsupported> {
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

/// What the content type says, whatever its parameters and its case.
fn format(headers: &HeaderMap) -> Option<Format> {
    Format::from_media_type(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// The format in which a failure is told: that of the request; where that is none of ours, JSON,
/// which a person can read.
fn readable(headers: &HeaderMap) -> Format {
    let says_protobuf = |kind: &HeaderValue| {
        let kind = kind.as_bytes();
        kind.windows(8)
            .any(|part| part.eq_ignore_ascii_case(b"protobuf"))
    };
    match headers.get(header::CONTENT_TYPE) {
        Some(kind) if says_protobuf(kind) => Format::Protobuf,
        _ => Format::Json,
    }
}

/// A success, in the format of the request.
fn success(
    (signal, format): (Signal, Format),
    accepted: &Accepted,
    asked: &HeaderMap,
) -> Response<Full<Bytes>> {
    let body = if accepted.rejected == 0 && accepted.message.is_empty() {
        response::full_success()
    } else {
        response::partial_success(accepted.rejected, &accepted.message)
    };
    let body = match format {
        Format::Protobuf => body,
        Format::Json => response::to_json(signal, &body),
    };
    let mut response = packed::response(body, asked);
    let kind = HeaderValue::from_static(format.media_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A failure, with a `google.rpc.Status` for its body.
fn failure(failed: &Failed, asked: &HeaderMap) -> Response<Full<Bytes>> {
    let status = &failed.status;
    let format = readable(asked);
    let body = match format {
        Format::Protobuf => status.encode(),
        Format::Json => status.encode_json(),
    };
    let kind = format.media_type();
    let mut response = packed::response(body, asked);
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
