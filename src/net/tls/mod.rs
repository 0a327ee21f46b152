//! TLS for listeners and for what connects to others: from files that may change at any time.

mod client;
mod config;
mod files;
mod leaf;
mod live;
mod record;
mod server;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{Alpn, Client};
pub use config::{ClientTlsConfig, MinVersion, ServerTlsConfig};
pub use files::Fault;
pub use leaf::Leaf;
pub use record::{HandshakeFailure, Record, Register};
pub use server::Server;

/// The implementation of its algorithms that is built in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
