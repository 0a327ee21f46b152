//! `otlpd conform client`: a scripted server that an exporter is pointed at, and that judges what
//! the exporter does.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use self::arrival::{Arrival, Wire};
use self::case::{Case, Expect, Seen};
use self::command::Runs;
use self::feed::Feed;
use self::line::{ClientLine, Finding, Judge, Needs, judge_each};
use self::progress::Progress;
use self::stage::Stage;
use self::stream::Stream;
use super::line::{Line, Verdict};
use crate::cli::print;
use crate::units;

mod answer;
mod arrival;
mod case;
mod command;
mod feed;
mod line;
mod lines;
mod progress;
mod serve;
mod stage;
mod stream;

/// What is judged, and how it is made to send.
#[derive(Args, Debug)]
pub(crate) struct ClientArgs {
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
    /// The receiver (OTLP/HTTP) of a collector under test: it is given a span for each scenario
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    feed: Option<String>,
    /// The longest that a request is waited for, and that a COMMAND may run
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::parse_duration)]
    patience: Duration,
    /// How long nothing may come for a request to be given up; longer than the exporter's first
    /// retry takes. A COMMAND gives up by ending
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::parse_duration)]
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

/// What was seen of all scenarios, by line and protocol.
struct Review {
    seen: Vec<(&'static ClientLine, Wire, Vec<Seen>)>,
    arrivals: Vec<Arrival>,
    /// The protocols over which nothing came at all, and what did instead.
    silent: Vec<(Wire, String)>,
}

/// The verdict on each of these lines, and what else is worth telling of it.
pub(crate) async fn judge(
    args: &ClientArgs,
    wanted: &dyn Fn(&Line) -> bool,
) -> Result<Vec<(Line, Verdict, String)>, String> {
    let lines: Vec<&'static ClientLine> = lines::all()
        .into_iter()
        .filter(|line| wanted(&line.line))
        .collect();
    let review = match args.command.as_slice() {
        [] => by_itself(args, &lines).await?,
        command => by_command(args, command, &lines).await?,
    };
    let of_line = |line: &&'static ClientLine| {
        let (verdict, note) = review.verdict(line, args);
        (line.line, verdict, note)
    };
    Ok(lines.iter().map(of_line).collect())
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
    let cases: Vec<Case> = scenes.iter().flat_map(|(_, _, cases)| cases.clone()).collect();
    let progress = Progress::of(cases.len());
    let seen = progress.during(runs.play(cases, &progress)).await?;
    review.take(scenes, seen);
    Ok(review)
}

async fn by_itself(args: &ClientArgs, lines: &[&'static ClientLine]) -> Result<Review, String> {
    let stage = Stage::open(args.listen).await?;
    print(&format!(
        "listening on {}, OTLP over gRPC and HTTP\n",
        stage.address
    ));
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

impl Review {
    const fn new() -> Self {
        Self {
            seen: Vec::new(),
            arrivals: Vec::new(),
            silent: Vec::new(),
        }
    }

    /// Whether anything came over a protocol at all.
    fn begin(&mut self, seen: Seen) -> bool {
        let wire = seen.case.wire;
        let came = !seen.arrivals.is_empty();
        if !came {
            let output = seen.end.as_ref().map_or("", |end| end.output.trim());
            let last = output.lines().last().unwrap_or("nothing");
            let command = match &seen.end {
                Some(_) => format!("; the last line of the command's output: {last}"),
                None => String::new(),
            };
            self.silent
                .push((wire, format!("{}{command}", seen.nothing_came())));
        }
        self.arrivals.extend(seen.arrivals);
        self.arrivals.extend(seen.others);
        came
    }

    /// Deals what was seen out to the lines whose scenarios these were, one after the other.
    fn take(&mut self, scenes: Vec<(&'static ClientLine, Wire, Vec<Case>)>, seen: Vec<Seen>) {
        let mut seen = seen.into_iter();
        for (line, wire, cases) in scenes {
            let of_line: Vec<Seen> = seen.by_ref().take(cases.len()).collect();
            for seen in &of_line {
                self.arrivals.extend(seen.arrivals.iter().cloned());
                if seen.end.is_some() {
                    self.arrivals.extend(seen.others.iter().cloned());
                }
            }
            self.seen.push((line, wire, of_line));
        }
    }

    /// Over all protocols: wrong where it is over any, right where it is over one.
    fn verdict(&self, line: &'static ClientLine, args: &ClientArgs) -> (Verdict, String) {
        let wires: Vec<Wire> = line.wires.iter().copied().collect();
        let wires = wires.into_iter().filter(|wire| args.protocol.contains(wire));
        let found: Vec<(Wire, Finding)> = wires
            .map(|wire| (wire, self.finding(line, wire, args)))
            .collect();
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        let (mut notes, mut reasons) = (Vec::new(), Vec::new());
        let mut right = false;
        for (wire, finding) in found {
            let said = |text: String| format!("{}: {text}", wire.name());
            match finding {
                Finding::Right(note) => {
                    right = true;
                    notes.extend(Some(note).filter(|note| !note.is_empty()).map(said));
                }
                Finding::Wrong { expected: e, got: g } => {
                    if !expected.contains(&e) {
                        expected.push(e);
                    }
                    got.push(said(g));
                }
                Finding::Unknown(reason) if reasons.contains(&reason) => {}
                Finding::Unknown(reason) => reasons.push(reason),
            }
        }
        let verdict = if !got.is_empty() {
            Verdict::Fail {
                expected: expected.join("; "),
                got: got.join("; "),
            }
        } else if right {
            Verdict::Pass
        } else if reasons.is_empty() {
            Verdict::Skip("none of these protocols is judged".to_owned())
        } else {
            Verdict::Skip(reasons.join("; "))
        };
        (verdict, notes.join("; "))
    }

    fn finding(&self, line: &'static ClientLine, wire: Wire, args: &ClientArgs) -> Finding {
        let silence = self.silent.iter().find(|(silent, _)| *silent == wire);
        let needs_command = line.needs == Needs::Command && args.command.is_empty();
        let needs_stream = line.needs == Needs::Stream && !args.command.is_empty();
        let of_line = self
            .seen
            .iter()
            .find(|(one, over, _)| std::ptr::eq(*one, line) && *over == wire);
        match (line.judge, of_line) {
            (Judge::Unseen(why), _) => Finding::Unknown(why.to_owned()),
            _ if needs_command => Finding::Unknown(
                "it takes a COMMAND that can be started for each scenario".to_owned(),
            ),
            _ if needs_stream => {
                Finding::Unknown("it takes an exporter that goes on sending".to_owned())
            }
            _ if silence.is_some() => {
                let said = silence.map_or("", |(_, said)| said);
                Finding::Unknown(said.to_owned())
            }
            (Judge::Arrivals(judge), _) => {
                let over = |arrival: &&Arrival| arrival.content.wire == wire;
                let arrivals: Vec<_> = self.arrivals.iter().filter(over).cloned().collect();
                judge(&arrivals)
            }
            (Judge::Cases(_), Some((_, _, seen))) => judge_each(seen),
            (Judge::Together(_, judge), Some((_, _, seen))) => judge(seen),
            _ => Finding::Unknown("it was not played".to_owned()),
        }
    }
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
