//! What every connection needs: compression, listeners.

pub mod compression;
pub mod listen;
