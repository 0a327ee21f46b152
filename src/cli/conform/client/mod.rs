//! `otlpd conform client`: a scripted server that an exporter is pointed at, and that judges what
//! the exporter does.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;

pub(super) use self::answer::{AnswerBody, taken};
pub(super) use self::arrival::{Wire, framing, unpacked};
use self::case::{Case, Expect};
use self::command::Runs;
use self::feed::Feed;
use self::line::{ClientLine, Needs};
use self::progress::Progress;
use self::review::Review;
use self::stage::Stage;
use self::stream::Stream;
use super::args::Format;
use super::families::Selection;
use super::line::Family;
use super::report::{Outcome, Report, Show, list};
use crate::cli::bench::on_runtime;
use crate::units::parse_duration;

mod answer;
mod arrival;
mod case;
mod command;
mod feed;
mod line;
mod lines;
mod progress;
mod review;
mod serve;
mod stage;
mod stream;

/// Check a client that sends OTLP against the specifications
#[derive(Args, Debug)]
#[command(
    after_help = "The exporter under test is a COMMAND that is started for each scenario, a \
    collector that is fed (--feed), or anything that goes on sending by itself. The exit code is \
    0 where every MUST and SHOULD line passes, 1 where one fails or nothing came at all, 2 for a \
    command line that was not understood."
)]
pub(super) struct ClientArgs {
    /// Where the exporter finds the server: gRPC and HTTP on one port. Port 0 is one that is
    /// free; with a COMMAND each scenario has one of its own
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The protocols to judge: grpc, http/protobuf, http/json
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "grpc,http/protobuf"
    )]
    protocol: Vec<Wire>,
    /// Print all lines with their level and source, and check nothing
    #[arg(long)]
    list: bool,
    /// Only these families or lines, such as E or C3,C6
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these families or lines
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    skip: Vec<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The receiver (OTLP/HTTP) of a collector under test: it is given a span for each scenario
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    feed: Option<String>,
    /// The longest that a request is waited for, and that a COMMAND may run
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    patience: Duration,
    /// How long nothing may come for a request to be given up; longer than the exporter's first
    /// retry takes. A COMMAND gives up by ending
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    quiet: Duration,
    /// How many COMMANDs run at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// The exporter under test: started once for each scenario, with OTEL_EXPORTER_OTLP_ENDPOINT
    /// and its like set. It sends a little telemetry in one request, shuts down and ends.
    /// Without it the exporter runs by itself
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl ClientArgs {
    /// See the exit codes in its help.
    pub(super) fn run(&self) -> ExitCode {
        let selection = Selection {
            only: self.only.clone(),
            skip: self.skip.clone(),
        };
        let (all, mut words) = (lines::all(), self.only.iter().chain(&self.skip));
        if let Some(word) = words.find(|word| !selects_any(word, &all)) {
            let problem = format!("{word:?} names no line; --list prints all of them");
            return super::misunderstood(&problem);
        }
        let chosen = |line: &&ClientLine| selection.has(line.line.id);
        let lines: Vec<&'static ClientLine> = all.into_iter().filter(chosen).collect();
        if self.list {
            let lines = lines.iter().map(|line| line.line).collect();
            crate::cli::print(&list(lines, self.format));
            return ExitCode::SUCCESS;
        }
        match on_runtime(2, self.judge(&lines)) {
            Ok(report) => super::finish(&report, self.show()),
            Err(problem) => {
                crate::cli::complain(&format!("otlpd conform client: {problem}\n"));
                ExitCode::FAILURE
            }
        }
    }

    fn show(&self) -> Show {
        Show::new(self.format, false)
    }

    /// The error is a sentence: the suite cannot play, or nothing came at all.
    async fn judge(&self, lines: &[&'static ClientLine]) -> Result<Report, String> {
        let mut report = Report {
            endpoints: vec![("listen", self.listen.to_string())],
            families: families(),
            began: SystemTime::now(),
            outcomes: Vec::new(),
            gone: None,
        };
        let review = match self.command.as_slice() {
            [] => by_itself(self, lines).await?,
            command => by_command(self, command, lines).await?,
        };
        review.came()?;
        for line in lines {
            let outcome = Outcome {
                line: line.line,
                verdict: review.verdict(line, self),
                took: Duration::ZERO,
            };
            self.show().line(&outcome);
            report.outcomes.push(outcome);
        }
        Ok(report)
    }
}

fn selects_any(word: &str, lines: &[&ClientLine]) -> bool {
    let one = Selection {
        only: vec![word.to_owned()],
        skip: Vec::new(),
    };
    lines.iter().any(|line| one.has(line.line.id))
}

/// The families, for reports that are grouped by them.
fn families() -> Vec<Family> {
    [('C', "a client"), ('E', "its configuration")]
        .map(|(letter, about)| Family {
            letter,
            about,
            checks: Vec::new(),
        })
        .into()
}

/// One request that is taken, to see whether any comes.
fn plain(wire: Wire) -> Case {
    Case::new(wire, "taken", [answer::Answer::Taken], Expect::Again)
}

async fn by_command(
    args: &ClientArgs,
    command: &[String],
    lines: &[&'static ClientLine],
) -> Result<Review, String> {
    let runs = Runs {
        command,
        listen: args.listen,
        patience: args.patience,
        jobs: args.jobs,
    };
    let mut review = Review::new();
    let first = args.protocol.iter().map(|wire| plain(*wire)).collect();
    let progress = Progress::of(args.protocol.len());
    let first = progress.during(runs.play(first, &progress)).await?;
    let mut scenes = Vec::new();
    for seen in first {
        let wire = seen.case.wire;
        if review.begin(seen) {
            let played = lines.iter().filter(|line| line.needs != Needs::Stream);
            scenes.extend(played.map(|line| (*line, wire, line.cases(wire))));
        }
    }
    let cases: Vec<Case> = scenes
        .iter()
        .flat_map(|(_, _, cases)| cases.clone())
        .collect();
    let progress = Progress::of(cases.len());
    let seen = progress.during(runs.play(cases, &progress)).await?;
    review.take(scenes, seen);
    Ok(review)
}

async fn by_itself(args: &ClientArgs, lines: &[&'static ClientLine]) -> Result<Review, String> {
    let stage = Stage::open(args.listen).await?;
    // Whoever starts the exporter has to know where to, in any format; a report is standard output's.
    let greeting = format!("listening on {}, gRPC and HTTP\n", stage.address);
    match args.format {
        Format::Text => crate::cli::print(&greeting),
        Format::Json | Format::Junit => crate::cli::complain(&greeting),
    }
    let feed = args.feed.as_deref().map(Feed::new).transpose()?;
    let stream = Stream {
        stage: &stage,
        feed: feed.as_ref(),
        patience: args.patience,
        quiet: args.quiet,
    };
    let mut review = Review::new();
    for wire in &args.protocol {
        let progress = Progress::of(1);
        let first = vec![(Needs::Stage, vec![plain(*wire)])];
        let first = progress.during(stream.play(first, &progress)).await?;
        if !first.into_iter().all(|seen| review.begin(seen)) {
            continue;
        }
        let played = lines.iter().filter(|line| line.needs != Needs::Command);
        let scenes: Vec<_> = played
            .map(|line| (*line, *wire, line.cases(*wire)))
            .collect();
        let progress = Progress::of(scenes.iter().map(|(_, _, cases)| cases.len()).sum());
        let played = scenes
            .iter()
            .map(|(line, _, cases)| (line.needs, cases.clone()));
        let playing = stream.play(played.collect(), &progress);
        let seen = progress.during(playing).await?;
        review.take(scenes, seen);
    }
    review.arrivals = stage.arrivals();
    Ok(review)
}

impl std::str::FromStr for Wire {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|wire| wire.name() == name)
            .ok_or_else(|| format!("`{name}` is none of grpc, http/protobuf, http/json"))
    }
}
