//! `otlpd` without a subcommand: runs the daemon.

use std::path::Path;
use std::process::ExitCode;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};

use super::ConfigArgs;
use crate::app::{Allowances, App};
use crate::config::{Config, Cpus, summary};
use crate::host::cpu::{self, CpuAllowance};
use crate::host::signals::StopSignals;
use crate::host::{allocator, memory};
use crate::intake::MemoryBudget;
use crate::telemetry::ledger::LedgerSnapshot;
use crate::telemetry::logging;

/// Something was lost: the last line of the log says what and why.
const LOST: u8 = 3;

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(problems) => {
            super::complain(&format!("{problems}\n"));
            return ExitCode::FAILURE;
        }
    };
    match carry_out(&config) {
        Ok(code) => code,
        Err(problem) => {
            super::complain(&format!("otlpd: {problem}\n"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(config: &Config) -> Result<ExitCode, String> {
    logging::install(&config.log).map_err(|error| error.to_string())?;
    let allowances = allowances(config);
    allocator::keep((allowances.budget / 4).clamp(1 << 20, 32 << 20));
    let runtime = runtime(allowances.cpu.threads).map_err(|error| error.to_string())?;
    runtime.block_on(live(config, &allowances))
}

async fn live(config: &Config, allowances: &Allowances) -> Result<ExitCode, String> {
    let mut signals = StopSignals::install().map_err(|error| error.to_string())?;
    let app = App::start(config, allowances).await?;
    announce(config, allowances);
    let signal = signals.next().await;
    tracing::info!(
        deadline = ?config.shutdown.deadline,
        "{signal}: draining; send it again to give up what is left"
    );
    let ledger = app.stop(signals.next().map(|_signal| ())).await;
    Ok(conclude(&ledger))
}

/// One thread for each CPU that we may use. With one there is no second to pay for.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .worker_threads(threads)
        .thread_name("io")
        .enable_all()
        .build()
}

fn allowances(config: &Config) -> Allowances {
    let root = Path::new("/");
    let cpu = match config.process.cpus {
        Cpus::Auto => cpu::read(root),
        Cpus::Fixed(cpus) => CpuAllowance {
            cpus: f64::from(cpus.get()),
            threads: usize::try_from(cpus.get()).unwrap_or(1),
            source: format!("{cpus} from process.cpus"),
        },
    };
    let (budget, budget_source) = match config.intake.memory_budget {
        MemoryBudget::Fixed(size) => (size.bytes(), format!("{size} from intake.memory_budget")),
        MemoryBudget::Auto => {
            let limit = memory::read(root);
            (memory::budget(&limit), memory::explain_budget(&limit))
        }
    };
    Allowances {
        cpu,
        follow_cpu: config.process.cpus == Cpus::Auto,
        budget,
        budget_source,
    }
}

fn announce(config: &Config, allowances: &Allowances) {
    for warning in &config.warnings {
        tracing::warn!("{}: {}", warning.place(), warning.sentence());
    }
    tracing::info!("otlpd {} is running", env!("CARGO_PKG_VERSION"));
    for line in summary::lines(config) {
        tracing::info!("{line}");
    }
    tracing::info!("memory budget: {}", allowances.budget_source);
    tracing::info!("CPU allowance: {}", allowances.cpu);
}

fn conclude(ledger: &LedgerSnapshot) -> ExitCode {
    let lost = ledger.lost();
    let text = serde_json::to_string(ledger).unwrap_or_default();
    let elsewhere = elsewhere(ledger);
    if lost == 0 {
        tracing::info!("stopped; nothing was lost{elsewhere}; ledger: {text}");
        ExitCode::SUCCESS
    } else {
        tracing::error!("stopped; {lost} items were lost{elsewhere}; ledger: {text}");
        ExitCode::from(LOST)
    }
}

/// What was neither delivered nor lost.
fn elsewhere(ledger: &LedgerSnapshot) -> String {
    let mut text = String::new();
    for (items, place) in [
        (ledger.dead_lettered(), "in the dead letters"),
        (ledger.kept(), "kept on disk for the next start"),
    ] {
        if items > 0 {
            text += &format!(", {items} items are {place}");
        }
    }
    text
}
