//! What operators know from the design or from other collectors and will look for, but is not
//! built in yet: told as that, instead of as a misspelling.

/// What to say about a key that does not exist yet.
pub(super) fn key(key: &str) -> Option<String> {
    match key {
        "connectors" => {
            Some("`connectors` are not built in yet; `otlpd components` lists what is".to_owned())
        }
        _ => None,
    }
}

/// What to say about a value that a key does not take yet.
pub(super) fn choice(key: &str, value: &str) -> Option<String> {
    match (key, value) {
        ("when_full", "spill") => Some(
            "`spill` is a kind of queue: `queue = { kind = \"spill\" }` keeps data in memory while \
             all is well, and on disk when memory is full or the breaker is open"
                .to_owned(),
        ),
        _ => None,
    }
}
