//! Changes the attributes of spans, log records and data points.

use serde::Deserialize;

use super::ActionConfig;

/// `type = "attributes"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributesConfig {
    /// What is done, in this order.
    pub actions: Vec<ActionConfig>,
}
