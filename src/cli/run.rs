//! `otlpd` without a subcommand: runs the daemon.

use std::path::Path;
use std::process::ExitCode;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};

use super::ConfigArgs;
use super::hand_over::{Outcome, hand_over};
use crate::app::{Allowances, App};
use crate::config::{Config, Cpus, Files, summary};
use crate::host::cpu::{self, CpuAllowance};
use crate::host::service::{Change, notify};
use crate::host::signals::{Signals, StopSignal, Wish};
use crate::host::{allocator, memory};
use crate::intake::MemoryBudget;
use crate::net::handover::Predecessor;
use crate::net::inherited::Sockets;
use crate::telemetry::ledger::LedgerSnapshot;
use crate::telemetry::logging;

/// Something was lost: the last line of the log says what and why.
const LOST: u8 = 3;

/// Why SIGUSR2 is refused in the end.
pub(super) const STOPPING: &str = "this process is stopping";

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let (predecessor, given) = match Predecessor::find() {
        Ok(found) => found.unzip(),
        Err(problem) => {
            super::complain(&format!("otlpd: {problem}\n"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = match args.load_with(Files::Read) {
        Ok(config) => carry_out(&config, predecessor.as_ref(), given)
            .map_err(|problem| format!("otlpd: {problem}")),
        Err(problems) => Err(problems.to_string()),
    };
    outcome.unwrap_or_else(|problem| {
        super::complain(&format!("{problem}\n"));
        if let Some(predecessor) = predecessor {
            predecessor.fail(&problem);
        }
        ExitCode::FAILURE
    })
}

fn carry_out(
    config: &Config,
    predecessor: Option<&Predecessor>,
    given: Option<Sockets>,
) -> Result<ExitCode, String> {
    logging::install(&config.log).map_err(|error| error.to_string())?;
    let sockets = given.unwrap_or_else(Sockets::from_service_manager);
    let allowances = allowances(config);
    allocator::keep(allocator::slack(allowances.budget));
    let runtime = runtime(allowances.cpu.threads).map_err(|error| error.to_string())?;
    runtime.block_on(live(config, &allowances, predecessor, sockets))
}

async fn live(
    config: &Config,
    allowances: &Allowances,
    predecessor: Option<&Predecessor>,
    sockets: Sockets,
) -> Result<ExitCode, String> {
    let mut signals = Signals::install().map_err(|error| error.to_string())?;
    let prepared = App::prepare(config, allowances, sockets).await?;
    if let Some(predecessor) = predecessor {
        tokio::select! {
            yours = predecessor.take_over() => yours?,
            signal = signals.stop("this process is only starting") => {
                tracing::info!("{signal}: stopped before anything was taken");
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let mut app = prepared.start(config, allowances).await?;
    announce(config, allowances);
    notify(Change::Ready);
    if let Some(predecessor) = predecessor {
        predecessor.ready();
    }
    loop {
        match signals.next().await {
            Wish::Stop(signal) => return Ok(stop(app, config, signal, signals).await),
            Wish::Upgrade => {}
        }
        app = match hand_over(app, config, allowances, &mut signals).await? {
            Outcome::Stays(app) => *app,
            Outcome::IsToStop(app, signal) => return Ok(stop(*app, config, signal, signals).await),
            Outcome::HandedOver(app, to) => return Ok(leave(*app, to, signals).await),
        };
    }
}

async fn stop(app: App, config: &Config, signal: StopSignal, mut signals: Signals) -> ExitCode {
    notify(Change::Stopping);
    tracing::info!(
        deadline = ?config.shutdown.deadline,
        "{signal}: draining; send it again to give up what is left"
    );
    let ledger = app.stop(signals.stop(STOPPING).map(|_signal| ())).await;
    conclude(&ledger)
}

/// What is only in this process's memory is delivered while another one serves already.
async fn leave(app: App, to: u32, mut signals: Signals) -> ExitCode {
    tracing::info!("process {to} has taken over; delivering what is left here");
    let replaced = format!("process {to} has replaced this one: ask that one");
    let ledger = app.stop(signals.stop(&replaced).map(|_signal| ())).await;
    conclude(&ledger)
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
    if let Some(line) = summary::open_admin(config) {
        tracing::warn!("{line}");
    }
    tracing::info!("memory budget: {}", allowances.budget_source);
    tracing::info!("CPU allowance: {}", allowances.cpu);
}

fn conclude(ledger: &LedgerSnapshot) -> ExitCode {
    let lost = ledger.lost();
    let text = serde_json::to_string(ledger).unwrap_or_default();
    let elsewhere = elsewhere(ledger);
    let requests = ledger.uncounted_requests();
    if lost == 0 && requests == 0 {
        tracing::info!("stopped; nothing was lost{elsewhere}; ledger: {text}");
        return ExitCode::SUCCESS;
    }
    let what = match (lost, requests) {
        (items, 0) => format!("{items} items"),
        (0, requests) => format!("{requests} stored requests of an unknown number of items"),
        (items, requests) => format!("{items} items and {requests} stored requests beside them"),
    };
    tracing::error!("stopped; {what} were lost{elsewhere}; ledger: {text}");
    ExitCode::from(LOST)
}

/// What was neither delivered nor lost.
fn elsewhere(ledger: &LedgerSnapshot) -> String {
    let mut text = String::new();
    for (items, place) in [
        (ledger.in_dead_letters(), "in the dead letters"),
        (ledger.kept(), "kept on disk for the next start"),
    ] {
        if items > 0 {
            text += &format!(", {items} items are {place}");
        }
    }
    text
}
