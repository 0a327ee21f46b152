//! A line of the suite: what it asks for, on whose authority, and what came of it.

use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use super::probe::Probe;

/// How binding a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    /// Its source says so without a way out.
    Must,
    /// Its source recommends it.
    Should,
    /// The specifications are silent, and otlpd has chosen. Others may choose otherwise: they
    /// differ then, and do not fail.
    Choice,
}

impl Level {
    /// The word for it in all outputs.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Choice => "CHOICE",
        }
    }
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Line {
    /// A family's letter and a number, and a small letter where one number has several parts.
    pub(super) id: &'static str,
    pub(super) level: Level,
    /// What a server that conforms does.
    pub(super) what: &'static str,
    /// The document and its section.
    pub(super) source: &'static str,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be; the note, where there is one, says what was seen.
    Pass { note: String },
    /// Not as it should be. Both are phrases: `expected 413`, `got 400 with ...`.
    Fail { expected: String, got: String },
    /// Not looked at, or nothing can be concluded.
    Skip { reason: String },
}

impl Verdict {
    /// Why it is no pass, as a phrase.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Pass { note } => note.clone(),
            Self::Fail { expected, got } => format!("expected {expected}, got {got}"),
            Self::Skip { reason } => reason.clone(),
        }
    }
}

/// What a check returns. The error is what ends it early: a failure, or a reason to skip.
pub(super) type Checked = Result<Verdict, Verdict>;

type Checking = Pin<Box<dyn Future<Output = Checked> + Send>>;

/// A line and how it is checked.
pub(super) struct Check {
    pub(super) line: Line,
    pub(super) run: fn(Arc<Probe>) -> Checking,
    /// Whether it mostly waits: it is started with the run, and looked for at its place.
    pub(super) waits: bool,
}

/// All lines of a letter.
pub(super) struct Family {
    pub(super) letter: char,
    pub(super) about: &'static str,
    /// In the order in which they run and are told.
    pub(super) checks: Vec<&'static Check>,
}

/// A row of a family's table: level, id, what, source, and the function that checks it; or why
/// it is never checked. `waits` before the function's name: see [`Check::waits`].
macro_rules! check {
    ($level:ident $id:literal, $what:literal, $source:expr, skip $reason:literal) => {
        $crate::cli::conform::line::Check {
            line: $crate::cli::conform::line::Line {
                id: $id,
                level: $crate::cli::conform::line::Level::$level,
                what: $what,
                source: $source,
            },
            run: |_| Box::pin(async { $crate::cli::conform::line::skip($reason) }),
            waits: false,
        }
    };
    ($level:ident $id:literal, $what:literal, $source:expr, waits $run:path) => {
        $crate::cli::conform::line::Check {
            waits: true,
            ..check!($level $id, $what, $source, $run)
        }
    };
    ($level:ident $id:literal, $what:literal, $source:expr, $run:path) => {
        $crate::cli::conform::line::Check {
            line: $crate::cli::conform::line::Line {
                id: $id,
                level: $crate::cli::conform::line::Level::$level,
                what: $what,
                source: $source,
            },
            run: |probe| Box::pin($run(probe)),
            waits: false,
        }
    };
}
pub(super) use check;

/// It is as it should be.
pub(super) fn pass() -> Checked {
    noted("")
}

/// It is as it should be, and this was seen.
pub(super) fn noted(note: impl Into<String>) -> Checked {
    let note = note.into();
    Ok(Verdict::Pass { note })
}

/// It is not: the verdict that ends a check.
pub(super) fn failed(expected: impl Into<String>, got: impl Into<String>) -> Verdict {
    Verdict::Fail {
        expected: expected.into(),
        got: got.into(),
    }
}

/// Nothing can be said, for this reason: the verdict that ends a check.
pub(super) fn skipped(reason: impl Into<String>) -> Verdict {
    Verdict::Skip {
        reason: reason.into(),
    }
}

/// [`skipped`], as a check's last word.
pub(super) fn skip(reason: impl Into<String>) -> Checked {
    Err(skipped(reason))
}

/// Goes on where `holds`, and fails otherwise.
pub(super) fn expect(
    holds: bool,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<(), Verdict> {
    if holds {
        Ok(())
    } else {
        Err(failed(expected, got))
    }
}
