//! The fan-out: a request's batches are offered to all lanes at once, and either every lane
//! that can refuse has room for its batch, or none takes anything.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use smallvec::SmallVec;
use tokio::time::{Instant, sleep, timeout_at};

use super::worker::Branches;
use crate::batch::Batch;
use crate::budget::Reservation;
use crate::delivery::lane::{Lane, Place, Spot};
use crate::intake::{self, Acknowledge, Refused, jittered};
use crate::receipt::{Settled, Settlement};
use crate::telemetry::ledger::Reason;
use crate::telemetry::metrics::Refusal;

/// A batch on its way into a lane, with what it has found there.
struct Offer {
    lane: Arc<Lane>,
    batch: Batch,
    place: Option<Place>,
    spot: Spot,
}

type Offers = SmallVec<[Offer; 2]>;

/// The lanes have it: from now on its items are accounted for, whatever the client is told.
pub struct Taken {
    settlement: Option<Arc<Settlement>>,
}

/// How long to wait before the disk is asked again, where it did not take a request.
const STORE_AGAIN: Duration = Duration::from_millis(250);

/// Hands the batches over to their lanes; waits for room, and for a disk that fails, until
/// `deadline`.
pub async fn offer(
    branches: Branches,
    deadline: Instant,
    acknowledge: Acknowledge,
) -> Result<Taken, Refused> {
    let mut offers: Offers = SmallVec::new();
    for (pipeline, mut batch) in branches {
        batch.deadline = Some(deadline).filter(|_| acknowledge == Acknowledge::Delivered);
        for lane in &pipeline.lanes {
            offers.push(Offer {
                lane: Arc::clone(lane),
                batch: batch.clone(),
                place: None,
                spot: Spot::Nowhere(Reason::QueueFull),
            });
        }
    }
    // Every request asks lanes in the order of their names, and each lane once for all that it
    // is to take: no two requests hold what the other waits for, and none waits for itself.
    offers.sort_by(|one, other| one.lane.name.cmp(&other.lane.name));
    loop {
        find_places(&mut offers, deadline).await?;
        if store(&mut offers).await {
            break;
        }
        // Held, as for room: whoever mends the disk has a few seconds in which nobody is refused.
        if Instant::now() + STORE_AGAIN >= deadline {
            return Err(Refused::Overloaded {
                retry_after: jittered(Duration::from_secs(1)),
                why: Refusal::NotStored,
            });
        }
        sleep(STORE_AGAIN).await;
    }
    let settlement = match acknowledge {
        Acknowledge::Queued | Acknowledge::Stored => None,
        Acknowledge::Delivered => Some(Arc::<Settlement>::default()),
    };
    push(offers, settlement.as_ref())?;
    Ok(Taken { settlement })
}

async fn find_places(offers: &mut Offers, deadline: Instant) -> Result<(), Refused> {
    for to_one in offers.chunk_by_mut(|one, other| Arc::ptr_eq(&one.lane, &other.lane)) {
        let Some(lane) = to_one.first().map(|offer| Arc::clone(&offer.lane)) else {
            continue;
        };
        if !lane.refuses() {
            for offer in to_one {
                offer.place = lane.make_room(&offer.batch).await;
            }
            continue;
        }
        let batches: SmallVec<[&Batch; 2]> = to_one.iter().map(|offer| &offer.batch).collect();
        let found = lane.find_room(&batches, deadline).await;
        drop(batches);
        let Some(mut place) = found else {
            lane.is_full();
            return Err(Refused::Overloaded {
                retry_after: jittered(lane.retry_after()),
                why: Refusal::QueueFull,
            });
        };
        for offer in to_one {
            offer.place = Some(place.split_off(&offer.batch));
        }
    }
    Ok(())
}

/// Writes what is to be on disk, all at once. False if a lane that refuses could not write its
/// own: what the others wrote is then given back, as if it had never been.
async fn store(offers: &mut Offers) -> bool {
    let all = store_all(offers).await;
    if !all {
        for offer in offers {
            offer.spot = Spot::Nowhere(Reason::StorageFailed);
        }
    }
    all
}

async fn store_all(offers: &mut Offers) -> bool {
    let mut writes: SmallVec<[_; 1]> = SmallVec::new();
    for offer in offers.iter_mut() {
        offer.spot = match offer.place.take() {
            None => Spot::Nowhere(Reason::QueueFull),
            Some(Place::Memory(room)) => Spot::Memory(room),
            Some(Place::Disk(room)) => {
                writes.push(write(offer, room));
                continue;
            }
        };
    }
    // Nearly always there is none, or one.
    match (writes.len(), writes.pop()) {
        (1, Some(only)) => only.await,
        (_, None) => true,
        (_, Some(last)) => {
            writes.push(last);
            join_all(writes).await.into_iter().all(|stored| stored)
        }
    }
}

/// False if the lane refuses what it cannot write.
async fn write(offer: &mut Offer, room: Reservation) -> bool {
    offer.spot = match offer.lane.store(&offer.batch, room).await {
        Ok(ticket) => Spot::Disk(ticket),
        Err(_said) if offer.lane.refuses() => return false,
        Err(_said) => offer.lane.instead_of_disk(&offer.batch),
    };
    true
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

fn push(offers: Offers, settlement: Option<&Arc<Settlement>>) -> Result<(), Refused> {
    for Offer {
        lane, batch, spot, ..
    } in offers
    {
        let settlement = settlement.filter(|_| lane.config.required);
        if !lane.push(batch, spot, settlement) {
            // The process is at its end; whoever gets what we refuse now has it whole.
            return Err(intake::draining());
        }
    }
    Ok(())
}

const fn undeliverable(problem: &'static str) -> Refused {
    Refused::Undeliverable { problem }
}

async fn delivered(settlement: &Settlement, deadline: Instant) -> Result<(), Refused> {
    match timeout_at(deadline, settlement.wait()).await {
        Ok(Settled::Delivered) => Ok(()),
        Ok(Settled::Refused) => Err(undeliverable("a destination refused it for good")),
        Ok(Settled::TooLarge) => Err(undeliverable(
            "one item alone is larger than an exporter sends at once: raise its batch.max_bytes, \
             if its destination takes that much",
        )),
        Ok(Settled::Failed) | Err(_) => Err(Refused::Overloaded {
            retry_after: jittered(Duration::from_secs(1)),
            why: Refusal::NotDelivered,
        }),
    }
}
