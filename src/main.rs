//! The `otlpd` binary.

use std::process::ExitCode;

use clap::Parser;
use otlpd::cli::bench;

#[derive(Parser, Debug)]
#[command(name = "otlpd", version)]
enum Cli {
    /// Measure a pipeline and account for every item that goes through it
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let Cli::Bench(args) = Cli::parse();
    bench::run(args)
}
