//! Changes the attributes of resources.

use serde::Deserialize;

use super::ActionConfig;

/// `type = "resource"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceConfig {
    /// What is done, in this order. (The Collector has this name for it.)
    pub attributes: Vec<ActionConfig>,
}
