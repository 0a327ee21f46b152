//! `otlpd queue`: looks into the queues on disk, of a stopped or a running otlpd. It only reads.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod contents;
mod export;
mod inspect;
mod output;
mod place;
mod progress;
mod summary;
mod verify;

/// Look into the queues on disk.
#[derive(Args, Debug)]
#[command(
    after_help = "All of them only read, and may run beside an otlpd that uses the folder. \
                        What it delivers meanwhile may then still be shown."
)]
pub(super) struct Queue {
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Say what each queue holds: requests, items, bytes, ages, files, damage; exit code 1 if there
    /// is any damage
    Inspect(inspect::Inspect),
    /// Read every record and name each damage; exit code 1 if there is any
    Verify(verify::Verify),
    /// Write out the requests that wait, as OTLP/JSON or protobuf
    Export(export::Export),
}

impl Queue {
    /// Code 0 where all could be read, 1 where something could not.
    pub(super) fn run(self) -> ExitCode {
        let result = match self.command {
            QueueCommand::Inspect(command) => command.run(),
            QueueCommand::Verify(command) => command.run(),
            QueueCommand::Export(command) => command.run(),
        };
        match result {
            Ok(Verdict::Sound) => ExitCode::SUCCESS,
            Ok(Verdict::Damaged) => ExitCode::FAILURE,
            Err(problem) => {
                super::complain(&format!("{problem}\n"));
                ExitCode::FAILURE
            }
        }
    }
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All was read, or what was asked for needs no more.
    Sound,
    /// Something could not be read, and was named.
    Damaged,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// For a person
    Text,
    /// For a program: one JSON document
    Json,
}
