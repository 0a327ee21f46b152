//! HTTP/2 by hyper, and gRPC's framing by hand.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;

use super::dial::Endpoint;
use super::http1::excerpt;
use crate::cli::bench::wire::{Fields, GRPC_PREFIX, Value, from_base64, grpc_prefix};
use crate::net::causes::causes;
use crate::otlp::status::GrpcCode;

/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// A request's body.
pub(crate) type CallBody = BoxBody<Bytes, Infallible>;

/// A message with gRPC's five bytes before it.
pub(crate) fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    [&grpc_prefix(compressed, message.len())[..], message].concat()
}

/// A body that is there as a whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> CallBody {
    Full::new(bytes.into()).boxed()
}

/// A body in pieces, each after a pause.
pub(crate) fn paced(pieces: Vec<(Duration, Bytes)>) -> CallBody {
    let pieces = stream::unfold(pieces.into_iter(), |mut rest| async move {
        let (pause, piece) = rest.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(Frame::data(piece)), rest))
    });
    BodyExt::boxed(StreamBody::new(SyncStream::new(pieces)))
}

/// Lets a stream be shared between threads that never use it at once, as a boxed body asks.
type SyncStream<S> = sync::Exclusive<S>;

mod sync {
    //! The one thing that a boxed body asks for and a stream of pauses is not.

    use std::pin::Pin;
    use std::sync::{Mutex, PoisonError};
    use std::task::{Context, Poll};

    use futures_util::Stream;

    /// A stream behind a lock that is never contended.
    pub(crate) struct Exclusive<S>(Mutex<Pin<Box<S>>>);

    impl<S> Exclusive<S> {
        pub(super) fn new(stream: S) -> Self {
            Self(Mutex::new(Box::pin(stream)))
        }
    }

    impl<S: Stream> Stream for Exclusive<S> {
        type Item = S::Item;

        fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
            let stream = &mut self.get_mut().0;
            let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
            stream.as_mut().poll_next(cx)
        }
    }
}

/// What came of a call, or of a request over HTTP/2.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) http: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Called {
    /// The first value of this name, of the trailers or else of the headers.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        let found = self.trailers.get(name).or_else(|| self.headers.get(name))?;
        found.to_str().ok()
    }

    /// `grpc-status`, where there is one.
    pub(crate) fn code(&self) -> Option<GrpcCode> {
        let number = self.said("grpc-status")?.parse().ok()?;
        Some(GrpcCode::from_number(number))
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.http == 200 && self.code() == Some(GrpcCode::Ok)
    }

    /// The one message of the answer, without its prefix. The error is a phrase.
    pub(crate) fn message(&self) -> Result<Vec<u8>, String> {
        let (prefix, message) = self
            .body
            .split_first_chunk::<GRPC_PREFIX>()
            .ok_or("an answer without a message")?;
        let [flag, length @ ..] = *prefix;
        if u32::from_be_bytes(length) as usize != message.len() {
            return Err("an answer that is not exactly one message".to_owned());
        }
        match flag {
            0 => Ok(message.to_vec()),
            1 => inflated(message),
            _ => Err(format!("a message with the flag {flag}")),
        }
    }

    /// Whether its details hold a RetryInfo, with which a client may try again.
    pub(crate) fn has_retry_info(&self) -> bool {
        let details = self.said("grpc-status-details-bin").and_then(from_base64);
        details.is_some_and(|status| {
            Fields::of(&status).any(|field| {
                let (3, Value::Bytes(any)) = field else {
                    return false;
                };
                memchr::memmem::find(any, b"google.rpc.RetryInfo").is_some()
            })
        })
    }

    /// Whether OTLP lets a client try again.
    pub(crate) fn is_retryable(&self) -> bool {
        match self.code() {
            Some(GrpcCode::ResourceExhausted) => self.has_retry_info(),
            Some(code) => code.is_retryable(),
            None => false,
        }
    }

    /// The code and its text, for a report.
    pub(crate) fn told(&self) -> String {
        let Some(code) = self.code() else {
            let http = self.http;
            return format!("HTTP {http} without grpc-status: {}", excerpt(&self.body));
        };
        let text = self.said("grpc-message").unwrap_or_default();
        let info = if self.has_retry_info() {
            " with RetryInfo"
        } else {
            ""
        };
        if text.is_empty() {
            return format!("{}{info}", code.name());
        }
        format!("{}{info}: {}", code.name(), excerpt(&unescaped(text)))
    }
}

/// `grpc-message` with its percent escapes taken back.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(byte));
        rest = match escaped {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    out
}

fn inflated(message: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::Read;

    let mut plain = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(message);
    match decoder.take(MAX_ANSWER as u64).read_to_end(&mut plain) {
        Ok(_) => Ok(plain),
        Err(error) => Err(format!("a compressed message that is not gzip: {error}")),
    }
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<CallBody>,
    scheme: &'static str,
    authority: String,
    patience: Duration,
}

impl Http2 {
    /// Connects, and begins HTTP/2 with prior knowledge or by ALPN.
    pub(crate) async fn connect(endpoint: &Endpoint, patience: Duration) -> Result<Self, String> {
        let stream = endpoint.connect(&["h2"]).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_send_buf_size(4 << 20);
        let shaking = builder.handshake(TokioIo::new(stream));
        let (sender, connection) = match timeout(patience, shaking).await {
            Ok(shaken) => shaken.map_err(|error| format!("HTTP/2 did not begin: {error}"))?,
            Err(_elapsed) => return Err(format!("HTTP/2 did not begin within {patience:?}")),
        };
        // The sender sees the end of the connection as errors of its own.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self {
            sender,
            scheme: if endpoint.tls.is_some() {
                "https"
            } else {
                "http"
            },
            authority: endpoint.authority(),
            patience,
        })
    }

    /// Sends a request and reads its answer to the end. The error is a phrase.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: CallBody,
    ) -> Result<Called, String> {
        let uri = format!("{}://{}{path}", self.scheme, self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        match timeout(self.patience, exchange(self.sender.clone(), request)).await {
            Ok(called) => called,
            Err(_elapsed) => Err(format!("no answer within {:?}", self.patience)),
        }
    }
}

async fn exchange(
    mut sender: http2::SendRequest<CallBody>,
    request: Request<CallBody>,
) -> Result<Called, String> {
    let broke = |error: hyper::Error| format!("no answer: {}", causes(&error));
    sender.ready().await.map_err(broke)?;
    let response = sender.send_request(request).await.map_err(broke)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
    Ok(Called {
        http: head.status.as_u16(),
        headers: head.headers,
        trailers: body.trailers().cloned().unwrap_or_default(),
        body: body.to_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn a_message_is_read_with_its_escapes_and_without() {
        assert_eq!(
            unescaped("no%20such%20m%C3%A9thod"),
            "no such méthod".as_bytes()
        );
        assert_eq!(unescaped("100% of %zz"), b"100% of %zz");
    }
}
