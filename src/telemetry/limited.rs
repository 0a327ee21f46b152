//! Log lines that traffic drives are said at most once in a while; a line that is said tells how
//! many it stands for.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Lets one event through in a while. One for each call site ([`limited!`](crate::limited) makes
/// it) or, where each of several things has its say, one for each of them.
#[derive(Debug)]
pub struct Gate {
    every_ms: u64,
    /// When the next may pass, in milliseconds of [`clock_ms`].
    opens_ms: AtomicU64,
    kept_back: AtomicU64,
}

impl Gate {
    /// A gate that opens at once, and then once in `every`.
    pub const fn new(every: Duration) -> Self {
        Self {
            every_ms: every.as_millis() as u64,
            opens_ms: AtomicU64::new(0),
            kept_back: AtomicU64::new(0),
        }
    }

    /// Whether this event is to be told now: how many it stands for, itself included.
    #[must_use = "the events that it stands for are told by nobody else"]
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(clock_ms())
    }

    /// As [`pass`](Self::pass), at a given time.
    fn pass_at(&self, now_ms: u64) -> Option<u64> {
        let opens_ms = self.opens_ms.load(Ordering::Relaxed);
        let won = now_ms >= opens_ms
            && self
                .opens_ms
                .compare_exchange(
                    opens_ms,
                    now_ms.saturating_add(self.every_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if won {
            Some(self.kept_back.swap(0, Ordering::Relaxed) + 1)
        } else {
            self.kept_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Milliseconds since the first call in this process.
fn clock_ms() -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let origin = *ORIGIN;
    u64::try_from(Instant::now().saturating_duration_since(origin).as_millis()).unwrap_or(u64::MAX)
}

/// Logs at most once in ten seconds from this line of code, with `repeated`, the number of times
/// that the line stands for: `limited!(warn, receiver = name, "body refused: {cause}")`.
#[macro_export]
macro_rules! limited {
    ($level:ident, $($event:tt)+) => {{
        static GATE: $crate::telemetry::limited::Gate =
            $crate::telemetry::limited::Gate::new(::std::time::Duration::from_secs(10));
        if let Some(repeated) = GATE.pass() {
            ::tracing::$level!(repeated, $($event)+);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_passes_and_the_next_says_how_many_it_stands_for() {
        let gate = Gate::new(Duration::from_secs(10));
        assert_eq!(gate.pass_at(5), Some(1));
        for _ in 0..3 {
            assert_eq!(gate.pass_at(10_004), None);
        }
        assert_eq!(gate.pass_at(10_005), Some(4));
        assert_eq!(gate.pass_at(10_006), None);
    }

    #[test]
    fn every_event_is_told_or_stood_for_though_threads_race() {
        let gate = Gate::new(Duration::ZERO);
        let told: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter_map(|n| gate.pass_at(n)).sum::<u64>()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(told + gate.kept_back.load(Ordering::Relaxed), 4000);
    }

    #[tokio::test(start_paused = true)]
    async fn time_opens_the_gate_again() {
        let gate = Gate::new(Duration::from_secs(1));
        assert_eq!(gate.pass(), Some(1));
        assert_eq!(gate.pass(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(gate.pass(), Some(2));
    }

    #[test]
    fn the_macro_takes_fields_and_a_message() {
        for _ in 0..3 {
            limited!(debug, receiver = "apps", "body refused: {}", "why");
        }
    }
}
