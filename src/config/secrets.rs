//! What of a file must not be shown again when a line of it is: secrets that are written out in it.
//! A reference such as `${env:NAME}` is none.

use std::ops::Range;

use super::suggest::nearest;
use super::tree::{Node, Origin, Value};

/// The keys whose values are secrets, or hold some.
const KEYS: [&str; 8] = [
    "token",
    "tokens",
    "users",
    "password",
    "client_secret",
    "params",
    "headers",
    "encryption_keys",
];

/// The sections whose keys are names, which mean nothing.
const NAMED: [&str; 4] = ["receivers", "processors", "exporters", "pipelines"];

/// What is known of them.
pub(super) enum Secrets {
    /// Where they stand in the file.
    At(Vec<Range<usize>>),
    /// Nothing, since the file could not be read.
    Unknown,
}

impl Secrets {
    /// Those of a file that was read into this tree; of none, if it could not be.
    pub(super) fn of(tree: Option<&Node>) -> Self {
        let Some(tree) = tree else {
            return Self::Unknown;
        };
        let mut places = Vec::new();
        for (section, entry) in tree.table().into_iter().flat_map(|table| &table.entries) {
            match entry.node.table() {
                Some(table) if NAMED.contains(&section.as_str()) => {
                    let named = table.entries.values();
                    named.for_each(|named| find(&named.node, false, &mut places));
                }
                _ => find(&entry.node, false, &mut places),
            }
        }
        Self::At(places)
    }

    /// The line that begins at this byte of the file, each character of a secret in it as a star.
    pub(super) fn masked(&self, line: &str, start: usize) -> String {
        let behind = behind_key(line);
        let is_secret = |at: usize| match self {
            Self::At(places) => places.iter().any(|place| place.contains(&(start + at))),
            Self::Unknown => behind.is_some_and(|behind| at >= behind),
        };
        let mask = |(at, c): (usize, char)| match is_secret(at) && !c.is_whitespace() {
            true => '*',
            false => c,
        };
        line.char_indices().map(mask).collect()
    }
}

fn find(node: &Node, is_secret: bool, places: &mut Vec<Range<usize>>) {
    match (&node.value, &node.origin) {
        (Value::String(text), Origin::File { start, end }) => {
            // What stands between the quotes.
            if is_secret && !text.contains("${") && end.saturating_sub(*start) > 2 {
                places.push(start + 1..end - 1);
            } else {
                let parts = [user_of_url(text), query_of_url(text)];
                let parts = parts.into_iter().flatten();
                places.extend(parts.map(|part| start + 1 + part.start..start + 1 + part.end));
            }
        }
        (Value::Array(items), _) => items.iter().for_each(|item| find(item, is_secret, places)),
        (Value::Table(table), _) => {
            for (key, entry) in &table.entries {
                let is_secret = is_secret || is_secret_key(key);
                find(&entry.node, is_secret, places);
            }
        }
        _ => {}
    }
}

/// Whether it is one of the keys, or likely was to be one. What is a key of ours itself is not
/// another one misspelt.
fn is_secret_key(key: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "user",
        "header",
        "token_url",
        "allowed_headers",
        "exposed_headers",
    ];
    let is_other = || OTHERS.contains(&key) || key.ends_with("_file");
    KEYS.contains(&key) || (!is_other() && nearest(key, &KEYS).is_some())
}

/// Where a URL has a query, in which some put their token.
fn query_of_url(text: &str) -> Option<Range<usize>> {
    let query = text.find('?').filter(|_| text.contains("://"))? + 1;
    Some(query..text.len())
}

/// Where a URL has a user and a password, which none of ours takes.
fn user_of_url(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let end = text.find('@').filter(|end| *end > start)?;
    Some(start..end)
}

/// Where the first value of one of the keys begins, going by the text alone.
fn behind_key(line: &str) -> Option<usize> {
    let key_before = |equals: usize| {
        let before = line.get(..equals).unwrap_or_default().trim_end();
        let before = before.trim_end_matches(['"', '\'']);
        KEYS.iter().any(|key| before.ends_with(key))
    };
    let mut signs = line.match_indices('=').map(|(at, _)| at);
    signs.find(|at| key_before(*at)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_under_a_misspelt_key_is_one_and_a_file_is_none() {
        for key in [
            "client_secrt",
            "passwrd",
            "Token",
            "bearer_token",
            "pasword",
            "header s",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "endpoint",
            "client_id",
            "token_file",
            "client_secret_file",
            "user",
            "timeout",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
        assert_eq!(query_of_url("https://h/p?token=x"), Some(12..19));
        assert_eq!(query_of_url("what?"), None);
    }

    #[test]
    fn of_a_file_that_is_not_toml_nothing_behind_such_a_key_is_shown() {
        let masked = |line: &str| Secrets::Unknown.masked(line, 0);
        assert_eq!(masked("token = hunter2"), "token = *******");
        assert_eq!(
            masked("auth = { a = 1, token = x"),
            "auth = { a = 1, token = *"
        );
        assert_eq!(masked("endpoint = h"), "endpoint = h");
    }
}
