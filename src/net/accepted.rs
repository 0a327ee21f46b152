//! A connection from the moment that it was accepted until it can be served.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::frames::FLOODS;
use super::peer::{Peer, PeerAddress};
use super::stream::{SPEAKS_TLS, Socket, Stream};
use super::tls::{HandshakeFailure, Server};
use crate::failures::Failures;

/// What all connections of one listener pass.
#[derive(Debug)]
pub(super) struct Front {
    /// What in the config it belongs to.
    owner: String,
    tls: Option<Server>,
    failures: Failures,
}

impl Front {
    pub(super) fn new(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            tls: None,
            failures: Failures::default(),
        }
    }

    pub(super) fn with_tls(self, tls: Option<Server>) -> Self {
        Self { tls, ..self }
    }

    /// A client was given up before it was greeted.
    pub(super) fn gave_up(&self, peer: PeerAddress) {
        if let Some(tls) = &self.tls {
            tls.gave_up();
        }
        let error = "its place was needed before its handshake was done";
        self.complain(peer, HandshakeFailure::Timeout.name(), &error);
    }

    /// Says now and then that a client was not served.
    pub(super) fn complain(&self, peer: PeerAddress, reason: &str, error: &dyn std::fmt::Display) {
        let owner = self.owner.as_str();
        match self.failures.count_one() {
            Some(count) => {
                tracing::warn!(owner, %peer, reason, %error, count, "a client was not served");
            }
            None => tracing::debug!(owner, %peer, reason, %error, "a client was not served"),
        }
    }

    /// The same, where a connection ended with this error and it was the client's way of talking.
    pub(super) fn complain_if_foreign(
        &self,
        peer: PeerAddress,
        error: &(dyn std::error::Error + 'static),
    ) {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            let io: Option<&io::Error> = error.downcast_ref();
            let said = io.map(ToString::to_string).unwrap_or_default();
            for (reason, text) in [("speaks_tls", SPEAKS_TLS), ("floods", FLOODS)] {
                if said == text {
                    return self.complain(peer, reason, &text);
                }
            }
            next = error.source();
        }
    }
}

/// A connection that was accepted and not greeted yet.
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    address: PeerAddress,
    front: Arc<Front>,
}

impl Accepted {
    pub(super) fn new(socket: Socket, address: PeerAddress, front: Arc<Front>) -> Self {
        Self {
            socket,
            address,
            front,
        }
    }

    pub(super) fn front(&self) -> Arc<Front> {
        Arc::clone(&self.front)
    }

    /// Where it came from.
    pub fn address(&self) -> PeerAddress {
        self.address
    }

    /// Greets the client, where the listener has TLS, for as long as that may take. `None` if it
    /// can not be served, which is counted and, now and then, logged.
    pub async fn greet(self) -> Option<(Stream, Peer)> {
        let Self {
            socket,
            address,
            front,
        } = self;
        let Some(tls) = &front.tls else {
            let peer = Peer {
                address,
                certificates: None,
            };
            let is_new = true;
            return Some((Stream::Plain { socket, is_new }, peer));
        };
        match tls.accept(socket).await {
            Ok(stream) => {
                let certificates = certificates(&stream);
                let peer = Peer {
                    address,
                    certificates,
                };
                Some((stream, peer))
            }
            Err((why, error)) => {
                front.complain(address, why.name(), &error);
                None
            }
        }
    }
}

/// What the client has shown, and TLS has verified.
fn certificates(stream: &Stream) -> Option<Arc<[CertificateDer<'static>]>> {
    let Stream::Tls(tls) = stream else {
        return None;
    };
    let shown = tls.get_ref().1.peer_certificates()?;
    Some(shown.iter().map(|one| one.clone().into_owned()).collect())
}
