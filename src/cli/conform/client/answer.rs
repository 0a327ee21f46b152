//! What the scripted server answers: an HTTP response, or something done to the connection.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Either, Full};

use super::arrival::Wire;
use crate::otlp::Signal;
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, RETRY_INFO_TRAILER, Status, grpc_trailers};

type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;
pub(in crate::cli::conform) type AnswerBody =
    Either<WithTrailers<Full<Bytes>, Trailers>, Full<Bytes>>;

/// How one request is answered.
#[derive(Clone, Debug)]
pub(in crate::cli::conform) enum Answer {
    /// It is taken: a full success.
    Taken,
    /// It is taken, and the response has a `partial_success`.
    Partial {
        rejected: u64,
        message: &'static str,
    },
    /// It is taken, and the response has these bytes in place of a message.
    Message(Bytes),
    /// A gRPC status, and the delay of its RetryInfo.
    Grpc {
        code: GrpcCode,
        retry: Option<Duration>,
    },
    /// Any HTTP answer.
    Http {
        status: u16,
        headers: Vec<(&'static str, Field)>,
        body: Content,
    },
    /// The same, but late.
    After(Duration, Box<Answer>),
    /// There is no answer, and the connection stays open.
    Never,
    /// The connection is closed in place of an answer.
    Cut,
    /// Like `Cut`; and no connection is accepted for so long.
    Refuse(Duration),
    /// The connection is said to end (HTTP/2 GOAWAY) and closed, in place of an answer.
    GoAway,
    /// Taken over HTTP/1.1; over HTTP/2 the connection is closed, and so is every later one that
    /// begins with HTTP/2.
    OnlyHttp1,
}

/// The value of a header field.
#[derive(Clone, Debug)]
pub(in crate::cli::conform) enum Field {
    Text(&'static str),
    /// An HTTP date so many seconds from when it is sent.
    DateIn(i64),
}

/// The body of an HTTP answer.
#[derive(Clone, Debug)]
pub(in crate::cli::conform) enum Content {
    /// A `google.rpc.Status` in the format of the request.
    Status,
    /// Bytes as they are, with their content type.
    Raw(Option<&'static str>, Bytes),
}

impl Answer {
    /// An HTTP status with a Status body.
    pub(in crate::cli::conform) fn http(status: u16) -> Self {
        Self::Http {
            status,
            headers: Vec::new(),
            body: Content::Status,
        }
    }

    /// The same with one more header field.
    pub(in crate::cli::conform) fn http_with(
        status: u16,
        name: &'static str,
        value: Field,
    ) -> Self {
        Self::Http {
            status,
            headers: vec![(name, value)],
            body: Content::Status,
        }
    }

    /// 200 with these bytes.
    pub(in crate::cli::conform) fn raw(kind: Option<&'static str>, body: impl Into<Bytes>) -> Self {
        Self::Http {
            status: 200,
            headers: Vec::new(),
            body: Content::Raw(kind, body.into()),
        }
    }

    /// A gRPC status without details.
    pub(in crate::cli::conform) const fn grpc(code: GrpcCode) -> Self {
        Self::Grpc { code, retry: None }
    }

    /// What fails for a while, in the words of either protocol.
    pub(in crate::cli::conform) fn unavailable(wire: Wire) -> Self {
        match wire {
            Wire::Grpc => Self::grpc(GrpcCode::Unavailable),
            _ => Self::http(503),
        }
    }

    /// Whether nothing is to be watched for after it.
    pub(in crate::cli::conform) fn ends_quietly(&self) -> bool {
        match self {
            Self::After(_, answer) => answer.ends_quietly(),
            _ => matches!(self, Self::Taken | Self::OnlyHttp1),
        }
    }

