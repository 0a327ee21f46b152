//! The nearest valid name to one that is not.

/// The candidate that `word` was probably meant to be, if any is near enough: one a few
/// typing errors away, else one that begins like it, else one that it shares its parts with.
pub(super) fn nearest<'a, S: AsRef<str>>(word: &str, candidates: &'a [S]) -> Option<&'a str> {
    let candidates = || candidates.iter().map(AsRef::as_ref);
    let folded = fold(word);
    let begun = |candidate: &&str| {
        let candidate = fold(candidate);
        (folded.len() >= 2 && candidate.starts_with(&folded))
            || (candidate.len() >= 4 && folded.starts_with(&candidate))
    };
    let contained =
        |candidate: &&str| contains_parts(candidate, word) || contains_parts(word, candidate);
    let allowed_errors = word.chars().count().max(3) / 3;
    let distance = |candidate: &str| strsim::damerau_levenshtein(&folded, &fold(candidate));
    candidates()
        .filter(|candidate| distance(candidate) <= allowed_errors)
        .min_by_key(|candidate| distance(candidate))
        .or_else(|| candidates().find(begun))
        .or_else(|| candidates().find(contained))
}

/// Whether every part of `part` (`max_age`) is one of `whole` (`max_connection_age`).
fn contains_parts(whole: &str, part: &str) -> bool {
    let mut parts = part.split(['_', '-', '/']);
    part.len() >= 4 && parts.all(|one| whole.split(['_', '-', '/']).any(|other| other == one))
}

/// `" (did you mean ...?)"`, or nothing.
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
        let names = [
            "max_bytes",
            "when_full",
            "otlp_grpc",
            "endpoint",
            "max_connection_age",
            "wait",
            "drop_oldest",
        ];
        for (word, meant) in [
            ("max_byte", Some("max_bytes")),
            ("maxBytes", Some("max_bytes")),
            ("when-full", Some("when_full")),
            ("otlp", Some("otlp_grpc")),
            ("otlp/grpc", Some("otlp_grpc")),
            ("endpiont", Some("endpoint")),
            ("waiting", Some("wait")),
            ("max_age", Some("max_connection_age")),
            ("sending_endpoint", Some("endpoint")),
            ("drop", Some("drop_oldest")),
            ("compression", None),
            ("max", Some("max_bytes")),
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
