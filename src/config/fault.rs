//! What is wrong with one value, as serde tells it, and the sentence that it becomes.

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::tree::Step;
use super::{not_yet, suggest};

/// The first thing in a table that did not fit, and the way to it.
#[derive(Debug)]
pub(super) struct Fault {
    /// From the table that was read down to the value; built from its end.
    reversed: Vec<Step>,
    pub(super) kind: FaultKind,
    /// The value came from the environment or a file.
    pub(super) secret: bool,
}

#[derive(Debug)]
pub(super) enum FaultKind {
    UnknownKey { key: String, allowed: Vec<String> },
    MissingKey(String),
    UnknownChoice { found: String, allowed: Vec<String> },
    WrongType { found: String, wanted: String },
    NotAllowed { wanted: String },
    Other(String),
}

impl Fault {
    pub(super) fn new(kind: FaultKind) -> Self {
        Self {
            reversed: Vec::new(),
            kind,
            secret: false,
        }
    }

    pub(super) fn under(mut self, step: Step) -> Self {
        self.reversed.push(step);
        self
    }

    /// Marks it as being about a secret; what it quotes of it is taken out.
    pub(super) fn about_secret(mut self, text: &str) -> Self {
        self.secret = true;
        match &mut self.kind {
            FaultKind::UnknownChoice { found, .. } => found.clear(),
            FaultKind::Other(sentence) if !text.is_empty() && sentence.contains(text) => {
                *sentence = "does not take this value".to_owned();
            }
            _ => {}
        }
        self
    }

    pub(super) fn path(&self) -> Vec<Step> {
        self.reversed.iter().rev().cloned().collect()
    }

    /// What to tell the operator; `table` names the table that was read, such as
    /// `exporters.backend`.
    pub(super) fn sentence(&self, table: &str) -> String {
        let path = self.path();
        let name = path.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let name = name.unwrap_or(table);
        match &self.kind {
            FaultKind::UnknownKey { key, allowed } => {
                let parent = path.split_last().map_or(&[][..], |(_, parent)| parent);
                unknown_key(key, &full_name(table, parent), allowed)
            }
            FaultKind::MissingKey(key) => {
                format!("{} needs the key `{key}`", full_name(table, &path))
            }
            FaultKind::Other(sentence) if matches!(path.last(), Some(Step::Index(_))) => {
                format!("in `{name}`, {sentence}")
            }
            FaultKind::UnknownChoice { found, allowed } => unknown_choice(name, found, allowed),
            FaultKind::WrongType { found, wanted } => {
                format!("`{name}` wants {wanted}, but this is {found}")
            }
            FaultKind::NotAllowed { wanted } => format!("`{name}` wants {wanted}"),
            FaultKind::Other(sentence) => format!("`{name}` {sentence}"),
        }
    }
}

/// Members of lists are not numbered: those before may have been taken out, and the place that
/// is given with the sentence is more use.
fn full_name(table: &str, path: &[Step]) -> String {
    let mut name = table.to_owned();
    for step in path {
        match step {
            Step::Key(key) => name += &format!(".{key}"),
            Step::Index(_) => name = format!("a member of {name}"),
        }
    }
    name
}

fn unknown_key(key: &str, table: &str, allowed: &[String]) -> String {
    if let Some(sentence) = not_yet::key(key) {
        return sentence;
    }
    let nearest = suggest::did_you_mean(key, allowed);
    match allowed {
        [] => format!("unknown key `{key}`: {table} takes no keys"),
        _ => format!(
            "unknown key `{key}` in {table}{nearest}; its keys are {}",
            allowed.join(", ")
        ),
    }
}

fn unknown_choice(name: &str, found: &str, allowed: &[String]) -> String {
    let choices = suggest::choices(allowed);
    if let Some(sentence) = not_yet::choice(name, found) {
        return sentence;
    }
    if found.is_empty() {
        return format!("`{name}` wants {choices}");
    }
    let nearest = suggest::did_you_mean(found, allowed);
    format!("`{name}` can not be {found:?}{nearest}; it is {choices}")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence("the table"))
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        Self::new(FaultKind::Other(sentence.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(FaultKind::WrongType {
            found: type_name(&found).to_owned(),
            wanted: plain(&wanted.to_string()),
        })
    }

    fn invalid_value(_found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(FaultKind::NotAllowed {
            wanted: plain(&wanted.to_string()),
        })
    }

    fn invalid_length(_length: usize, wanted: &dyn Expected) -> Self {
        Self::new(FaultKind::NotAllowed {
            wanted: plain(&wanted.to_string()),
        })
    }

    fn unknown_variant(found: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(FaultKind::UnknownChoice {
            found: found.to_owned(),
            allowed: owned(allowed),
        })
    }

    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(FaultKind::UnknownKey {
            key: key.to_owned(),
            allowed: owned(allowed),
        })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(FaultKind::MissingKey(key.to_owned()))
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn type_name(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Seq => "an array",
        Unexpected::Map => "a table",
        Unexpected::Other("date") => "a date",
        _ => "something else",
    }
}

/// serde's words for what a Rust type wants, in TOML's.
fn plain(wanted: &str) -> String {
    let range = |max: u64| format!("a whole number from 0 to {max}");
    match wanted {
        "u8" => range(u8::MAX.into()),
        "u16" => range(u16::MAX.into()),
        "u32" => range(u32::MAX.into()),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        _ if wanted.starts_with("struct ") => "a table".to_owned(),
        _ => wanted.to_owned(),
    }
}
