//! What every connection needs: compression, listeners.

pub mod compression;
