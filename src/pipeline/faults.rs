//! Injected faults: what `fault` processors do to a request before it is offered to the lanes.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::Pipeline;
use super::worker::Branches;
use crate::batch::Batch;
use crate::intake::Refused;
use crate::processors::fault::End;
use crate::receipt::Receipt;
use crate::telemetry::ledger::{Fate, Ledger, Reason};

/// Lets the faults of each branch's pipeline strike it: it waits, never past the client's
/// deadline, and is then refused, lost, or goes on. Returns what goes on, and what is lost.
pub(super) async fn strike(
    branches: Branches,
    deadline: Instant,
) -> Result<(Branches, Lost), Refused> {
    let (mut going_on, mut lost) = (Branches::new(), Vec::new());
    for (pipeline, batch) in branches {
        let mut is_lost = false;
        for fault in &pipeline.faults {
            let Some((latency, end)) = fault.strike(&batch) else {
                continue;
            };
            sleep_until((Instant::now() + latency).min(deadline)).await;
            match end {
                End::PassedOn => {}
                End::Dropped => is_lost = true,
                End::Refused(error) => {
                    let processor = Arc::clone(&fault.name);
                    return Err(Refused::Injected { error, processor });
                }
            }
        }
        if is_lost {
            lost.push((pipeline, batch));
        } else {
            going_on.push((pipeline, batch));
        }
    }
    Ok((going_on, Lost(lost)))
}

/// What is lost on purpose. It is counted when the rest is taken: a request that is refused is
/// sent again.
pub(super) struct Lost(Vec<(Arc<Pipeline>, Batch)>);

impl Lost {
    /// Counts it, for every exporter that would have had it.
    pub(super) fn count(self, ledger: &Ledger) {
        for (pipeline, batch) in self.0 {
            for lane in &pipeline.lanes {
                let accounts = ledger.accounts(&lane.name);
                if let Some(account) = accounts.get(batch.signal as usize) {
                    let receipt = Receipt::open(batch.items, Arc::clone(account), None);
                    receipt.settle(Fate::Dropped(Reason::FaultInjected));
                }
            }
        }
    }
}
