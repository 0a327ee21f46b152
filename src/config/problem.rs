//! Problems: what is wrong in a config, each at its place, as an operator reads it.

use std::fmt;

use super::secrets::Secrets;
use super::tree::Origin;

/// One mistake, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    sentence: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Line {
        file: String,
        line: usize,
        column: usize,
        text: String,
        /// How many characters the caret spans.
        width: usize,
    },
    /// Without a line: the file as a whole, or a `--set` option by its key.
    Named(String),
}

impl Problem {
    /// About a whole file, or an option; `place` names it.
    pub(super) fn named(place: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            place: Place::Named(place.into()),
            sentence: sentence.into(),
        }
    }

    /// What is wrong and what is allowed, without the place.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// `FILE:LINE:COLUMN`, or the name of the file or option.
    pub fn place(&self) -> String {
        match &self.place {
            Place::Line {
                file, line, column, ..
            } => format!("{file}:{line}:{column}"),
            Place::Named(name) => name.clone(),
        }
    }
}

/// `FILE:LINE:COLUMN: sentence`, then the line with a caret under what is meant.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.sentence)?;
        let Place::Line {
            line,
            column,
            text,
            width,
            ..
        } = &self.place
        else {
            return Ok(());
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent: String = text
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        write!(f, "\n  {number} | {text}")?;
        write!(f, "\n  {margin} | {indent}{}", "^".repeat(*width))
    }
}

/// Everything that is wrong in a config; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Each mistake, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 problem"),
            n => write!(f, "{n} problems"),
        }
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// What the origins of a tree point into.
pub(super) struct Source<'a> {
    /// The file's name as the operator gave it.
    pub(super) file: String,
    pub(super) text: &'a str,
    /// The keys of the `--set` options. Their values may be secret, and are not printed.
    pub(super) sets: Vec<String>,
    /// What of the text is not shown.
    pub(super) secrets: Secrets,
}

impl Source<'_> {
    fn problem(&self, origin: &Origin, sentence: String) -> Problem {
        let place = match origin {
            Origin::Whole => Place::Named(self.file.clone()),
            Origin::File { start, end } => self.line(*start, *end),
            Origin::Set(index) => Place::Named(match self.sets.get(*index) {
                Some(key) => format!("--set {key}"),
                None => "--set".to_owned(),
            }),
        };
        Problem { place, sentence }
    }

    fn line(&self, start: usize, end: usize) -> Place {
        let before = self.text.get(..start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let line_end = line_start + text.len();
        let marked = self.text.get(start..end.min(line_end)).unwrap_or_default();
        Place::Line {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column,
            text: self.secrets.masked(text, line_start),
            width: marked.chars().count().max(1),
        }
    }
}

/// Collects what is found while a config is read.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<(Origin, String)>,
    warnings: Vec<(Origin, String)>,
}

impl Findings {
    pub(super) fn problem(&mut self, origin: Origin, sentence: impl Into<String>) {
        let found = (origin, sentence.into());
        if !self.problems.contains(&found) {
            self.problems.push(found);
        }
    }

    pub(super) fn warning(&mut self, origin: Origin, sentence: impl Into<String>) {
        self.warnings.push((origin, sentence.into()));
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The warnings, or the problems if there is any, in the order of the file.
    pub(super) fn conclude(self, source: &Source<'_>) -> Result<Vec<Problem>, Problems> {
        let render = |mut found: Vec<(Origin, String)>| -> Vec<Problem> {
            found.sort();
            found
                .into_iter()
                .map(|(origin, sentence)| source.problem(&origin, sentence))
                .collect()
        };
        match self.problems.is_empty() {
            true => Ok(render(self.warnings)),
            false => Err(Problems(render(self.problems))),
        }
    }
}
