//! Family H: what an HTTP server answers.

mod answers;

use super::line::Check;

/// Its lines, in their order.
pub(super) const TABLES: &[&[Check]] = &[answers::LINES];
