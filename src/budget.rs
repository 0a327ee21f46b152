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
    /// What it is a part of: what is reserved here is reserved there as well.
    whole: Option<Arc<Budget>>,
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
            whole: None,
        }
    }

    /// A part of it: what is reserved from the part is paid from the whole, and is never more
    /// than `limit` bytes together.
    pub fn part(&self, limit: u64) -> Self {
        Self {
            whole: Some(Arc::new(self.clone())),
            ..Self::new(limit.min(self.limit))
        }
    }

    /// The whole budget, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The most that one request may ever reserve, in bytes: a quarter may be taken by
    /// flow-control windows for good, and one that waits for more would stop all behind it.
    pub fn most(&self) -> usize {
        if let Some(whole) = &self.whole {
            return whole.most().min(self.at_most(usize::MAX));
        }
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
            && self.whole.as_ref().is_none_or(|whole| whole.has_room())
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
            Ok(permit) => match &self.whole {
                None => Ok(Reservation::new(permit)),
                Some(whole) => Ok(whole.try_reserve(bytes)?.of_part(permit)),
            },
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
            Ok(permit) => match &self.whole {
                None => Ok(Reservation::new(permit)),
                // A whole is no part itself, so this goes no deeper.
                Some(whole) => Ok(Box::pin(whole.reserve(bytes)).await?.of_part(permit)),
            },
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
    /// As much of the part of the budget that it was taken from.
    of_part: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self {
            permit: Some(permit),
            of_part: None,
        }
    }

    fn of_part(self, permit: OwnedSemaphorePermit) -> Self {
        Self {
            of_part: Some(permit),
            ..self
        }
    }

    /// What is reserved, in bytes.
    pub fn bytes(&self) -> usize {
        self.permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Adds the bytes of `other`, which must come from the same budget.
    pub fn merge(&mut self, other: Self) {
        merge(&mut self.permit, other.permit);
        merge(&mut self.of_part, other.of_part);
    }

    /// Splits off a reservation of `bytes`; of all there is, if that is less.
    pub fn split_off(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes());
        let split = |permit: &mut Option<OwnedSemaphorePermit>| permit.as_mut()?.split(bytes);
        Self {
            permit: split(&mut self.permit),
            of_part: split(&mut self.of_part),
        }
    }

    /// Gives back all above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.permit, &mut self.of_part].into_iter().flatten() {
            let excess = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(excess));
        }
    }
}

fn merge(mine: &mut Option<OwnedSemaphorePermit>, theirs: Option<OwnedSemaphorePermit>) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine.merge(theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
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
    async fn a_part_is_paid_from_the_whole_and_stops_at_its_own_limit() {
        let whole = Budget::new(100);
        let part = whole.part(50);
        assert_eq!(part.most(), 50);
        assert_eq!(part.try_reserve(51).unwrap_err(), Unpaid::TooLarge);
        let mut first = part.try_reserve(40).unwrap();
        assert_eq!((part.used(), whole.used()), (40, 40));
        assert_eq!(part.try_reserve(20).unwrap_err(), Unpaid::Spent);
        let others = whole.try_reserve(55).unwrap();
        let mut waiting = Box::pin(part.reserve(10));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(others);
        first.merge(waiting.await.unwrap());
        assert_eq!((part.used(), whole.used()), (50, 50));
        first.shrink_to(30);
        let second = first.split_off(20);
        drop(first);
        assert_eq!((part.used(), whole.used()), (20, 20));
        drop(second);
        assert_eq!((part.used(), whole.used()), (0, 0));
    }

    #[tokio::test]
    async fn what_the_whole_has_not_is_not_kept_back_from_the_part() {
        let whole = Budget::new(100);
        let part = whole.part(50);
        let others = whole.try_reserve(90).unwrap();
        assert_eq!(part.try_reserve(20).unwrap_err(), Unpaid::Spent);
        assert_eq!(part.used(), 0);
        drop(others);
        assert_eq!(part.try_reserve(50).unwrap().bytes(), 50);
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
