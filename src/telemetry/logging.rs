//! The log: one line an event, as text or JSON, to standard error.

use std::fmt;
use std::io::IsTerminal;

use serde::Deserialize;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

/// `[log]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The least important that is logged.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// `level = "error" | "warn" | "info" | "debug" | "trace"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something was lost, or will be.
    Error,
    /// Something is wrong, and otlpd copes.
    Warn,
    /// What an operator wants to know of a healthy daemon.
    #[default]
    Info,
    /// What explains a decision.
    Debug,
    /// Everything, the libraries' own lines included.
    Trace,
}

impl Level {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// `format = "text" | "json"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The process already has a log.
#[derive(Debug)]
pub struct AlreadySet;

impl fmt::Display for AlreadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log of this process is already set up")
    }
}

impl std::error::Error for AlreadySet {}

/// Sets the log of the process up, once.
pub fn install(config: &LogConfig) -> Result<(), AlreadySet> {
    let colours = std::io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(config, colours, std::io::stderr))
        .map_err(|_| AlreadySet)
}

fn subscriber<W>(config: &LogConfig, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match config.format {
        Format::Text => lines.with_ansi(colours).boxed(),
        Format::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    Registry::default().with(lines.with_filter(filter(config.level)))
}

/// hyper and h2 log every frame of every connection at `debug`, headers included: theirs are
/// kept to warnings, and at `trace` to `debug`, where h2 redacts what a client marks sensitive.
fn filter(level: Level) -> Targets {
    let libraries = match level {
        Level::Trace => LevelFilter::DEBUG,
        _ => level.filter().min(LevelFilter::WARN),
    };
    Targets::new()
        .with_default(libraries)
        .with_target("otlpd", level.filter())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(level: Level, format: Format, say: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let config = LogConfig { level, format };
        let subscriber = subscriber(&config, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields_on_top() {
        let line = written(Level::Info, Format::Json, || {
            tracing::info!(exporter = "out", "breaker open");
            tracing::debug!("not said");
        });
        let json: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        assert_eq!(
            (&json["level"], &json["exporter"]),
            (&"INFO".into(), &"out".into())
        );
        assert_eq!(json["message"], "breaker open");
    }

    #[test]
    fn libraries_are_kept_quieter_than_otlpd() {
        let lines = written(Level::Debug, Format::Text, || {
            tracing::debug!("ours");
            tracing::info!(target: "hyper::proto", "theirs");
            tracing::warn!(target: "h2", "their warning");
        });
        assert!(
            lines.contains("ours") && lines.contains("their warning"),
            "{lines}"
        );
        assert!(!lines.contains("theirs"), "{lines}");
        let quiet = written(
            Level::Error,
            Format::Text,
            || tracing::warn!(target: "h2", "no"),
        );
        assert_eq!(quiet, "");
    }

    #[test]
    fn the_config_refuses_words_that_it_does_not_know() {
        let read = |text: &str| toml::from_str::<LogConfig>(text);
        assert_eq!(read("").unwrap(), LogConfig::default());
        let json = read("level = \"warn\"\nformat = \"json\"").unwrap();
        assert_eq!((json.level, json.format), (Level::Warn, Format::Json));
        assert!(
            read("level = \"loud\"")
                .unwrap_err()
                .message()
                .contains("`debug`")
        );
        assert!(read("levels = \"info\"").is_err());
    }
}
