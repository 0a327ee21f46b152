//! An attempt to deliver, counted however it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::LaneStats;

/// The longest error text that is kept, in bytes: a destination chooses what it says.
const LONGEST_ERROR: usize = 512;

/// An attempt that is under way.
#[derive(Debug)]
#[must_use = "the attempt is over when this is dropped"]
pub struct Attempt {
    pub(super) lane: Arc<LaneStats>,
    pub(super) began: Instant,
}

impl Attempt {
    /// The destination answered that it has `bytes`.
    pub fn succeeded(self, bytes: u64) {
        self.lane.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = self.lane.stamp(Instant::now());
        self.lane.last_success_ms.store(now, Ordering::Relaxed);
        self.record();
    }

    /// The destination does not have it; `cause` is shown to whoever reads `/status`, and holds
    /// neither payload nor secrets.
    pub fn failed(self, cause: &str) {
        self.lane.failures.fetch_add(1, Ordering::Relaxed);
        let mut ends = (0..=LONGEST_ERROR).rev();
        let cause = ends.find_map(|end| cause.get(..end.min(cause.len())));
        let cause = cause.unwrap_or_default().to_owned();
        *self.lane.lock_error() = Some((Instant::now(), cause));
        self.record();
    }

    fn record(&self) {
        self.lane
            .attempt_seconds
            .observe(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.lane.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
