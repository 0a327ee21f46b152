//! The class of a request by what it holds: one pass over its bytes, which copies nothing.

use smallvec::SmallVec;

use super::{ItemTest, PriorityConfig, Rule};
use crate::batch::Priority;
use crate::otlp::Signal;
use crate::otlp::view::{self, Group, Strings};

/// Tells the class of requests.
#[derive(Clone, Debug)]
pub struct Classifier {
    attribute: String,
    rules: Vec<Rule>,
}

/// What a request was found to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The highest class of any of its items.
    pub priority: Priority,
    /// Resources whose own word for it is none of ours.
    pub ignored: u64,
}

/// `LogRecord.severity_number`.
const SEVERITY_NUMBER: u32 = 2;
/// The tag of `Span.status`, and the number of `Status.code`.
const STATUS: (u32, u32) = (0x7a, 3);

impl Classifier {
    /// By these settings.
    pub fn new(config: &PriorityConfig) -> Self {
        Self {
            attribute: config.resource_attribute.clone(),
            rules: config.rules.clone(),
        }
    }

    /// The class of a request that has been walked. A request is classed as a whole: it is of
    /// the highest class that any of its items is of, so it is low only if all of it is.
    pub fn classify(&self, signal: Signal, body: &[u8]) -> Class {
        let mut highest = None;
        let mut ignored = 0;
        for group in view::groups(body) {
            let strings = group.resource_strings();
            let class = match self.said_by(&strings) {
                Some(Ok(said)) => Some(said),
                said => {
                    ignored += u64::from(said.is_some());
                    self.by_rules(signal, group, &strings)
                }
            };
            highest = highest.max(class);
            if highest == Some(Priority::High) {
                break;
            }
        }
        Class {
            priority: highest.unwrap_or_default(),
            ignored,
        }
    }

    /// What a resource says of itself; an error if that is no class.
    fn said_by(&self, strings: &Strings<'_>) -> Option<Result<Priority, ()>> {
        let said = view::find(strings, &self.attribute)?;
        Some(Priority::from_name(said).ok_or(()))
    }

    /// The highest class of the items of a group; `None` if it has none.
    fn by_rules(
        &self,
        signal: Signal,
        group: Group<'_>,
        strings: &Strings<'_>,
    ) -> Option<Priority> {
        let mut tests: SmallVec<[(&ItemTest, Priority); 8]> = SmallVec::new();
        let mut otherwise = Priority::default();
        for rule in self
            .rules
            .iter()
            .filter(|rule| rule.concerns(signal, strings))
        {
            match &rule.item {
                Some(test) => tests.push((test, rule.priority)),
                // It fits every item, so no later rule is asked.
                None => {
                    otherwise = rule.priority;
                    break;
                }
            }
        }
        let most = tests.iter().map(|(_, priority)| *priority).max();
        let most = most.unwrap_or(otherwise).max(otherwise);
        let mut highest = None;
        for item in group.items() {
            let fitting = match tests.is_empty() {
                true => None,
                false => {
                    let fact = match signal {
                        Signal::Traces => view::varint_within(item, STATUS.0, STATUS.1),
                        _ => view::varint(item, SEVERITY_NUMBER),
                    };
                    // What an item does not name is 0.
                    let fact = fact.unwrap_or_default();
                    tests.iter().find(|(test, _)| test.fits(fact))
                }
            };
            highest = highest.max(Some(fitting.map_or(otherwise, |(_, priority)| *priority)));
            if highest == Some(most) {
                break;
            }
        }
        highest
    }
}
