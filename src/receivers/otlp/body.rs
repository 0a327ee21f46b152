//! Reading a body and joining it into one buffer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::refusal::Failed;

/// A chunk of at least this many bytes that is the whole body is kept as it is. Smaller ones
/// are copied, since a small chunk keeps the connection's much larger read buffer alive.
const KEEP_BYTES: usize = 64 << 10;

/// A body could not be read to its end.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection or the stream broke.
    Broken(String),
    /// It ended before the length that was declared.
    Short,
    /// It went on behind the length that was declared.
    Long,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(cause) => write!(f, "the request broke off: {cause}"),
            Self::Short => f.write_str("the body ends before the length that it declares"),
            Self::Long => f.write_str("the body goes on behind the length that it declares"),
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

/// Until when a client is listened to.
#[derive(Clone, Copy)]
pub(super) struct ReadBy {
    at: Instant,
    /// It is the client itself that does not wait any longer.
    gives_up: bool,
}

impl ReadBy {
    /// For so long from now on, and no longer than the client waits.
    pub(super) fn new(longest: Duration, gives_up: Option<Instant>) -> Self {
        let at = Instant::now() + longest;
        match gives_up.filter(|gives_up| *gives_up < at) {
            Some(at) => Self { at, gives_up: true },
            None => Self {
                at,
                gives_up: false,
            },
        }
    }

    /// Gives up on a client that takes longer than that.
    pub(super) async fn read<T>(self, reading: impl Future<Output = T>) -> Result<T, Failed> {
        let read = timeout_at(self.at, reading).await;
        read.map_err(|_elapsed| match self.gives_up {
            true => Failed::late(),
            false => Failed::slow(),
        })
    }
}

/// A body of known length, of which the first bytes have arrived.
pub(super) struct Joined {
    first: Bytes,
    length: usize,
}

impl Joined {
    pub(super) fn new(first: Bytes, length: usize) -> Self {
        Self { first, length }
    }

    /// Reads the rest; the result has exactly the declared length.
    pub(super) async fn read(self, body: &mut Incoming) -> Result<Bytes, ReadError> {
        let Self { first, length } = self;
        if first.len() == length && length >= KEEP_BYTES {
            return at_end(body).await.map(|()| first);
        }
        let mut joined = Vec::with_capacity(length);
        append(&mut joined, &first, length)?;
        drop(first);
        while joined.len() < length {
            let chunk = next_data(body).await?.ok_or(ReadError::Short)?;
            append(&mut joined, &chunk, length)?;
        }
        at_end(body).await.map(|()| joined.into())
    }
}

fn append(joined: &mut Vec<u8>, chunk: &[u8], length: usize) -> Result<(), ReadError> {
    if joined.len() + chunk.len() > length {
        return Err(ReadError::Long);
    }
    joined.extend_from_slice(chunk);
    Ok(())
}

async fn at_end(body: &mut Incoming) -> Result<(), ReadError> {
    while let Some(chunk) = next_data(body).await? {
        if !chunk.is_empty() {
            return Err(ReadError::Long);
        }
    }
    Ok(())
}
