//! `/status`: everything at this moment, as JSON.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{PipelineSummary, Sources};
use crate::delivery::dead_letters::LetterCounts;
use crate::delivery::left::LeftQueue;
use crate::host::process;
use crate::net::tls::Record;
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
    /// Where TLS is used.
    tls: Vec<TlsStatus>,
    /// What lies on disk of exporters that are not configured so, as found at the start.
    left_queues: &'a [LeftQueue],
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
struct TlsStatus {
    /// What in the configuration uses it.
    component: String,
    /// What is shown to others; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateStatus>,
    reloads: u64,
    failed_reloads: u64,
    /// Of listeners only.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_handshakes: Option<u64>,
}

#[derive(Serialize)]
struct CertificateStatus {
    subject: String,
    serial: String,
    expires_in_seconds: f64,
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
        tls: tls(sources),
        left_queues: sources.left_queues(),
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

fn tls(sources: &Sources) -> Vec<TlsStatus> {
    let now = SystemTime::now();
    let records = sources.tls.records();
    let status = |record: &Arc<Record>| {
        let [reloads, failed_reloads] = record.reloads();
        TlsStatus {
            component: record.component.clone(),
            certificate: record.leaf().map(|leaf| CertificateStatus {
                expires_in_seconds: leaf.left_seconds(now),
                subject: leaf.subject,
                serial: leaf.serial,
            }),
            reloads,
            failed_reloads,
            failed_handshakes: record.failed_handshakes().map(|all| all.iter().sum()),
        }
    };
    records.iter().map(status).collect()
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
