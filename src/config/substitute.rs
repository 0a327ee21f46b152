//! `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` inside string values, filled in
//! after parsing, so that nothing in a variable can change the file's structure. `$$` is a
//! dollar sign; a dollar sign before anything but `{` or `$` is itself.

use std::path::Path;

use super::load::Env;
use super::problem::{Findings, Source};
use super::tree::{Node, Origin, Value};

/// Where values come from.
pub(super) struct Sources<'a> {
    pub(super) env: Env<'a>,
    /// The folder of the config file, which relative paths start from.
    pub(super) folder: &'a Path,
}

/// Fills in every string of the tree. A string with a problem is taken out of what is checked
/// later, so that its absence is not reported as well.
pub(super) fn fill(
    node: &mut Node,
    sources: &Sources<'_>,
    source: &Source<'_>,
    findings: &mut Findings,
) -> bool {
    match &mut node.value {
        Value::String(text) if text.contains('$') => match expand(text, sources) {
            Ok(expanded) => {
                node.secret = expanded.substituted;
                *text = expanded.text;
                true
            }
            Err(missing) => {
                for Missing {
                    reference,
                    sentence,
                } in missing
                {
                    findings.problem(place(&node.origin, &reference, source), sentence);
                }
                false
            }
        },
        Value::Array(items) => {
            let was_empty = items.is_empty();
            items.retain_mut(|item| fill(item, sources, source, findings));
            was_empty || !items.is_empty()
        }
        Value::Table(table) => {
            let removed = &mut table.removed;
            table.entries.retain(|key, entry| {
                let sound = fill(&mut entry.node, sources, source, findings);
                if !sound {
                    removed.insert(key.clone());
                }
                sound
            });
            true
        }
        _ => true,
    }
}

/// Points at the reference inside the string, where it is written as it was read.
fn place(origin: &Origin, reference: &str, source: &Source<'_>) -> Origin {
    let Origin::File { start, end } = origin else {
        return origin.clone();
    };
    let written = source.text.get(*start..*end).unwrap_or_default();
    match written.find(reference) {
        Some(offset) => Origin::File {
            start: start + offset,
            end: start + offset + reference.len(),
        },
        None => origin.clone(),
    }
}

struct Expanded {
    text: String,
    substituted: bool,
}

/// A reference that could not be filled in.
struct Missing {
    reference: String,
    sentence: String,
}

fn expand(text: &str, sources: &Sources<'_>) -> Result<Expanded, Vec<Missing>> {
    let mut expanded = String::with_capacity(text.len());
    let mut substituted = false;
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded += before;
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) = match after.split_once('}') {
                Some((inside, after)) => (Ok(inside), after),
                None => (Err(after), ""),
            };
            substituted = true;
            match inside
                .map_err(|inside| (format!("${{{inside}"), "has no closing brace".to_owned()))
                .and_then(|inside| {
                    look_up(inside, sources).map_err(|why| (format!("${{{inside}}}"), why))
                }) {
                Ok(value) => expanded += &value,
                Err((reference, why)) => missing.push(Missing {
                    sentence: format!("{reference} {why}"),
                    reference,
                }),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded += rest;
    match missing.is_empty() {
        true => Ok(Expanded {
            text: expanded,
            substituted,
        }),
        false => Err(missing),
    }
}

fn look_up(inside: &str, sources: &Sources<'_>) -> Result<String, String> {
    match inside.split_once(':') {
        Some(("env", name)) if !name.is_empty() => look_up_env(name, sources.env),
        Some(("file", path)) if !path.is_empty() => {
            let text = std::fs::read_to_string(sources.folder.join(path))
                .map_err(|error| format!("can not be read: {error}"))?;
            let trimmed = text.strip_suffix('\n').unwrap_or(&text);
            Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
        }
        _ => Err(
            "is neither ${env:NAME}, ${env:NAME:-default} nor ${file:PATH}; \
             write $${ for the characters themselves"
                .to_owned(),
        ),
    }
}

/// As in a shell, a default also stands in for a variable that is empty.
fn look_up_env(name: &str, env: Env<'_>) -> Result<String, String> {
    let (name, default) = match name.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (name, None),
    };
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "is not set; set the variable {name}, or give a default: ${{env:{name}:-default}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("backend".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${env:HOST}$$".to_owned()),
            _ => None,
        }
    }

    fn filled(text: &str, folder: &Path) -> Result<(String, bool), Vec<String>> {
        let sources = Sources { env: &env, folder };
        match expand(text, &sources) {
            Ok(expanded) => Ok((expanded.text, expanded.substituted)),
            Err(missing) => Err(missing.into_iter().map(|m| m.sentence).collect()),
        }
    }

    #[test]
    fn references_are_filled_in_and_dollars_kept() {
        for (text, expected, substituted) in [
            ("http://${env:HOST}:1", "http://backend:1", true),
            ("${env:HOST}${env:HOST}", "backendbackend", true),
            ("${env:UNSET:-a:-b}", "a:-b", true),
            ("${env:EMPTY:-default}", "default", true),
            ("${env:UNSET:-}", "", true),
            ("${env:EMPTY}", "", true),
            ("$${env:HOST}", "${env:HOST}", false),
            ("pa$word$", "pa$word$", false),
            ("$$$$", "$$", false),
        ] {
            let filled = filled(text, Path::new(""));
            assert_eq!(filled, Ok((expected.to_owned(), substituted)), "{text}");
        }
    }

    #[test]
    fn what_was_filled_in_is_not_read_again() {
        let (text, _) = filled("${env:NESTED}", Path::new("")).unwrap();
        assert_eq!(text, "${env:HOST}$$");
    }

    #[test]
    fn a_file_loses_its_last_line_break_only() {
        let folder = tempfile::tempdir().unwrap();
        for (content, expected) in [
            ("key\n", "key"),
            ("key\r\n", "key"),
            ("a\n\n", "a\n"),
            ("", ""),
        ] {
            std::fs::write(folder.path().join("token"), content).unwrap();
            let (text, substituted) = filled("${file:token}", folder.path()).unwrap();
            assert_eq!((text.as_str(), substituted), (expected, true));
        }
    }

    #[test]
    fn everything_missing_in_one_string_is_told() {
        let missing = filled("${env:A} ${env:} ${x} ${env:B", Path::new("")).unwrap_err();
        assert_eq!(missing.len(), 4, "{missing:?}");
    }
}
