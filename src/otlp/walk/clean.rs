//! The fast walk.

use super::Validation;
use crate::otlp::Signal;

pub(super) fn count(_: Signal, _: &[u8], _: Validation) -> Option<u64> {
    None
}
