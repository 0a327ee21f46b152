//! The end of a lane on disk: what waits is left there for the next start.

use std::time::Duration;

use tokio::time::Instant;

use super::Sender;

/// How often it is tried again to leave on disk what the disk did not take.
const KEEP_AGAIN: Duration = Duration::from_millis(500);

impl Sender {
    /// Whether all that waits is left on disk for the next start. Where it cannot be written
    /// there, it is treated like what is in memory until the deadline, and now and then tried again.
    pub(super) async fn keeps_all(&mut self, now: Instant) -> bool {
        if self.keep_again.is_some_and(|at| at > now) {
            return false;
        }
        let Err(cause) = self.lane.keep_all().await else {
            return true;
        };
        if self.keep_again.is_none() {
            tracing::warn!(
                exporter = %self.lane.name,
                cause,
                "what is undelivered cannot be left on disk: until the shutdown deadline it is \
                 tried to deliver it, and to write it"
            );
        }
        self.keep_again = Some(now + KEEP_AGAIN);
        false
    }
}
