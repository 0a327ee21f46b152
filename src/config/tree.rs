//! The parsed file, each value with the place that it was written at.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The file as a whole.
    Whole,
    /// These bytes of the file.
    File { start: usize, end: usize },
    /// The `--set` option of this index.
    Set(usize),
}

impl From<Range<usize>> for Origin {
    fn from(span: Range<usize>) -> Self {
        Self::File {
            start: span.start,
            end: span.end,
        }
    }
}

/// A value and its place. For a table, that is the place of its key, which is what an operator
/// looks for; its value may be spread over the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The text came from the environment or a file and may be secret: it is never printed.
    pub(super) secret: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// No key takes a date; it is kept to be named in the sentence that says so.
    Datetime,
    Array(Vec<Node>),
    Table(Table),
    /// Stands where a key was missing or wrong, and has been reported, so that the rest of its
    /// table can still be read and checked. No config is made of it.
    StandIn,
}

/// The keys of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Keys that were taken out because a problem with them has been reported: nothing that
    /// follows from their absence is reported as well.
    pub(super) removed: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Origin,
    pub(super) node: Node,
}

/// One step from a table or array to what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    pub(super) fn new(value: Value, origin: Origin) -> Self {
        Self {
            value,
            origin,
            secret: false,
        }
    }

    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Where to point at for a problem with the value at `path`: its own place, else that of the
    /// table that it would stand in. `None` if it was taken out, so that a default stands where
    /// something else was meant.
    pub(super) fn place(&self, path: &[&str]) -> Option<Origin> {
        let Some((key, rest)) = path.split_first() else {
            return Some(self.origin.clone());
        };
        match &self.value {
            Value::Table(table) if table.removed.contains(*key) => None,
            Value::Table(table) => match table.entries.get(*key) {
                Some(entry) => entry.node.place(rest),
                None => Some(self.origin.clone()),
            },
            Value::Array(items) => match key.parse::<usize>().ok().and_then(|i| items.get(i)) {
                Some(item) => item.place(rest),
                None => Some(self.origin.clone()),
            },
            _ => Some(self.origin.clone()),
        }
    }

    /// The value at `path`.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Self> {
        let Some((key, rest)) = path.split_first() else {
            return Some(self);
        };
        let child = match &self.value {
            Value::Table(table) => table.entries.get(*key).map(|entry| &entry.node),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
            _ => None,
        };
        child?.get(rest)
    }

    /// Whether the file says anything at `path`.
    pub(super) fn states(&self, path: &[&str]) -> bool {
        self.get(path).is_some()
    }

    /// Whether the value at `path` came from the environment or a file.
    pub(super) fn is_secret(&self, path: &[&str]) -> bool {
        self.get(path).is_some_and(|node| node.secret)
    }

    /// The place of the key at the end of `path`, or of the value where there is no key.
    pub(super) fn place_of_key(&self, path: &[Step]) -> Origin {
        match path {
            [] => self.origin.clone(),
            [Step::Key(key)] => match self.table().and_then(|table| table.entries.get(key)) {
                Some(entry) => entry.key.clone(),
                None => self.origin.clone(),
            },
            [step, rest @ ..] => match self.child(step) {
                Some(child) => child.place_of_key(rest),
                None => self.origin.clone(),
            },
        }
    }

    /// The node at `path`, or the last one on the way to it.
    pub(super) fn nearest(&self, path: &[Step]) -> &Self {
        match path.split_first() {
            Some((step, rest)) => match self.child(step) {
                Some(child) => child.nearest(rest),
                None => self,
            },
            None => self,
        }
    }

    /// Takes out what is at `path`; false if there is nothing.
    pub(super) fn remove(&mut self, path: &[Step]) -> bool {
        match (path, &mut self.value) {
            ([Step::Key(key)], Value::Table(table)) => {
                table.removed.insert(key.clone());
                table.entries.remove(key).is_some()
            }
            // A list is not empty because its only member was wrong.
            ([Step::Key(key), Step::Index(0)], Value::Table(table))
                if table.entries.get(key).is_some_and(|e| e.node.length() == 1) =>
            {
                self.remove(&[Step::Key(key.clone())])
            }
            ([Step::Index(index)], Value::Array(items)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            ([Step::Key(key), rest @ ..], Value::Table(table)) => table
                .entries
                .get_mut(key)
                .is_some_and(|entry| entry.node.remove(rest)),
            ([Step::Index(index), rest @ ..], Value::Array(items)) => {
                items.get_mut(*index).is_some_and(|item| item.remove(rest))
            }
            _ => false,
        }
    }

    /// Puts a stand-in for a required key into the table at `path`. False if there has been one
    /// already, so that it did not serve.
    pub(super) fn stand_in(&mut self, path: &[Step], key: &str) -> bool {
        let Some((step, rest)) = path.split_first() else {
            let origin = self.origin.clone();
            let Some(table) = self.table_mut() else {
                return false;
            };
            table.removed.insert(key.to_owned());
            let entry = Entry {
                key: origin.clone(),
                node: Self::new(Value::StandIn, origin),
            };
            return table.entries.insert(key.to_owned(), entry).is_none();
        };
        let child = match (step, &mut self.value) {
            (Step::Key(key), Value::Table(table)) => {
                table.entries.get_mut(key).map(|entry| &mut entry.node)
            }
            (Step::Index(index), Value::Array(items)) => items.get_mut(*index),
            _ => None,
        };
        child.is_some_and(|child| child.stand_in(rest, key))
    }

    fn length(&self) -> usize {
        match &self.value {
            Value::Array(items) => items.len(),
            _ => 0,
        }
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), Value::Table(table)) => table.entries.get(key).map(|e| &e.node),
            (Step::Index(index), Value::Array(items)) => items.get(*index),
            _ => None,
        }
    }
}

impl Value {
    /// The word for its type, with its article.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::StandIn => "nothing",
        }
    }
}

/// Reads a whole file. The numbers that do not fit are given with their places.
pub(super) fn from_file(root: Spanned<DeTable<'_>>, too_large: &mut Vec<Origin>) -> Node {
    let table = from_table(root.into_inner(), &|span| span.into(), too_large);
    Node::new(Value::Table(table), Origin::Whole)
}

/// Reads the value of the `--set` option of this index.
pub(super) fn from_set(value: DeValue<'_>, set: usize, too_large: &mut Vec<Origin>) -> Node {
    let origin = Origin::Set(set);
    let place = |_span: Range<usize>| Origin::Set(set);
    Node::new(from_value(value, &origin, &place, too_large), origin)
}

type Place<'a> = &'a dyn Fn(Range<usize>) -> Origin;

fn from_table(table: DeTable<'_>, place: Place<'_>, too_large: &mut Vec<Origin>) -> Table {
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        let key_origin = place(key.span());
        let origin = match value.get_ref() {
            DeValue::Table(_) => key_origin.clone(),
            _ => place(value.span()),
        };
        let value = from_value(value.into_inner(), &origin, place, too_large);
        let node = Node::new(value, origin);
        let entry = Entry {
            key: key_origin,
            node,
        };
        entries.insert(key.into_inner().into_owned(), entry);
    }
    Table {
        entries,
        removed: BTreeSet::new(),
    }
}

fn from_value(
    value: DeValue<'_>,
    origin: &Origin,
    place: Place<'_>,
    too_large: &mut Vec<Origin>,
) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.unwrap_or_else(|_| {
                too_large.push(origin.clone());
                0
            }))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| {
                    let origin = place(item.span());
                    let value = from_value(item.into_inner(), &origin, place, too_large);
                    Node::new(value, origin)
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(from_table(table, place, too_large)),
    }
}
