//! The load generator, the accounting sink and the bare TCP proxy with which pipelines are sized
//! and with which the tests prove that nothing is lost.

mod account;
mod args;
pub(super) mod item;
mod latency;
mod load;
mod proxy;
mod request;
mod scan;
mod sink;
pub(crate) mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tokio::net::TcpListener;

/// `otlpd bench`: measure a pipeline and account for every item that goes through it.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Send OTLP requests in which every item carries an id, and report what became of them
    Load(load::LoadArgs),
    /// Receive OTLP and account for every id: unique, duplicate, missing
    Sink(sink::SinkArgs),
    /// Copy TCP both ways and do nothing else: the floor that a collector is compared to
    Proxy(proxy::ProxyArgs),
}

/// Runs the chosen command on a runtime of its own. The exit code is 0 when it did what it was
/// asked to, whatever the answers were that it got.
pub fn run(args: BenchArgs) -> ExitCode {
    let done = match args.command {
        Command::Load(args) => on_runtime(args.threads, load::run(args)),
        Command::Sink(args) => on_runtime(args.threads, sink::run(args)),
        Command::Proxy(args) => on_runtime(args.threads, proxy::run(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            super::complain(&format!("otlpd bench: {problem}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Runs this to its end on a runtime of so many threads.
pub(super) fn on_runtime<T>(
    threads: usize,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut builder = if threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?
        .block_on(work)
}

/// A listener and its address, where port 0 was asked for the one that it got.
async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), String> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound
        .await
        .map_err(|error: std::io::Error| format!("cannot listen on {address}: {error}"))
}

/// One line of JSON on standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    let mut out = std::io::stdout();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to standard output: {error}"))
}
