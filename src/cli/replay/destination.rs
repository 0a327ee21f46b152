//! Where letters are sent again: one request after the other, with retries and a rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::FutureExt;
use smallvec::SmallVec;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::tally::Outcome;
use crate::batch::{Batch, Chunks, Context};
use crate::cli::tls::TlsArgs;
use crate::component::{Delivered, Exporter, Failure};
use crate::delivery::backoff::Backoff;
use crate::delivery::config::RetryConfig;
use crate::delivery::dead_letters::Letter;
use crate::exporters::otlp_grpc::OtlpGrpcConfig;
use crate::exporters::otlp_http::OtlpHttpConfig;
use crate::exporters::{self, ExporterConfig};
use crate::host::signals::StopSignals;
use crate::host::workers::Workers;
use crate::net::tls::Register;
use crate::otlp::walk::{Rules, walk};
use crate::otlp::wire::Reader;
use crate::otlp::{Format, Signal};
use crate::units::parse_duration;

/// How requests travel, and how hard it is tried.
#[derive(Args, Debug)]
pub(super) struct DestinationArgs {
    /// Where the requests go: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    to: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// How they travel
    #[arg(long, value_enum, default_value = "grpc")]
    protocol: Protocol,
    /// How they are compressed
    #[arg(long, value_enum, default_value = "gzip")]
    compression: Compression,
    /// Sent with each request, such as authorization="Bearer x"; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// How long one attempt may take
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// How long one request is tried again for, while its failures are of the kind that may pass;
    /// 0s is one attempt. Those after one that failed get one attempt each until the destination
    /// answers, and after three in a row the replay ends
    #[arg(long, value_parser = parse_duration, default_value = "60s")]
    retry_for: Duration,
    /// No more than so many items a second
    #[arg(long, value_name = "ITEMS_PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Grpc,
    Http,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compression {
    Gzip,
    Zstd,
    None,
}

fn header(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "wants NAME=VALUE".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "wants a number of items a second, above 0".to_owned())
}

impl DestinationArgs {
    /// Whether it is said where the requests go.
    pub(super) fn is_named(&self) -> bool {
        self.to.is_some()
    }

    /// What it is sent to, if it is sent at all; nothing is connected yet.
    ///
    /// # Errors
    /// A sentence, where the endpoint or a header cannot be used.
    pub(super) fn open(&self, stop: StopSignals) -> Result<Destination, String> {
        let endpoint = self.to.clone().unwrap_or_default();
        let compression = match self.compression {
            Compression::Gzip => exporters::Compression::Gzip,
            Compression::Zstd => exporters::Compression::Zstd,
            Compression::None => exporters::Compression::None,
        };
        let headers: BTreeMap<_, _> = self.header.iter().cloned().collect();
        let max_connection_age = Duration::from_secs(300);
        let config = match self.protocol {
            Protocol::Grpc => ExporterConfig::OtlpGrpc(OtlpGrpcConfig {
                auth: None,
                endpoint,
                tls: self.tls.config(),
                compression,
                headers,
                max_connection_age,
            }),
            Protocol::Http => ExporterConfig::OtlpHttp(OtlpHttpConfig {
                auth: None,
                endpoint,
                tls: self.tls.config(),
                encoding: Format::Protobuf,
                compression,
                headers,
                max_connection_age,
            }),
        };
        let exporter = config
            .build(&Workers::new(1), ("--to", &Register::default()))
            .map_err(|problem| format!("--to: {problem}"))?;
        Ok(Destination {
            exporter,
            timeout: self.timeout,
            retry_for: self.retry_for,
            backoff: Backoff::new(&RetryConfig {
                max_interval: Duration::from_secs(10),
                max_elapsed_time: self.retry_for,
                ..RetryConfig::default()
            }),
            rate: self.rate,
            free_at: Instant::now(),
            stop,
            stopped: false,
            failed_in_a_row: 0,
        })
    }
}

/// Takes one request after the other.
pub(super) struct Destination {
    exporter: Arc<dyn Exporter>,
    timeout: Duration,
    retry_for: Duration,
    backoff: Backoff,
    rate: Option<f64>,
    /// When the rate lets the next request go.
    free_at: Instant,
    stop: StopSignals,
    stopped: bool,
    /// Requests since one was answered.
    failed_in_a_row: u32,
}

/// After so many requests without an answer the destination is away.
const AWAY_AFTER: u32 = 3;

impl Destination {
    /// Whether we were asked to stop.
    pub(super) fn is_stopped(&mut self) -> bool {
        self.stopped = self.stopped || self.stop.next().now_or_never().is_some();
        self.stopped
    }

    /// Waits until the rate allows for another request; false if we are asked to stop before.
    pub(super) async fn is_free(&mut self) -> bool {
        if self.is_stopped() {
            return false;
        }
        let free = sleep_until(self.free_at);
        tokio::select! {
            () = free => {}
            _ = self.stop.next() => self.stopped = true,
        }
        !self.stopped
    }

    /// Whether the requests that were sent last had no answer, the first of them for as long as
    /// it is tried.
    pub(super) fn is_away(&self) -> bool {
        self.failed_in_a_row >= AWAY_AFTER
    }

