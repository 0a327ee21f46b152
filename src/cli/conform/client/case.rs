//! A scenario, what is expected of it, and what was seen.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::arrival::{Arrival, Wire};

/// One scenario: how the first request and its repetitions are answered.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// What the server does, as the report says it.
    pub(super) what: String,
    pub(super) wire: Wire,
    pub(super) answers: Vec<Answer>,
    pub(super) expect: Expect,
    /// Where the command finds the server, and with which settings.
    pub(super) settings: Settings,
}

/// What is expected.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// The same items come again.
    Again,
    /// They come again, but not sooner than this after the answer.
    NotBefore(Duration),
    /// They do not come again.
    Once,
    /// Whatever this finds; the error is what was got instead of what the words say.
    Finding(&'static str, fn(&Seen) -> Result<String, String>),
    /// Nothing that can be seen in one scenario: the line looks at all of them.
    Nothing,
}

impl std::fmt::Debug for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words())
    }
}

impl Expect {
    /// As the report says it.
    pub(super) fn words(self) -> String {
        match self {
            Self::Again => "the same items come again".to_owned(),
            Self::NotBefore(delay) => {
                format!("the same items come again, {delay:?} later at the earliest")
            }
            Self::Once => "they do not come again".to_owned(),
            Self::Finding(words, _) => words.to_owned(),
            Self::Nothing => String::new(),
        }
    }
}

/// What a command is told besides the protocol.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// More variables; `{endpoint}` in a value is where the server is.
    pub(super) variables: Vec<(&'static str, String)>,
    /// Which of the usual ones are left out.
    pub(super) without: &'static [&'static str],
}

/// What was seen of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) case: Case,
    /// The attempts at its request, in their order.
    pub(super) arrivals: Vec<Arrival>,
    /// What else came meanwhile, in a run of its own.
    pub(super) others: Vec<Arrival>,
    /// How the command ended, where there was one.
    pub(super) end: Option<End>,
}

/// The end of a command.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) began: Instant,
    pub(super) at: Instant,
    /// Its exit status in words, or that it was ended by us.
    pub(super) how: String,
    /// The beginning of all that it wrote.
    pub(super) output: String,
}

impl Case {
    /// A scenario with the usual settings.
    pub(super) fn new(
        wire: Wire,
        what: impl Into<String>,
        answers: impl Into<Vec<Answer>>,
        expect: Expect,
    ) -> Self {
        Self {
            what: what.into(),
            wire,
            answers: answers.into(),
            expect,
            settings: Settings::default(),
        }
    }

    /// With one more variable for the command.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.settings.variables.push((name, value.to_owned()));
        self
    }

    /// Without these of the usual variables.
    pub(super) fn without(mut self, names: &'static [&'static str]) -> Self {
        self.settings.without = names;
        self
    }
}

impl Seen {
    /// The time between the answer to an attempt and the next attempt.
    pub(super) fn gap(&self, number: usize) -> Option<Duration> {
        let answered = self.arrivals.get(number)?.answered?;
        let again = self.arrivals.get(number + 1)?;
        Some(again.at.saturating_duration_since(answered))
    }

    /// All gaps.
    pub(super) fn gaps(&self) -> Vec<Duration> {
        (0..).map_while(|number| self.gap(number)).collect()
    }

    /// Whether what was expected was seen; the error is what was got instead, and otherwise it
    /// is what else is worth telling.
    pub(super) fn judge(&self) -> Result<String, String> {
        if self.arrivals.is_empty() && !matches!(self.case.expect, Expect::Nothing) {
            return Err(self.nothing_came());
        }
        match self.case.expect {
            Expect::Nothing => Ok(String::new()),
            Expect::Finding(_, find) => find(self),
            Expect::Once => match self.gap(0) {
                None => Ok(String::new()),
                Some(gap) => Err(format!("they came again after {}", seconds(gap))),
            },
            Expect::Again => match self.gap(0) {
                Some(gap) => Ok(format!("after {}", seconds(gap))),
                None => Err(self.not_again()),
            },
            Expect::NotBefore(delay) => match self.gap(0) {
                None => Err(self.not_again()),
                Some(gap) if gap < delay => Err(format!("they came after {}", seconds(gap))),
                Some(gap) => Ok(format!("after {}", seconds(gap))),
            },
        }
    }

    pub(super) fn not_again(&self) -> String {
        format!("they did not come again{}", self.ending())
    }

    pub(super) fn nothing_came(&self) -> String {
        let wire = self.case.wire.name();
        match self.others.first() {
            Some(other) => format!(
                "nothing came over {wire}, but a request over {} to {}",
                other.content.wire.name(),
                other.path
            ),
            None => format!("no request came over {wire}{}", self.ending()),
        }
    }

    fn ending(&self) -> String {
        match &self.end {
            Some(end) => {
                let time = end.at.saturating_duration_since(end.began);
                format!(" (the command {} after {})", end.how, seconds(time))
            }
            None => String::new(),
        }
    }
}

/// A time as the report says it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
