//! One request: read, decide, account, answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;

use super::behaviour::{Mode, Verdict, grpc_code, http_status};
use super::ledger::Sizes;
use super::listen::Transport;
use super::{Shared, control};
use crate::cli::bench::scan::{Seen, scan};
use crate::cli::bench::wire::{
    grpc_message, grpc_prefix, put_bytes, put_message, put_number, retry_info,
};
use crate::otlp::Signal;

/// What a gzip or zstd body may grow to; more is not what `bench load` sends.
const LARGEST_PLAIN_BYTES: u64 = 256 << 20;

type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;
type GrpcBody = Either<WithTrailers<Full<Bytes>, Trailers>, Full<Bytes>>;

/// What was decided about a request.
enum Outcome {
    Acknowledged {
        rejected: u64,
    },
    Failed {
        code: u16,
        retry_after: Option<Duration>,
    },
    Hung,
}

/// Answers an OTLP/gRPC request.
pub(super) async fn grpc(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<GrpcBody>, Infallible> {
    let (head, body) = request.into_parts();
    let Some(signal) = Signal::from_grpc_path(head.uri.path()) else {
        return Ok(grpc_failure(&shared, 12, None));
    };
    let outcome = match collect(body).await {
        Some(read) => {
            let gzip = encoding(&head.headers, "grpc-encoding");
            let message = || {
                let (compressed, message) = grpc_message(&read.bytes)?;
                inflate(if compressed { gzip } else { "identity" }, message)
            };
            decide(&shared, signal, &read, message).await
        }
        None => Outcome::Failed {
            code: 13,
            retry_after: None,
        },
    };
    Ok(match outcome {
        Outcome::Acknowledged { rejected } => grpc_success(&shared, rejected),
        Outcome::Failed { code, retry_after } => {
            grpc_failure(&shared, grpc_code(code), retry_after)
        }
        Outcome::Hung => hang(&shared).await,
    })
}

/// Answers an OTLP/HTTP request, or one to the control routes.
pub(super) async fn http(
    shared: Arc<Shared>,
    transport: Transport,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let signal = Signal::from_http_path(head.uri.path());
    let signal = signal.filter(|_| transport != Transport::Control);
    let Some(signal) = signal else {
        if transport == (Transport::Http { control: false }) {
            return Ok(http_failure(&shared, 404, None));
        }
        return Ok(control::answer(&shared, &head, body).await);
    };
    let outcome = match collect(body).await {
        Some(read) => {
            let encoding = encoding(&head.headers, "content-encoding");
            decide(&shared, signal, &read, || inflate(encoding, &read.bytes)).await
        }
        None => Outcome::Failed {
            code: 400,
            retry_after: None,
        },
    };
    Ok(match outcome {
        Outcome::Acknowledged { rejected } => {
            shared.ledger.answer("http 200".to_owned());
            let mut response = Response::new(Full::new(response_body(rejected).into()));
            let protobuf = HeaderValue::from_static("application/x-protobuf");
            response.headers_mut().insert("content-type", protobuf);
            response
        }
        Outcome::Failed { code, retry_after } => {
            http_failure(&shared, http_status(code), retry_after)
        }
        Outcome::Hung => hang(&shared).await,
    })
}

/// A body as it came.
struct Collected {
    bytes: Bytes,
    largest_frame: usize,
}

/// Joins a body; `None` when the client ends it early.
async fn collect(mut body: Incoming) -> Option<Collected> {
    let mut largest_frame = 0;
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        largest_frame = largest_frame.max(data.len());
        if first.is_empty() && joined.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.reserve(expected_length(&first).max(first.len() + data.len()));
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    let bytes = if joined.is_empty() {
        first
    } else {
        joined.into()
    };
    Some(Collected {
        bytes,
        largest_frame,
    })
}

/// What gRPC's prefix promises, within reason; over HTTP it is some other small number.
fn expected_length(start: &[u8]) -> usize {
    let length = start.first_chunk::<5>().map_or(0, |&[_, a, b, c, d]| {
        u32::from_be_bytes([a, b, c, d]) as usize + 5
    });
    length.min(16 << 20)
}

async fn decide<'a>(
    shared: &Shared,
    signal: Signal,
    read: &Collected,
    plain: impl FnOnce() -> Option<Cow<'a, [u8]>>,
) -> Outcome {
    let number = shared.ledger.request();
    let (verdict, delay) = {
        let behaviour = shared.behaviour.borrow();
        (behaviour.verdict(), behaviour.delay)
    };
    let outcome = match verdict {
        Verdict::Accept { partial } => {
            account(shared, signal, read, partial, plain).unwrap_or(Outcome::Failed {
                code: 3,
                retry_after: None,
            })
        }
        Verdict::Fail { code, retry_after } => Outcome::Failed { code, retry_after },
        Verdict::Hang => Outcome::Hung,
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    refuse_when_due(shared, number);
    outcome
}

/// Closes everything once the set number of requests is reached; this one is still answered.
fn refuse_when_due(shared: &Shared, number: u64) {
    shared.behaviour.send_if_modified(|behaviour| {
        let due = behaviour.refuse_after.is_some_and(|after| number >= after);
        if due {
            behaviour.refuse_after = None;
            behaviour.mode = Mode::Refuse;
        }
        due
    });
}

fn account<'a>(
    shared: &Shared,
    signal: Signal,
    read: &Collected,
    partial: u64,
    plain: impl FnOnce() -> Option<Cow<'a, [u8]>>,
) -> Option<Outcome> {
    let mut sizes = Sizes {
        wire: read.bytes.len(),
        plain: read.bytes.len(),
        largest_frame: read.largest_frame,
    };
    let seen = if shared.count_only {
        Seen::default()
    } else {
        let plain = plain()?;
        sizes.plain = plain.len();
        scan(signal, &plain)?
    };
    let rejected = shared.ledger.accept(signal, sizes, &seen, partial);
    Some(Outcome::Acknowledged { rejected })
}

