//! What is wrong with a text, and where, for the one who sent it.

use std::fmt;

use crate::otlp::schema::Key;

/// How many characters of a path are told.
const LONGEST: usize = 400;

/// Why a text was not read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The way to the value, such as `resourceSpans[0].scopeSpans[2].spans[17].traceId`; empty for
    /// the text as a whole.
    pub path: String,
    /// Where it is, in bytes from the start of the text.
    pub offset: usize,
    /// Its line, counted from 1.
    pub line: usize,
    /// Its place in that line in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The text; the words go on after the name of the value.
    Text(&'static str),
    /// Nothing: the room for what it becomes was not granted.
    NoRoom,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.path.as_str() {
            "" => "the request",
            path => path,
        };
        let what = match self.problem {
            Problem::Text(what) => what,
            Problem::NoRoom => "takes more memory than there is",
        };
        let Self { line, column, .. } = self;
        write!(f, "{path} {what} (line {line}, column {column})")
    }
}

impl std::error::Error for JsonError {}

/// The end of reading, on its way up: each level adds its step to the path.
#[derive(Debug)]
pub(super) struct Stop {
    at: usize,
    problem: Problem,
    path: Vec<Step>,
}

/// One step of a path.
#[derive(Debug)]
enum Step {
    Key(&'static Key),
    Index(usize),
}

/// A result that is small while all goes well.
pub(super) type Read<T = ()> = Result<T, Box<Stop>>;

impl Stop {
    #[cold]
    pub(super) fn new(at: usize, problem: Problem) -> Box<Self> {
        Box::new(Self {
            at,
            problem,
            path: Vec::new(),
        })
    }

    #[cold]
    pub(super) fn text(at: usize, what: &'static str) -> Box<Self> {
        Self::new(at, Problem::Text(what))
    }

    #[cold]
    pub(super) fn under(mut self: Box<Self>, key: &'static Key) -> Box<Self> {
        self.path.push(Step::Key(key));
        self
    }

    #[cold]
    pub(super) fn at_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path.push(Step::Index(index));
        self
    }

    /// With line, column and path.
    pub(super) fn told(&self, text: &[u8]) -> JsonError {
        let before = text.get(..self.at).unwrap_or(text);
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let in_line = before.get(start..).unwrap_or_default();
        let is_first_byte = |byte: &&u8| **byte & 0xc0 != 0x80;
        JsonError {
            path: path(&self.path),
            offset: self.at,
            line,
            column: in_line.iter().filter(is_first_byte).count() + 1,
            problem: self.problem,
        }
    }
}

fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps.iter().rev() {
        match step {
            Step::Index(index) => path.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(key.name()));
            }
        }
    }
    shortened(path)
}

/// A long path without its middle: it says where, and is not to hide what.
fn shortened(path: String) -> String {
    match (
        path.get(..LONGEST / 2),
        path.get(path.len().saturating_sub(LONGEST / 2)..),
    ) {
        (Some(start), Some(end)) if path.len() > LONGEST => format!("{start}...{end}"),
        _ => path,
    }
}
