//! The CPU work on a request: inflate, walk, cut what is bad, and each pipeline's processors.
//! It never waits, so it can run on any thread.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Pipeline;
use crate::batch::{Batch, Chunks, Context};
use crate::budget::{Budget, Reservation};
use crate::intake::{Accepted, Refused, Request, jittered};
use crate::net::compression::{self, InflateError};
use crate::otlp::Signal;
use crate::otlp::walk::{self, Malformed, Validation};
use crate::telemetry::metrics::Refusal;

/// Each pipeline with its batch, processed.
pub type Branches = SmallVec<[(Arc<Pipeline>, Batch); 1]>;

/// What a request became: a batch for each pipeline, and the answer if all of them are taken.
pub struct Prepared {
    /// The pipelines with their batches, processed.
    pub branches: Branches,
    /// What the client hears.
    pub accepted: Accepted,
}

/// Prepares a request for the lanes of `pipelines`.
pub fn prepare(
    request: Request,
    budget: &Budget,
    pipelines: &[Arc<Pipeline>],
    validation: Validation,
) -> Result<Prepared, Refused> {
    let Request {
        signal,
        body,
        encoding,
        limit,
        mut reservation,
        ..
    } = request;
    let (plain, encoded) = match encoding {
        None => (body, None),
        Some(encoding) => {
            let mut grow = |total: usize| pay(budget, &mut reservation, body.len() + total);
            let plain = compression::inflate(encoding, &body, limit, &mut grow)
                .map_err(|error| refuse(error, limit))?;
            (Bytes::from(plain), Some((encoding, body)))
        }
    };
    let bytes = plain.len();
    let (plain, encoded, items, accepted) = check(signal, plain, encoded, validation)?;
    let accepted = Accepted {
        items,
        bytes,
        ..accepted
    };
    let held = plain.len() + encoded.as_ref().map_or(0, |(_, body)| body.len());
    reservation.shrink_to(held);
    let batch = Batch {
        signal,
        chunks: Chunks::from_elem(plain, 1),
        items,
        received: Instant::now(),
        context: Context::default(),
        encoded,
        reservations: SmallVec::from_elem(Arc::new(reservation), 1),
    };
    // A request of no bytes is a success and nothing else (OTLP, "Full Success").
    let pipelines = if batch.chunks.iter().all(Bytes::is_empty) {
        &[]
    } else {
        pipelines
    };
    Ok(Prepared {
        branches: process(batch, pipelines),
        accepted,
    })
}

type Checked = (Bytes, Option<(compression::Encoding, Bytes)>, u64, Accepted);

fn check(
    signal: Signal,
    plain: Bytes,
    encoded: Option<(compression::Encoding, Bytes)>,
    validation: Validation,
) -> Result<Checked, Refused> {
    let walked = walk::walk(signal, &plain, validation).map_err(invalid)?;
    let Some(rejected) = walked.rejected else {
        return Ok((plain, encoded, walked.items, Accepted::default()));
    };
    let rest = Bytes::from(walk::without_rejected(signal, &plain));
    let accepted = Accepted {
        rejected: rejected.items,
        message: rejected.first.to_string(),
        ..Accepted::default()
    };
    Ok((rest, None, walked.items, accepted))
}

fn process(batch: Batch, pipelines: &[Arc<Pipeline>]) -> Branches {
    let run = |pipeline: &Arc<Pipeline>| {
        let batch = batch.clone();
        let batch = pipeline
            .processors
            .iter()
            .fold(batch, |batch, next| next.process(batch));
        (Arc::clone(pipeline), batch)
    };
    pipelines.iter().map(run).collect()
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

fn refuse(error: InflateError, limit: usize) -> Refused {
    match error {
        InflateError::TooLarge => Refused::TooLarge { limit },
        InflateError::NoBudget => Refused::Overloaded {
            retry_after: jittered(std::time::Duration::from_secs(1)),
            why: Refusal::Budget,
        },
        InflateError::Damaged(what) => Refused::Damaged {
            problem: what.to_string(),
        },
    }
}

fn invalid(malformed: Malformed) -> Refused {
    Refused::Invalid {
        field: malformed.field.clone(),
        problem: malformed.to_string(),
    }
}
