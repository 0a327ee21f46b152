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
        if report.gone.is_none() && !still_answers(&probe).await {
            report.gone = Some(check.line.id);
            outcome.verdict = failed("an answer to the next ordinary request", "none");
        }
        show.line(&outcome);
        report.outcomes.push(outcome);
    }
    Ok(report)
}

/// How long a server that answers nothing has to come back: whoever watches over it may start it
/// anew.
const RETURN: Duration = Duration::from_secs(10);

/// Whether every server answers an ordinary request, with whatever.
async fn still_answers(probe: &Probe) -> bool {
    let give_up = Instant::now() + RETURN;
    loop {
        if answers(probe).await {
            return true;
        }
        if Instant::now() > give_up {
            return false;
        }
        tokio::time::sleep(TICK / 3).await;
    }
}

async fn answers(probe: &Probe) -> bool {
    let signal = probe.any_signal();
    let request = data::request(signal, 1);
    let grpc = probe.grpc.is_none() || probe.export(signal, &request).await.is_ok();
    let ask = Ask::protobuf(signal, request);
    grpc && (probe.http.is_none() || probe.ask(&ask).await.is_ok())
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
