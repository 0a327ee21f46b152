//! The nearest valid name to one that is not.

/// The candidate that `word` was probably meant to be, if any is near enough.
pub(super) fn nearest<'a, S: AsRef<str>>(word: &str, candidates: &'a [S]) -> Option<&'a str> {
    let folded = fold(word);
    let (distance, best) = candidates
        .iter()
        .map(|candidate| candidate.as_ref())
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&folded, &fold(candidate)),
                candidate,
            )
        })
        .min_by_key(|(distance, _)| *distance)?;
    let part = folded.len() >= 4
        && best.len() >= 4
        && (fold(best).starts_with(&folded) || folded.starts_with(&fold(best)));
    (part || distance * 3 <= word.chars().count().max(3)).then_some(best)
}

/// `": did you mean ...?"`, or nothing.
pub(super) fn did_you_mean<S: AsRef<str>>(word: &str, candidates: &[S]) -> String {
    nearest(word, candidates).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// `"a", "b" or "c"`
pub(super) fn choices<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("{:?}", w.as_ref())).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// `maxBytes`, `max-bytes` and `MAX_BYTES` are all as near to `max_bytes` as can be.
fn fold(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' ' | '/'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_forgives_typing_case_and_dashes() {
        let names = ["max_bytes", "when_full", "otlp_grpc", "endpoint"];
        for (word, meant) in [
            ("max_byte", Some("max_bytes")),
            ("maxBytes", Some("max_bytes")),
            ("when-full", Some("when_full")),
            ("otlp", Some("otlp_grpc")),
            ("otlp/grpc", Some("otlp_grpc")),
            ("endpiont", Some("endpoint")),
            ("compression", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &names), meant, "{word}");
        }
        assert_eq!(nearest::<&str>("x", &[]), None);
    }

    #[test]
    fn choices_are_listed_as_a_sentence() {
        assert_eq!(choices(&["a"]), "\"a\"");
        assert_eq!(choices(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
