//! The walk at the door: one pass over a request that counts its items and finds what no
//! receiver behind us could read.
//!
//! It is written twice. `clean` answers one question fast: is all of it in order, and how
//! many items are there? Only when the answer is no, `survey` goes over it again, with
//! tables, and finds what and where. Which of the two is right is never a question: the tables
//! decide, and a test holds that `clean` agrees with them.

mod clean;
mod cut;
mod malformed;
mod rules;
mod survey;

pub use cut::without_rejected;
pub use malformed::Malformed;
pub use rules::{BadValue, ItemPolicy, Rules, Validation};

use super::Signal;

/// What a walk found in a request that is accepted, at least in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The accepted items.
    pub items: u64,
    /// What is to be cut out, if anything is; [`without_rejected`] gives the request without it.
    pub rejected: Option<Rejected>,
}

/// Items with a bad value, in a request whose framing is whole: those that have it themselves,
/// and those below a resource, a scope or a metric that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// How many; none where only an envelope without items is to go, or ids of log records.
    pub items: u64,
    /// How many for which reason, by `BadValue as usize`; each item has one.
    pub by: [u64; BadValue::ALL.len()],
    /// The first bad value.
    pub first: Malformed,
}

impl Rejected {
    /// What the client is told (`error_message` of a partial success): how many of how many, for
    /// which reasons, and where the first of them is.
    pub fn sentence(&self, signal: Signal, accepted: u64) -> String {
        let first = &self.first;
        let (items, all) = (self.items, self.items + accepted);
        let noun = match signal {
            Signal::Traces => "spans",
            Signal::Metrics => "data points",
            Signal::Logs => "log records",
            Signal::Profiles => "profiles",
        };
        if items == 0 {
            return format!("no {noun} were rejected, but something was left out: {first}");
        }
        let reasons = BadValue::ALL.into_iter().zip(self.by);
        let reasons = reasons.filter(|(_, items)| *items > 0);
        let reasons: Vec<String> = reasons
            .map(|(reason, items)| format!("{items} for {}", reason.words()))
            .collect();
        let reasons = reasons.join(", ");
        format!("{items} of {all} {noun} were rejected, {reasons}; the first: {first}")
    }
}

/// Walks over a request (OTLP 1.11, "Bad Data" and "Partial Success").
///
/// # Errors
/// Refuses the request as a whole where its framing is damaged, and profiles also where one
/// value is bad: nothing can be cut out of them.
pub fn walk(signal: Signal, body: &[u8], rules: impl Into<Rules>) -> Result<Walked, Malformed> {
    let rules = rules.into();
    match clean::count(signal, body, rules.validation) {
        Some(items) => Ok(Walked {
            items,
            rejected: None,
        }),
        None => survey::survey(signal, body, rules),
    }
}

#[cfg(test)]
mod tests;
