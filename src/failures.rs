//! Failures that others can bring about as often as they like, and log lines that they can not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures since the last log line about them.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    count: u64,
    logged: Option<Instant>,
}

/// How often such a failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

impl Failures {
    /// How many failures the log line stands for that is due now, if one is.
    pub(crate) fn count_one(&self) -> Option<u64> {
        let mut this = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        this.count += 1;
        let now = Instant::now();
        if this.logged.is_some_and(|logged| now < logged + LOG_EVERY) {
            return None;
        }
        this.logged = Some(now);
        Some(std::mem::take(&mut this.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_line_stands_for_all_failures_since_the_one_before() {
        let failures = Failures::default();
        let mut lines = Vec::new();
        for _ in 0..250 {
            lines.extend(failures.count_one());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(lines, [1, 100, 100]);
    }
}
