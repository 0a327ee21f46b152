//! `otlpd replay`: sends dead letters again.

mod choice;
mod destination;
mod source;
mod tally;
mod time;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::ConfigArgs;
use crate::delivery::dead_letters::Letter;
use crate::host::signals::StopSignals;
use choice::ChoiceArgs;
use destination::{Destination, DestinationArgs};
use source::{Folder, Found, Source};
use tally::{Outcome, Tally};

/// Reads the dead letters of a folder and sends them, one after the other, the oldest first.
#[derive(Args, Debug)]
pub(super) struct Replay {
    #[command(flatten)]
    destination: DestinationArgs,
    /// The folder of [storage]; where it is encrypted, give --config, which has the keys
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Send nothing: list what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Remove from the dead letters what was delivered whole; otlpd must not be running on the
    /// folder
    #[arg(long, conflicts_with = "dry_run")]
    remove: bool,
}

/// The exit code where the command line lacks something.
const NOT_UNDERSTOOD: u8 = 2;

/// How often a long replay says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

impl Replay {
    /// Code 0 where all that was chosen has been delivered, else 1.
    pub(super) fn run(&self) -> ExitCode {
        if let Some(missing) = self.missing() {
            super::complain(&format!("otlpd replay: {missing}\n"));
            return ExitCode::from(NOT_UNDERSTOOD);
        }
        let done = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime does not start: {error}"))
            .and_then(|runtime| runtime.block_on(self.carry_out()));
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(problem) => {
                super::complain(&format!("otlpd replay: {problem}\n"));
                ExitCode::FAILURE
            }
        }
    }

    /// What the line lacks: one sentence for each thing, with all that may stand for it.
    fn missing(&self) -> Option<&'static str> {
        if self.directory.is_none() && self.config.config.is_none() {
            return Some(
                "say where the dead letters are: --directory, the folder of [storage], or --config",
            );
        }
        let is_idle = !self.dry_run && !self.destination.is_named();
        is_idle.then_some("say where they go: --to; or --dry-run, which lists them")
    }

    async fn carry_out(&self) -> Result<bool, String> {
        let folder = self.folder()?;
        let mut source = match self.remove {
            true => Source::take_over(folder).await?,
            false => Source::look_into(folder)?,
        };
        let mut course = Course {
            tally: Tally::default(),
            said: Instant::now(),
            complete: true,
            exporters: BTreeSet::new(),
        };
        let ended = match self.dry_run {
            true => self.list(&mut source, &mut course).await,
            false => {
                let stop = StopSignals::install()
                    .map_err(|error| format!("cannot listen for signals: {error}"))?;
                let mut destination = self.destination.open(stop)?;
                self.send(&mut source, &mut destination, &mut course).await
            }
        };
        source.close().await;
        if ended.is_ok() || course.tally != Tally::default() {
            super::print(&course.tally.to_string());
        }
        self.tell_of_strangers(&course);
        ended.map(|()| course.complete && course.tally.all_delivered())
    }

    /// A name that no letter bears is likely a mistake, unless not all of them were looked at.
    fn tell_of_strangers(&self, course: &Course) {
        if !course.complete || course.tally.chosen() > 0 {
            return;
        }
        let known: Vec<&str> = course.exporters.iter().map(String::as_str).collect();
        for name in self.choice.strangers(&known) {
            super::complain(&format!(
                "no dead letter is for the exporter {name}; there are some for: {}\n",
                known.join(", ")
            ));
        }
    }

    fn folder(&self) -> Result<Folder, String> {
        if let Some(directory) = &self.directory {
            return Ok(Folder {
                directory: directory.clone(),
                keys: Vec::new(),
            });
        }
        let config = self
            .config
            .load()
            .map_err(|problems| problems.to_string())?;
        let keys = config.storage.keys();
        let directory = config.storage.directory.ok_or_else(|| {
            "the configuration keeps nothing on disk: it has no `directory` in [storage]".to_owned()
        })?;
        Ok(Folder { directory, keys })
    }

    async fn send(
        &self,
        source: &mut Source,
        destination: &mut Destination,
        course: &mut Course,
    ) -> Result<(), String> {
        if self.remove {
            course.tally.removing();
        }
        while course.tally.sent() < self.choice.limit() {
            let Some(found) = source.next(&mut course.tally).await? else {
                break;
            };
            let Some(letter) = self.chosen(&found, course) else {
                found.keep();
                continue;
            };
            if !destination.is_free().await {
                found.keep();
                course.complete = false;
                super::complain("asked to stop: what was not sent is left\n");
                break;
            }
            let (outcome, said) = destination.send(&letter, found.body.clone()).await;
            course.tally.count(letter.items, outcome);
            if let Some(said) = said {
                super::complain(&format!("{}: {said}\n", line(&letter, &found)));
            }
            match outcome {
                Outcome::Delivered { rejected: 0 } if self.remove => {
                    found.remove();
                    course.tally.remove(letter.items);
                }
                _ => found.keep(),
            }
            course.say();
            if destination.is_away() {
                course.complete = false;
                super::complain("the destination is away: what was not sent is left\n");
                break;
            }
        }
        Ok(())
    }

    /// Lists what would be sent.
    async fn list(&self, source: &mut Source, course: &mut Course) -> Result<(), String> {
        let mut left = self.choice.limit();
        while left > 0 {
            let Some(found) = source.next(&mut course.tally).await? else {
                break;
            };
            if let Some(letter) = self.chosen(&found, course) {
                left -= 1;
                course.tally.count(letter.items, Outcome::Listed);
                super::print(&format!("{}: {}\n", line(&letter, &found), letter.cause));
            }
            found.keep();
        }
        Ok(())
    }

    /// The letter, if it is to be sent; else it is counted.
    fn chosen(&self, found: &Found, course: &mut Course) -> Option<Letter> {
        let letter = match Letter::decode(&found.head) {
            Ok(letter) => letter,
            Err(problem) => {
                super::complain(&format!("{problem}\n"));
                course.tally.count(found.items, Outcome::Unreadable);
                return None;
            }
        };
        if !course.exporters.contains(&letter.exporter) {
            course.exporters.insert(letter.exporter.clone());
        }
        if self.choice.takes(&letter) {
            return Some(letter);
        }
        course.tally.count(letter.items, Outcome::Skipped);
        None
    }
}

/// How far it is.
struct Course {
    tally: Tally,
    /// When that was last said.
    said: Instant,
    /// Whether it was not stopped before its end.
    complete: bool,
    /// The exporters that letters were for.
    exporters: BTreeSet<String>,
}

impl Course {
    fn say(&mut self) {
        if self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            super::complain(&format!("{}\n", self.tally.progress()));
        }
    }
}

/// A letter, as a line for a person.
fn line(letter: &Letter, found: &Found) -> String {
    format!(
        "{} {} {} {} {} items {} bytes",
        time::show(letter.given_up),
        letter.exporter,
        letter.reason,
        letter.signal.name(),
        letter.items,
        found.body.len()
    )
}
