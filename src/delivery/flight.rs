//! One attempt under way, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::breaker::Pass;
use super::shipment::Shipment;
use crate::batch::Batch;
use crate::component::{Delivered, Exporter, Failure};
use crate::telemetry::lanes::Attempt;

/// What an attempt needs to be made.
pub(super) struct Flight {
    pub(super) shipment: Shipment,
    pub(super) pass: Pass,
    pub(super) attempt: Attempt,
    /// The longest that it may take, whatever its client waits for.
    pub(super) timeout: Duration,
}

/// An attempt that is over.
pub(super) struct Landed {
    pub(super) shipment: Shipment,
    pub(super) pass: Pass,
    pub(super) attempt: Attempt,
    /// How long it took.
    pub(super) latency: Duration,
    pub(super) outcome: Result<Delivered, Failure>,
    /// It was ended so early, for a client's sake, that this is not the destination's failure.
    pub(super) hasty: bool,
}

impl Flight {
    /// Makes the attempt; gives it up when told to.
    pub(super) async fn fly(
        self,
        exporter: Arc<dyn Exporter>,
        mut aborted: watch::Receiver<bool>,
    ) -> Landed {
        let began = Instant::now();
        let patience = patience(self.timeout, self.shipment.batch.deadline, began);
        let (outcome, timed_out) = tokio::select! {
            tried = try_once(exporter.as_ref(), &self.shipment.batch, patience) => tried,
            _ = aborted.wait_for(|aborted| *aborted) => {
                let cause = "given up at the shutdown deadline".to_owned();
                (Err(Failure::Retryable { after: None, cause }), false)
            }
        };
        Landed {
            shipment: self.shipment,
            pass: self.pass,
            attempt: self.attempt,
            latency: began.elapsed(),
            outcome,
            hasty: timed_out && patience * 2 < self.timeout,
        }
    }
}

/// What of the time that a client still waits an attempt may take: the rest is for the answer's
/// way back.
const SHARE: f64 = 0.8;

/// No attempt gets less for a client's sake: shorter, it would only be work for nothing.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long an attempt that begins now may take. A client that waits for delivery has its
/// deadline, and an answer after it is worth nothing to that client; one whose deadline is past
/// has gone, and there is no more hurry.
fn patience(timeout: Duration, deadline: Option<Instant>, now: Instant) -> Duration {
    let left = deadline.and_then(|deadline| deadline.checked_duration_since(now));
    match left.filter(|left| !left.is_zero()) {
        Some(left) => timeout.min(left.mul_f64(SHARE).max(SHORTEST)),
        None => timeout,
    }
}

/// What came of it, and whether its time was up.
async fn try_once(
    exporter: &dyn Exporter,
    batch: &Batch,
    limit: Duration,
) -> (Result<Delivered, Failure>, bool) {
    match timeout(limit, exporter.export(batch)).await {
        Ok(outcome) => (outcome, false),
        Err(_elapsed) => {
            let cause = format!("no answer within {limit:?}");
            (Err(Failure::Retryable { after: None, cause }), true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_gets_four_fifths_of_what_its_client_still_waits() {
        let now = Instant::now();
        for (left_millis, expected_millis) in [
            (5_000, 4_000),
            (1_000, 800),
            // Never more than the lane allows,
            (60_000, 10_000),
            // nor too little to be worth it.
            (50, 100),
            (1, 100),
            // The client has gone.
            (0, 10_000),
        ] {
            let deadline = now + Duration::from_millis(left_millis);
            let patience = patience(Duration::from_secs(10), Some(deadline), now);
            assert_eq!(patience, Duration::from_millis(expected_millis));
        }
        let timeout = Duration::from_secs(10);
        let past = now - Duration::from_secs(1);
        assert_eq!(patience(timeout, Some(past), now), timeout);
        assert_eq!(patience(timeout, None, now), timeout);
        let short = Duration::from_millis(20);
        assert_eq!(patience(short, Some(now + short), now), short);
    }
}
