//! The families of lines, in one place, and which of their lines the user chose.

use super::line::{Check, Family};
use super::{calls, json, profiles, protobuf, requests, transport};

/// Every family, in the order in which they run.
pub(super) fn families() -> Vec<Family> {
    vec![
        family('G', "a gRPC server", calls::TABLES),
        family('H', "an HTTP server", requests::TABLES),
        family('J', "JSON", json::TABLES),
        family('P', "protobuf and the rules of its data", protobuf::TABLES),
        family('R', "profiles", profiles::TABLES),
        family('T', "TLS, authentication, attacks", transport::TABLES),
    ]
}

fn family(letter: char, about: &'static str, tables: &[&'static [Check]]) -> Family {
    let mut checks: Vec<&'static Check> = tables.iter().copied().flatten().collect();
    checks.sort_by_key(|check| place(check.line.id));
    Family {
        letter,
        about,
        checks,
    }
}

/// Where an id stands in its family: by its number, then by its part.
fn place(id: &str) -> (usize, &str) {
    let rest = id.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let digits = rest.trim_end_matches(|c: char| c.is_ascii_lowercase());
    (digits.parse().unwrap_or(0), rest)
}

/// What `--only` and `--skip` say.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) only: Vec<String>,
    pub(super) skip: Vec<String>,
}

impl Selection {
    /// Whether a line is chosen.
    pub(super) fn has(&self, id: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|word| names(word, id));
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }

    /// The first word that names no line at all.
    pub(super) fn unknown(&self, families: &[Family]) -> Option<&str> {
        let mut words = self.only.iter().chain(&self.skip);
        let known = |word: &str| {
            let mut checks = families.iter().flat_map(|family| &family.checks);
            checks.any(|check| names(word, check.line.id))
        };
        words.find(|word| !known(word)).map(String::as_str)
    }
}

/// `H` names all of a family, `H12` the lines H12, H12b and so on, `H12b` that one.
fn names(word: &str, id: &str) -> bool {
    let Some(rest) = id
        .get(..word.len())
        .filter(|start| start.eq_ignore_ascii_case(word))
        .and_then(|_| id.get(word.len()..))
    else {
        return false;
    };
    let is_family = word.len() == 1;
    is_family || rest.chars().all(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn selection(only: &str, skip: &str) -> Selection {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Selection {
            only: words(only),
            skip: words(skip),
        }
    }

    #[test]
    fn a_word_names_a_family_a_number_or_a_part() {
        let all = selection("", "");
        assert!(all.has("H1") && all.has("T9"));
        let some = selection("H G5", "H12");
        for id in ["H1", "H13", "H120", "G5", "G5b"] {
            assert!(some.has(id), "{id}");
        }
        for id in ["H12", "H12b", "G50", "G4", "T1"] {
            assert!(!some.has(id), "{id}");
        }
        assert!(selection("h13", "").has("H13"));
        assert!(!selection("H12b", "").has("H12"));
    }

    #[test]
    fn a_word_that_names_nothing_is_found() {
        let families = families();
        assert_eq!(selection("H", "G1").unknown(&families), None);
        assert_eq!(selection("H Q7", "").unknown(&families), Some("Q7"));
    }

    #[test]
    fn no_number_is_left_out() {
        for (letter, last) in [('G', 34), ('H', 57), ('T', 11)] {
            for number in 1..=last {
                let id = format!("{letter}{number}");
                let mut families = families().into_iter();
                let family = families.find(|family| family.letter == letter).unwrap();
                assert!(
                    family.checks.iter().any(|check| check.line.id == id),
                    "{id}"
                );
            }
        }
    }

    #[test]
    fn every_line_has_an_id_of_its_own_family_and_fits_its_column() {
        let mut seen = HashSet::new();
        for family in families() {
            for check in &family.checks {
                let line = check.line;
                assert!(seen.insert(line.id), "{} twice", line.id);
                assert!(line.id.starts_with(family.letter), "{}", line.id);
                assert!(line.what.len() <= 76, "{}: {}", line.id, line.what.len());
                assert!(
                    !line.what.ends_with('.') && !line.source.is_empty(),
                    "{}",
                    line.id
                );
            }
        }
    }
}
