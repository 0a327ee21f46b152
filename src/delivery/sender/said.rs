//! What a sender says of the traffic.

use std::time::Duration;

use crate::telemetry::limited::Gate;

/// What traffic makes us say, once in ten seconds for each exporter: the next line says how many
/// it stands for.
pub(super) struct Said {
    pub(super) rejected: Gate,
    pub(super) refused: Gate,
    pub(super) failed: Gate,
    pub(super) exhausted: Gate,
}

impl Default for Said {
    fn default() -> Self {
        let gate = || Gate::new(Duration::from_secs(10));
        Self {
            rejected: gate(),
            refused: gate(),
            failed: gate(),
            exhausted: gate(),
        }
    }
}
