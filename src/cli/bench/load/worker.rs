//! One request in flight: stamp, send, note the answer, again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::time::Instant;

use super::LoadArgs;
use super::answer::Answer;
use super::client::Client;
use super::report::Tally;
use crate::cli::bench::request::{Shape, Template};

/// What all workers share: which request is next, and when it is due.
#[derive(Debug)]
pub(super) struct Plan {
    next: AtomicU64,
    requests: Option<u64>,
    duration: Duration,
    /// Between one request and the next; zero is as fast as it goes.
    interval: Duration,
    first: u64,
    items: u64,
    retry_for: Option<Duration>,
}

impl Plan {
    pub(super) fn new(args: &LoadArgs, shape: Shape) -> Self {
        let interval = if args.rate > 0.0 {
            Duration::try_from_secs_f64(shape.items as f64 / args.rate).unwrap_or(Duration::MAX)
        } else {
            Duration::ZERO
        };
        Self {
            next: AtomicU64::new(0),
            requests: args.requests,
            duration: args.duration,
            interval,
            first: args.first,
            items: shape.items,
            retry_for: args.retry.then_some(args.retry_for),
        }
    }

    /// The number of the next request and when it is due, counted from the start.
    fn take(&self, since_start: Duration) -> Option<(u64, Duration)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self
            .interval
            .saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        let wanted = match self.requests {
            Some(requests) => number < requests,
            None => due.max(since_start) < self.duration,
        };
        wanted.then_some((number, due))
    }
}

/// Sends one request after the other.
#[derive(Debug)]
pub(super) struct Worker {
    plan: Arc<Plan>,
    client: Client,
    template: Template,
    tally: Tally,
}

impl Worker {
    pub(super) fn new(plan: &Arc<Plan>, client: Client, template: Template) -> Self {
        Self {
            plan: Arc::clone(plan),
            client,
            template,
            tally: Tally::new(),
        }
    }

    /// Works until the plan is done.
    pub(super) async fn work(mut self, started: Instant) -> Tally {
        while let Some((number, due)) = self.plan.take(started.elapsed()) {
            let mut begun = Instant::now();
            if !self.plan.interval.is_zero() {
                // A late start counts as latency: the client wanted to send then.
                begun = started + due;
                tokio::time::sleep_until(begun).await;
            }
            let first = self.plan.first + number * self.plan.items;
            let frame = self.template.stamp(first);
            let answer = self.send(frame).await;
            self.tally.plain_bytes += self.template.plain_bytes as u64;
            self.tally
                .last(&answer, begun.elapsed(), first, self.plan.items);
        }
        self.tally
    }

    /// Sends until there is an answer that an SDK takes as the last one.
    async fn send(&mut self, frame: Bytes) -> Answer {
        let give_up = self.plan.retry_for.map(|span| Instant::now() + span);
        let mut backoff = Duration::from_secs(1);
        loop {
            let answer = self.client.send(frame.clone()).await;
            self.tally.attempt(&answer);
            let (Some(give_up), Some(named)) = (give_up, answer.retry()) else {
                return answer;
            };
            let jitter = rand::rng().random_range(0.8..1.2);
            let wait = named.unwrap_or_else(|| backoff.mul_f64(jitter));
            if Instant::now() + wait > give_up {
                return answer;
            }
            self.tally.retries += 1;
            tokio::time::sleep(wait).await;
            backoff = backoff.mul_f64(1.5).min(Duration::from_secs(5));
        }
    }
}
