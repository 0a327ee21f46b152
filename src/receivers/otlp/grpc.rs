//! OTLP/gRPC on hyper's HTTP/2: the five bytes of gRPC framing are read by us, and the message
//! stays the bytes that arrived.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::Answer;
use super::body::{ReadError, Reading, Room, slow_goes};
use super::guard::Guard;
use super::health::Health;
use super::packed::takes_gzip;
use super::refusal::Failed;
use super::streams::Streams;
use crate::auth::Identity;
use crate::intake::{self, Accepted, Caller, Intake, Kind, Refused};
use crate::net::compression::{self, Coding, InflateError};
use crate::net::peer::Peer;
use crate::net::serve::Traffic;
use crate::otlp::status::{GrpcCode, Status, parse_grpc_timeout};
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::{Fault, ReceiverMetrics};

/// What the requests of one gRPC listener need.
pub(super) struct Grpc {
    /// The door.
    pub(super) intake: Intake,
    /// Who is let in.
    pub(super) guard: Guard,
    /// What is under way.
    pub(super) streams: Streams,
    /// The largest message, uncompressed, in bytes.
    pub(super) limit: usize,
    /// What is counted.
    pub(super) metrics: ReceiverMetrics,
    /// Answers who asks whether we are well.
    pub(super) health: Health,
}

/// The longest that a client may take to send a request, once it was let in.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl Grpc {
    /// Answers one call of this peer.
    pub(super) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        (peer, traffic): (Peer, Arc<Traffic>),
    ) -> Result<Response<Answer>, Infallible> {
        let began = Instant::now();
        let response = match not_grpc(&request) {
            Some((fault, response)) => {
                self.metrics.faulty(fault);
                response
            }
            // Whoever asks needs to show nothing, and learns nothing else. It is not counted.
            None if Health::is_asked(request.uri().path()) => {
                return Ok(self.health.answer(&self.intake, request).await);
            }
            None => self.call(request, (&peer, &traffic)).await,
        };
        self.metrics.took(began.elapsed());
        Ok(response)
    }

    async fn call(
        &self,
        request: Request<Incoming>,
        (peer, traffic): (&Peer, &Traffic),
    ) -> Response<Answer> {
        let signal = Signal::from_grpc_path(request.uri().path())
            .filter(|signal| self.intake.takes(*signal));
        let takes_gzip = takes_gzip(request.headers());
        let outcome = match (self.guard.pass(request.headers(), peer).await, signal) {
            (Err(denied), _) => Err(denied),
            (Ok(identity), Some(signal)) => self.take(signal, request, identity, traffic).await,
            (Ok(_), None) => Err(unserved(request.uri().path())),
        };
        match (signal, outcome) {
            (Some(signal), Ok(accepted)) => {
                self.metrics
                    .accepted(signal, accepted.items, accepted.rejected_by);
                Answer::success(&accepted, takes_gzip)
            }
            (_, Ok(accepted)) => Answer::success(&accepted, takes_gzip),
            (signal, Err(failed)) => {
                failed.count(&self.metrics, signal);
                Answer::failure(&failed.status)
            }
        }
    }

    async fn take(
        &self,
        signal: Signal,
        request: Request<Incoming>,
        identity: Option<Identity>,
        traffic: &Traffic,
    ) -> Result<Accepted, Failed> {
        let encoding = encoding(request.headers())?;
        let patience = request
            .headers()
            .get("grpc-timeout")
            .and_then(parse_grpc_timeout);
        // What the client does not send by then it does not want any more.
        let gives_up = patience.map(|patience| Instant::now() + patience);
        let headers = request.headers();
        let caller = self.intake.caller(headers, identity.as_ref(), patience);
        let caller = caller.sharing();
        let budget = caller.budget(&self.intake.budget).clone();
        let wanted = || {
            let others = self.streams.is_crowded() || self.intake.is_waited_for(&budget);
            slow_goes(others, traffic)
        };
        let reading = Reading::new(READ_TIMEOUT, gives_up, &wanted);
        let body = (request.into_body(), reading, traffic);
        let request = self.read(signal, body, encoding, caller).await?;
        traffic.heard();
        let wire = request.body.len();
        let accepted = self.intake.submit(request).await?;
        self.metrics.body(wire, accepted.bytes);
        Ok(accepted)
    }

    /// Reads the one message of the call, once it is paid for.
    async fn read(
        &self,
        signal: Signal,
        (mut body, reading, traffic): (Incoming, Reading<'_>, &Traffic),
        encoding: Option<Coding>,
        caller: Caller,
    ) -> Result<intake::Request, Failed> {
        let expected = self.intake.expected();
        let admitted = self.intake.admit(signal, expected, caller);
        let mut admission = traffic.held(admitted).await?;
        let reading = reading.begin();
        let mut prefix = Prefix::default();
        let first = reading.in_time(prefix.read(&mut body, &reading)).await??;
        let length = prefix.length();
        if length > self.limit {
            return Err(Refused::TooLarge { limit: self.limit }.into());
        }
        let encoding = prefix.encoding(encoding)?;
        let kind = Kind {
            signal,
            format: Format::Protobuf,
            encoding,
            limit: self.limit,
        };
        let mut room = Room {
            intake: &self.intake,
            admission: &mut admission,
            length: Some(length),
            kind,
        };
        let read = room.read(first, &mut body, &reading);
        let read = reading.in_time(read).await??;
        self.intake.turn(&mut admission).await?;
        Ok(intake::Request {
            signal,
            body: read,
            encoding,
            format: Format::Protobuf,
            limit: self.limit,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: admission.charge,
        })
    }
}

