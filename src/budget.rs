//! The one budget, in bytes, out of which all telemetry held in memory is paid.
//!
//! A receiver reserves before it reads a body. The reservation travels with the batch and is
//! given back when the last destination has let go of it. Connections pay for the flow-control
//! windows that they may fill before anybody reads.
//!
//! Requests that do not fit together are served one after the other, in order of arrival: who
//! waits for more holds nothing meanwhile, so whoever is first in line always gets all that it
//! needs. Small requests need not wait behind it: a share is kept for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{AcquireError, Semaphore};

mod reservation;

pub use reservation::Reservation;

/// The byte budget of the whole process; cloning it shares it.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    /// Beside it, what only small requests may take.
    kept: Arc<Semaphore>,
    /// The longest request that is small, in bytes.
    small: usize,
    limit: u64,
    waiting: Arc<AtomicU64>,
    /// What those who wait for more may have in hand meanwhile, unpaid, beside the budget.
    in_hand: Arc<Semaphore>,
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

/// The part of the budget that is kept for small requests: one in so many.
const KEPT: u64 = 16;

/// The part that flow-control windows may take for good: so many in so many.
const WINDOWS: (u64, u64) = (3, 16);

/// The part beside it that requests may have in hand, unpaid, while they wait: one in so many.
const IN_HAND: u64 = 16;

/// The longest request that is small, in bytes, and how many of them find room in what is kept.
const SMALL: (usize, u64) = (1 << 20, 4);

impl Budget {
    /// A budget of `limit` bytes, all of them free. At most 4 GiB - 1 are reserved at once by
    /// one request, which is above every request limit.
    pub fn new(limit: u64) -> Self {
        Self {
            free: semaphore(limit),
            kept: semaphore(0),
            small: 0,
            limit,
            waiting: Arc::default(),
            in_hand: semaphore(limit / IN_HAND),
            whole: None,
        }
    }

    /// The same, a share of which is kept for small requests.
    pub fn for_requests(limit: u64) -> Self {
        let kept = limit / KEPT;
        let (longest, count) = SMALL;
        Self {
            free: semaphore(limit - kept),
            kept: semaphore(kept),
            small: usize::try_from(kept / count)
                .unwrap_or(longest)
                .min(longest),
            ..Self::new(limit)
        }
    }

    /// What flow-control windows may take of it.
    pub fn for_windows(&self) -> Self {
        let (part, parts) = WINDOWS;
        Self::new(self.limit / parts * part)
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

    /// The most that one request may ever reserve, in bytes: a quarter is kept for small requests
    /// or may be taken by flow-control windows for good, and one that waits for more would stop
    /// all behind it.
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
            .saturating_sub(self.kept.available_permits() as u64)
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
        self.try_take(bytes, false)
    }

