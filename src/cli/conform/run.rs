//! The run: one line after the other, except those that mostly wait, which all begin at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

use super::data;
use super::families::Selection;
use super::line::{Check, Family, Verdict, failed};
use super::probe::{Ask, Probe};
use super::report::{Outcome, Report, Show};
use super::sent::Fate;
use super::sink::Sink;

/// How often a line that takes long says that it is still at work.
const TICK: Duration = Duration::from_secs(3);

type Begun = HashMap<&'static str, JoinHandle<Outcome>>;

/// Checks every chosen line. The error is a sentence: a server is not there at all.
pub(super) async fn run(
    probe: Arc<Probe>,
    families: Vec<Family>,
    selection: Selection,
    show: Show,
) -> Result<Report, String> {
    if let Some(sink) = &probe.sink {
        Sink::start(sink)?;
    }
    for endpoint in [&probe.grpc, &probe.http].into_iter().flatten() {
        endpoint.connect_plain().await?;
    }
    if let Err(problem) = still_answers(&probe).await {
        return Err(format!("no answer to an ordinary request: {problem}"));
    }
    if probe.sink.is_some() {
        show.note("waiting until the server delivers to --sink");
        delivers(&probe).await;
        show.quiet();
    }
    let chosen = families.iter().flat_map(|family| &family.checks);
    let chosen: Vec<&'static Check> = chosen
        .copied()
        .filter(|check| selection.has(check.line.id))
        .collect();
    let mut report = Report::new(&probe, families);
    show.begin(&report, &chosen);
    let waiting = chosen.iter().filter(|check| check.waits);
    let mut begun: Begun = waiting
        .map(|check| (check.line.id, begin(check, &probe)))
        .collect();
    for check in &chosen {
        let task = begun.remove(check.line.id);
        let mut outcome = match report.gone {
            Some(since) if task.is_none() => after_the_end(check, since),
            _ => watch(check, task.unwrap_or_else(|| begin(check, &probe)), show).await,
        };
        if report.gone.is_none()
            && let Err(problem) = still_answers(&probe).await
        {
            report.gone = Some(check.line.id);
            outcome.verdict = and_gone(outcome.verdict, &problem);
        }
        show.line(&outcome);
        report.outcomes.push(outcome);
    }
    Ok(report)
}

/// How long a server that answers nothing has to come back: whoever watches over it may start it
/// anew.
const RETURN: Duration = Duration::from_secs(10);

/// How long a server may take to find out that its destination (`--sink`) is there now.
const FOUND: Duration = Duration::from_secs(30);

/// Whether every server answers an ordinary request, with whatever. The error is a phrase.
async fn still_answers(probe: &Probe) -> Result<(), String> {
    let give_up = Instant::now() + RETURN;
    loop {
        match answers(probe).await {
            Err(_) if Instant::now() < give_up => tokio::time::sleep(TICK / 3).await,
            ended => return ended,
        }
    }
}

async fn answers(probe: &Probe) -> Result<(), String> {
    let signal = probe.any_signal();
    let request = data::request(signal, 1);
    if let Some(endpoint) = &probe.grpc {
        let called = probe.export(signal, &request).await;
        called.map_err(|verdict| format!("gRPC {endpoint}: {}", verdict.told()))?;
    }
    if let Some(endpoint) = &probe.http {
        let answer = probe.ask(&Ask::protobuf(signal, request)).await;
        answer.map_err(|verdict| format!("HTTP {endpoint}: {}", verdict.told()))?;
    }
    Ok(())
}

/// Waits until all that a server takes is taken: nobody was at `--sink` before. One that takes
/// nothing until then is judged all the same.
async fn delivers(probe: &Probe) {
    let give_up = Instant::now() + FOUND;
    for signal in &probe.known.signals {
        let request = data::request(*signal, 1);
        loop {
            let all = probe.deliver(*signal, &request).await.unwrap_or_default();
            let taken = !all.is_empty() && all.iter().all(|sent| sent.fate == Fate::Taken);
            if taken || Instant::now() > give_up {
                break;
            }
            tokio::time::sleep(TICK / 6).await;
        }
    }
}

/// The verdict on a line after which nobody answers.
fn and_gone(verdict: Verdict, problem: &str) -> Verdict {
    const EXPECTED: &str = "an answer to the next ordinary request";
    match verdict {
        Verdict::Fail { expected, got } => {
            let got = format!("{got}; and then no answer to an ordinary request: {problem}");
            failed(expected, got)
        }
        _ => failed(EXPECTED, format!("none: {problem}")),
    }
}

/// A line that was not looked at, since nobody was there to be asked.
fn after_the_end(check: &Check, since: &str) -> Outcome {
    let reason = format!("the server has answered no ordinary request since {since}");
    Outcome {
        line: check.line,
        verdict: Verdict::Skip { reason },
        took: Duration::ZERO,
    }
}

fn begin(check: &'static Check, probe: &Arc<Probe>) -> JoinHandle<Outcome> {
    let checking = (check.run)(Arc::clone(probe));
    tokio::spawn(async move {
        let began = Instant::now();
        let verdict = checking.await.unwrap_or_else(|verdict| verdict);
        Outcome {
            line: check.line,
            verdict,
            took: began.elapsed(),
        }
    })
}

async fn watch(check: &Check, mut task: JoinHandle<Outcome>, show: Show) -> Outcome {
    let began = Instant::now();
    let mut ticks = interval_at(began + TICK, TICK);
    loop {
        tokio::select! {
            ended = &mut task => {
                show.quiet();
                return ended.unwrap_or_else(|error| broken(check, &error.to_string()));
            }
            _ = ticks.tick() => show.still_at(check.line, began.elapsed()),
        }
    }
}

/// A check that could not be ended is told rather than lost.
fn broken(check: &Check, problem: &str) -> Outcome {
    Outcome {
        line: check.line,
        verdict: failed("a verdict", format!("a fault of this suite: {problem}")),
        took: Duration::ZERO,
    }
}
