//! What every connection needs: listening, serving, dialling, TLS, compression.

pub mod accepted;
pub mod causes;
pub mod channel;
pub mod compression;
pub mod corked;
pub mod dial;
pub mod fetch;
mod frames;
pub mod handover;
mod heads;
pub mod inherited;
pub mod listen;
pub mod peer;
pub mod pool;
pub mod serve;
pub mod stream;
pub mod tls;
