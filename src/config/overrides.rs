//! `--set KEY=VALUE`: dotted keys and TOML values, laid over the file.

use toml::de::{DeTable, DeValue};

use super::load::report_too_large;
use super::problem::Findings;
use super::tree::{self, Entry, Node, Origin, Table, Value};

/// The key of an option, to name it by; its value may be secret.
pub(super) fn key(set: &str) -> String {
    let key = set.split_once('=').map_or(set, |(key, _)| key);
    key.trim().to_owned()
}

/// Lays each option over the tree, later ones over earlier ones.
pub(super) fn apply(tree: &mut Node, sets: &[String], findings: &mut Findings) {
    for (index, set) in sets.iter().enumerate() {
        if let Err(sentence) = lay(tree, set, index, findings) {
            findings.problem(Origin::Set(index), sentence);
        }
    }
}

fn lay(tree: &mut Node, set: &str, index: usize, findings: &mut Findings) -> Result<(), String> {
    let Some((key, text)) = set.split_once('=') else {
        return Err("wants KEY=VALUE, such as exporters.out.timeout=5s".to_owned());
    };
    let path = split_key(key.trim()).ok_or(
        "the key wants names with dots between, such as exporters.out.timeout; \
         a name with other characters goes in quotes",
    )?;
    let mut too_large = Vec::new();
    let node = value(text.trim(), index, &mut too_large)?;
    report_too_large(too_large, findings);
    insert(tree, &path, node)
}

/// The names of a dotted key, by TOML's rules for quotes.
fn split_key(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '#', '=', '[']) {
        return None;
    }
    let line = format!("{key} = 0");
    let mut table = DeTable::parse(&line).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        path.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// A TOML value. What is not one is a string, as `127.0.0.1:4317` and `64MiB` are, unless it
/// begins like a string, an array or a table and so was meant to be one.
fn value(text: &str, index: usize, too_large: &mut Vec<Origin>) -> Result<Node, String> {
    match DeValue::parse(text) {
        Ok(value) => Ok(tree::from_set(value.into_inner(), index, too_large)),
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
            Err(format!("the value is not TOML: {}", error.message()))
        }
        Err(_) => Ok(Node::new(
            Value::String(text.to_owned()),
            Origin::Set(index),
        )),
    }
}

fn insert(node: &mut Node, path: &[String], value: Node) -> Result<(), String> {
    let origin = value.origin.clone();
    let kind = node.value.type_name();
    let Some(table) = node.table_mut() else {
        return Err(format!("what is to hold the key is {kind}, not a table"));
    };
    match path {
        [] => Ok(()),
        [last] => {
            let key = origin;
            table
                .entries
                .insert(last.clone(), Entry { key, node: value });
            Ok(())
        }
        [first, rest @ ..] => {
            let entry = table.entries.entry(first.clone()).or_insert_with(|| Entry {
                key: origin.clone(),
                node: Node::new(Value::Table(Table::default()), origin),
            });
            insert(&mut entry.node, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        value(text, 0, &mut Vec::new()).unwrap().value
    }

    #[test]
    fn keys_are_split_at_dots_outside_quotes() {
        assert_eq!(split_key("a.b.c").unwrap(), ["a", "b", "c"]);
        assert_eq!(split_key("a.\"b.c\".d").unwrap(), ["a", "b.c", "d"]);
        for bad in ["", "a..b", ".a", "a b", "a=b", "[a]", "a#"] {
            assert!(split_key(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn values_are_toml_and_bare_words_are_strings() {
        assert!(matches!(read("8"), Value::Integer(8)));
        assert!(matches!(read("true"), Value::Boolean(true)));
        assert!(matches!(read("1.5"), Value::Float(number) if number == 1.5));
        assert!(matches!(read("[\"a\"]"), Value::Array(_)));
        assert!(matches!(read("{ a = 1 }"), Value::Table(_)));
        for text in ["64MiB", "10s", "127.0.0.1:4317", "http://h:1/p", "", "gzip"] {
            assert!(
                matches!(read(text), Value::String(read) if read == text),
                "{text}"
            );
        }
        assert!(matches!(read("\"8\""), Value::String(text) if text == "8"));
        assert!(value("[a, b]", 0, &mut Vec::new()).is_err());
    }
}
