//! Errors in words.

use std::error::Error;
use std::fmt::Write;

/// An error with its causes, as one sentence.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        if write!(text, ": {cause}").is_err() {
            break;
        }
        next = cause.source();
    }
    text
}
