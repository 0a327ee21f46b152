//! The way from one receiver into its pipelines.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::worker::{self, Prepared};
use super::{Pipeline, fan_out, faults};
use crate::budget::{Budget, Reservation, Unpaid};
use crate::delivery::config::WhenFull;
use crate::host::workers::Workers;
use crate::intake::priority::Priorities;
use crate::intake::{
    Accepted, Acknowledge, Copies, Gate, Kind, Onward, Refused, Request, jittered,
};
use crate::net::compression;
use crate::otlp::walk::Rules;
use crate::otlp::{Format, Signal};
use crate::telemetry::ledger::Ledger;
use crate::telemetry::metrics::Refusal;

/// What a receiver's requests pass through.
pub struct Route {
    /// The pipelines that take each signal.
    pub pipelines: [Vec<Arc<Pipeline>>; Signal::ALL.len()],
    /// By what the walk judges.
    pub rules: Rules,
    /// What a success answer means.
    pub acknowledge: Acknowledge,
    /// Pays for what inflates.
    pub budget: Budget,
    /// Where large work is done.
    pub workers: Workers,
    /// Counts what came in.
    pub ledger: Arc<Ledger>,
    /// Tells what matters more, where that is asked for.
    pub priorities: Option<Arc<Priorities>>,
}

/// Up to this many bytes, uncompressed, a request is walked on the thread that read it: at
/// gigabytes a second that takes less than handing it over.
const INLINE_BYTES: usize = 1 << 20;

/// The same for JSON, which is read at a fraction of that.
const INLINE_JSON_BYTES: usize = 128 << 10;

impl Route {
    /// The queues that a request of each signal must find room in.
    pub fn gates(&self) -> [Vec<Gate>; Signal::ALL.len()] {
        self.pipelines.each_ref().map(|pipelines| {
            let lanes = pipelines.iter().flat_map(|pipeline| &pipeline.lanes);
            lanes
                .filter(|lane| lane.refuses())
                .map(|lane| {
                    let (room, lane) = (lane.room().clone(), Arc::clone(lane));
                    let (paced, full) = (Arc::clone(&lane), Arc::clone(&lane));
                    let pace = move || {
                        let lane = Arc::clone(&paced);
                        async move { lane.pace().await }.boxed()
                    };
                    Gate {
                        room,
                        waits: lane.when_full == WhenFull::Wait,
                        retry_after: Box::new(move || lane.retry_after()),
                        is_full: Box::new(move || full.is_full()),
                        pace: Box::new(pace),
                    }
                })
                .collect()
        })
    }

    /// The way in, for the intake.
    pub fn onward(self: Arc<Self>) -> Onward {
        Arc::new(move |request| Arc::clone(&self).take(request).boxed())
    }

    async fn take(self: Arc<Self>, mut request: Request) -> Result<Accepted, Refused> {
        let (signal, deadline) = (request.signal, request.caller.deadline);
        let budget = request.caller.budget(&self.budget).clone();
        let charge = request.charge.take();
        self.pay_ahead(&budget, &mut request).await?;
        let mut prepared = self.prepare(request, &budget).await?;
        let accepted = std::mem::take(&mut prepared.accepted);
        if let Some(charge) = charge {
            charge.settle(accepted.items + accepted.rejected, accepted.bytes);
        }
        let (bytes, priority) = (prepared.bytes(), prepared.priority);
        pay(&budget, &mut prepared.reservation, (bytes, bytes), deadline).await?;
        let (branches, lost) = faults::strike(prepared.into_branches(), deadline).await?;
        let taken = fan_out::offer(branches, deadline, self.acknowledge).await?;
        self.ledger.receive(signal, accepted.items);
        lost.count(&self.ledger);
        if let Some(priorities) = &self.priorities {
            priorities.accepted(signal, priority, accepted.items);
        }
        taken.acknowledged(deadline).await?;
        Ok(accepted)
    }

    /// Pays for what a compressed body says that it inflates to, for what JSON likely becomes, and
    /// for the copies that pipelines with processors will make: here a request can be held, on a
    /// worker it can only be refused.
    async fn pay_ahead(&self, budget: &Budget, request: &mut Request) -> Result<(), Refused> {
        let body = request.body.len();
        let declared = |coding| compression::declared_size(coding, &request.body);
        let kind = Kind {
            signal: request.signal,
            format: request.format,
            encoding: request.encoding,
            limit: request.limit,
        };
        let plain = request.encoding.and_then(declared);
        let total = kind.needs(self.copies(request.signal), body, plain);
        if total > budget.most() {
            // It may lie, and what it asks for would never be free. The worker will see.
            return Ok(());
        }
        let deadline = request.caller.deadline;
        request.reservation.shrink_to(total);
        pay(budget, &mut request.reservation, (body, total), deadline).await
    }

    /// How the pipelines hold a request of each signal.
    pub fn all_copies(&self) -> [Copies; Signal::ALL.len()] {
        Signal::ALL.map(|signal| self.copies(signal))
    }

    /// How many copies of a request's bytes its pipelines hold: one that all share that do not
    /// change it, and one for each that does.
    fn copies(&self, signal: Signal) -> Copies {
        let pipelines = self.pipelines.get(signal as usize);
        let pipelines = pipelines.map_or(&[][..], Vec::as_slice);
        let edit = |pipeline: &&Arc<Pipeline>| !pipeline.processors.is_empty();
        let editing = pipelines.iter().filter(edit).count();
        Copies {
            count: editing + usize::from(editing < pipelines.len()),
            edited: editing > 0,
        }
    }

    async fn prepare(
        self: &Arc<Self>,
        request: Request,
        budget: &Budget,
    ) -> Result<Prepared, Refused> {
        let inline = match request.format {
            Format::Protobuf => INLINE_BYTES,
            Format::Json => INLINE_JSON_BYTES,
        };
        if request.encoding.is_none() && request.body.len() <= inline {
            return self.work(request, budget);
        }
        let (route, budget) = (Arc::clone(self), budget.clone());
        self.workers.run(move || route.work(request, &budget)).await
    }

    fn work(&self, request: Request, budget: &Budget) -> Result<Prepared, Refused> {
        let pipelines = self
            .pipelines
            .get(request.signal as usize)
            .map_or(&[][..], Vec::as_slice);
        let priorities = self.priorities.as_deref();
        worker::prepare(request, budget, pipelines, self.rules, priorities)
    }
}

/// Waits until `total` bytes are paid for, or `deadline` is reached; `held` bytes are there now.
async fn pay(
    budget: &Budget,
    reservation: &mut Reservation,
    (held, total): (usize, usize),
    deadline: Instant,
) -> Result<(), Refused> {
    if reservation.bytes() >= total {
        return Ok(());
    }
    let limit = budget.most();
    if total > limit {
        return Err(Refused::TooLarge { limit });
    }
    let grown = budget.grow(reservation, held, (total, total));
    match timeout_at(deadline, grown).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Unpaid::TooLarge)) => Err(Refused::TooLarge { limit }),
        Ok(Err(Unpaid::Spent)) | Err(_) => Err(Refused::Overloaded {
            retry_after: jittered(Duration::from_secs(1)),
            why: Refusal::Budget,
        }),
    }
}
