//! What became of the attempts to replace this process by another, for whoever asked for one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The attempts of this process; told by the one who makes them, read by the admin side.
#[derive(Debug, Default)]
pub struct Upgrades(Mutex<UpgradeSnapshot>);

/// The attempts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeSnapshot {
    /// How many were begun.
    pub attempts: u64,
    /// Whether one is under way.
    pub under_way: bool,
    /// Why the last one failed; nothing while one is under way.
    pub failure: Option<String>,
}

impl Upgrades {
    /// An attempt begins.
    pub fn begin(&self) {
        let mut snapshot = self.lock();
        snapshot.attempts += 1;
        snapshot.under_way = true;
        snapshot.failure = None;
    }

    /// The attempt under way has failed, for this reason.
    pub fn fail(&self, reason: &str) {
        let mut snapshot = self.lock();
        snapshot.under_way = false;
        snapshot.failure = Some(reason.to_owned());
    }

    /// The attempts so far.
    pub fn snapshot(&self) -> UpgradeSnapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, UpgradeSnapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_until_the_next_attempt() {
        let upgrades = Upgrades::default();
        assert_eq!(upgrades.snapshot(), UpgradeSnapshot::default());
        upgrades.begin();
        upgrades.fail("no such file");
        let failed = upgrades.snapshot();
        assert_eq!((failed.attempts, failed.under_way), (1, false));
        assert_eq!(failed.failure.as_deref(), Some("no such file"));
        upgrades.begin();
        let again = upgrades.snapshot();
        assert_eq!(
            (again.attempts, again.under_way, again.failure),
            (2, true, None)
        );
    }
}
