//! A request at the door: who sends it, what it is, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use tokio::time::Instant;

use super::Intake;
use super::tenants::{Charge, Named};
use crate::auth::Identity;
use crate::batch::Priority;
use crate::budget::{Budget, Reservation};
use crate::net::compression::Coding;
use crate::otlp::walk::BadValue;
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::Refusal;

/// A request that was admitted and read.
#[derive(Debug)]
pub struct Request {
    /// What kind of request it is.
    pub signal: Signal,
    /// Its body as it came.
    pub body: Bytes,
    /// How the body is compressed.
    pub encoding: Option<Coding>,
    /// How it is written, once it is inflated.
    pub format: Format,
    /// The most that it may inflate to, in bytes.
    pub limit: usize,
    /// What pays for it.
    pub reservation: Reservation,
    /// Who sent it.
    pub caller: Caller,
    /// What its tenant owes for it.
    pub charge: Option<Charge>,
}

/// The request was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items that were taken.
    pub items: u64,
    /// Items that were refused because they themselves are bad.
    pub rejected: u64,
    /// The same by what is bad in them, by `BadValue as usize`.
    pub rejected_by: [u64; BadValue::ALL.len()],
    /// The uncompressed bytes of the request.
    pub bytes: usize,
    /// Why, for a person; empty if none were.
    pub message: String,
}

/// The request was not taken. Receivers put it into their protocol's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room within the time that the client waits: come back after `retry_after`.
    Overloaded {
        /// When there is likely room.
        retry_after: Duration,
        /// What is full.
        why: Refusal,
    },
    /// Shutting down: come back after `retry_after`, to whoever listens then.
    Draining {
        /// When somebody may listen again.
        retry_after: Duration,
    },
    /// Above the limit of one request; no retry helps.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body does not inflate; no retry helps.
    Damaged {
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes are not what they claim to be; no retry helps.
    Invalid {
        /// Where, as a path of field names; empty for the body as a whole.
        field: String,
        /// What is wrong there.
        problem: String,
    },
    /// No retry gets it delivered (`acknowledge = "delivered"`).
    Undeliverable {
        /// Why, in words.
        problem: &'static str,
    },
    /// A `fault` processor says so.
    Injected {
        /// What the client is told.
        error: InjectedError,
        /// The name of the processor.
        processor: Arc<str>,
    },
}

/// What a `fault` processor tells clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InjectedError {
    /// Come back later: UNAVAILABLE with RetryInfo, 503 with Retry-After.
    Unavailable,
    /// RESOURCE_EXHAUSTED with RetryInfo, 429 with Retry-After.
    ResourceExhausted,
    /// INTERNAL, 500: most clients drop what they have.
    Internal,
    /// Never send that again: INVALID_ARGUMENT, 400.
    Permanent,
}

impl InjectedError {
    /// The word for it in TOML, metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Internal => "internal",
            Self::Permanent => "permanent",
        }
    }
}

impl Refused {
    /// Why the client is to come back later; `None` where that would not help.
    pub const fn why(&self) -> Option<Refusal> {
        match self {
            Self::Overloaded { why, .. } => Some(*why),
            Self::Draining { .. } => Some(Refusal::Draining),
            Self::Injected {
                error: InjectedError::Unavailable | InjectedError::ResourceExhausted,
                ..
            } => Some(Refusal::FaultInjected),
            _ => None,
        }
    }
}

impl Intake {
    /// Who sends a request with these headers, and waits for `timeout`; `identity` is what its
    /// credentials say, where they were asked for.
    pub fn caller(
        &self,
        headers: &HeaderMap,
        identity: Option<&Identity>,
        timeout: Option<Duration>,
    ) -> Caller {
        let tenants = self.door.tenants.as_ref();
        let priorities = self.door.priorities.as_ref();
        Caller {
            deadline: self.deadline(timeout),
            tenant: tenants.map(|tenants| tenants.of(headers, identity)),
            priority: priorities.and_then(|priorities| priorities.named_in(headers)),
            shares: false,
        }
    }
}

/// Who asks, and until when: what the headers of a request say.
#[derive(Clone, Debug)]
pub struct Caller {
    /// When the client must have its answer.
    pub deadline: Instant,
    /// Whose request it is, where tenants are told apart.
    pub tenant: Option<Named>,
    /// The class that it names, where it names one.
    pub priority: Option<Priority>,
    /// Whether its connection carries other requests at the same time.
    shares: bool,
}

impl Caller {
    /// One of whom nothing is known but how long it waits.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            tenant: None,
            priority: None,
            shares: false,
        }
    }

    /// The same on a connection that other requests share, perhaps those of other tenants. Bodies
    /// that nobody reads take the room of theirs there, so one that has to wait for its tenant's
    /// turn alone is read first.
    pub fn sharing(self) -> Self {
        Self {
            shares: true,
            ..self
        }
    }

    pub(super) fn shares(&self) -> bool {
        self.shares
    }

    /// What pays for its requests: its tenant's part of the whole budget.
    pub fn budget<'a>(&'a self, whole: &'a Budget) -> &'a Budget {
        self.tenant
            .as_ref()
            .map_or(whole, |named| &named.tenant.budget)
    }

    /// Counts a refusal of its request.
    pub(super) fn refused(&self, refused: Refused) -> Refused {
        if let (Some(named), Some(why)) = (&self.tenant, refused.why()) {
            named.tenant.refused(why);
        }
        refused
    }
}

/// A request that may be read.
#[derive(Debug)]
pub struct Admission {
    /// What pays for its body.
    pub reservation: Reservation,
    /// Who sends it.
    pub caller: Caller,
    /// What its tenant owes for it.
    pub charge: Option<Charge>,
}
