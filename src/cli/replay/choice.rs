//! Which of the dead letters are meant.

use std::time::SystemTime;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::time;
use crate::delivery::dead_letters::{Letter, is_kept};
use crate::otlp::Signal;
use crate::telemetry::ledger::Reason;

/// What must hold of a letter for it to be sent; of options that are repeated, one of them.
#[derive(Args, Debug)]
pub(super) struct ChoiceArgs {
    /// Only what was given up since then: a time such as 2026-01-31T09:00:00Z, or an age such as 2h
    #[arg(long, value_name = "TIME|AGE", value_parser = since)]
    since: Option<SystemTime>,
    /// Only what was given up for this reason; may be repeated
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(reasons()))]
    reason: Vec<String>,
    /// Only what was for this exporter; may be repeated
    #[arg(long, value_name = "NAME")]
    exporter: Vec<String>,
    /// Only requests of this signal; may be repeated
    #[arg(long, value_name = "SIGNAL", value_parser = signal())]
    signal: Vec<Signal>,
    /// No more than so many requests, the oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl ChoiceArgs {
    /// Whether the letter is to be sent, however many there are.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let one_of =
            |chosen: &[String], is: &str| chosen.is_empty() || chosen.iter().any(|c| c == is);
        self.since.is_none_or(|since| letter.given_up >= since)
            && one_of(&self.reason, &letter.reason)
            && one_of(&self.exporter, &letter.exporter)
            && (self.signal.is_empty() || self.signal.contains(&letter.signal))
    }

    /// Exporters that were asked for, and are none of these.
    pub(super) fn strangers(&self, known: &[&str]) -> impl Iterator<Item = &str> {
        let names = self.exporter.iter().map(String::as_str);
        names.filter(|name| !known.contains(name))
    }

    /// How many at most.
    pub(super) fn limit(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX)
    }
}

fn since(text: &str) -> Result<SystemTime, String> {
    time::parse(text, SystemTime::now())
}

fn reasons() -> Vec<&'static str> {
    let kept = Reason::ALL.into_iter().filter(|reason| is_kept(*reason));
    kept.map(Reason::name).collect()
}

fn signal() -> impl TypedValueParser<Value = Signal> {
    PossibleValuesParser::new(Signal::ALL.map(Signal::name)).map(|name| {
        let mut known = Signal::ALL.into_iter();
        // The parser lets no other name through.
        known
            .find(|signal| signal.name() == name)
            .unwrap_or(Signal::Traces)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::batch::Priority;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choice: ChoiceArgs,
    }

    fn choice(line: &str) -> ChoiceArgs {
        let words = std::iter::once("replay").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().choice
    }

    fn letter() -> Letter {
        Letter {
            exporter: "backend".to_owned(),
            reason: "permanent".to_owned(),
            cause: String::new(),
            given_up: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
            received: SystemTime::UNIX_EPOCH,
            signal: Signal::Logs,
            items: 1,
            tenant: String::new(),
            priority: Priority::Normal,
        }
    }

    #[test]
    fn every_option_that_is_given_must_hold() {
        for (line, takes) in [
            ("", true),
            ("--since 1970-01-02", true),
            ("--since 1970-01-02T00:00:01Z", false),
            ("--since 1h", false),
            ("--reason permanent", true),
            ("--reason too_old", false),
            ("--reason too_old --reason permanent", true),
            ("--exporter backend", true),
            ("--exporter second", false),
            ("--signal logs --signal traces", true),
            ("--signal traces", false),
            ("--reason permanent --exporter second", false),
        ] {
            assert_eq!(choice(line).takes(&letter()), takes, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_a_reason_or_a_signal_is_not_understood() {
        for line in [
            ["--reason", "queue_full"],
            ["--signal", "spans"],
            ["--since", "yesterday"],
        ] {
            let words = std::iter::once("replay").chain(line);
            assert!(Line::try_parse_from(words).is_err(), "{line:?}");
        }
    }
}
