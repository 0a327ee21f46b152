//! What every connection needs: compression, listening, dialling.

pub mod channel;
pub mod compression;
pub mod dial;
pub mod pool;
pub mod serve;
