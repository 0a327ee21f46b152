//! Who is at the other end of a connection that was accepted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

/// The peer of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it called from.
    pub address: PeerAddress,
    /// The verified certificates of a client that showed some, its own first; `None` where it was
    /// not asked to.
    pub certificates: Option<Arc<[CertificateDer<'static>]>>,
}

/// Where a peer called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over TCP, from this address.
    Tcp(SocketAddr),
    /// Over a unix socket, whose clients have no address.
    Unix,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
