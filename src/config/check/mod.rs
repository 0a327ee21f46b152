//! Checks of what each value's type can not tell: values that only make sense together, names
//! that must exist, addresses.

use super::problem::Findings;
use super::tree::Node;

mod auth;
mod component;
mod cors;
mod endpoint;
mod files;
mod graph;
mod sections;
mod shared;
mod tls;

pub(super) use auth::{certificates, incoming, outgoing, shown};
pub(super) use component::{exporter, lane, receiver};
pub(super) use graph::graph;
pub(super) use sections::{is_reached_by_others, sections};
pub(super) use tls::files;

/// A table that is checked, and where its problems go.
struct Site<'a> {
    node: &'a Node,
    findings: &'a mut Findings,
}

impl Site<'_> {
    /// Reports a problem with the value at the first path. `unless` are the other values that it
    /// rests on: where one of them was wrong by itself, a default stands in its place, and what
    /// follows from it would mislead.
    fn problem(&mut self, path: &[&str], unless: &[&[&str]], sentence: impl Into<String>) {
        if unless.iter().all(|path| self.node.place(path).is_some())
            && let Some(place) = self.node.place(path)
        {
            self.findings.problem(place, sentence);
        }
    }

    /// Reports it if the condition holds.
    fn forbid(&mut self, condition: bool, path: &[&str], sentence: &str) {
        if condition {
            self.problem(path, &[], sentence);
        }
    }

    /// The value in brackets, for a sentence; nothing where it may be secret.
    fn shown(&self, path: &[&str], value: &dyn std::fmt::Display) -> String {
        match self.node.is_secret(path) {
            true => String::new(),
            false => format!(" ({value})"),
        }
    }

    /// Reports a zero where none can be; `reason` says what it would mean.
    fn not_zero(&mut self, is_zero: bool, path: &[&str], reason: &str) {
        let key = path.last().copied().unwrap_or_default();
        self.forbid(is_zero, path, &format!("`{key}` can not be 0: {reason}"));
    }
}
