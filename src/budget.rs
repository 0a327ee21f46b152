//! The one budget, in bytes, out of which all telemetry held in memory is paid.
//!
//! A receiver reserves before it reads a body. The reservation travels with the batch and is
//! given back when the last destination has let go of it. Connections pay for the flow-control
//! windows that they may fill before anybody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The byte budget of the whole process; cloning it shares it.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    limit: u64,
    waiting: Arc<AtomicU64>,
}

/// Why a reservation was not made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpaid {
    /// The budget is spent for now; waiting may help.
    Spent,
    /// The request is larger than the whole budget; waiting can not help.
    TooLarge,
}

impl Budget {
    /// A budget of `limit` bytes, all of them free. At most 4 GiB - 1 are reserved at once by
    /// one request, which is above every request limit.
    pub fn new(limit: u64) -> Self {
        let permits = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(permits)),
            limit,
            waiting: Arc::default(),
        }
    }

    /// The whole budget, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The most that one request may ever reserve, in bytes: a quarter may be taken by
    /// flow-control windows for good, and one that waits for more would stop all behind it.
    pub fn most(&self) -> usize {
        usize::try_from(self.limit - self.limit / 4).unwrap_or(usize::MAX)
    }

    /// What is reserved now, in bytes.
    pub fn used(&self) -> u64 {
        self.limit
            .saturating_sub(self.free.available_permits() as u64)
    }

    /// Whether anything is free, and nobody waits for it.
    pub fn has_room(&self) -> bool {
        self.free.available_permits() > 0
    }

    /// Reserves `bytes`, or all there is if that is less: one thing too large for the whole
    /// has it for itself.
    pub async fn reserve_most(&self, bytes: usize) -> Reservation {
        self.reserve(self.at_most(bytes)).await.unwrap_or_default()
    }

    /// Like [`Budget::reserve_most`], without waiting.
    pub fn try_reserve_most(&self, bytes: usize) -> Result<Reservation, Unpaid> {
        self.try_reserve(self.at_most(bytes))
    }

    fn at_most(&self, bytes: usize) -> usize {
        let limit = self.limit.min(u64::from(u32::MAX));
        bytes.min(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// How many requests wait for bytes now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` if they are free and nobody waits before us.
    pub fn try_reserve(&self, bytes: usize) -> Result<Reservation, Unpaid> {
        let permits = self.permits(bytes)?;
        match Arc::clone(&self.free).try_acquire_many_owned(permits) {
            Ok(permit) => Ok(Reservation {
                permit: Some(permit),
            }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Err(Unpaid::Spent),
        }
    }

    /// Reserves `bytes`, waiting in order of arrival. Cancel-safe: dropping the future leaves
    /// the queue.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation, Unpaid> {
        if let Ok(reservation) = self.try_reserve(bytes) {
            return Ok(reservation);
        }
        let permits = self.permits(bytes)?;
        let _waiting = Waiting::new(&self.waiting);
        match Arc::clone(&self.free).acquire_many_owned(permits).await {
            Ok(permit) => Ok(Reservation {
                permit: Some(permit),
            }),
            Err(_closed) => Err(Unpaid::Spent),
        }
    }

    fn permits(&self, bytes: usize) -> Result<u32, Unpaid> {
        if bytes as u64 > self.limit {
            return Err(Unpaid::TooLarge);
        }
        u32::try_from(bytes).map_err(|_| Unpaid::TooLarge)
    }
}

struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes taken out of the budget; dropping it gives them back.
#[derive(Debug, Default)]
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// What is reserved, in bytes.
    pub fn bytes(&self) -> usize {
        self.permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Adds the bytes of `other`, which must come from the same budget.
    pub fn merge(&mut self, other: Self) {
        match (&mut self.permit, other.permit) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }

    /// Splits off a reservation of `bytes`; of all there is, if that is less.
    pub fn split_off(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes());
        let permit = self.permit.as_mut().and_then(|permit| permit.split(bytes));
        Self { permit }
    }

    /// Gives back all above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            let excess = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(excess));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_given_back_when_dropped() {
        let budget = Budget::new(100);
        let mut first = budget.try_reserve(60).unwrap();
        assert_eq!(budget.try_reserve(50).unwrap_err(), Unpaid::Spent);
        first.shrink_to(40);
        let second = budget.try_reserve(50).unwrap();
        assert_eq!(budget.used(), 90);
        first.merge(second);
        assert_eq!(first.bytes(), 90);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_request_above_the_whole_budget_is_too_large() {
        assert_eq!(
            Budget::new(10).try_reserve(11).unwrap_err(),
            Unpaid::TooLarge
        );
    }

    #[tokio::test]
    async fn waiters_are_served_in_order_of_arrival() {
        let budget = Budget::new(10);
        let held = budget.try_reserve(10).unwrap();
        let mut large = tokio_test_task(budget.reserve(8));
        assert!(futures_util::poll!(&mut large).is_pending());
        assert_eq!(budget.waiting(), 1);
        drop(held);
        assert_eq!(
            budget.try_reserve(8).unwrap_err(),
            Unpaid::Spent,
            "the waiter goes first"
        );
        assert_eq!(large.await.unwrap().bytes(), 8);
        assert_eq!(budget.waiting(), 0);
    }

    fn tokio_test_task<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
        Box::pin(future)
    }
}
