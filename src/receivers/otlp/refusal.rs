//! A refusal in the words of OTLP: one table for gRPC and HTTP, so that they never disagree, and
//! for what is counted.

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderName};

use crate::auth::{self, Denied, Outcome};
use crate::intake::{InjectedError, Refused, jittered};
use crate::otlp::Signal;
use crate::otlp::status::{GrpcCode, Status};
use crate::telemetry::metrics::{Fault, ReceiverMetrics, Refusal};

/// When a client that an injected fault has refused may come back.
const INJECTED_DELAY: Duration = Duration::from_secs(1);

/// When a client may come back that nobody could tell whether to let in.
const NO_KEYS_DELAY: Duration = Duration::from_secs(1);

/// What went wrong with a request, as the client hears it and as it is counted.
#[derive(Debug)]
pub(super) struct Failed {
    /// What the client hears.
    pub(super) status: Status,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Refusal(Refusal),
    Fault(Fault),
    Denied {
        reason: auth::Reason,
        challenge: Option<&'static str>,
    },
    Failed,
}

impl Failed {
    /// Something that the client must never send again as it is.
    pub(super) fn fault(fault: Fault, status: Status) -> Self {
        Self {
            status,
            kind: Kind::Fault(fault),
        }
    }

    /// What is wrong with the request, whatever it holds.
    pub(super) fn invalid(fault: Fault, problem: &str) -> Self {
        Self::fault(fault, Status::invalid_argument(problem, "", problem))
    }

    /// The client took too long to send what it announced, by its own fault or not.
    pub(super) fn slow(why: Refusal) -> Self {
        Self {
            status: Status::unavailable(words(why), Duration::from_secs(1)),
            kind: Kind::Refusal(why),
        }
    }

    /// The client's own deadline was reached before all of it had come.
    pub(super) fn late() -> Self {
        let problem = "the deadline of the call is over, and not all of it has come";
        Self {
            status: Status::new(GrpcCode::DeadlineExceeded, problem),
            kind: Kind::Refusal(Refusal::SlowClient),
        }
    }

    /// The sender is not let in.
    pub(super) fn denied(denied: &Denied) -> Self {
        let message = denied.message();
        let status = match denied.reason.outcome() {
            Outcome::Unauthenticated => Status::new(GrpcCode::Unauthenticated, message),
            Outcome::Forbidden => Status::new(GrpcCode::PermissionDenied, message),
            Outcome::Unavailable => Status::unavailable(message, jittered(NO_KEYS_DELAY)),
        };
        let kind = Kind::Denied {
            reason: denied.reason,
            challenge: denied.challenge(),
        };
        Self { status, kind }
    }

    /// Whether its sender is nobody for whom anything is to be done.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.kind, Kind::Denied { .. })
    }

    fn injected(error: InjectedError, processor: &str) -> Self {
        let problem = format!("the fault processor {processor} says so, in rehearsal");
        let kind = Kind::Refusal(Refusal::FaultInjected);
        let (status, kind) = match error {
            InjectedError::Unavailable => (Status::unavailable(problem, INJECTED_DELAY), kind),
            InjectedError::ResourceExhausted => (Status::exhausted(problem, INJECTED_DELAY), kind),
            InjectedError::Internal => {
                let status = Status::new(GrpcCode::Internal, problem);
                (status, Kind::Failed)
            }
            InjectedError::Permanent => {
                let status = Status::new(GrpcCode::InvalidArgument, problem);
                (status, Kind::Failed)
            }
        };
        Self { status, kind }
    }

    /// The HTTP status for it.
    pub(super) fn http_status(&self) -> StatusCode {
        match self.kind {
            Kind::Fault(Fault::NoSuchPath) => StatusCode::NOT_FOUND,
            Kind::Fault(Fault::Method) => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Fault(Fault::MediaType | Fault::Encoding) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::from_u16(self.status.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The HTTP header that tells the client what would have been right.
    pub(super) fn hint(&self) -> Option<(HeaderName, &'static str)> {
        match self.kind {
            Kind::Fault(Fault::Method) => Some((header::ALLOW, "POST")),
            Kind::Fault(Fault::MediaType) => {
                Some((header::ACCEPT, "application/x-protobuf, application/json"))
            }
            Kind::Fault(Fault::Encoding) => Some((header::ACCEPT_ENCODING, "gzip, zstd, deflate")),
            Kind::Denied { challenge, .. } => Some((header::WWW_AUTHENTICATE, challenge?)),
            _ => None,
        }
    }

    /// Counts it.
    pub(super) fn count(&self, metrics: &ReceiverMetrics, signal: Option<Signal>) {
        match (self.kind, signal) {
            (Kind::Fault(fault), _) => metrics.faulty(fault),
            (Kind::Denied { reason, .. }, _) => metrics.denied(reason),
            (Kind::Refusal(why), Some(signal)) => metrics.refused(signal, 0, why),
            (Kind::Failed, Some(signal)) => metrics.failed(signal, 0),
            (Kind::Refusal(_) | Kind::Failed, None) => {}
        }
    }
}

impl From<Refused> for Failed {
    /// Overload is always UNAVAILABLE with RetryInfo, and 503 with Retry-After: a bare
    /// RESOURCE_EXHAUSTED makes most clients drop what they have.
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overloaded { retry_after, why } => {
                let status = Status::unavailable(words(why), retry_after);
                Self {
                    status,
                    kind: Kind::Refusal(why),
                }
            }
            Refused::Draining { retry_after } => {
                let status = Status::unavailable(words(Refusal::Draining), retry_after);
                Self {
                    status,
                    kind: Kind::Refusal(Refusal::Draining),
                }
            }
            Refused::TooLarge { limit } => {
                let problem = format!(
                    "the request is above the limit of {limit} bytes, uncompressed: send less \
                     at once, or raise the receiver's limit"
                );
                Self::fault(Fault::TooLarge, Status::too_large(problem))
            }
            Refused::Damaged { problem } => Self::invalid(Fault::Compression, &problem),
            Refused::Invalid { field, problem } => {
                let status = Status::invalid_argument(problem.clone(), field, problem);
                Self::fault(Fault::Malformed, status)
            }
            Refused::Undeliverable { problem } => {
                let status = Status::new(GrpcCode::FailedPrecondition, problem);
                Self {
                    status,
                    kind: Kind::Failed,
                }
            }
            Refused::Injected { error, processor } => Self::injected(error, &processor),
        }
    }
}

fn words(why: Refusal) -> &'static str {
    match why {
        Refusal::Budget => "the memory budget is spent; try again later",
        Refusal::TooManyHeld => "too many requests wait already; try again later",
        Refusal::QueueFull => "the queue of a destination is full; try again later",
        Refusal::Draining => "shutting down; try again later",
        Refusal::NotDelivered => "not delivered in time; try again later",
        Refusal::NotStored => "the disk does not take it for now; try again later",
        Refusal::RateLimited => "the tenant has sent more than it may; try again later",
        Refusal::FaultInjected => "a fault was injected; try again later",
        Refusal::SlowClient => "the request was not sent within the time that one may take",
        Refusal::ConnectionFull => {
            "other requests of its connection wait for memory, and left it no room; try again later"
        }
    }
}