    /// Reserves `bytes`, waiting in order of arrival. Cancel-safe: dropping the future leaves
    /// the queue.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation, Unpaid> {
        self.take(bytes, false).await
    }

    /// Reserves the `bytes` that a request is let in with: a small one finds room in what is
    /// kept for such, though others wait.
    pub fn try_admit(&self, bytes: usize) -> Result<Reservation, Unpaid> {
        self.try_take(bytes, self.is_small(bytes))
    }

    /// The same, waiting in order of arrival.
    pub async fn admit(&self, bytes: usize) -> Result<Reservation, Unpaid> {
        self.take(bytes, self.is_small(bytes)).await
    }

    /// Has a request pay for `total` bytes in all, if they are free.
    pub fn try_grow(&self, reservation: &mut Reservation, total: usize) -> Result<(), Unpaid> {
        let missing = total.saturating_sub(reservation.bytes());
        if missing > 0 {
            reservation.merge(self.try_take(missing, self.is_small(total))?);
        }
        Ok(())
    }

    /// Has a request pay for `soon` bytes in all, if they are free; else it waits for `all` that
    /// it may come to need, and gives back all that it has: what has come of it, `in_hand`, is
    /// little or it does not wait.
    pub async fn grow(
        &self,
        reservation: &mut Reservation,
        in_hand: usize,
        (soon, all): (usize, usize),
    ) -> Result<(), Unpaid> {
        if self.try_grow(reservation, soon).is_ok() {
            return Ok(());
        }
        let in_hand = self.permits(in_hand)?;
        let Ok(_in_hand) = self.whole().in_hand.try_acquire_many(in_hand) else {
            return Err(Unpaid::Spent);
        };
        drop(std::mem::take(reservation));
        *reservation = self.admit(all).await?;
        Ok(())
    }

    fn whole(&self) -> &Self {
        self.whole.as_deref().unwrap_or(self)
    }

    fn is_small(&self, bytes: usize) -> bool {
        bytes <= self.whole().small
    }

    fn try_take(&self, bytes: usize, kept: bool) -> Result<Reservation, Unpaid> {
        let permits = self.permits(bytes)?;
        let try_acquire =
            |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(permits).ok();
        let Some(permit) = try_acquire(&self.free) else {
            let permit = kept.then(|| try_acquire(&self.kept)).flatten();
            return permit.map(Reservation::of_kept).ok_or(Unpaid::Spent);
        };
        match &self.whole {
            None => Ok(Reservation::new(permit)),
            Some(whole) => Ok(whole.try_take(bytes, kept)?.of_part(permit)),
        }
    }

    async fn take(&self, bytes: usize, kept: bool) -> Result<Reservation, Unpaid> {
        if let Ok(reservation) = self.try_take(bytes, kept) {
            return Ok(reservation);
        }
        let permits = self.permits(bytes)?;
        let _waiting = Waiting::new(&self.waiting);
        let acquire = |from: &Arc<Semaphore>| Arc::clone(from).acquire_many_owned(permits);
        let reservation = match &self.whole {
            // A whole is no part itself, so this goes no deeper.
            Some(whole) => {
                let permit = acquire(&self.free).await.map_err(closed)?;
                Box::pin(whole.take(bytes, kept)).await?.of_part(permit)
            }
            None if kept => tokio::select! {
                biased;
                permit = acquire(&self.free) => Reservation::new(permit.map_err(closed)?),
                permit = acquire(&self.kept) => Reservation::of_kept(permit.map_err(closed)?),
            },
            None => Reservation::new(acquire(&self.free).await.map_err(closed)?),
        };
        Ok(reservation)
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

fn semaphore(bytes: u64) -> Arc<Semaphore> {
    let permits = usize::try_from(bytes).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

/// No budget is ever closed.
fn closed(_: AcquireError) -> Unpaid {
    Unpaid::Spent
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

    #[tokio::test(start_paused = true)]
    async fn those_that_do_not_fit_together_are_served_in_turn_and_none_waits_in_vain() {
        let budget = Budget::for_requests(64_000);
        let begun = tokio::time::Instant::now();
        let one = async |number: usize| {
            let mut paid = budget.admit(600).await.unwrap();
            // What has come is little at first, and then everything is paid for.
            let all = 19_000 + number;
            budget.grow(&mut paid, 400, (all, all)).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            assert_eq!(paid.bytes(), all);
        };
        futures_util::future::join_all((0..9).map(one)).await;
        // Three fit beside each other, though nine hold their first bytes.
        assert_eq!(begun.elapsed().as_secs(), 3);
        assert_eq!((budget.used(), budget.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_for_more_holds_nothing_and_has_little_in_hand() {
        let budget = Budget::new(1000);
        let mut first = budget.try_reserve(600).unwrap();
        let mut second = budget.try_reserve(300).unwrap();
        let mut third = budget.try_reserve(60).unwrap();
        let refused = budget.grow(&mut second, 300, (700, 700)).await;
        assert_eq!(refused, Err(Unpaid::Spent), "that is much");
        let mut waiting = tokio_test_task(budget.grow(&mut third, 60, (700, 700)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        // Others get more only if it is free and nobody waits for it.
        assert!(budget.try_grow(&mut first, 601).is_err());
        // With what it had itself, that is just enough.
        first.shrink_to(0);
        waiting.await.unwrap();
        assert_eq!((third.bytes(), second.bytes()), (700, 300));
    }

    #[tokio::test]
    async fn small_requests_pass_by_those_that_wait_for_much() {
        let budget = Budget::for_requests(16_000);
        let large = budget.admit(10_000).await.unwrap();
        let mut next = tokio_test_task(budget.admit(10_000));
        assert!(futures_util::poll!(&mut next).is_pending());
        let mut small: Vec<_> = (0..4).map(|_| budget.try_admit(250).unwrap()).collect();
        assert!(budget.try_reserve(1).is_err(), "that is kept for requests");
        let mut fifth = tokio_test_task(budget.admit(250));
        assert!(futures_util::poll!(&mut fifth).is_pending());
        let kept = small[0].split_off(100);
        assert_eq!((kept.bytes(), small[0].bytes()), (100, 150));
        drop((kept, small));
        assert_eq!(fifth.await.unwrap().bytes(), 250);
        drop(large);
        assert_eq!(next.await.unwrap().bytes(), 10_000);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn small_requests_of_a_part_pass_by_as_well() {
        let whole = Budget::for_requests(16_000);
        let part = whole.part(5_000);
        let _large = whole.admit(14_500).await.unwrap();
        let mut small = part.try_admit(200).unwrap();
        part.grow(&mut small, 200, (240, 240)).await.unwrap();
        assert_eq!((part.used(), whole.used()), (240, 14_740));
        small.shrink_to(40);
        assert_eq!((part.used(), whole.used()), (40, 14_540));
        drop(small);
        assert_eq!((part.used(), whole.used()), (0, 14_500));
    }

    fn tokio_test_task<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
        Box::pin(future)
    }
}
