//! The log of those who were not let in: a warning now and then, and at `debug` each of them.

use std::time::Duration;

use super::limited::Gate;
use crate::auth::Denied;
use crate::net::peer::Peer;

/// Says who was not let in by one receiver, or by the admin listener.
#[derive(Debug)]
pub struct Denials {
    gate: Gate,
}

/// How often a warning is said.
const WARN_EVERY: Duration = Duration::from_secs(10);

impl Default for Denials {
    fn default() -> Self {
        Self {
            gate: Gate::new(WARN_EVERY),
        }
    }
}

impl Denials {
    /// Somebody at this peer was not let in by `component`.
    pub fn say(&self, component: &str, peer: &Peer, denied: &Denied) {
        let (peer, reason) = (&peer.address, denied.reason.name());
        let (detail, message) = (&denied.detail, denied.message());
        match self.gate.pass() {
            Some(repeated) => tracing::warn!(
                component, %peer, reason, ?detail, repeated, "a request was not let in: {message}"
            ),
            None => tracing::debug!(
                component, %peer, reason, ?detail, "a request was not let in: {message}"
            ),
        }
    }
}
