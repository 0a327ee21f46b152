//! Who is let in, before anything else is done for a request: by its headers, unread.

use std::sync::Arc;

use http::HeaderMap;

use super::refusal::Failed;
use crate::auth::{Authenticator, Identity};
use crate::net::peer::Peer;
use crate::telemetry::denials::Denials;

/// What stands before all requests of a receiver; nothing, where everybody is let in.
#[derive(Clone, Debug)]
pub(super) struct Guard(Option<Arc<Door>>);

#[derive(Debug)]
struct Door {
    authenticator: Arc<Authenticator>,
    denials: Denials,
}

impl Guard {
    pub(super) fn new(authenticator: Option<Arc<Authenticator>>) -> Self {
        let door = |authenticator| Door {
            authenticator,
            denials: Denials::default(),
        };
        Self(authenticator.map(door).map(Arc::new))
    }

    /// Who sends a request with these headers; `None` where nobody is asked.
    pub(super) async fn pass(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Option<Identity>, Failed> {
        let Some(door) = &self.0 else {
            return Ok(None);
        };
        match door.authenticator.check(headers, peer).await {
            Ok(identity) => Ok(Some(identity)),
            Err(denied) => {
                let component = door.authenticator.component();
                door.denials.say(component, peer, &denied);
                Err(Failed::denied(&denied))
            }
        }
    }
}
