//! Takes everything and keeps nothing.

use serde::Deserialize;

/// `type = "discard"`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscardConfig {}
