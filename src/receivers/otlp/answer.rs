//! The answers of gRPC: at most one message and the trailers, or messages one after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

use super::packed;
use crate::intake::Accepted;
use crate::otlp::response;
use crate::otlp::status::{GRPC_STATUS, GrpcCode, Status, grpc_trailers};

/// The encodings that we read, as gRPC lists them.
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd,deflate");

/// The body of an answer.
pub(super) struct Answer {
    data: Option<Bytes>,
    stream: Option<BoxStream<'static, Bytes>>,
    trailers: Option<HeaderMap>,
}

impl Answer {
    /// Says nothing, in no protocol's words.
    pub(super) const EMPTY: Self = Self {
        data: None,
        stream: None,
        trailers: None,
    };

    /// What an export was taken with; compressed where the client takes gzip and it helps.
    pub(super) fn success(accepted: &Accepted, takes_gzip: bool) -> Response<Self> {
        if accepted.rejected == 0 && accepted.message.is_empty() {
            return Self::of_message(&[]);
        }
        let message = response::partial_success(accepted.rejected, &accepted.message);
        match packed::pack(&message, takes_gzip) {
            None => Self::of_message(&message),
            Some(packed) => {
                let mut response = Self::of_data(framed(1, &packed));
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert("grpc-encoding", gzip);
                response
            }
        }
    }

    /// One message, plain.
    pub(super) fn of_message(message: &[u8]) -> Response<Self> {
        Self::of_data(framed(0, message))
    }

    fn of_data(data: Bytes) -> Response<Self> {
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        grpc_response(Self {
            data: Some(data),
            trailers: Some(trailers),
            ..Self::EMPTY
        })
    }

    /// Messages with their five bytes each. When they end, so does what could be told.
    pub(super) fn of_stream(messages: BoxStream<'static, Bytes>) -> Response<Self> {
        let status = Status::new(GrpcCode::Unavailable, "shutting down");
        grpc_response(Self {
            stream: Some(messages),
            trailers: Some(grpc_trailers(&status)),
            ..Self::EMPTY
        })
    }

    /// Trailers only: everything stands in the headers.
    pub(super) fn failure(status: &Status) -> Response<Self> {
        let mut response = grpc_response(Self::EMPTY);
        response.headers_mut().extend(grpc_trailers(status));
        response
    }
}

fn grpc_response(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert("grpc-accept-encoding", ACCEPTED);
    response
}

/// A message behind its flag and its length.
pub(super) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(message.len() + 5);
    out.push(flag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(stream) = &mut self.stream {
            match ready!(stream.poll_next_unpin(cx)) {
                Some(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                None => self.stream = None,
            }
        }
        let trailers = self.trailers.take();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.stream.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(_) => SizeHint::new(),
            None => SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}
