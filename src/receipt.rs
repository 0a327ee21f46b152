//! A receipt is the duty to say, once for each destination, what became of some items.
//!
//! Settling it moves the items in the ledger and, where a client waits for delivery, feeds its
//! answer. A receipt that is dropped unsettled is counted as dropped with the reason `bug`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::storage::Ticket;
use crate::telemetry::ledger::{Account, Fate, Reason};

/// The duty to settle; one claim for each request whose items it covers.
#[derive(Debug, Default)]
#[must_use = "items whose receipt is dropped are counted as lost by a bug"]
pub struct Receipt {
    claims: SmallVec<[Claim; 1]>,
}

#[derive(Debug)]
struct Claim {
    items: u64,
    account: Arc<Account>,
    settlement: Option<Arc<Settlement>>,
    ticket: Option<Arc<Ticket>>,
}

impl Receipt {
    /// Takes `items` over into `account`; `settlement` hears of their fate, if a client waits.
    pub fn open(items: u64, account: Arc<Account>, settlement: Option<Arc<Settlement>>) -> Self {
        account.receive(items);
        Self::resume(items, account, settlement, None)
    }

    /// Takes up the duty for items that `account` has already. They lie on disk under `ticket`,
    /// which is kept until every part of them is settled.
    pub fn resume(
        items: u64,
        account: Arc<Account>,
        settlement: Option<Arc<Settlement>>,
        ticket: Option<Arc<Ticket>>,
    ) -> Self {
        if let Some(settlement) = &settlement {
            settlement.outstanding.fetch_add(1, Ordering::Relaxed);
        }
        let mut claims = SmallVec::new();
        claims.push(Claim {
            items,
            account,
            settlement,
            ticket,
        });
        Self { claims }
    }

    /// How many items it covers.
    pub fn items(&self) -> u64 {
        self.claims.iter().map(|claim| claim.items).sum()
    }

    /// How many requests, or parts of requests, its items came in.
    pub fn claims(&self) -> usize {
        self.claims.len()
    }

    /// Whether all of its items lie on disk, where another process would find them.
    pub fn is_stored(&self) -> bool {
        let on_disk = |ticket: &Arc<Ticket>| ticket.is_on_disk();
        let mut claims = self.claims.iter();
        claims.all(|claim| claim.ticket.as_ref().is_some_and(on_disk))
    }

    /// What of its items lies on disk.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.claims.iter().filter_map(|c| c.ticket.as_deref())
    }

    /// Lets go of what lies on disk of its items: they lie elsewhere now.
    pub fn forget_tickets(&mut self) {
        for claim in &mut self.claims {
            claim.ticket = None;
        }
    }

    /// Splits off a receipt for the items of the first `count` requests.
    pub fn split_off_claims(&mut self, count: usize) -> Self {
        let count = count.min(self.claims.len());
        let claims = self.claims.drain(..count).collect();
        Self { claims }
    }

    /// Covers the items of `other` as well.
    pub fn merge(&mut self, mut other: Self) {
        self.claims.append(&mut other.claims);
    }

    /// Splits off a receipt for the first `items`; all of them if there are fewer.
    pub fn split_off_front(&mut self, items: u64) -> Self {
        let mut front = Self::default();
        let mut wanted = items;
        while wanted > 0 && !self.claims.is_empty() {
            let Some(claim) = self.claims.first_mut() else {
                break;
            };
            if claim.items <= wanted {
                wanted -= claim.items;
                front.claims.push(self.claims.remove(0));
            } else {
                claim.items -= wanted;
                if let Some(settlement) = &claim.settlement {
                    settlement.outstanding.fetch_add(1, Ordering::Relaxed);
                }
                front.claims.push(Claim {
                    items: wanted,
                    account: Arc::clone(&claim.account),
                    settlement: claim.settlement.clone(),
                    ticket: claim.ticket.clone(),
                });
                wanted = 0;
            }
        }
        front
    }

    /// The items have one fate.
    pub fn settle(mut self, fate: Fate) {
        for claim in self.claims.drain(..) {
            claim.settle(fate);
        }
    }

    /// We gave the items up, and the dead letters have them.
    pub fn settle_dead_lettered(self, reason: Reason) {
        for claim in &self.claims {
            claim.account.dead_letter(claim.items);
        }
        self.settle(Fate::Dropped(reason));
    }

    /// The destination took all but `rejected` of the items.
    pub fn settle_delivered(mut self, rejected: u64) {
        if rejected > 0 {
            // Which of the merged requests they came from is not known; the counts are.
            let mut refused = rejected;
            for claim in &mut self.claims {
                let share = claim.items.min(refused);
                claim.account.settle(share, Fate::Rejected);
                claim.items -= share;
                refused -= share;
            }
        }
        self.settle(Fate::Delivered);
    }
}