    /// Sends a letter until it is delivered, refused, or tried for long enough. What is refused is
    /// sent again in halves, as far down as to what each resource has, so that what is at fault
    /// does not keep the rest. What it comes to, and what was said of it where it was not
    /// delivered whole.
    pub(super) async fn send(&mut self, letter: &Letter, body: Bytes) -> (Outcome, Option<String>) {
        self.spend(letter.items);
        let whole = batch(
            letter.signal,
            Chunks::from_elem(body.clone(), 1),
            letter.items,
        );
        let (outcome, said) = self.send_request(&whole).await;
        let entries = match outcome {
            Outcome::Refused => entries(letter.signal, &body),
            _ => Vec::new(),
        };
        if entries.len() < 2 {
            return (outcome, said);
        }
        self.send_halves(letter, &entries, said).await
    }

    async fn send_halves(
        &mut self,
        letter: &Letter,
        entries: &[Entry],
        mut said: Option<String>,
    ) -> (Outcome, Option<String>) {
        let mut refused = 0;
        let mut left = Vec::from(halves(entries));
        while let Some(part) = left.pop() {
            let items = part.iter().map(|entry| entry.items).sum();
            let chunks = part.iter().map(|entry| entry.bytes.clone()).collect();
            let (outcome, cause) = self
                .send_request(&batch(letter.signal, chunks, items))
                .await;
            match outcome {
                Outcome::Delivered { rejected } => refused += rejected,
                Outcome::Refused if part.len() > 1 => left.extend(halves(part)),
                Outcome::Refused => {
                    refused += items;
                    said = cause;
                }
                _ => return (outcome, cause),
            }
        }
        if refused >= letter.items {
            return (Outcome::Refused, said);
        }
        let cause = said.unwrap_or_default();
        let said = format!("{refused} of {} items were refused: {cause}", letter.items);
        (Outcome::Delivered { rejected: refused }, Some(said))
    }

    /// Sends one request until it is delivered, refused, or tried for long enough.
    async fn send_request(&mut self, batch: &Batch) -> (Outcome, Option<String>) {
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            let failure = match self.attempt(batch).await {
                Ok(Delivered { rejected }) => {
                    self.failed_in_a_row = 0;
                    let said = format!("{rejected} items were rejected one by one");
                    let said = (rejected > 0).then_some(said);
                    return (Outcome::Delivered { rejected }, said);
                }
                Err(failure) => failure,
            };
            let (after, cause) = match failure {
                Failure::Permanent { cause } => {
                    self.failed_in_a_row = 0;
                    return (Outcome::Refused, Some(cause));
                }
                Failure::Retryable { after, cause } => (after, cause),
            };
            attempts += 1;
            let delay = self.backoff.delay(attempts, rand::random(), after);
            let spent = self.retry_for.is_zero()
                || self.failed_in_a_row > 0
                || self.backoff.gives_up(began.elapsed(), delay);
            if spent || !self.pause(delay).await {
                self.failed_in_a_row += 1;
                let cause = format!("given up after {attempts} attempts: {cause}");
                return (Outcome::Failed, Some(cause));
            }
        }
    }

    async fn attempt(&self, batch: &Batch) -> Result<Delivered, Failure> {
        match timeout(self.timeout, self.exporter.export(batch)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure::Retryable {
                after: None,
                cause: format!("no answer within {:?}", self.timeout),
            }),
        }
    }

    /// Sleeps; false if we are asked to stop before or meanwhile.
    async fn pause(&mut self, delay: Duration) -> bool {
        if !self.is_stopped() {
            tokio::select! {
                () = sleep(delay) => {}
                _ = self.stop.next() => self.stopped = true,
            }
        }
        !self.stopped
    }

    /// The request takes its share of the rate: the one after it waits.
    fn spend(&mut self, items: u64) {
        if let Some(rate) = self.rate {
            let share = Duration::try_from_secs_f64(items as f64 / rate).unwrap_or(Duration::MAX);
            let from = self.free_at.max(Instant::now());
            self.free_at = from.checked_add(share).unwrap_or(from);
        }
    }
}

fn batch(signal: Signal, chunks: Chunks, items: u64) -> Batch {
    Batch {
        signal,
        chunks,
        items,
        received: Instant::now(),
        context: Context::default(),
        deadline: None,
        encoded: None,
        reservations: SmallVec::new(),
    }
}

/// What one resource has in a request: a request of its own.
#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    items: u64,
}

/// What a request is made of; nothing where it cannot be taken apart. Profiles cannot: they share
/// a dictionary.
fn entries(signal: Signal, body: &Bytes) -> Vec<Entry> {
    if signal == Signal::Profiles {
        return Vec::new();
    }
    let mut reader = Reader::new(body);
    let mut entries = Vec::new();
    while !reader.is_done() {
        let start = body.len() - reader.rest().len();
        let skipped = reader.tag().and_then(|tag| reader.skip(tag, 0));
        let bytes = body.slice(start..body.len() - reader.rest().len());
        match skipped.map(|()| walk(signal, &bytes, Rules::default())) {
            Ok(Ok(walked)) => entries.push(Entry {
                items: walked.items,
                bytes,
            }),
            _ => return Vec::new(),
        }
    }
    entries
}

/// The halves of a part, the first one last.
fn halves(part: &[Entry]) -> [&[Entry]; 2] {
    let (front, back) = part.split_at(part.len() / 2);
    [back, front]
}
