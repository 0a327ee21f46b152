//! What every connection needs: listening, serving, dialling, compression.

pub mod channel;
pub mod compression;
pub mod corked;
pub mod dial;
pub mod handover;
pub mod inherited;
pub mod listen;
pub mod pool;
pub mod serve;
