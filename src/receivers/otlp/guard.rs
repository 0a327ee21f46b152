//! Who is let in, before anything else is done for a request: by its headers, unread.

use std::sync::Arc;

use http::HeaderMap;

use super::refusal::Failed;
use crate::auth::{Authenticator, Identity};
use crate::limited;
use crate::net::peer::Peer;

/// What stands before all requests of a receiver; nothing, where everybody is let in.
#[derive(Clone, Debug)]
pub(super) struct Guard(pub(super) Option<Arc<Authenticator>>);

impl Guard {
    /// Who sends a request with these headers; `None` where nobody is asked.
    pub(super) async fn pass(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Option<Identity>, Failed> {
        let Some(authenticator) = &self.0 else {
            return Ok(None);
        };
        match authenticator.check(headers, peer).await {
            Ok(identity) => Ok(Some(identity)),
            Err(denied) => {
                limited!(
                    warn,
                    component = authenticator.component(),
                    peer = %peer.address,
                    reason = denied.reason.name(),
                    detail = denied.detail,
                    "a request was not let in: {}",
                    denied.message()
                );
                Err(Failed::denied(&denied))
            }
        }
    }
}
