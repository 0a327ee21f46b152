//! The way from one receiver into its pipelines.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout_at;

use super::worker::{self, Prepared};
use super::{Pipeline, fan_out};
use crate::budget::Budget;
use crate::delivery::config::WhenFull;
use crate::host::workers::Workers;
use crate::intake::{Accepted, Acknowledge, Gate, Onward, Refused, Request, jittered};
use crate::net::compression;
use crate::otlp::Signal;
use crate::otlp::walk::Validation;
use crate::telemetry::ledger::Ledger;
use crate::telemetry::metrics::Refusal;

/// What a receiver's requests pass through.
pub struct Route {
    /// The pipelines that take each signal.
    pub pipelines: [Vec<Arc<Pipeline>>; Signal::ALL.len()],
    /// How far the walk goes.
    pub validation: Validation,
    /// What a success answer means.
    pub acknowledge: Acknowledge,
    /// Pays for what inflates.
    pub budget: Budget,
    /// Where large work is done.
    pub workers: Workers,
    /// Counts what came in.
    pub ledger: Arc<Ledger>,
}

/// Up to this many bytes, uncompressed, a request is walked on the thread that read it: at
/// gigabytes a second that takes less than handing it over.
const INLINE_BYTES: usize = 1 << 20;

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
        let (signal, deadline) = (request.signal, request.deadline);
        self.pay_ahead(&mut request).await?;
        let Prepared { branches, accepted } = self.prepare(request).await?;
        let taken = fan_out::offer(branches, deadline, self.acknowledge).await?;
        self.ledger.receive(signal, accepted.items);
        taken.acknowledged(deadline).await?;
        Ok(accepted)
    }

    /// Pays for what a compressed body says that it inflates to: here a request can be held,
    /// on a worker it can only be refused.
    async fn pay_ahead(&self, request: &mut Request) -> Result<(), Refused> {
        let Some(encoding) = request.encoding else {
            return Ok(());
        };
        let inflated = compression::declared_size(encoding, &request.body);
        let total = request.body.len() + inflated.unwrap_or(0).min(request.limit);
        let missing = total.saturating_sub(request.reservation.bytes());
        match timeout_at(request.deadline, self.budget.reserve(missing)).await {
            Ok(Ok(more)) => {
                request.reservation.merge(more);
                Ok(())
            }
            // What it really inflates to, the worker will see.
            Ok(Err(_too_large)) => Ok(()),
            Err(_elapsed) => Err(Refused::Overloaded {
                retry_after: jittered(Duration::from_secs(1)),
                why: Refusal::Budget,
            }),
        }
    }

    async fn prepare(self: &Arc<Self>, request: Request) -> Result<Prepared, Refused> {
        if request.encoding.is_none() && request.body.len() <= INLINE_BYTES {
            return self.work(request);
        }
        let route = Arc::clone(self);
        self.workers.run(move || route.work(request)).await
    }

    fn work(&self, request: Request) -> Result<Prepared, Refused> {
        let pipelines = self
            .pipelines
            .get(request.signal as usize)
            .map_or(&[][..], Vec::as_slice);
        worker::prepare(request, &self.budget, pipelines, self.validation)
    }
}