impl Claim {
    fn settle(&self, fate: Fate) {
        self.account.settle(self.items, fate);
        if let (Fate::Kept, Some(ticket)) = (fate, &self.ticket) {
            ticket.keep();
        }
        if let Some(settlement) = &self.settlement {
            settlement.settle(fate);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        for claim in self.claims.drain(..) {
            claim.settle(Fate::Dropped(Reason::Bug));
        }
    }
}

/// What a client that waits for delivery hears: the fates of its items at all the required
/// destinations, as one answer.
#[derive(Debug, Default)]
pub struct Settlement {
    outstanding: AtomicU64,
    worst: AtomicU8,
    done: Notify,
}

/// The answer that a settlement comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settled {
    /// All required destinations have all items, or rejected some of them one by one.
    Delivered = 0,
    /// Something was given up that another try may save.
    Failed = 1,
    /// A destination refused it for good.
    Refused = 2,
    /// One item alone is larger than a destination is sent (`batch.max_bytes`).
    TooLarge = 3,
}

impl Settlement {
    /// Waits until every claim is settled. At once if there is none.
    pub async fn wait(&self) -> Settled {
        loop {
            let notified = self.done.notified();
            if self.outstanding.load(Ordering::Acquire) == 0 {
                return match self.worst.load(Ordering::Acquire) {
                    0 => Settled::Delivered,
                    1 => Settled::Failed,
                    2 => Settled::Refused,
                    _ => Settled::TooLarge,
                };
            }
            notified.await;
        }
    }

    fn settle(&self, fate: Fate) {
        let settled = match fate {
            Fate::Delivered | Fate::Rejected => Settled::Delivered,
            Fate::Dropped(Reason::Permanent) => Settled::Refused,
            Fate::Dropped(Reason::TooLarge) => Settled::TooLarge,
            Fate::Dropped(_) | Fate::Kept => Settled::Failed,
        };
        self.worst.fetch_max(settled as u8, Ordering::AcqRel);
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Arc<Account> {
        Arc::default()
    }

    #[test]
    fn a_receipt_dropped_unsettled_is_counted_as_a_bug() {
        let account = account();
        drop(Receipt::open(7, Arc::clone(&account), None));
        let counts = account.counts();
        assert_eq!(counts.dropped[Reason::Bug as usize], 7);
        assert!(counts.balances());
    }

    #[test]
    fn what_the_dead_letters_have_is_dropped_and_kept_there() {
        let account = account();
        let mut receipt = Receipt::open(5, Arc::clone(&account), None);
        receipt.merge(Receipt::open(2, Arc::clone(&account), None));
        receipt.settle_dead_lettered(Reason::Permanent);
        let counts = account.counts();
        assert_eq!(counts.dropped[Reason::Permanent as usize], 7);
        assert_eq!((counts.dead_lettered, counts.in_process), (7, 0));
        assert!(counts.balances());
    }

    #[test]
    fn splits_and_merges_conserve_items() {
        let account = account();
        let mut receipt = Receipt::open(5, Arc::clone(&account), None);
        receipt.merge(Receipt::open(3, Arc::clone(&account), None));
        let front = receipt.split_off_front(6);
        assert_eq!((front.items(), receipt.items()), (6, 2));
        front.settle_delivered(2);
        receipt.settle(Fate::Dropped(Reason::QueueFull));
        let counts = account.counts();
        assert_eq!((counts.delivered, counts.rejected), (4, 2));
        assert!(counts.balances());
        assert_eq!(counts.in_process, 0);
    }

    #[tokio::test]
    async fn a_settlement_waits_for_every_part_and_keeps_the_worst() {
        let settlement = Arc::new(Settlement::default());
        let mut receipt = Receipt::open(5, account(), Some(Arc::clone(&settlement)));
        let other = Receipt::open(5, account(), Some(Arc::clone(&settlement)));
        let front = receipt.split_off_front(2);
        front.settle(Fate::Delivered);
        receipt.settle(Fate::Dropped(Reason::QueueFull));
        let mut wait = Box::pin(settlement.wait());
        assert!(futures_util::poll!(&mut wait).is_pending());
        other.settle(Fate::Delivered);
        assert_eq!(wait.await, Settled::Failed);
    }
}