    /// The response to a request that came so; `None` where none is given.
    pub(in crate::cli::conform) fn response(
        &self,
        wire: Wire,
        signal: Signal,
    ) -> Option<Response<AnswerBody>> {
        match (self, wire) {
            (Self::After(_, answer), _) => answer.response(wire, signal),
            (Self::Grpc { code, retry }, _) => Some(grpc_status(*code, *retry)),
            (
                Self::Http {
                    status,
                    headers,
                    body,
                },
                _,
            ) => Some(http_answer(*status, headers, body, wire)),
            (Self::Taken | Self::OnlyHttp1, _) => {
                Some(success(wire, success_body(wire, signal, None)))
            }
            (Self::Partial { rejected, message }, _) => {
                let body = success_body(wire, signal, Some((*rejected, message)));
                Some(success(wire, body))
            }
            (Self::Message(bytes), _) => Some(success(wire, bytes.clone())),
            (Self::Never | Self::Cut | Self::Refuse(_) | Self::GoAway, _) => None,
        }
    }
}

/// A full success.
pub(in crate::cli::conform) fn taken(wire: Wire, signal: Signal) -> Response<AnswerBody> {
    success(wire, success_body(wire, signal, None))
}

/// An export response: empty, or with a `partial_success`.
fn success_body(wire: Wire, signal: Signal, partial: Option<(u64, &str)>) -> Bytes {
    match (partial, wire) {
        (None, Wire::HttpJson) => Bytes::from_static(b"{}"),
        (None, _) => Bytes::new(),
        (Some((rejected, message)), Wire::HttpJson) => {
            let key = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
                Signal::Profiles => "rejectedProfiles",
            };
            let partial = serde_json::json!({ key: rejected.to_string(), "errorMessage": message });
            Bytes::from(serde_json::json!({ "partialSuccess": partial }).to_string())
        }
        (Some((rejected, message)), _) => response::partial_success(rejected, message),
    }
}

fn success(wire: Wire, body: Bytes) -> Response<AnswerBody> {
    if wire != Wire::Grpc {
        let kind = wire.content_type();
        return http_response(StatusCode::OK, Some(kind), body);
    }
    let [a, b, c, d] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = vec![0, a, b, c, d];
    frame.extend_from_slice(&body);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let trailers = std::future::ready(Some(Ok(trailers)));
    let body = Full::new(Bytes::from(frame)).with_trailers(trailers);
    grpc_response(Either::Left(body))
}

/// An answer without a body, whose headers are the trailers.
fn grpc_status(code: GrpcCode, retry: Option<Duration>) -> Response<AnswerBody> {
    const MESSAGE: &str = "the conformance suite was to answer so";
    let status = match (code, retry) {
        (GrpcCode::ResourceExhausted, Some(retry)) => Status::exhausted(MESSAGE, retry),
        (_, Some(retry)) => Status::unavailable(MESSAGE, retry),
        (_, None) => Status::new(code, MESSAGE),
    };
    let mut response = grpc_response(Either::Right(Full::default()));
    let mut trailers = grpc_trailers(&status);
    // The specification names one place for the delay, and this is not it.
    trailers.remove(RETRY_INFO_TRAILER);
    response.headers_mut().extend(trailers);
    response
}

fn grpc_response(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

fn http_answer(
    status: u16,
    headers: &[(&'static str, Field)],
    body: &Content,
    wire: Wire,
) -> Response<AnswerBody> {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Content::Raw(kind, bytes) => http_response(code, *kind, bytes.clone()),
        Content::Status => {
            let status = Status::new(GrpcCode::Unknown, "the conformance suite answers so");
            let body = match wire {
                Wire::HttpJson => status.encode_json(),
                _ => status.encode(),
            };
            http_response(code, Some(wire.content_type()), body)
        }
    };
    for (name, value) in headers {
        if let Some(value) = value.read() {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn http_response(status: StatusCode, kind: Option<&str>, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Right(Full::new(body)));
    *response.status_mut() = status;
    if let Some(Ok(kind)) = kind.map(HeaderValue::from_str) {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

impl Field {
    fn read(&self) -> Option<HeaderValue> {
        match self {
            Self::Text(text) => Some(HeaderValue::from_static(text)),
            Self::DateIn(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                let now = SystemTime::now();
                let at = if *seconds < 0 { now - by } else { now + by };
                HeaderValue::from_str(&httpdate::fmt_http_date(at)).ok()
            }
        }
    }
}
