//! What matters more and what less: `[priority]`, and the class of a request by it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::batch::{Priority, Weights};
use crate::otlp::Signal;

/// `[priority]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriorityConfig {
    /// The HTTP header and gRPC metadata key in which a client names the class of its request.
    pub header: String,
    /// The attribute in which a resource names the class of its items.
    pub resource_attribute: String,
    /// What is said of items of which neither says anything; the first that fits one decides.
    pub rules: Vec<RuleConfig>,
    /// How often each class is served.
    pub weights: Weights,
}

impl Default for PriorityConfig {
    fn default() -> Self {
        Self {
            header: "x-otlpd-priority".to_owned(),
            resource_attribute: "otlpd.priority".to_owned(),
            rules: Vec::new(),
            weights: Weights::default(),
        }
    }
}

/// One rule: items that fit all that it names are of its class.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Items of this signal only.
    pub signal: Option<Signal>,
    /// Log records of this severity or a graver one.
    pub min_severity: Option<Severity>,
    /// Log records of this severity or a lighter one; not those that name none.
    pub max_severity: Option<Severity>,
    /// Spans of this status.
    pub span_status: Option<SpanStatus>,
    /// Items whose resource has all of these attributes, with these strings for values.
    #[serde(default)]
    pub resource: BTreeMap<String, String>,
    /// The class of what fits.
    pub priority: Priority,
}

impl RuleConfig {
    /// Whether it can ever fit anything; what is wrong with it if not.
    pub fn check(&self) -> Result<(), &'static str> {
        let severity = self.min_severity.is_some() || self.max_severity.is_some();
        let only = |signal| self.signal.is_none_or(|named| named == signal);
        if severity && self.span_status.is_some() {
            return Err("asks for a severity and for a `span_status`, and nothing has both");
        }
        if severity && !only(Signal::Logs) {
            return Err("asks for a severity, which only logs have: write `signal = \"logs\"`");
        }
        if self.span_status.is_some() && !only(Signal::Traces) {
            return Err(
                "asks for a `span_status`, which only traces have: write `signal = \"traces\"`",
            );
        }
        match (self.min_severity, self.max_severity) {
            (Some(min), Some(max)) if min > max => {
                Err("has a `min_severity` above its `max_severity`: nothing is both")
            }
            _ => Ok(()),
        }
    }
}

/// The six ranges of OTLP's severity numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12.
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20.
    Error,
    /// 21 to 24.
    Fatal,
}

/// The status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanStatus {
    /// Nobody has said how it ended.
    Unset,
    /// It is known to have ended well.
    Ok,
    /// It failed.
    Error,
}
