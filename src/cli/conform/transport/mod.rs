//! Family T: TLS, authentication, and attacks.

use super::line::{Check, check};

/// Its lines, in their order.
pub(super) const TABLES: &[&[Check]] = &[LINES];

const LINES: &[Check] = &[
    check!(Choice "T3", "a certificate without its key is an error at the start", "otlpd's choice",
        skip "seen only when the server is started"),
];
