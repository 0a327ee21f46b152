//! What matters more and what less: `[priority]`, and the class of a request by it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName};
use metrics::Counter;
use serde::Deserialize;

use crate::batch::{Priority, Weights};
use crate::otlp::Signal;
use crate::otlp::view::{self, Strings};
use crate::telemetry::metrics::{Registry, table};

mod classify;

pub use classify::{Class, Classifier};

/// The header that is read where the configuration names no other.
const HEADER: &str = "x-otlpd-priority";

/// `[priority]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriorityConfig {
    /// The HTTP header and gRPC metadata key in which a client names the class of its request.
    pub header: String,
    /// The attribute in which a resource names the class of its items.
    pub resource_attribute: String,
    /// What is said of items of which neither says anything; the first that fits one decides.
    pub rules: Vec<Rule>,
    /// How often each class is served.
    pub weights: Weights,
}

impl Default for PriorityConfig {
    fn default() -> Self {
        Self {
            header: HEADER.to_owned(),
            resource_attribute: "otlpd.priority".to_owned(),
            rules: Vec::new(),
            weights: Weights::default(),
        }
    }
}

/// What a running daemon has of it: it classes requests, and counts them.
#[derive(Debug)]
pub struct Priorities {
    header: HeaderName,
    classifier: Classifier,
    items: [[Counter; Signal::ALL.len()]; Priority::ALL.len()],
    ignored_headers: Counter,
    ignored_attributes: Counter,
}

impl Priorities {
    /// By these settings.
    pub fn new(config: &PriorityConfig, registry: &Registry) -> Self {
        let items = |priority: Priority| {
            Signal::ALL.map(|signal| {
                let labels = [priority.name(), signal.name()];
                registry.counter(&table::PRIORITY_ACCEPTED_ITEMS, &labels)
            })
        };
        let ignored = |source| registry.counter(&table::PRIORITY_IGNORED_VALUES, &[source]);
        Self {
            header: HeaderName::from_bytes(config.header.as_bytes())
                .unwrap_or(HeaderName::from_static(HEADER)),
            classifier: Classifier::new(config),
            items: Priority::ALL.map(items),
            ignored_headers: ignored("header"),
            ignored_attributes: ignored("attribute"),
        }
    }

    /// The class that a client names; one that is none of ours is ignored.
    pub(super) fn named_in(&self, headers: &HeaderMap) -> Option<Priority> {
        let value = headers.get(&self.header)?;
        let priority = Priority::from_name(value.as_bytes());
        if priority.is_none() {
            self.ignored_headers.increment(1);
        }
        priority
    }

    /// The class of a request that has been walked, and whose client names none.
    pub fn classify(&self, signal: Signal, body: &[u8]) -> Priority {
        let class = self.classifier.classify(signal, body);
        if class.ignored > 0 {
            self.ignored_attributes.increment(class.ignored);
        }
        class.priority
    }

    /// Counts what was accepted.
    pub fn accepted(&self, signal: Signal, priority: Priority, items: u64) {
        let by_signal = self.items.get(priority as usize);
        if let Some(count) = by_signal.and_then(|counts| counts.get(signal as usize)) {
            count.increment(items);
        }
    }
}

/// One rule: items that fit all that it names are of its class.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Rule {
    /// Items of this signal only.
    signal: Option<Signal>,
    /// What an item must say of itself.
    item: Option<ItemTest>,
    /// Strings that the attributes of its resource must have.
    resource: BTreeMap<String, String>,
    /// The class of what fits.
    priority: Priority,
}

/// The keys that a rule may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    signal: Option<Signal>,
    min_severity: Option<Severity>,
    max_severity: Option<Severity>,
    span_status: Option<SpanStatus>,
    #[serde(default)]
    resource: BTreeMap<String, String>,
    priority: Priority,
}

/// What a log record or a span must say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ItemTest {
    /// A severity number in this range; 0 says nothing and is in none.
    Severity(RangeInclusive<u64>),
    /// This status code.
    Status(u64),
}

impl ItemTest {
    /// The one signal whose items have what it asks for.
    fn signal(&self) -> Signal {
        match self {
            Self::Severity(_) => Signal::Logs,
            Self::Status(_) => Signal::Traces,
        }
    }

    /// Whether it fits an item with this severity number or status code.
    fn fits(&self, fact: u64) -> bool {
        match self {
            Self::Severity(range) => range.contains(&fact),
            Self::Status(code) => *code == fact,
        }
    }
}

impl Rule {
    /// Whether it may fit items of this signal and of a resource with these attributes.
    fn concerns(&self, signal: Signal, strings: &Strings<'_>) -> bool {
        let fits = |(key, value): (&String, &String)| {
            view::find(strings, key).is_some_and(|found| found == value.as_bytes())
        };
        self.signal.is_none_or(|only| only == signal) && self.resource.iter().all(fits)
    }
}

/// A rule that could never fit anything is a mistake.
impl TryFrom<Written> for Rule {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let item = written.item()?;
        let of = item.as_ref().map(ItemTest::signal);
        if let (Some(of), Some(named)) = (of, written.signal)
            && of != named
        {
            return Err(match of {
                Signal::Logs => "only logs have a severity: write `signal = \"logs\"`",
                _ => "only traces have a `span_status`: write `signal = \"traces\"`",
            });
        }
        Ok(Self {
            signal: written.signal.or(of),
            item,
            resource: written.resource,
            priority: written.priority,
        })
    }
}

impl Written {
    fn item(&self) -> Result<Option<ItemTest>, &'static str> {
        match (self.min_severity, self.max_severity, self.span_status) {
            (None, None, None) => Ok(None),
            (None, None, Some(status)) => Ok(Some(ItemTest::Status(status as u64))),
            (Some(min), Some(max), None) if min > max => {
                Err("`min_severity` is above `max_severity`: nothing is both")
            }
            (min, max, None) => {
                let least = min.unwrap_or(Severity::Trace).numbers();
                let most = max.unwrap_or(Severity::Fatal).numbers();
                Ok(Some(ItemTest::Severity(*least.start()..=*most.end())))
            }
            (_, _, Some(_)) => {
                Err("a rule takes a severity or a `span_status`, not both: nothing has both")
            }
        }
    }
}

/// The six ranges of OTLP's severity numbers, four of them in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Severity {
    fn numbers(self) -> RangeInclusive<u64> {
        let first = 1 + 4 * self as u64;
        first..=first + 3
    }
}

/// The status of a span, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SpanStatus {
    Unset,
    Ok,
    Error,
}

#[cfg(test)]
mod tests;
