//! From a body as it came to a request in binary protobuf: inflated, and read where it is JSON.

use std::time::Duration;

use bytes::Bytes;

use crate::budget::{Budget, Reservation};
use crate::intake::{Refused, Request, jittered};
use crate::net::compression::{self, Encoding, InflateError};
use crate::otlp::json::{self, Problem};
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::Refusal;

/// A request in binary protobuf.
pub(super) struct Unpacked {
    /// Its bytes.
    pub(super) plain: Bytes,
    /// The same as the client compressed them.
    pub(super) encoded: Option<(Encoding, Bytes)>,
    /// How many bytes the client sent, uncompressed.
    pub(super) bytes: usize,
}

/// Takes the body out of a request. All that it becomes on the way is paid for before it is
/// there, and given back when it is not needed any more.
pub(super) fn unpack(request: &mut Request, budget: &Budget) -> Result<Unpacked, Refused> {
    let body = std::mem::take(&mut request.body);
    let (limit, reservation) = (request.limit, &mut request.reservation);
    let (plain, encoded) = match request.encoding {
        None => (body, None),
        Some(encoding) => {
            let mut grow = |total: usize| pay(budget, reservation, body.len() + total);
            let plain = compression::inflate(encoding, &body, limit, &mut grow)
                .map_err(|error| refuse(error, limit))?;
            (Bytes::from(plain), Some((encoding, body)))
        }
    };
    let bytes = plain.len();
    if request.format == Format::Protobuf {
        return Ok(Unpacked {
            plain,
            encoded,
            bytes,
        });
    }
    // What the client compressed is JSON, which no destination is sent as it came.
    if let Some((_, body)) = encoded {
        give_back(reservation, body.len());
    }
    let read = from_json(request.signal, &plain, limit, (budget, reservation))?;
    give_back(reservation, bytes);
    Ok(Unpacked {
        plain: read.into(),
        encoded: None,
        bytes,
    })
}

fn from_json(
    signal: Signal,
    text: &Bytes,
    limit: usize,
    (budget, reservation): (&Budget, &mut Reservation),
) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let mut least = 0;
    let mut room = |total: usize| {
        least = total;
        total <= limit.max(json::expected(text.len()))
            && pay(budget, reservation, text.len() + total)
    };
    json::read_within(signal, text, &mut out, &mut room).map_err(|error| match error.problem {
        Problem::NoRoom if least > limit => Refused::TooLarge { limit },
        Problem::NoRoom if text.len() + least > budget.most() => Refused::TooLarge {
            limit: budget.most(),
        },
        Problem::NoRoom => no_budget(),
        Problem::Text(_) => Refused::Invalid {
            problem: error.to_string(),
            field: error.path,
        },
    })?;
    out.shrink_to_fit();
    Ok(out)
}

/// Pays until `total` bytes are paid for.
fn pay(budget: &Budget, reservation: &mut Reservation, total: usize) -> bool {
    let missing = total.saturating_sub(reservation.bytes());
    match budget.try_reserve(missing) {
        Ok(more) => {
            reservation.merge(more);
            true
        }
        Err(_unpaid) => false,
    }
}

fn give_back(reservation: &mut Reservation, bytes: usize) {
    reservation.shrink_to(reservation.bytes().saturating_sub(bytes));
}

fn refuse(error: InflateError, limit: usize) -> Refused {
    match error {
        InflateError::TooLarge => Refused::TooLarge { limit },
        InflateError::NoBudget => no_budget(),
        InflateError::Damaged(what) => Refused::Damaged {
            problem: what.to_string(),
        },
    }
}

fn no_budget() -> Refused {
    Refused::Overloaded {
        retry_after: jittered(Duration::from_secs(1)),
        why: Refusal::Budget,
    }
}
