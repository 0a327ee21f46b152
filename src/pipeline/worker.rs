//! The CPU work on a request: inflate, read JSON, walk, cut what is bad, and each pipeline's
//! processors. It never waits, so it can run on any thread.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Pipeline;
use super::unpack::{Unpacked, unpack};
use crate::batch::{Batch, Chunks, Context, Priority};
use crate::budget::{Budget, Reservation};
use crate::intake::priority::Priorities;
use crate::intake::{Accepted, Refused, Request};
use crate::net::compression::Encoding;
use crate::otlp::Signal;
use crate::otlp::walk::{self, Malformed, Rules};

/// Each pipeline with its batch, processed.
pub type Branches = SmallVec<[(Arc<Pipeline>, Batch); 1]>;

/// What a request became: a batch for each pipeline, and the answer if all of them are taken.
pub struct Prepared {
    /// What the client hears.
    pub accepted: Accepted,
    /// What pays for the branches, as far as it goes: processors may have made more of them.
    pub reservation: Reservation,
    /// How much it matters.
    pub priority: Priority,
    branches: Branches,
    /// Which of the branches no longer share the bytes that came.
    edited: SmallVec<[bool; 1]>,
}

impl Prepared {
    /// What the branches hold together, in bytes.
    pub fn bytes(&self) -> usize {
        let mut shared = 0;
        let mut own = 0;
        for ((_, batch), edited) in self.branches.iter().zip(&self.edited) {
            if *edited {
                own += held(batch);
            } else {
                shared = held(batch);
            }
        }
        shared + own
    }

    /// The branches, each with its part of the reservation, which is to pay for all of them.
    pub fn into_branches(mut self) -> Branches {
        self.reservation.shrink_to(self.bytes());
        for ((_, batch), edited) in self.branches.iter_mut().zip(&self.edited) {
            if *edited {
                let own = self.reservation.split_off(held(batch));
                batch.reservations.push(Arc::new(own));
            }
        }
        let shared = Arc::new(self.reservation);
        for ((_, batch), edited) in self.branches.iter_mut().zip(&self.edited) {
            if !edited {
                batch.reservations.push(Arc::clone(&shared));
            }
        }
        self.branches
    }
}

/// What a batch holds, in bytes.
fn held(batch: &Batch) -> usize {
    batch.bytes() + batch.encoded.as_ref().map_or(0, |(_, body)| body.len())
}

/// Prepares a request for the lanes of `pipelines`.
pub fn prepare(
    mut request: Request,
    budget: &Budget,
    pipelines: &[Arc<Pipeline>],
    rules: Rules,
    priorities: Option<&Priorities>,
) -> Result<Prepared, Refused> {
    let Unpacked {
        plain,
        encoded,
        bytes,
    } = unpack(&mut request, budget)?;
    let Request {
        signal,
        reservation,
        caller,
        ..
    } = request;
    let (plain, encoded, items, accepted) = check(signal, plain, encoded, rules)?;
    let accepted = Accepted {
        items,
        bytes,
        ..accepted
    };
    let said = caller.priority;
    let found = || priorities.map(|priorities| priorities.classify(signal, &plain));
    let priority = said.or_else(found).unwrap_or_default();
    let batch = Batch {
        signal,
        chunks: Chunks::from_elem(plain, 1),
        items,
        received: Instant::now(),
        context: Context {
            tenant: caller.tenant.map(|named| named.name),
            priority,
        },
        deadline: None,
        encoded,
        reservations: SmallVec::new(),
    };
    // A request of no bytes is a success and nothing else (OTLP, "Full Success").
    let pipelines = if batch.chunks.iter().all(Bytes::is_empty) {
        &[]
    } else {
        pipelines
    };
    let branches = process(&batch, pipelines);
    let edited = branches
        .iter()
        .map(|(_, branch)| !shares_bytes(branch, &batch))
        .collect();
    Ok(Prepared {
        accepted,
        reservation,
        priority,
        branches,
        edited,
    })
}

fn shares_bytes(branch: &Batch, original: &Batch) -> bool {
    let place = |chunk: &Bytes| (chunk.as_ptr(), chunk.len());
    branch
        .chunks
        .iter()
        .map(place)
        .eq(original.chunks.iter().map(place))
}

