//! Reading a body and joining it into one buffer.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::refusal::Failed;
use crate::intake::{Admission, Intake, Kind, MAX_EXPECTED, Refused, SHOWN, at_first};
use crate::net::serve::Traffic;
use crate::telemetry::metrics::{Fault, Refusal};

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
    /// Milliseconds that the client waited for us meanwhile.
    held: AtomicU64,
    holds: AtomicBool,
    /// Why a slow client is given up, where somebody waits for what it holds.
    wanted: &'a (dyn Fn() -> Option<Refusal> + Sync),
}

/// How often it is looked at how fast a client is, and how long none is called slow.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// While others wait, a client must send so many bytes a second, and all that it announced in so
/// many seconds: whoever holds much, must be fast.
const PACE: (usize, usize) = (16 << 10, 10);

impl<'a> Reading<'a> {
    /// For `longest` from now on, and no longer than until the client gives up.
    pub(super) fn new(
        longest: Duration,
        gives_up: Option<Instant>,
        wanted: &'a (dyn Fn() -> Option<Refusal> + Sync),
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
            held: AtomicU64::new(0),
            holds: AtomicBool::new(false),
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

    /// Waits for something that is not the client's fault.
    async fn not_counting<T>(&self, held: impl Future<Output = T>) -> T {
        let now = Instant::now();
        self.holds.store(true, Ordering::Relaxed);
        let outcome = held.await;
        self.holds.store(false, Ordering::Relaxed);
        let held = u64::try_from(now.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.held.fetch_add(held, Ordering::Relaxed);
        outcome
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
                    false => Failed::slow(Refusal::SlowClient),
                });
            }
            if let (true, Some(why)) = (self.is_slow(now), (self.wanted)()) {
                return Err(Failed::slow(why));
            }
            look = now + LOOK_EVERY;
        }
    }

    fn is_slow(&self, now: Instant) -> bool {
        let (a_second, seconds) = PACE;
        let received = self.received.load(Ordering::Relaxed);
        // Of a length that is not announced, what has come was to come.
        let length = self.length.load(Ordering::Relaxed).max(received);
        let due = a_second.max(length / seconds) as f64;
        let held = Duration::from_millis(self.held.load(Ordering::Relaxed));
        let time = now.duration_since(self.began).saturating_sub(held);
        !self.holds.load(Ordering::Relaxed)
            && time >= LOOK_EVERY
            && (received as f64) < time.as_secs_f64() * due
    }
}

/// Why a request that is slow to come is given up, if `others` wait for what it holds or for its
/// connection's place.
pub(super) fn slow_goes(others: bool, traffic: &Traffic) -> Option<Refusal> {
    let is_wanted = others || traffic.is_crowded();
    is_wanted.then(|| match traffic.holds() {
        true => Refusal::ConnectionFull,
        false => Refusal::SlowClient,
    })
}

/// Where a body is read into, and what pays for it.
pub(super) struct Room<'a> {
    pub(super) intake: &'a Intake,
    pub(super) admission: &'a mut Admission,
    /// How long it is, where that is declared.
    pub(super) length: Option<usize>,
    /// What it is, and how long it may be.
    pub(super) kind: Kind,
}

impl Room<'_> {
    /// Reads all of a body whose first bytes have come. The result has exactly the declared
    /// length.
    pub(super) async fn read(
        &mut self,
        first: Bytes,
        body: &mut Incoming,
        reading: &Reading<'_>,
    ) -> Result<Bytes, Failed> {
        if let Some(length) = self.length {
            reading.announced(length);
            let most = self.admission.caller.budget(&self.intake.budget).most();
            if length > most {
                return Err(Refused::TooLarge { limit: most }.into());
            }
            let needs = at_first(self.needs(length));
            self.admission.reservation.shrink_to(needs);
        }
        let mut joined = Vec::new();
        let mut next = Some(first);
        while let Some(chunk) = next {
            if !chunk.is_empty() {
                self.pay(joined.len() + chunk.len(), reading).await?;
                if joined.is_empty() && self.is_whole(&chunk) {
                    at_end(body, reading).await?;
                    self.settle(chunk.len());
                    return Ok(chunk);
                }
                // What is allocated is what is paid for.
                let paid = self.admission.reservation.bytes();
                let room = paid.min(self.length.unwrap_or(paid));
                joined.reserve_exact(room.saturating_sub(joined.len()));
                joined.extend_from_slice(&chunk);
                drop(chunk);
            }
            next = reading.next(body).await?;
        }
        if self.length.is_some_and(|length| joined.len() < length) {
            return Err(ReadError::Short.into());
        }
        joined.shrink_to_fit();
        self.settle(joined.len());
        Ok(joined.into())
    }

    /// Whether the chunk is the body and worth keeping as it is.
    fn is_whole(&self, chunk: &Bytes) -> bool {
        self.length == Some(chunk.len()) && chunk.len() >= KEEP_BYTES
    }

    fn needs(&self, body: usize) -> usize {
        self.intake.needs(self.kind, &self.admission.caller, body)
    }

    /// All of it has come.
    fn settle(&mut self, bytes: usize) {
        let needs = self.needs(bytes);
        self.intake.settle_length(self.admission, bytes, needs);
    }

    /// Pays for `total` bytes that have come, and for those that will: for all of them, where it
    /// can be told how many these are, so that nobody waits for more who holds much.
    async fn pay(&mut self, total: usize, reading: &Reading<'_>) -> Result<(), Failed> {
        if self.length.is_some_and(|length| total > length) {
            return Err(ReadError::Long.into());
        }
        let limit = self.kind.limit;
        if total > limit {
            return Err(Refused::TooLarge { limit }.into());
        }
        let paid = self.admission.reservation.bytes();
        if total <= paid {
            return Ok(());
        }
        let wished = match self.length.map(|length| self.needs(length)) {
            Some(needs) => (needs, needs),
            None => {
                let soon = total.max(paid + SHOWN.max(paid / 2));
                let large = soon > MAX_EXPECTED;
                (soon, if large { self.needs(limit) } else { soon })
            }
        };
        let grown = self.intake.grow(self.admission, total, wished);
        Ok(reading.not_counting(grown).await?)
    }
}

async fn at_end(body: &mut Incoming, reading: &Reading<'_>) -> Result<(), ReadError> {
    while let Some(chunk) = reading.next(body).await? {
        if !chunk.is_empty() {
            return Err(ReadError::Long);
        }
    }
    Ok(())
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::invalid(Fault::Framing, &error.to_string())
    }
}
