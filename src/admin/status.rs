//! `/status`: everything at this moment, as JSON.

use std::path::Path;

use serde::Serialize;

use super::{PipelineSummary, Sources};
use crate::delivery::dead_letters::LetterCounts;
use crate::host::process;
use crate::processors::fault::FaultSnapshot;
use crate::telemetry::health::Readiness;
use crate::telemetry::lanes::LaneSnapshot;
use crate::telemetry::ledger::LedgerSnapshot;
use crate::telemetry::upgrades::UpgradeSnapshot;

#[derive(Serialize)]
pub(super) struct Status<'a> {
    version: &'static str,
    pid: u32,
    uptime_seconds: f64,
    /// `ready`, `state` and `reasons`, as `/readyz` has them.
    readiness: Readiness,
    pipelines: &'a [PipelineSummary],
    lanes: Vec<LaneSnapshot>,
    faults: Vec<FaultSnapshot>,
    budget: BudgetStatus<'a>,
    cpu: CpuStatus,
    process: ProcessStatus,
    upgrade: UpgradeSnapshot,
    /// Absent where they are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<LetterCounts>,
    ledger: LedgerSnapshot,
}

#[derive(Serialize)]
struct BudgetStatus<'a> {
    limit_bytes: u64,
    used_bytes: u64,
    waiting_requests: u64,
    held_requests: u64,
    source: &'a str,
}

#[derive(Serialize)]
struct CpuStatus {
    cpus: f64,
    threads: usize,
    source: String,
}

#[derive(Serialize)]
struct ProcessStatus {
    rss_bytes: u64,
    peak_rss_bytes: u64,
    cpu_seconds: f64,
    threads: u64,
    open_fds: u64,
}

/// What there is to say now.
pub(super) fn status(sources: &Sources) -> Status<'_> {
    let lanes = sources.lanes.snapshots();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: sources.health.uptime_seconds(),
        readiness: sources.readiness(&lanes),
        pipelines: &sources.pipelines,
        lanes,
        faults: sources
            .faults
            .iter()
            .map(|fault| fault.snapshot())
            .collect(),
        budget: budget(sources),
        cpu: cpu(sources),
        process: process(),
        upgrade: sources.upgrades.snapshot(),
        dead_letters: sources.dead_letters(),
        ledger: sources.ledger.snapshot(),
    }
}

fn budget(sources: &Sources) -> BudgetStatus<'_> {
    BudgetStatus {
        limit_bytes: sources.budget.limit(),
        used_bytes: sources.budget.used(),
        waiting_requests: sources.budget.waiting(),
        held_requests: sources.door.held() as u64,
        source: &sources.budget_source,
    }
}

fn cpu(sources: &Sources) -> CpuStatus {
    let allowance = sources.cpu.borrow();
    CpuStatus {
        cpus: allowance.cpus,
        threads: allowance.threads,
        source: allowance.source.clone(),
    }
}

fn process() -> ProcessStatus {
    let usage = process::read(Path::new("/"));
    ProcessStatus {
        rss_bytes: usage.rss_bytes,
        peak_rss_bytes: usage.peak_rss_bytes,
        cpu_seconds: usage.cpu_seconds,
        threads: usage.threads,
        open_fds: usage.open_fds,
    }
}
