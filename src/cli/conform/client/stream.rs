//! An exporter under test that runs on by itself, such as a collector's: all scenarios are played
//! on one address, for the requests that come, or that it is fed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::arrival::Arrival;
use super::case::{Case, Seen};
use super::feed::Feed;
use super::line::Needs;
use super::progress::Progress;
use super::stage::{Part, Stage};

/// How scenarios are played one after the other.
pub(super) struct Stream<'a> {
    pub(super) stage: &'a Stage,
    pub(super) feed: Option<&'a Feed>,
    /// The longest that a request is waited for.
    pub(super) patience: Duration,
    /// How long nothing may come, for nothing more to come.
    pub(super) quiet: Duration,
}

/// The scenarios of one line over one protocol, and what they need.
pub(super) type Scene = (Needs, Vec<Case>);

impl Stream<'_> {
    /// Plays all scenes; what was seen is in the order of their scenarios. Those that need nothing
    /// are played together.
    pub(super) async fn play(
        &self,
        scenes: Vec<Scene>,
        progress: &Progress,
    ) -> Result<Vec<Seen>, String> {
        let mut seen: Vec<(usize, Seen)> = Vec::new();
        let mut together = Vec::new();
        let mut alone = Vec::new();
        for (needs, cases) in scenes {
            let numbered = cases.into_iter().map(|case| (self.stage.number(), case));
            let numbered: Vec<(usize, Case)> = numbered.collect();
            match needs {
                Needs::Nothing => together.extend(numbered),
                _ => alone.push(numbered),
            }
        }
        for batch in std::iter::once(together).chain(alone) {
            seen.extend(self.batch(batch, progress).await?);
        }
        seen.sort_by_key(|(number, _)| *number);
        Ok(seen.into_iter().map(|(_, seen)| seen).collect())
    }

    async fn batch(
        &self,
        cases: Vec<(usize, Case)>,
        progress: &Progress,
    ) -> Result<Vec<(usize, Seen)>, String> {
        let before = self.stage.arrivals().len();
        for (number, case) in &cases {
            self.stage
                .put_on(Part::new(*number, case.wire, &case.answers));
            self.wait_for(*number).await?;
            self.stage.clear();
            progress.step();
        }
        self.settle(&cases).await;
        self.stage.open_door();
        let mut arrivals = self.stage.arrivals();
        let arrivals = arrivals.split_off(before.min(arrivals.len()));
        let seen = cases.into_iter().map(|(number, case)| {
            let of_case = |arrival: &&Arrival| is_of(arrival, number);
            let of_none = |arrival: &&Arrival| arrival.case.is_none();
            let seen = Seen {
                case,
                arrivals: arrivals.iter().filter(of_case).cloned().collect(),
                others: arrivals.iter().filter(of_none).cloned().collect(),
                end: None,
            };
            (number, seen)
        });
        Ok(seen.collect())
    }

    /// Waits for the request of a scenario, after a span was fed for it. The error is a sentence:
    /// the collector is not there.
    async fn wait_for(&self, number: usize) -> Result<(), String> {
        let came = Arc::new(AtomicBool::new(false));
        let fed = self.feed.map(|feed| feed.send(self.patience, &came));
        let here = |arrivals: &[Arrival]| arrivals.iter().any(|one| is_of(one, number));
        let arrived = self.stage.until(self.patience, here).await;
        came.store(true, Ordering::Relaxed);
        match fed {
            Some(fed) if !arrived && self.stage.arrivals().is_empty() => {
                let said = fed.await.unwrap_or_default();
                Err(format!("nothing came of the span that was fed: {said}"))
            }
            _ => Ok(()),
        }
    }

    /// Waits until every scenario is at its end, and then for what must not come any more.
    async fn settle(&self, cases: &[(usize, Case)]) {
        let at_its_end = |arrivals: &[Arrival], number: usize, case: &Case| {
            let mut of_case = arrivals.iter().filter(|one| is_of(one, number));
            let last = of_case.nth(case.answers.len().saturating_sub(1));
            last.is_some_and(|last| last.answered.or(last.left).is_some())
        };
        self.stage
            .until(self.patience, |arrivals| {
                let mut cases = cases.iter();
                cases.all(|(number, case)| at_its_end(arrivals, *number, case))
            })
            .await;
        let watched = |arrival: &Arrival| {
            let mut cases = cases.iter().filter(|(number, _)| is_of(arrival, *number));
            cases.any(|(_, case)| case.answers.last().is_some_and(|last| !last.ends_quietly()))
        };
        let arrivals = self.stage.arrivals();
        let watched = arrivals.iter().filter(|arrival| watched(arrival));
        let last: Option<Instant> = watched.filter_map(|arrival| arrival.answered).max();
        if let Some(last) = last {
            sleep_until(last + self.quiet).await;
        }
    }
}

fn is_of(arrival: &Arrival, number: usize) -> bool {
    arrival.case.is_some_and(|(case, _)| case == number)
}
