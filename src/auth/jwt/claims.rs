//! Claims that must stand in a token.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::auth::config::Values;

/// Claims, and the values of which each must have one.
#[derive(Debug)]
pub(super) struct Required(BTreeMap<String, Vec<String>>);

/// OAuth writes lists into these claims as words with spaces between (RFC 9068, section 2.2.3).
const LISTS_OF_WORDS: [&str; 2] = ["scope", "scp"];

impl Required {
    pub(super) fn new(configured: &BTreeMap<String, Values>) -> Self {
        let all = configured.iter();
        Self(
            all.map(|(name, Values(v))| (name.clone(), v.clone()))
                .collect(),
        )
    }

    /// The first claim that is missing or has none of the values.
    pub(super) fn missing_in(&self, claims: &Map<String, Value>) -> Option<&str> {
        let missing = self.0.iter().find(|(name, wanted)| {
            let found = find(claims, name);
            !found.is_some_and(|found| has_one_of(name, found, wanted))
        });
        missing.map(|(name, _)| name.as_str())
    }
}

/// The claim as a text; `None` if it is not there, or is no single value.
pub(super) fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    single(find(claims, name)?)
}

/// The claim of this name, or, where there is none, what the parts of the name between its dots
/// lead to.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

fn has_one_of(name: &str, found: &Value, wanted: &[String]) -> bool {
    let is_wanted = |text: &str| wanted.iter().any(|wanted| wanted == text);
    match found {
        Value::Array(items) => items.iter().filter_map(single).any(|text| is_wanted(&text)),
        Value::String(words) if LISTS_OF_WORDS.contains(&name) => words.split(' ').any(is_wanted),
        found => single(found).is_some_and(|text| is_wanted(&text)),
    }
}

/// Numbers and booleans are what JSON writes for them.
fn single(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn missing(required: &[(&str, &[&str])], claims: &Value) -> Option<String> {
        let values = |texts: &[&str]| Values(texts.iter().map(|&t| t.to_owned()).collect());
        let required = required.iter().map(|(n, v)| ((*n).to_owned(), values(v)));
        let required = Required::new(&required.collect());
        let missing = required.missing_in(claims.as_object().unwrap());
        missing.map(str::to_owned)
    }

    #[test]
    fn a_claim_must_have_one_of_the_values() {
        let claims = json!({
            "env": "prod", "groups": ["a", "b"], "scope": "read otlp.write", "level": 3,
            "admin": true, "realm": {"roles": ["sender"]}, "https://x/y.z": "1",
        });
        for (name, wanted, expected) in [
            ("env", &["dev", "prod"][..], true),
            ("env", &["pro"], false),
            ("groups", &["b"], true),
            ("groups", &["c"], false),
            ("scope", &["otlp.write"], true),
            ("scope", &["otlp"], false),
            ("level", &["3"], true),
            ("admin", &["true"], true),
            ("realm.roles", &["sender"], true),
            ("realm.role", &["sender"], false),
            ("realm", &["sender"], false),
            ("https://x/y.z", &["1"], true),
            ("absent", &[""], false),
        ] {
            let found = missing(&[(name, wanted)], &claims);
            assert_eq!(found.is_none(), expected, "{name} {wanted:?}");
        }
        let both = missing(&[("env", &["prod"]), ("groups", &["c"])], &claims);
        assert_eq!(both.as_deref(), Some("groups"));
    }
}
