//! Who gives up its place when all are taken and somebody waits: a rule without a clock.

use std::time::Duration;

use tokio::time::Instant;

/// How long a connection has for its first request, or its handshake, before others may have its
/// place; and how long one that was asked to go is waited for, before another one is asked.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// Whoever has sent a request in so long a time is no idler.
const ACTIVE: Duration = Duration::from_secs(15);

/// A first request that does not come to its end holds off the others for so long at most. Until
/// then it is found to be slow, where it is.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// How a connection stands, as far as its place depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) came: Instant,
    /// When a request of it was last read to its end; never for a stranger.
    pub(super) heard: Option<Instant>,
    /// A request is under way.
    pub(super) busy: bool,
    /// When it was asked to go.
    pub(super) asked: Option<Instant>,
}

/// Which of these, the oldest first, is to go now: a stranger; else who is idle the longest. Who
/// was active lately goes only if everybody else is as well. Nobody does while one is on its way
/// out.
pub(super) fn who_goes<Id>(
    guests: impl IntoIterator<Item = (Id, Standing)>,
    now: Instant,
) -> Option<Id> {
    let (mut stranger, mut idlest) = (None, None::<(Id, Instant)>);
    let mut strangers_come_first = false;
    for (id, standing) in guests {
        let age = now.duration_since(standing.came);
        match (standing.asked, standing.heard) {
            (Some(asked), _) if now.duration_since(asked) < PATIENCE => return None,
            (Some(_deaf), _) => {}
            (None, None) if standing.busy || age < PATIENCE => {
                strangers_come_first |= age < FIRST_REQUEST;
            }
            (None, None) => stranger = stranger.or(Some(id)),
            (None, Some(_)) if standing.busy => {}
            (None, Some(heard)) => {
                if idlest.as_ref().is_none_or(|(_, least)| heard < *least) {
                    idlest = Some((id, heard));
                }
            }
        }
    }
    let idlest =
        idlest.filter(|(_, heard)| !strangers_come_first || now.duration_since(*heard) >= ACTIVE);
    stranger.or(idlest.map(|(id, _)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a connection, in milliseconds before now.
    fn came(ago: u64) -> Standing {
        Standing {
            came: before(ago),
            heard: None,
            busy: false,
            asked: None,
        }
    }

    fn heard(ago: u64) -> Standing {
        Standing {
            heard: Some(before(ago)),
            ..came(60_000)
        }
    }

    fn busy(standing: Standing) -> Standing {
        Standing {
            busy: true,
            ..standing
        }
    }

    fn asked(ago: u64, standing: Standing) -> Standing {
        Standing {
            asked: Some(before(ago)),
            ..standing
        }
    }

    fn now() -> Instant {
        static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *NOW.get_or_init(|| Instant::now() + Duration::from_secs(3600))
    }

    fn before(ago: u64) -> Instant {
        now() - Duration::from_millis(ago)
    }

    fn goes(guests: &[Standing]) -> Option<usize> {
        who_goes(guests.iter().copied().enumerate(), now())
    }

    #[test]
    fn the_oldest_stranger_goes_first() {
        let guests = [heard(40_000), came(900), came(300), heard(100)];
        assert_eq!(goes(&guests), Some(1));
    }

    #[test]
    fn a_stranger_has_a_moment_for_its_first_request() {
        assert_eq!(goes(&[came(100), heard(1000)]), None);
        assert_eq!(goes(&[came(250), heard(1000)]), Some(0));
        // Who is idle anyway does not wait for that.
        assert_eq!(goes(&[came(100), heard(20_000)]), Some(1));
    }

    #[test]
    fn then_goes_who_is_idle_the_longest() {
        let guests = [heard(16_000), heard(90_000), heard(20_000), heard(3)];
        assert_eq!(goes(&guests), Some(1));
    }

    #[test]
    fn who_was_active_lately_goes_only_if_all_others_are_active_too() {
        assert_eq!(goes(&[heard(2000), heard(9000), heard(20)]), Some(1));
        assert_eq!(goes(&[heard(2000), heard(9000), busy(came(800))]), None);
        // A first request without end does not hold off the others.
        let guests = [heard(2000), heard(9000), busy(came(6000))];
        assert_eq!(goes(&guests), Some(1));
    }

    #[test]
    fn nobody_is_asked_while_a_request_is_under_way() {
        assert_eq!(goes(&[busy(heard(99_000)), busy(came(9000))]), None);
    }

    #[test]
    fn one_is_asked_for_one_place() {
        assert_eq!(goes(&[asked(100, came(900)), came(900)]), None);
        // One that does not hear is not waited for.
        assert_eq!(goes(&[asked(300, came(900)), came(900)]), Some(1));
        assert_eq!(goes(&[asked(300, heard(99_000))]), None);
    }
}
