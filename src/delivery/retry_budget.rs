//! How many retries a lane makes beside its first attempts, as a pure decider.
//!
//! The breaker answers to a destination that is away: it stops everything but a probe. Below its
//! thresholds it does nothing, and every failure becomes one more request: at 40 % failures a
//! destination gets 1.7 times what clients sent. Where it fails *because* it is overloaded, and
//! many daemons share it, that is what keeps it down. With a budget, retries are at most a share
//! of the successes, and a floor; what is above waits in the queue, which is what a queue is for.
//!
//! It is off by default. Nothing is dropped here, so what waits adds up: a destination that
//! fails more than `budget / (1 + budget)` of all attempts, one in six with 0.2, *by chance and
//! not by load*, as behind a balancer of which one backend in three is broken, gets slower and
//! slower fed, though retries would get through. Only the operator knows which of the two it is.
//!
//! It can not stop a lane for good: the floor refills it whatever fails, the breaker's probe
//! needs nothing from it, and neither does a drain. After tower's `TpsBudget` and Finagle's.

use std::time::Duration;

use tokio::time::Instant;

use super::config::RetryConfig;

/// So much of the floor is saved up at most: what a short outage leaves can leave at once.
const SAVED: Duration = Duration::from_secs(10);

/// The retries that a lane may make now.
#[derive(Debug)]
pub struct RetryBudget {
    /// What a success adds.
    share: f64,
    /// What a second adds.
    floor: f64,
    balance: f64,
    /// When the floor was last added.
    refilled: Option<Instant>,
}

impl RetryBudget {
    /// A full one; `None` where the configuration has none.
    pub fn new(config: &RetryConfig) -> Option<Self> {
        if config.budget <= 0.0 {
            return None;
        }
        let floor = f64::from(config.budget_floor.max(1));
        Some(Self {
            share: config.budget,
            floor,
            balance: floor * SAVED.as_secs_f64(),
            refilled: None,
        })
    }

    /// An attempt succeeded.
    pub fn deposit(&mut self) {
        self.add(self.share);
    }

    /// Takes a retry out of it, if there is one.
    #[must_use = "a retry that was not granted must wait"]
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        self.refilled = Some(now.max(since));
        self.add(self.floor * passed.as_secs_f64());
        let granted = self.balance >= 1.0;
        if granted {
            self.balance -= 1.0;
        }
        granted
    }

    fn add(&mut self, retries: f64) {
        let most = self.floor * SAVED.as_secs_f64();
        self.balance = (self.balance + retries).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn budget(share: f64, floor: u32) -> RetryBudget {
        let config = RetryConfig {
            budget: share,
            budget_floor: floor,
            ..RetryConfig::default()
        };
        RetryBudget::new(&config).unwrap()
    }

    /// Spends all that there is at this moment; how much that was.
    fn spend(budget: &mut RetryBudget, now: Instant) -> u32 {
        let mut granted = 0;
        while budget.withdraw(now) {
            granted += 1;
        }
        granted
    }

    #[test]
    fn there_is_none_by_default() {
        assert!(RetryBudget::new(&RetryConfig::default()).is_none());
    }

    #[test]
    fn retries_are_at_most_a_share_of_the_successes() {
        let now = Instant::now();
        let mut budget = budget(0.2, 10);
        spend(&mut budget, now);
        for _ in 0..100 {
            budget.deposit();
        }
        let granted = spend(&mut budget, now);
        assert!((19..=20).contains(&granted), "{granted}");
    }

    #[test]
    fn what_fails_for_ever_is_still_tried_at_the_floor() {
        let begun = Instant::now();
        let mut budget = budget(0.2, 10);
        spend(&mut budget, begun);
        let asked = (0..60_000).map(|millis| begun + millis * MILLI);
        let granted = asked.filter(|now| budget.withdraw(*now)).count();
        assert!((599..=601).contains(&granted), "{granted}");
    }

    #[test]
    fn ten_seconds_of_the_floor_are_saved_up_and_no_more() {
        let now = Instant::now();
        let mut budget = budget(0.2, 10);
        assert_eq!(spend(&mut budget, now), 100, "it begins full");
        let later = now + Duration::from_secs(3600);
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_eq!(spend(&mut budget, later), 100);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_adds_nothing() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut budget = budget(0.2, 10);
        spend(&mut budget, now);
        assert!(!budget.withdraw(now));
        assert!(!budget.withdraw(now - Duration::from_secs(30)));
        assert!(!budget.withdraw(now));
    }
}
