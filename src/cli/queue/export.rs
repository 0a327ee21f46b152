//! `otlpd queue export`: the requests that wait, in a form that others read.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Verdict;
use super::contents::{self, Locked, Record, Seen};
use super::output::{ExportFormat, Output, Stop};
use super::place::{PlaceArgs, Places, Shelf};
use super::progress::Progress;
use super::summary::{self, count};
use crate::otlp::Signal;

#[derive(Args, Debug)]
#[command(
    after_help = "Without --queue and --dead-letters it writes what waits in the queues of all \
                  exporters, each its own copy. A file of another tool holds one signal as a \
                  rule: use --signal. What is damaged is named on standard error and left out; \
                  the exit code is then 1."
)]
pub(super) struct Export {
    #[command(flatten)]
    place: PlaceArgs,
    /// The form
    #[arg(long, value_enum, default_value = "json")]
    format: ExportFormat,
    /// Only requests of this signal; needed for binary, where nothing tells them apart
    #[arg(long, value_enum, required_if_eq("format", "binary"))]
    signal: Option<SignalArg>,
    /// A file that is not there yet, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A signal on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SignalArg {
    Traces,
    Metrics,
    Logs,
    Profiles,
}

impl From<SignalArg> for Signal {
    fn from(signal: SignalArg) -> Self {
        match signal {
            SignalArg::Traces => Self::Traces,
            SignalArg::Metrics => Self::Metrics,
            SignalArg::Logs => Self::Logs,
            SignalArg::Profiles => Self::Profiles,
        }
    }
}

/// What was written so far, and what was not.
#[derive(Debug, Default)]
struct Account {
    requests: u64,
    items: [u64; Signal::ALL.len()],
    /// Parts of files, and requests, that cannot be read.
    damaged: u64,
}

impl Export {
    pub(super) fn run(&self) -> Result<Verdict, String> {
        let mut places = self.place.find()?;
        if !self.place.only_dead_letters() {
            let logs = &mut places.logs;
            logs.retain(|place| place.shelf != Shelf::DeadLetters);
        }
        let mut output = Output::open(self.format, self.output.as_ref())?;
        let mut account = Account::default();
        let written = self.write(&places, &mut output, &mut account);
        match written.and_then(|()| output.finish()) {
            Ok(()) => {}
            Err(Stop::Unread) => return Ok(Verdict::Sound),
            Err(Stop::Failed(problem)) => return Err(problem),
        }
        super::super::complain(&account.line());
        Ok(match account.damaged {
            0 => Verdict::Sound,
            _ => Verdict::Damaged,
        })
    }

    fn write(
        &self,
        places: &Places,
        output: &mut Output,
        account: &mut Account,
    ) -> Result<(), Stop> {
        let mut progress = Progress::new(contents::bytes(places));
        for place in &places.logs {
            contents::read(places, place, Locked::Fail, &mut |seen| {
                progress.note(&seen);
                match seen {
                    Seen::File { .. } | Seen::Locked(_) => Ok(()),
                    Seen::Damage(damage) => {
                        account.leave_out(&damage.text());
                        Ok(())
                    }
                    Seen::Record(record) => self.record(&record, output, account),
                }
            })?;
        }
        Ok(())
    }

    fn record(
        &self,
        record: &Record,
        output: &mut Output,
        account: &mut Account,
    ) -> Result<(), Stop> {
        let wanted = self.signal.map(Signal::from);
        if wanted.is_some_and(|wanted| record.signal() != Some(wanted)) {
            return Ok(());
        }
        let written = match record.request() {
            Ok((signal, request)) => output
                .request(signal, &request)?
                .map(|()| account.add(signal, record.items())),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = written {
            account.leave_out(&record.damage(problem).text());
        }
        Ok(())
    }
}

impl Account {
    fn add(&mut self, signal: Signal, items: u64) {
        self.requests += 1;
        for (known, sum) in Signal::ALL.into_iter().zip(&mut self.items) {
            *sum += if known == signal { items } else { 0 };
        }
    }

    fn leave_out(&mut self, what: &str) {
        self.damaged += 1;
        super::super::complain(&format!("{what}\n"));
    }

    fn line(&self) -> String {
        let all = Signal::ALL.into_iter().zip(self.items);
        let items = summary::items(all.filter(|(_, items)| *items > 0));
        let mut line = format!("exported {}: {items}", count(self.requests, "request"));
        if self.damaged > 0 {
            line += &format!(
                "; left out what is damaged in {}",
                count(self.damaged, "place")
            );
        }
        line + "\n"
    }
}
