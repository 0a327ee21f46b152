//! `otlpd conform`: a conformance suite for whoever takes OTLP. It asks a server by the
//! specifications' own words, from outside, and knows nothing of otlpd: what the specifications
//! leave open is told apart, and fails nobody.

mod args;
mod calls;
mod client;
mod data;
mod families;
mod json;
mod line;
mod probe;
mod profiles;
mod protobuf;
mod report;
mod requests;
mod run;
mod sent;
mod sink;
mod transport;
mod wire;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use args::ServerArgs;
use report::Report;

/// The media types of OTLP over HTTP.
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// `otlpd conform`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Conform {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Check an exporter instead: serve it by a script, and judge what it does
    Client(Box<client::ClientArgs>),
}

impl Conform {
    /// Code 0 where every MUST and SHOULD line passes, 1 where one fails or the run cannot
    /// begin, 2 for a command line that was not understood or with which nothing is checked.
    pub(super) fn run(&self) -> ExitCode {
        if let Some(Mode::Client(client)) = &self.mode {
            return client.run();
        }
        let families = families::families();
        let selection = self.server.selection();
        if let Some(word) = selection.unknown(&families) {
            return misunderstood(&format!(
                "{word:?} names no line; --list prints all of them"
            ));
        }
        if report::chosen(&families, &selection).is_empty() {
            return misunderstood("no line is chosen: --skip has all of --only");
        }
        if self.server.list {
            let lines = report::chosen(&families, &selection);
            super::print(&report::list(lines, self.server.format));
            return ExitCode::SUCCESS;
        }
        let probe = match self.server.probe() {
            Ok(probe) if probe.grpc.is_none() && probe.http.is_none() => {
                return misunderstood("nothing to check: give --grpc, --http, or both");
            }
            Ok(probe) => Arc::new(probe),
            Err(problem) => return misunderstood(&problem),
        };
        let show = report::Show::new(self.server.format, std::io::stderr().is_terminal());
        let work = run::run(probe, families, selection, show);
        match super::bench::on_runtime(2, work) {
            Ok(report) => finish(&report, show),
            Err(problem) => {
                super::complain(&format!("otlpd conform: {problem}\n"));
                ExitCode::FAILURE
            }
        }
    }
}

fn finish(report: &Report, show: report::Show) -> ExitCode {
    show.end(report);
    if report.is_empty() {
        return misunderstood("nothing was checked: every line that was chosen is skipped");
    }
    if report.failed() == 0 && report.gone.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn misunderstood(problem: &str) -> ExitCode {
    super::complain(&format!("otlpd conform: {problem}\n"));
    ExitCode::from(2)
}
