//! Edits the attributes of resources and items, on the bytes.

mod hash;
mod list;
mod pass;

use list::AttributeList;
pub use pass::edit;

/// What is done to the attributes of a resource or an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The key that it is about.
    pub key: String,
    /// What is done to it.
    pub verb: Verb,
}

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Added, unless it is there.
    Insert(Source),
    /// Given another value, if it is there.
    Update(Source),
    /// Given another value, or added.
    Upsert(Source),
    /// Deleted.
    Delete,
    /// Given this name, unless there is an attribute of that name: that one and this one then
    /// stay as they are.
    Rename(String),
    /// Its value replaced by the SHA-256 of it, in hexadecimal; lists, maps and bytes by the
    /// empty string. As the Collector does it.
    Hash,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An encoded `AnyValue`.
    Value(Vec<u8>),
    /// The first attribute of this key, in the same list; without it nothing is done.
    Attribute(String),
}

/// Actions in a row, each of which sees what those before it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    actions: Vec<Action>,
    /// Every key that any of them reads or writes.
    keys: Vec<String>,
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        let actions: Vec<Action> = actions.into_iter().collect();
        let mut keys: Vec<String> = actions.iter().flat_map(Action::keys).cloned().collect();
        keys.sort();
        keys.dedup();
        Self { actions, keys }
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = std::vec::IntoIter<Action>;

    fn into_iter(self) -> Self::IntoIter {
        self.actions.into_iter()
    }
}

impl Actions {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Whether an attribute of this key matters to any of them.
    fn concern(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|one| one.as_bytes() == key)
    }

    fn apply(&self, list: &mut AttributeList<'_>) {
        for action in &self.actions {
            action.apply(list);
        }
    }
}

impl Action {
    fn keys(&self) -> impl Iterator<Item = &String> {
        let other = match &self.verb {
            Verb::Insert(Source::Attribute(other))
            | Verb::Update(Source::Attribute(other))
            | Verb::Upsert(Source::Attribute(other))
            | Verb::Rename(other) => Some(other),
            _ => None,
        };
        std::iter::once(&self.key).chain(other)
    }

    fn apply(&self, list: &mut AttributeList<'_>) {
        let key = self.key.as_str();
        match &self.verb {
            Verb::Insert(source) => {
                if !list.contains(key) {
                    with_value(source, list, |list, value| list.push(key, value));
                }
            }
            Verb::Update(source) => with_value(source, list, |list, value| {
                list.update(key, |_| value.into());
            }),
            Verb::Upsert(source) => with_value(source, list, |list, value| {
                if !list.update(key, |_| value.into()) {
                    list.push(key, value);
                }
            }),
            Verb::Delete => drop(list.delete(key)),
            Verb::Rename(new_key) => {
                if !list.contains(new_key) {
                    list.rename(key, new_key);
                }
            }
            Verb::Hash => drop(list.update(key, |value| hash::hash(value).into())),
        }
    }
}

/// Calls `then` with the value, if there is one.
fn with_value<'l>(
    source: &Source,
    list: &mut AttributeList<'l>,
    then: impl FnOnce(&mut AttributeList<'l>, &[u8]),
) {
    match source {
        Source::Value(value) => then(list, value),
        Source::Attribute(key) => {
            if let Some(value) = list.value(key) {
                then(list, &value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