type Checked = (Bytes, Option<(Encoding, Bytes)>, u64, Accepted);

fn check(
    signal: Signal,
    plain: Bytes,
    encoded: Option<(Encoding, Bytes)>,
    rules: Rules,
) -> Result<Checked, Refused> {
    let walked = walk::walk(signal, &plain, rules).map_err(invalid)?;
    let Some(rejected) = walked.rejected else {
        return Ok((plain, encoded, walked.items, Accepted::default()));
    };
    let mut rest = walk::without_rejected(signal, &plain, rules);
    rest.shrink_to_fit();
    let accepted = Accepted {
        rejected: rejected.items,
        rejected_by: rejected.by,
        message: rejected.sentence(signal, walked.items),
        ..Accepted::default()
    };
    Ok((rest.into(), None, walked.items, accepted))
}

fn process(batch: &Batch, pipelines: &[Arc<Pipeline>]) -> Branches {
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

fn invalid(malformed: Malformed) -> Refused {
    Refused::Invalid {
        field: malformed.field.clone(),
        problem: malformed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Processor;
    use crate::intake::Caller;
    use crate::otlp::Format;

    /// Adds a field that nobody knows, of 100 bytes, to every request.
    struct Grow;

    impl Processor for Grow {
        fn process(&self, mut batch: Batch) -> Batch {
            batch.rewrite(|chunk| Some([&chunk[..], &[0xfa, 0x3f, 97], &[0; 97]].concat().into()));
            batch
        }
    }

    fn pipeline(grows: bool) -> Arc<Pipeline> {
        let mut processors: Vec<Box<dyn Processor>> = Vec::new();
        if grows {
            processors.push(Box::new(Grow));
        }
        Arc::new(Pipeline {
            name: "p".to_owned(),
            processors,
            faults: Vec::new(),
            lanes: Vec::new(),
        })
    }

    /// A request of 100 bytes, of a field that nobody knows, through these pipelines.
    fn prepared(budget: &Budget, pipelines: &[Arc<Pipeline>]) -> Prepared {
        let request = Request {
            signal: Signal::Logs,
            body: [&[0xfa, 0x3f, 97][..], &[0; 97]].concat().into(),
            encoding: None,
            format: Format::Protobuf,
            limit: 1000,
            reservation: budget.try_reserve(100).unwrap(),
            caller: Caller::until(Instant::now()),
            charge: None,
        };
        prepare(request, budget, pipelines, Rules::default(), None)
            .ok()
            .unwrap()
    }

    #[test]
    fn what_processors_add_and_the_copies_that_they_make_are_paid_for() {
        for (grows, bytes) in [
            (&[false][..], 100),
            (&[false, false], 100),
            (&[true], 200),
            (&[true, false], 300),
            (&[true, true, false, false], 500),
        ] {
            let budget = Budget::new(10_000);
            let pipelines: Vec<_> = grows.iter().map(|grows| pipeline(*grows)).collect();
            let mut prepared = prepared(&budget, &pipelines);
            assert_eq!(prepared.bytes(), bytes, "{grows:?}");
            let missing = bytes - prepared.reservation.bytes();
            let more = budget.try_reserve(missing).unwrap();
            prepared.reservation.merge(more);
            let mut branches = prepared.into_branches();
            assert_eq!(budget.used(), bytes as u64);
            // Each copy is given back with the branch that holds it, what is shared with the last.
            while let Some((_, batch)) = branches.pop() {
                drop(batch);
                let kept: usize = if branches.iter().any(|(p, _)| p.processors.is_empty()) {
                    100
                } else {
                    0
                };
                let edited = branches.iter().filter(|(p, _)| !p.processors.is_empty());
                assert_eq!(budget.used(), (kept + 200 * edited.count()) as u64);
            }
        }
    }

    #[test]
    fn nothing_is_paid_for_a_request_that_goes_nowhere() {
        let budget = Budget::new(1000);
        assert!(prepared(&budget, &[]).into_branches().is_empty());
        assert_eq!(budget.used(), 0);
    }
}
