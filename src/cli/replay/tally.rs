//! What became of every letter that was read: the ledger of a replay.

use std::fmt;

/// Requests and the items in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) requests: u64,
    pub(super) items: u64,
}

impl Count {
    fn add(&mut self, items: u64) {
        self.requests += 1;
        self.items += items;
    }
}

/// The counts: `read = skipped + unreadable + listed + sent`, and of what is sent, in requests,
/// `sent = delivered + refused + failed`; in items, what was rejected one by one stands beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    read: Count,
    skipped: Count,
    unreadable: Count,
    listed: Count,
    sent: Count,
    delivered: Count,
    rejected_items: u64,
    refused: Count,
    failed: Count,
    removed: Option<Count>,
}

/// What became of one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was not chosen.
    Skipped,
    /// It is damaged, or of a later version.
    Unreadable,
    /// It was chosen, and nothing is sent.
    Listed,
    /// The destination has all but so many items.
    Delivered { rejected: u64 },
    /// The destination refused it for good.
    Refused,
    /// It could not be delivered within the time for it.
    Failed,
}

impl Tally {
    /// Counts a letter of so many items.
    pub(super) fn count(&mut self, items: u64, outcome: Outcome) {
        self.read.add(items);
        match outcome {
            Outcome::Skipped => return self.skipped.add(items),
            Outcome::Unreadable => return self.unreadable.add(items),
            Outcome::Listed => return self.listed.add(items),
            Outcome::Delivered { rejected } => {
                let rejected = rejected.min(items);
                self.delivered.add(items - rejected);
                self.rejected_items += rejected;
            }
            Outcome::Refused => self.refused.add(items),
            Outcome::Failed => self.failed.add(items),
        }
        self.sent.add(items);
    }

    /// Letters that are damaged, met where the letters themselves cannot be read.
    pub(super) fn count_damaged(&mut self, requests: u64, items: u64) {
        for count in [&mut self.read, &mut self.unreadable] {
            count.requests += requests;
            count.items += items;
        }
    }

    /// Says that letters are removed as they are delivered.
    pub(super) fn removing(&mut self) {
        self.removed = Some(Count::default());
    }

    /// A letter of so many items is no longer among the dead letters.
    pub(super) fn remove(&mut self, items: u64) {
        self.removed.get_or_insert_default().add(items);
    }

    /// Requests that were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.requests
    }

    /// Requests that were to be sent, or listed.
    pub(super) fn chosen(&self) -> u64 {
        self.sent.requests + self.listed.requests
    }

    /// Whether all that was chosen has been delivered, to the last item.
    pub(super) fn all_delivered(&self) -> bool {
        self.sent.items == self.delivered.items
            && self.sent.requests == self.delivered.requests
            && self.unreadable.requests == 0
    }

    /// Whether the columns add up.
    pub(super) fn balances(&self) -> bool {
        let requests = self.delivered.requests + self.refused.requests + self.failed.requests;
        let items =
            self.delivered.items + self.rejected_items + self.refused.items + self.failed.items;
        let mut read = Count::default();
        for part in [self.skipped, self.unreadable, self.listed, self.sent] {
            read.requests += part.requests;
            read.items += part.items;
        }
        self.sent == Count { requests, items } && self.read == read
    }

    /// One line on how far it is.
    pub(super) fn progress(&self) -> String {
        format!(
            "{} requests read, {} sent, {} delivered ({} items)",
            self.read.requests, self.sent.requests, self.delivered.requests, self.delivered.items
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, count: &Count, note: &str| {
            let Count { requests, items } = count;
            writeln!(
                f,
                "{name:<12} {requests:>10} requests {items:>12} items{note}"
            )
        };
        let rejected = Count {
            requests: 0,
            items: self.rejected_items,
        };
        line("read", &self.read, "")?;
        line("skipped", &self.skipped, "  (not chosen)")?;
        line(
            "unreadable",
            &self.unreadable,
            "  (damaged, or of a later version)",
        )?;
        if self.listed.requests > 0 {
            line("chosen", &self.listed, "  (nothing is sent)")?;
        }
        line("sent", &self.sent, "")?;
        line("  delivered", &self.delivered, "")?;
        line(
            "  rejected",
            &rejected,
            "  (of requests that were delivered: one by one, or in parts)",
        )?;
        line("  refused", &self.refused, "  (for good)")?;
        line("  failed", &self.failed, "  (not delivered in time)")?;
        if let Some(removed) = &self.removed {
            line("removed", removed, "  (from the dead letters)")?;
        }
        if !self.balances() {
            writeln!(f, "these counts do not add up: that is a fault in otlpd")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_add_up_whatever_becomes_of_the_letters() {
        let mut tally = Tally::default();
        for (items, outcome) in [
            (5, Outcome::Skipped),
            (4, Outcome::Unreadable),
            (6, Outcome::Listed),
            (3, Outcome::Delivered { rejected: 1 }),
            (3, Outcome::Delivered { rejected: 9 }),
            (7, Outcome::Refused),
            (8, Outcome::Failed),
        ] {
            tally.count(items, outcome);
            assert!(tally.balances(), "{tally}");
        }
        tally.count_damaged(2, 20);
        assert!(tally.balances(), "{tally}");
        let text = tally.to_string();
        assert!(
            text.contains("read                  9 requests           56 items\n"),
            "{text}"
        );
        assert!(
            !text.contains("fault") && !text.contains("removed"),
            "{text}"
        );
    }

    #[test]
    fn only_what_arrived_to_the_last_item_counts_as_all() {
        let all = |outcomes: &[Outcome]| {
            let mut tally = Tally::default();
            for outcome in outcomes {
                tally.count(2, *outcome);
            }
            tally.all_delivered()
        };
        let whole = Outcome::Delivered { rejected: 0 };
        assert!(all(&[]));
        assert!(all(&[Outcome::Skipped, whole]));
        for outcome in [
            Outcome::Delivered { rejected: 1 },
            Outcome::Unreadable,
            Outcome::Refused,
            Outcome::Failed,
        ] {
            assert!(!all(&[whole, outcome]), "{outcome:?}");
        }
    }
}
