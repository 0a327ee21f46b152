//! The way from one receiver into its pipelines.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::worker::{self, Prepared};
use super::{Pipeline, fan_out, faults};
use crate::budget::{Budget, Reservation};
use crate::delivery::config::WhenFull;
use crate::host::workers::Workers;
use crate::intake::priority::Priorities;
use crate::intake::{Accepted, Acknowledge, Gate, Onward, Refused, Request, jittered};
use crate::net::compression;
use crate::otlp::walk::Rules;
use crate::otlp::{Format, Signal, json};
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
        pay(&budget, &mut prepared.reservation, bytes, deadline).await?;
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
    /// for the copies that pipelines with processors will make: here a request can be held, on a worker it can
    /// only be refused.
    async fn pay_ahead(&self, budget: &Budget, request: &mut Request) -> Result<(), Refused> {
        let body = request.body.len();
        let (compressed, plain) = match request.encoding {
            None => (0, body),
            Some(encoding) => {
                let declared = compression::declared_size(encoding, &request.body);
                (body, declared.unwrap_or(0).min(request.limit))
            }
        };
        let copies = self.copies(request.signal);
        let total = match request.format {
            Format::Protobuf => compressed + plain.saturating_mul(copies),
            Format::Json => {
                let read = json::expected(plain);
                compressed + plain + read.saturating_mul(copies.max(1))
            }
        };
        if total > budget.most() {
            // It may lie, and what it asks for would never be free. The worker will see.
            return Ok(());
        }
        let deadline = request.caller.deadline;
        pay(budget, &mut request.reservation, total, deadline).await
    }

    /// How many copies of a request's bytes its pipelines hold: one that all share that do not
    /// change it, and one for each that does.
    fn copies(&self, signal: Signal) -> usize {
        let pipelines = self.pipelines.get(signal as usize);
        let pipelines = pipelines.map_or(&[][..], Vec::as_slice);
        let edit = |pipeline: &&Arc<Pipeline>| !pipeline.processors.is_empty();
        let editing = pipelines.iter().filter(edit).count();
        editing + usize::from(editing < pipelines.len())
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

/// Waits until `total` bytes are paid for, or `deadline` is reached.
async fn pay(
    budget: &Budget,
    reservation: &mut Reservation,
    total: usize,
    deadline: Instant,
) -> Result<(), Refused> {
    let missing = total.saturating_sub(reservation.bytes());
    if missing == 0 {
        return Ok(());
    }
    let limit = budget.most();
    if total > limit {
        return Err(Refused::TooLarge { limit });
    }
    match timeout_at(deadline, budget.reserve(missing)).await {
        Ok(Ok(more)) => {
            reservation.merge(more);
            Ok(())
        }
        Ok(Err(_too_large)) => Err(Refused::TooLarge { limit }),
        Err(_elapsed) => Err(Refused::Overloaded {
            retry_after: jittered(Duration::from_secs(1)),
            why: Refusal::Budget,
        }),
    }
}
