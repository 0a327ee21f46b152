//! One line of the list, and the verdict on it.

/// Who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Must,
    Should,
    Choice,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) id: &'static str,
    pub(crate) level: Level,
    pub(crate) what: &'static str,
    pub(crate) source: &'static str,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail { expected: String, got: String },
    Skip(String),
}
