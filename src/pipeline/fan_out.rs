//! The fan-out: a request's batches are offered to all lanes at once, and either every lane
//! that can refuse has room for its batch, or none takes anything.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::worker::Branches;
use crate::batch::Batch;
use crate::budget::Reservation;
use crate::delivery::config::WhenFull;
use crate::delivery::lane::Lane;
use crate::intake::{self, Acknowledge, Refused, jittered};
use crate::receipt::{Settled, Settlement};
use crate::telemetry::metrics::Refusal;

type Offer = (Arc<Lane>, Batch, Option<Reservation>);

/// The lanes have it: from now on its items are accounted for, whatever the client is told.
pub struct Taken {
    settlement: Option<Arc<Settlement>>,
}

/// Hands the batches over to their lanes; waits for room until `deadline`.
pub async fn offer(
    branches: Branches,
    deadline: Instant,
    acknowledge: Acknowledge,
) -> Result<Taken, Refused> {
    let mut offers: SmallVec<[Offer; 2]> = SmallVec::new();
    for (pipeline, batch) in branches {
        for lane in &pipeline.lanes {
            offers.push((Arc::clone(lane), batch.clone(), None));
        }
    }
    for (lane, batch, room) in &mut offers {
        *room = find_room(lane, batch.bytes(), deadline).await?;
    }
    let settlement = match acknowledge {
        Acknowledge::Queued => None,
        Acknowledge::Delivered => Some(Arc::<Settlement>::default()),
    };
    push(offers, settlement.as_ref())?;
    Ok(Taken { settlement })
}

impl Taken {
    /// Waits until the request is acknowledged: at once if that means queued.
    pub async fn acknowledged(self, deadline: Instant) -> Result<(), Refused> {
        match self.settlement {
            None => Ok(()),
            Some(settlement) => delivered(&settlement, deadline).await,
        }
    }
}

/// Lanes are asked in the order of the configuration by every request, so that no two requests
/// hold what the other waits for.
async fn find_room(
    lane: &Lane,
    bytes: usize,
    deadline: Instant,
) -> Result<Option<Reservation>, Refused> {
    if !lane.refuses() {
        return Ok(None);
    }
    if let Ok(room) = lane.room().try_reserve_most(bytes) {
        return Ok(Some(room));
    }
    let wait = lane.room().reserve_most(bytes);
    let room = match lane.when_full {
        WhenFull::Wait => Some(wait.await),
        _ => timeout_at(deadline, wait).await.ok(),
    };
    room.map(Some).ok_or_else(|| {
        lane.is_full();
        let retry_after = jittered(lane.retry_after());
        Refused::Overloaded {
            retry_after,
            why: Refusal::QueueFull,
        }
    })
}

fn push(offers: SmallVec<[Offer; 2]>, settlement: Option<&Arc<Settlement>>) -> Result<(), Refused> {
    for (lane, batch, room) in offers {
        let settlement = settlement.filter(|_| lane.config.required);
        if !lane.push(batch, room, settlement) {
            // The process is at its end; whoever gets what we refuse now has it whole.
            return Err(intake::draining());
        }
    }
    Ok(())
}

async fn delivered(settlement: &Settlement, deadline: Instant) -> Result<(), Refused> {
    match timeout_at(deadline, settlement.wait()).await {
        Ok(Settled::Delivered) => Ok(()),
        Ok(Settled::Refused) => Err(Refused::Undeliverable),
        Ok(Settled::Failed) | Err(_) => Err(Refused::Overloaded {
            retry_after: jittered(std::time::Duration::from_secs(1)),
            why: Refusal::NotDelivered,
        }),
    }
}
