//! The sink: an OTLP server that accounts for every id, and that can be told to fail, to be slow,
//! to hang or to refuse connections.

mod behaviour;
mod control;
mod ledger;
mod listen;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::print_json;
use crate::units::parse_duration;
use behaviour::{Behaviour, Mode};
use ledger::Ledger;
use listen::{Listening, Transport};

/// What `otlpd bench sink` takes.
#[derive(Args, Debug)]
pub(super) struct SinkArgs {
    /// Where it takes OTLP/gRPC, HOST:PORT; port 0 is any
    #[arg(long)]
    grpc: Option<String>,
    /// Where it takes OTLP/HTTP and, without --control, GET /stats, POST /control and POST /check
    #[arg(long)]
    http: Option<String>,
    /// An address for /stats, /control and /check alone; it stays open when the others refuse
    #[arg(long)]
    control: Option<String>,
    /// Answer with this code: gRPC's below 100, else an HTTP status
    #[arg(long, default_value_t = 0)]
    fail: u16,
    /// The share of requests that fail with --fail (14 where it is not given), 0 to 1
    #[arg(long)]
    fail_rate: Option<f64>,
    /// The delay that failures ask for (RetryInfo, Retry-After)
    #[arg(long, value_parser = parse_duration)]
    retry_after: Option<Duration>,
    /// Wait so long before each answer
    #[arg(long, value_parser = parse_duration, default_value = "0ms")]
    delay: Duration,
    /// Never answer
    #[arg(long)]
    hang: bool,
    /// After so many requests close the listeners and all connections
    #[arg(long)]
    refuse_after: Option<u64>,
    /// Reject so many items of each request by `partial_success`
    #[arg(long, default_value_t = 0)]
    partial: u64,
    /// Count requests and bytes only, and look into no body
    #[arg(long)]
    count_only: bool,
    /// The largest HTTP/2 frame it asks for, in KiB: 16 to 16383
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..16384))]
    frame_kib: u32,
    /// The window of an HTTP/2 stream, in KiB; a connection has four times as much
    #[arg(long, default_value_t = 4096)]
    window_kib: u32,
    /// End after this time
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Threads of the sink
    #[arg(long, default_value_t = 1)]
    pub(super) threads: usize,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    behaviour: watch::Sender<Behaviour>,
    count_only: bool,
    frame_bytes: u32,
    window_bytes: u32,
}

/// Serves until SIGTERM, SIGINT or the end of `--duration`, then prints the accounts as JSON.
/// The first line says where it listens. The error is a sentence about a listener.
pub(super) async fn run(args: SinkArgs) -> Result<(), String> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("no SIGTERM: {error}"))?;
    let shared = Arc::new(Shared {
        ledger: Ledger::default(),
        behaviour: watch::Sender::new(args.behaviour()),
        count_only: args.count_only,
        frame_bytes: (args.frame_kib << 10).min((1 << 24) - 1),
        window_bytes: args.window_kib << 10,
    });
    let control_elsewhere = args.control.is_some();
    let mut addresses = serde_json::Map::new();
    for (name, address, transport) in [
        ("grpc", &args.grpc, Transport::Grpc),
        (
            "http",
            &args.http,
            Transport::Http {
                control: !control_elsewhere,
            },
        ),
        ("control", &args.control, Transport::Control),
    ] {
        let Some(address) = address else { continue };
        let listening = Listening::bind(address, transport).await?;
        addresses.insert(name.to_owned(), listening.address.to_string().into());
        tokio::spawn(listening.serve(Arc::clone(&shared)));
    }
    if addresses.is_empty() {
        return Err("name an address: --grpc, --http or both".to_owned());
    }
    print_json(&serde_json::json!({ "listening": addresses }))?;
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end => {}
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    print_json(&shared.ledger.report())
}

impl SinkArgs {
    fn behaviour(&self) -> Behaviour {
        let failing = self.fail != 0 || self.fail_rate.is_some();
        Behaviour {
            mode: match (self.hang, failing) {
                (true, _) => Mode::Hang,
                (false, true) => Mode::Fail,
                (false, false) => Mode::Ok,
            },
            code: if self.fail == 0 { 14 } else { self.fail },
            rate: self.fail_rate.unwrap_or(1.0),
            retry_after: self.retry_after,
            delay: self.delay,
            partial: self.partial,
            refuse_after: self.refuse_after,
        }
    }
}
