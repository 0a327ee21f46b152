//! Reading a body and joining it into one buffer.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// A body that is being read: until when its client is listened to, and how fast it is.
pub(super) struct Reading<'a> {
    longest: Duration,
    began: Instant,
    until: Instant,
    /// It is the client itself that does not wait any longer.
    gives_up: bool,
    length: AtomicUsize,
    received: AtomicUsize,
    /// Whether somebody waits for what a slow client holds.
    wanted: &'a (dyn Fn() -> bool + Sync),
}

/// How often it is looked at how fast a client is, and how long none is called slow.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// While others wait, a client must send so many bytes a second, and all that it announced in so
/// many seconds: whoever holds much, must be fast.
const LEAST: (usize, usize) = (16 << 10, 10);

impl<'a> Reading<'a> {
    /// For `longest` from now on, and no longer than until the client gives up.
    pub(super) fn new(
        longest: Duration,
        gives_up: Option<Instant>,
        wanted: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        let began = Instant::now();
        let until = began + longest;
        let sooner = gives_up.filter(|gives_up| *gives_up < until);
        Self {
            longest,
            began,
            until: sooner.unwrap_or(until),
            gives_up: sooner.is_some(),
            length: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            wanted,
        }
    }

    /// The client is let in: its time begins.
    pub(super) fn begin(mut self) -> Self {
        self.began = Instant::now();
        if !self.gives_up {
            self.until = self.began + self.longest;
        }
        self
    }

    /// So many bytes are announced.
    pub(super) fn announced(&self, length: usize) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn next(&self, body: &mut Incoming) -> Result<Option<Bytes>, ReadError> {
        let next = next_data(body).await;
        if let Ok(Some(data)) = &next {
            self.received.fetch_add(data.len(), Ordering::Relaxed);
        }
        next
    }

    /// Gives up on a client that takes too long; and on one that is slow, once others wait for
    /// what it holds: a few slow clients would otherwise hold all that there is.
    pub(super) async fn in_time<T>(&self, read: impl Future<Output = T>) -> Result<T, Failed> {
        tokio::pin!(read);
        let mut look = self.began + LOOK_EVERY;
        loop {
            if let Ok(read) = timeout_at(look.min(self.until), read.as_mut()).await {
                return Ok(read);
            }
            let now = Instant::now();
            if now >= self.until {
                return Err(match self.gives_up {
                    true => Failed::late(),
                    false => Failed::slow(),
                });
            }
            if self.is_slow(now) && (self.wanted)() {
                return Err(Failed::slow());
            }
            look = now + LOOK_EVERY;
        }
    }

    fn is_slow(&self, now: Instant) -> bool {
        let (a_second, seconds) = LEAST;
        let received = self.received.load(Ordering::Relaxed);
        // Of a length that is not announced, what has come was to come.
        let length = self.length.load(Ordering::Relaxed).max(received);
        let due = a_second.max(length / seconds) as f64;
        (received as f64) < now.duration_since(self.began).as_secs_f64() * due
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
    pub(super) async fn read(
        self,
        body: &mut Incoming,
        reading: &Reading<'_>,
    ) -> Result<Bytes, ReadError> {
        let Self { first, length } = self;
        reading.announced(length);
        if first.len() == length && length >= KEEP_BYTES {
            return at_end(body).await.map(|()| first);
        }
        let mut joined = Vec::with_capacity(length);
        append(&mut joined, &first, length)?;
        drop(first);
        while joined.len() < length {
            let chunk = reading.next(body).await?.ok_or(ReadError::Short)?;
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