/// The one message of a call that is small by its nature, plain.
pub(super) async fn message_of(
    request: Request<Incoming>,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Failed> {
    let encoding = encoding(request.headers())?;
    let mut body = request.into_body();
    let reading = Reading::new(time, None, &|| None);
    let mut prefix = Prefix::default();
    let first = reading.in_time(prefix.read(&mut body, &reading)).await??;
    let length = prefix.length();
    if length > limit {
        return Err(Refused::TooLarge { limit }.into());
    }
    let message = reading
        .in_time(small(first, length, &mut body, &reading))
        .await??;
    match prefix.encoding(encoding)? {
        None => Ok(message),
        Some(encoding) => compression::inflate(encoding, &message, limit, &mut |_| true)
            .map(Bytes::from)
            .map_err(|error| match error {
                InflateError::TooLarge => Refused::TooLarge { limit }.into(),
                error => Failed::invalid(Fault::Compression, &error.to_string()),
            }),
    }
}

/// The rest of a message that is small.
async fn small(
    first: Bytes,
    length: usize,
    body: &mut Incoming,
    reading: &Reading<'_>,
) -> Result<Bytes, Failed> {
    let mut message = first.to_vec();
    while let Some(chunk) = reading.next(body).await? {
        if message.len() + chunk.len() > length {
            return Err(ReadError::Long.into());
        }
        message.extend_from_slice(&chunk);
    }
    match message.len() == length {
        true => Ok(message.into()),
        false => Err(ReadError::Short.into()),
    }
}

/// gRPC's five bytes before a message: a flag and a length.
#[derive(Default)]
struct Prefix {
    bytes: [u8; 5],
    filled: usize,
}

impl Prefix {
    /// Fills the prefix from the body; returns what arrived behind it.
    async fn read(&mut self, body: &mut Incoming, reading: &Reading<'_>) -> Result<Bytes, Failed> {
        loop {
            let mut chunk = match reading.next(body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Err(invalid("the call carries no whole message")),
                Err(error) => return Err(error.into()),
            };
            if let Some(missing) = self.bytes.get_mut(self.filled..) {
                let count = missing.len().min(chunk.len());
                if let Some(missing) = missing.get_mut(..count) {
                    chunk.copy_to_slice(missing);
                    self.filled += count;
                }
            }
            if self.filled == self.bytes.len() {
                return Ok(chunk);
            }
        }
    }

    fn length(&self) -> usize {
        let [_, a, b, c, d] = self.bytes;
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
    }

    fn encoding(&self, declared: Option<Coding>) -> Result<Option<Coding>, Failed> {
        match (self.bytes[0], declared) {
            (0, _) => Ok(None),
            (1, Some(encoding)) => Ok(Some(encoding)),
            (1, None) => {
                let problem =
                    "the message is flagged as compressed, but grpc-encoding names no encoding";
                Err(Failed::fault(
                    Fault::Framing,
                    Status::new(GrpcCode::Internal, problem),
                ))
            }
            _ => Err(invalid("the flag before the message is neither 0 nor 1")),
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<Coding>, Failed> {
    let Some(value) = headers.get("grpc-encoding") else {
        return Ok(None);
    };
    let name = value.to_str().unwrap_or("?");
    compression::parse_coding(name).map_err(|_| {
        let problem = format!("grpc-encoding {name:?} is not supported: use gzip, zstd or deflate");
        Failed::fault(
            Fault::Encoding,
            Status::new(GrpcCode::Unimplemented, problem),
        )
    })
}

fn unserved(path: &str) -> Failed {
    let problem = format!("{path} is not served here: there is no such method, or no pipeline");
    Failed::fault(
        Fault::NoSuchPath,
        Status::new(GrpcCode::Unimplemented, problem),
    )
}

fn not_grpc(request: &Request<Incoming>) -> Option<(Fault, Response<Answer>)> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let (fault, status) = if request.method() != Method::POST {
        (Fault::Method, StatusCode::METHOD_NOT_ALLOWED)
    } else if !kind.is_some_and(is_grpc) {
        (Fault::MediaType, StatusCode::UNSUPPORTED_MEDIA_TYPE)
    } else {
        return None;
    };
    let mut response = Response::new(Answer::EMPTY);
    *response.status_mut() = status;
    Some((fault, response))
}

/// Whether this media type is gRPC with protobuf messages. gRPC-Web is another protocol.
fn is_grpc(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

fn invalid(problem: &str) -> Failed {
    Failed::invalid(Fault::Framing, problem)
}
