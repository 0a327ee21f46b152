//! zlib's format, which HTTP and gRPC call deflate. Nothing in it says how much it inflates to.

use flate2::Decompress;

use super::gzip::in_steps;
use super::{InflateError, Output};

/// Inflates the one stream of which the body consists.
pub(super) fn inflate(body: &[u8], output: &mut Output<'_>) -> Result<(), InflateError> {
    match in_steps(Decompress::new(true), body, output)? {
        Some(length) if length == body.len() => Ok(()),
        Some(_) => Err(InflateError::Damaged("bytes follow the deflate stream")),
        None => Err(InflateError::Damaged("the deflate stream is cut short")),
    }
}
