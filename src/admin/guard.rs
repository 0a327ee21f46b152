//! Who may read the admin side.

use std::sync::Arc;

use http::HeaderMap;
use metrics::Counter;

use crate::auth::{Authenticator, Denied, Reason};
use crate::net::peer::Peer;
use crate::telemetry::denials::Denials;
use crate::telemetry::metrics::{Registry, table};

/// What stands before all paths but those of probes.
#[derive(Debug)]
pub(super) struct Guard {
    /// Without it everybody may.
    authenticator: Option<Arc<Authenticator>>,
    denials: [Counter; Reason::ALL.len()],
    said: Denials,
}

impl Guard {
    pub(super) fn new(authenticator: Option<Arc<Authenticator>>, registry: &Registry) -> Self {
        let counter =
            |reason: Reason| registry.counter(&table::ADMIN_DENIED_REQUESTS, &[reason.name()]);
        Self {
            authenticator,
            denials: Reason::ALL.map(counter),
            said: Denials::default(),
        }
    }

    /// Whether who sends these headers may read everything.
    pub(super) async fn check(&self, headers: &HeaderMap, peer: &Peer) -> Result<(), Denied> {
        match &self.authenticator {
            Some(authenticator) => authenticator.check(headers, peer).await.map(drop),
            None => Ok(()),
        }
    }

    /// Somebody was turned away.
    pub(super) fn count(&self, denied: &Denied, peer: &Peer) {
        if let Some(counter) = self.denials.get(denied.reason as usize) {
            counter.increment(1);
        }
        self.said.say("admin", peer, denied);
    }
}
