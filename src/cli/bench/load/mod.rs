//! The load generator: what it is told, the workers that send, and the report.

mod answer;
mod client;
mod report;
mod worker;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::args::{Compression, Kind, Protocol};
use super::item::Run;
use super::print_json;
use super::request::{Shape, Template};
use crate::cli::tls::TlsArgs;
use crate::units::parse_duration;
use client::{Client, Target};
use report::Tally;
use worker::{Plan, Worker};

/// What `otlpd bench load` takes.
#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    /// Where the requests go: HOST:PORT, https://HOST:PORT or unix:PATH
    #[arg(long)]
    endpoint: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// How the requests travel
    #[arg(long, value_enum, default_value = "grpc")]
    protocol: Protocol,
    /// What they carry
    #[arg(long, value_enum, default_value = "traces")]
    signal: Kind,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Requests in flight on each connection; over HTTP/1.1 each of them takes its own connection
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Items in each request
    #[arg(long, default_value_t = 1000)]
    items: u64,
    /// Bytes of an item [default: 540 for traces, 375 for logs, 264 for metrics]
    #[arg(long)]
    item_bytes: Option<usize>,
    /// Items a second; 0 is as fast as it goes
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// How bodies are compressed. Compressed requests differ in the resource's base number only,
    /// so that they need no compressing while the clock runs; their size is as usual
    #[arg(long, value_enum, default_value = "none")]
    compression: Compression,
    /// Send bodies in HTTP/2 frames of so many KiB at most; grpc-go always has 16 [default: as
    /// large as the server allows]
    #[arg(long)]
    frame_kib: Option<usize>,
    /// How long to begin new requests
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    duration: Duration,
    /// How many requests to send, however long that takes
    #[arg(long, conflicts_with = "duration")]
    requests: Option<u64>,
    /// How long one attempt may take; sent as `grpc-timeout` as well
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Send again what was answered with a retryable code or not at all, as an SDK does: after
    /// the server's own delay, else after a growing one
    #[arg(long)]
    retry: bool,
    /// How long one request is sent again for
    #[arg(long, value_parser = parse_duration, default_value = "60s")]
    retry_for: Duration,
    /// The number of the run, to continue or to repeat one [default: a random one]
    #[arg(long)]
    run: Option<u32>,
    /// The first sequence number
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Write the acknowledged stretches here, one a line: run, first, how many, how many rejected
    #[arg(long)]
    acked: Option<PathBuf>,
    /// The HTTP address of the sink, HOST:PORT, to ask whether all that was acknowledged is there
    #[arg(long)]
    check: Option<String>,
    /// How long what was acknowledged may be on its way before it counts as missing
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    settle: Duration,
    /// Report as JSON
    #[arg(long)]
    json: bool,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    pub(super) threads: usize,
}

impl LoadArgs {
    fn shape(&self) -> Shape {
        let usual = match self.signal {
            Kind::Traces => 540,
            Kind::Logs => 375,
            Kind::Metrics => 264,
        };
        Shape {
            kind: self.signal,
            run: Run::numbered(self.run.unwrap_or_else(rand::random)),
            items: self.items.max(1),
            item_bytes: self.item_bytes.unwrap_or(usual),
            protocol: self.protocol,
            compression: self.compression,
        }
    }
}

/// Sends, waits for all answers, and reports. The error is a sentence for whoever called it.
pub(super) async fn run(args: LoadArgs) -> Result<(), String> {
    let shape = args.shape();
    let target = Arc::new(Target::new(&args, shape)?);
    let (workers, wire_bytes) = workers(&args, shape, &target).await?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(worker.work(started));
    }
    let mut tally = Tally::new();
    while let Some(done) = tasks.join_next().await {
        tally.merge(done.map_err(|error| format!("a worker ended: {error}"))?);
    }
    let took = started.elapsed();
    let acknowledged = tally.acknowledged(shape.run);
    if let Some(path) = &args.acked {
        std::fs::write(path, report::lines(&acknowledged))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let mut report = tally.report(shape, took, wire_bytes);
    if let Some(sink) = &args.check {
        report.check = Some(client::check(sink, report::lines(&acknowledged), args.settle).await?);
    }
    if args.json {
        return print_json(&report);
    }
    writeln!(std::io::stdout(), "{report}").map_err(|error| error.to_string())
}

/// The workers, each connected and with a request of its own, and the bytes of a request.
async fn workers(
    args: &LoadArgs,
    shape: Shape,
    target: &Arc<Target>,
) -> Result<(Vec<Worker>, usize), String> {
    let plan = Arc::new(Plan::new(args, shape));
    let mut workers = Vec::new();
    let mut wire_bytes = 0;
    for _ in 0..args.connections.max(1) {
        let mut client = Client::new(target);
        for _ in 0..args.in_flight.max(1) {
            if shape.protocol == Protocol::Http {
                client = Client::new(target);
            }
            client.connect().await?;
            let template = Template::new(shape, workers.len() as u64)?;
            wire_bytes = template.wire_bytes();
            workers.push(Worker::new(&plan, client.clone(), template));
        }
    }
    Ok((workers, wire_bytes))
}
