//! One line of the list: what is asked, by whom, and the scenarios that show it.

use super::arrival::{Arrival, Wire};
use super::case::{Case, Seen};
use crate::cli::conform::line::Line;

/// A line that a client is judged by.
pub(super) struct ClientLine {
    pub(super) line: Line,
    /// For which protocols it is.
    pub(super) wires: &'static [Wire],
    pub(super) needs: Needs,
    pub(super) judge: Judge,
}

/// What a line needs besides an exporter that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: its scenarios can be played among others.
    Nothing,
    /// The stage for itself: it disturbs others, or is disturbed.
    Stage,
    /// A command that is started for each scenario.
    Command,
    /// An exporter that goes on sending.
    Stream,
}

/// How it is judged.
#[derive(Clone, Copy)]
pub(super) enum Judge {
    /// Each scenario by what is expected of it.
    Cases(fn(Wire) -> Vec<Case>),
    /// All of its scenarios together.
    Together(fn(Wire) -> Vec<Case>, fn(&[Seen]) -> Finding),
    /// Everything that came, in whichever scenario.
    Arrivals(fn(&[Arrival]) -> Finding),
    /// It cannot be seen from outside, for this reason.
    Unseen(&'static str),
}

/// What was found out about a line over one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// As it is asked; what else is worth telling.
    Right(String),
    Wrong {
        expected: String,
        got: String,
    },
    Unknown(String),
}

impl Finding {
    pub(super) fn wrong(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Wrong {
            expected: expected.into(),
            got: got.into(),
        }
    }
}

impl ClientLine {
    /// Its scenarios over one protocol.
    pub(super) fn cases(&self, wire: Wire) -> Vec<Case> {
        match self.judge {
            Judge::Cases(cases) | Judge::Together(cases, _) if self.wires.contains(&wire) => {
                cases(wire)
            }
            _ => Vec::new(),
        }
    }
}

/// The verdict on scenarios of which each has to be as expected.
pub(super) fn judge_each(seen: &[Seen]) -> Finding {
    let mut notes = Vec::new();
    let mut expected = Vec::new();
    let mut wrong = Vec::new();
    for seen in seen {
        let what = &seen.case.what;
        match seen.judge() {
            Ok(note) if note.is_empty() => {}
            Ok(note) => notes.push(format!("{what}: {note}")),
            Err(got) => {
                let words = seen.case.expect.words();
                if !expected.contains(&words) {
                    expected.push(words);
                }
                wrong.push(format!("{what}: {got}"));
            }
        }
    }
    if wrong.is_empty() {
        Finding::Right(notes.join("; "))
    } else {
        Finding::wrong(expected.join("; "), wrong.join("; "))
    }
}

pub(super) const ALL: &[Wire] = &Wire::ALL;
pub(super) const GRPC: &[Wire] = &[Wire::Grpc];
pub(super) const HTTP: &[Wire] = &[Wire::HttpProtobuf, Wire::HttpJson];
