//! What the OTLP exporters have in common: the body of a request, and the reading of answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use crate::batch::{Batch, Chunks};
use crate::component::{Delivered, Failure};
use crate::host::workers::Workers;
use crate::net::causes::causes;
use crate::net::compression::{self, Encoding};
use crate::otlp::status::Verdict;
use crate::otlp::{json, response};

/// How we present ourselves.
pub(super) const USER_AGENT: &str = concat!("otlpd/", env!("CARGO_PKG_VERSION"));

/// The largest answer that is read, in bytes (OTLP 1.11).
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// The bytes of a request: the client's own where it came in the same encoding, else compressed
/// here, off the I/O threads.
pub(super) async fn encode(
    batch: &Batch,
    encoding: Option<Encoding>,
    workers: &Workers,
) -> Result<Chunks, Failure> {
    let Some(encoding) = encoding else {
        return Ok(batch.chunks.clone());
    };
    if let Some((_, body)) = batch.encoded.as_ref().filter(|(own, _)| *own == encoding) {
        return Ok(Chunks::from_elem(body.clone(), 1));
    }
    let chunks = batch.chunks.clone();
    match workers
        .run(move || compression::deflate(encoding, &chunks))
        .await
    {
        Ok(body) => Ok(Chunks::from_elem(body, 1)),
        Err(error) => Err(Failure::Retryable {
            after: None,
            cause: error.to_string(),
        }),
    }
}

/// The request as one JSON object, compressed where that is asked for, off the I/O threads.
pub(super) async fn to_json(
    batch: &Batch,
    encoding: Option<Encoding>,
    workers: &Workers,
) -> Result<Chunks, Failure> {
    let (signal, chunks) = (batch.signal, batch.chunks.clone());
    let written = workers.run(move || {
        let pieces: Vec<&[u8]> = chunks.iter().map(Bytes::as_ref).collect();
        let mut text = Vec::new();
        json::write_merged(signal, &pieces, &mut text).map_err(|fault| Failure::Permanent {
            cause: format!("it cannot be written as JSON: it {fault}"),
        })?;
        let text = Bytes::from(text);
        match encoding {
            None => Ok(text),
            Some(encoding) => {
                compression::deflate(encoding, &[text]).map_err(|error| Failure::Retryable {
                    after: None,
                    cause: error.to_string(),
                })
            }
        }
    });
    Ok(Chunks::from_elem(written.await?, 1))
}

/// The headers of the configuration.
pub(super) fn headers(configured: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(configured.len() + 5);
    for (name, value) in configured {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("headers: {name:?} is not a header name"))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| format!("headers: the value of {name} is not a header value"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A verdict as the outcome of an attempt.
pub(super) fn judge(verdict: Verdict, cause: impl FnOnce() -> String) -> Result<(), Failure> {
    match verdict {
        Verdict::Delivered => Ok(()),
        Verdict::Retryable { after } => Err(Failure::Retryable {
            after,
            cause: cause(),
        }),
        Verdict::Permanent => Err(Failure::Permanent { cause: cause() }),
    }
}

/// What a success answer says about the items.
pub(super) fn delivered(answer: &[u8]) -> Delivered {
    Delivered {
        rejected: response::read(answer).rejected,
    }
}

/// The answer did not come whole; the request may or may not have arrived.
pub(super) fn broken_answer(error: &(dyn Error + 'static)) -> Failure {
    if error.is::<http_body_util::LengthLimitError>() {
        let cause = format!("the answer is above the limit of {MAX_ANSWER} bytes");
        return Failure::Permanent { cause };
    }
    Failure::Retryable {
        after: None,
        cause: format!("the answer broke off: {}", causes(error)),
    }
}

/// The destination could not be reached, or the connection to it broke.
pub(super) fn unreachable(error: &dyn Error) -> Failure {
    Failure::Retryable {
        after: None,
        cause: causes(error),
    }
}

/// The body of a request: a list of chunks, sent as they are.
#[derive(Debug)]
pub(super) struct Outgoing {
    chunks: smallvec::IntoIter<[Bytes; 1]>,
    prefix: Option<Bytes>,
    left: u64,
}

impl Outgoing {
    /// A body of these chunks.
    pub(super) fn plain(chunks: Chunks) -> Self {
        let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            chunks: chunks.into_iter(),
            prefix: None,
            left,
        }
    }

    /// A gRPC message of these chunks, behind its five bytes.
    pub(super) fn framed(chunks: Chunks, compressed: bool) -> Self {
        let mut body = Self::plain(chunks);
        let [a, b, c, d] = u32::try_from(body.left).unwrap_or(u32::MAX).to_be_bytes();
        body.prefix = Some(Bytes::copy_from_slice(&[u8::from(compressed), a, b, c, d]));
        body.left += 5;
        body
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.prefix.take().or_else(|| self.chunks.next());
        if let Some(chunk) = &next {
            self.left -= chunk.len() as u64;
        }
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_none() && self.chunks.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