fn encoding<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or("identity")
}

fn inflate<'a>(encoding: &str, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let mut plain = Vec::with_capacity(bytes.len().saturating_mul(4));
    let read = match encoding {
        "identity" => return Some(Cow::Borrowed(bytes)),
        "gzip" => flate2::bufread::MultiGzDecoder::new(bytes)
            .take(LARGEST_PLAIN_BYTES)
            .read_to_end(&mut plain),
        "zstd" => zstd::stream::read::Decoder::with_buffer(bytes)
            .and_then(|decoder| decoder.take(LARGEST_PLAIN_BYTES).read_to_end(&mut plain)),
        _ => return None,
    };
    read.ok().map(|_| Cow::Owned(plain))
}

async fn hang<T>(shared: &Shared) -> T {
    shared.ledger.answer("hang".to_owned());
    std::future::pending().await
}

/// An export response, of any signal: empty, or with a `partial_success`.
fn response_body(rejected: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if rejected > 0 {
        put_message(&mut out, 1, |partial| {
            put_number(partial, 1, rejected);
            put_bytes(partial, 2, b"rejected as the bench was told to");
        });
    }
    out
}

fn grpc_success(shared: &Shared, rejected: u64) -> Response<GrpcBody> {
    shared.ledger.answer("grpc-status 0".to_owned());
    let message = response_body(rejected);
    let mut frame = grpc_prefix(false, message.len()).to_vec();
    frame.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let trailers = std::future::ready(Some(Ok(trailers)));
    let body = Full::new(Bytes::from(frame)).with_trailers(trailers);
    grpc_response(Either::Left(body))
}

fn grpc_failure(shared: &Shared, code: u16, retry_after: Option<Duration>) -> Response<GrpcBody> {
    shared.ledger.answer(format!("grpc-status {code}"));
    let mut response = grpc_response(Either::Right(Full::default()));
    let headers = response.headers_mut();
    headers.insert("grpc-status", code.into());
    let text = HeaderValue::from_static("the bench was told to fail");
    headers.insert("grpc-message", text);
    let details = retry_after.map(|after| HeaderValue::try_from(retry_info(code, after)));
    if let Some(Ok(details)) = details {
        headers.insert("grpc-status-details-bin", details);
    }
    response
}

fn grpc_response(body: GrpcBody) -> Response<GrpcBody> {
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

fn http_failure(
    shared: &Shared,
    code: u16,
    retry_after: Option<Duration>,
) -> Response<Full<Bytes>> {
    shared.ledger.answer(format!("http {code}"));
    let mut status = Vec::new();
    put_bytes(&mut status, 2, b"the bench was told to fail");
    let mut response = Response::new(Full::new(Bytes::from(status)));
    let internal = StatusCode::INTERNAL_SERVER_ERROR;
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(internal);
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/x-protobuf"),
    );
    if let Some(after) = retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert("retry-after", seconds.into());
    }
    response
}
