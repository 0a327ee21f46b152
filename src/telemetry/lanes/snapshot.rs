//! What the admin side sees of a lane.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Breaker;

/// A lane at one moment. Ages and delays are in seconds from now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LaneSnapshot {
    /// The exporter's name.
    pub exporter: String,
    /// Whether it takes part in the acknowledgement.
    pub required: bool,
    /// What happens when its queue is full.
    pub when_full: &'static str,
    /// Whether a full queue turns clients away.
    #[serde(skip)]
    pub full_refuses: bool,
    /// Items that wait.
    pub queue_items: u64,
    /// Bytes that wait.
    pub queue_bytes: u64,
    /// Where what waits is kept.
    pub queue_kind: &'static str,
    /// The most that waits or is under way.
    pub queue_capacity_bytes: u64,
    /// What the queue takes on disk.
    pub disk_bytes: u64,
    /// Whether the disk did not take what was last written.
    pub disk_fails: bool,
    /// Files of the queue that something other than otlpd removed.
    pub removed_files: u64,
    /// Requests that are in memory only, since their files were removed.
    pub unsafe_requests: u64,
    /// Files of the queue that were found damaged, unreadable or missing.
    pub damaged_files: u64,
    /// Stored requests that were lost by that.
    pub lost_requests: u64,
    /// How long batches have found no room; none while they find some.
    pub queue_full_seconds: Option<f64>,
    /// The age of the oldest that waits.
    pub oldest_age_seconds: Option<f64>,
    /// Attempts under way.
    pub in_flight: u64,
    /// How many may be under way at once; the limit may be adaptive.
    pub in_flight_limit: u64,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that were not a batch's first.
    pub retries: u64,
    /// Merged requests, or parts of them, that were refused for good and halved.
    pub bisections: u64,
    /// How often a retry that was due waited for the retry budget.
    pub retries_put_off: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Uncompressed bytes that the destination has.
    pub sent_bytes: u64,
    /// Where the breaker stands.
    pub breaker: Breaker,
    /// How often it opened, by cause.
    pub breaker_openings: BTreeMap<&'static str, u64>,
    /// How long it has been closed again or, open or half-open, not closed; none if it never
    /// opened.
    pub breaker_since_seconds: Option<f64>,
    /// When an open breaker lets the next attempt through.
    pub breaker_until_seconds: Option<f64>,
    /// For how long the destination asked to be left alone.
    pub paused_until_seconds: Option<f64>,
    /// When an attempt last succeeded.
    pub last_success_age_seconds: Option<f64>,
    /// When an attempt last failed.
    pub last_error_age_seconds: Option<f64>,
    /// What the last failure was.
    pub last_error: Option<String>,
}
