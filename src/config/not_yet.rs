//! What operators know from the design or from other collectors and will look for, but is not
//! built in yet, or has another name: told as that, instead of as a misspelling.

/// What to say about a key that does not exist yet.
pub(super) fn key(key: &str) -> Option<String> {
    match key {
        "connectors" => {
            Some("`connectors` are not built in yet; `otlpd components` lists what is".to_owned())
        }
        "max_megabytes" => Some(
            "`max_megabytes` is `max_bytes` here, with its unit: `rotation = { max_bytes = \
             \"100MiB\" }`"
                .to_owned(),
        ),
        "max_days" => Some(
            "`max_days` is `max_age` here, with its unit: `rotation = { max_age = \"72h\" }`"
                .to_owned(),
        ),
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
