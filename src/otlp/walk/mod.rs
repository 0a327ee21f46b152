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
mod survey;

pub use cut::without_rejected;
pub use malformed::Malformed;

use super::Signal;

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Every byte is checked.
    Full,
    /// The items are counted, their insides taken on trust.
    Items,
}

/// What a walk found in a request that is accepted, at least in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The accepted items.
    pub items: u64,
    /// The others; [`without_rejected`] gives the request without them.
    pub rejected: Option<Rejected>,
}

/// Items that are bad by themselves, in a request that is whole otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// How many.
    pub items: u64,
    /// What is wrong with the first of them.
    pub first: Malformed,
}

/// Walks over a request (OTLP 1.11, "Bad Data" and "Partial Success").
///
/// # Errors
/// Refuses the request as a whole where its framing is damaged, where a bad string lies outside
/// of every item, and where no item is good.
pub fn walk(signal: Signal, body: &[u8], validation: Validation) -> Result<Walked, Malformed> {
    match clean::count(signal, body, validation) {
        Some(items) => Ok(Walked {
            items,
            rejected: None,
        }),
        None => survey::survey(signal, body, validation),
    }
}

#[cfg(test)]
mod tests;
