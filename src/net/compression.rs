//! gzip and zstd, bounded while inflating.

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878.
    Zstd,
}
