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
use crate::otlp::Format;
use crate::units::parse_duration;

/// How requests travel, and how hard it is tried.
#[derive(Args, Debug)]
pub(super) struct DestinationArgs {
    /// Where the requests go: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "ENDPOINT", required_unless_present = "dry_run")]
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
    /// 0s is one attempt
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
}

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

    /// Sends a letter until it is delivered, refused, or tried for long enough. What it comes to,
    /// and what was said of it where it was not delivered whole.
    pub(super) async fn send(&mut self, letter: &Letter, body: Bytes) -> (Outcome, Option<String>) {
        self.spend(letter.items);
        let batch = batch(letter, body);
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            let failure = match self.attempt(&batch).await {
                Ok(Delivered { rejected }) => {
                    let said = format!("{rejected} items were rejected one by one");
                    let said = (rejected > 0).then_some(said);
                    return (Outcome::Delivered { rejected }, said);
                }
                Err(failure) => failure,
            };
            let (after, cause) = match failure {
                Failure::Permanent { cause } => return (Outcome::Refused, Some(cause)),
                Failure::Retryable { after, cause } => (after, cause),
            };
            attempts += 1;
            let delay = self.backoff.delay(attempts, rand::random(), after);
            let spent = self.retry_for.is_zero() || self.backoff.gives_up(began.elapsed(), delay);
            if spent || !self.pause(delay).await {
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

fn batch(letter: &Letter, body: Bytes) -> Batch {
    Batch {
        signal: letter.signal,
        chunks: Chunks::from_elem(body, 1),
        items: letter.items,
        received: Instant::now(),
        context: Context::default(),
        deadline: None,
        encoded: None,
        reservations: SmallVec::new(),
    }
}
