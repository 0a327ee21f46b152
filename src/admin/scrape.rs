//! The values of `/metrics`: what is counted where it happens, and what is read only now from
//! where it is kept anyway.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::Sources;
use crate::delivery::dead_letters::{Loss, is_kept};
use crate::host::process;
use crate::net::tls::HandshakeFailure;
use crate::otlp::Signal;
use crate::telemetry::lanes::{Breaker, LaneSnapshot};
use crate::telemetry::ledger::{Counts, Ledger, Reason};
use crate::telemetry::metrics::table::{self, BySignal, Metric};
use crate::telemetry::metrics::{Page, Value};

/// The page as of now.
pub(super) fn page(sources: &Sources) -> Page {
    let mut page = Page::default();
    sources.registry.write(&mut page);
    admission(&mut page, sources);
    lanes(&mut page, sources);
    ledger(&mut page, &sources.ledger);
    faults(&mut page, sources);
    left_queues(&mut page, sources);
    dead_letters(&mut page, sources);
    tls(&mut page, sources);
    host(&mut page, sources);
    page
}

fn admission(page: &mut Page, sources: &Sources) {
    let budget = &sources.budget;
    let held = sources.door.held() as u64;
    for (metric, value) in [
        (&table::BUDGET_LIMIT_BYTES, budget.limit()),
        (&table::BUDGET_USED_BYTES, budget.used()),
        (&table::BUDGET_WAITING_REQUESTS, budget.waiting()),
        (&table::HELD_REQUESTS, held),
    ] {
        page.put(metric, &[], Value::Whole(value));
    }
}

fn tls(page: &mut Page, sources: &Sources) {
    let now = SystemTime::now();
    for record in sources.tls.records() {
        let component = record.component.as_str();
        if let Some(leaf) = record.leaf() {
            let left = Value::Real(leaf.left_seconds(now));
            page.put(&table::TLS_CERTIFICATE_EXPIRY, &[component], left);
        }
        for (outcome, times) in ["success", "failure"].into_iter().zip(record.reloads()) {
            let labels = [component, outcome];
            page.put(&table::TLS_RELOADS, &labels, Value::Whole(times));
        }
        let failed = record.failed_handshakes().into_iter().flatten();
        for (reason, times) in HandshakeFailure::ALL.into_iter().zip(failed) {
            let labels = [component, reason.name()];
            page.put(&table::TLS_FAILED_HANDSHAKES, &labels, Value::Whole(times));
        }
    }
}

fn faults(page: &mut Page, sources: &Sources) {
    for fault in sources.faults.iter().map(|fault| fault.snapshot()) {
        for (kind, times) in &fault.injected {
            let labels = [fault.processor.as_str(), kind];
            page.put(&table::INJECTED_FAULTS, &labels, Value::Whole(*times));
        }
    }
}

fn lanes(page: &mut Page, sources: &Sources) {
    let all = sources.lanes.all();
    let mut snapshots = Vec::with_capacity(all.len());
    for lane in &all {
        let now = lane.snapshot();
        lane_values(page, &now);
        let attempts = Value::Buckets(lane.attempt_seconds().snapshot());
        page.put(&table::EXPORTER_ATTEMPT_SECONDS, &[&now.exporter], attempts);
        snapshots.push(now);
    }
    let ready = sources.readiness(&snapshots).ready;
    page.put(&table::READY, &[], Value::Whole(ready.into()));
}

fn lane_values(page: &mut Page, lane: &LaneSnapshot) {
    let exporter = lane.exporter.as_str();
    for (metric, value) in [
        (&table::EXPORTER_QUEUE_SIZE, lane.queue_bytes),
        (&table::EXPORTER_QUEUE_CAPACITY, lane.queue_capacity_bytes),
        (&table::EXPORTER_QUEUE_ITEMS, lane.queue_items),
        (
            &table::EXPORTER_QUEUE_FULL,
            lane.queue_full_seconds.is_some().into(),
        ),
        (&table::EXPORTER_DISK_BYTES, lane.disk_bytes),
        (&table::EXPORTER_DISK_FAILS, lane.disk_fails.into()),
        (&table::EXPORTER_REMOVED_FILES, lane.removed_files),
        (&table::EXPORTER_DAMAGED_FILES, lane.damaged_files),
        (&table::EXPORTER_LOST_REQUESTS, lane.lost_requests),
        (&table::EXPORTER_IN_FLIGHT, lane.in_flight),
        (&table::EXPORTER_IN_FLIGHT_LIMIT, lane.in_flight_limit),
        (&table::EXPORTER_ATTEMPTS, lane.attempts),
        (&table::EXPORTER_RETRIES, lane.retries),
        (&table::EXPORTER_BISECTIONS, lane.bisections),
        (&table::EXPORTER_RETRIES_PUT_OFF, lane.retries_put_off),
        (&table::EXPORTER_FAILED_ATTEMPTS, lane.failures),
        (&table::EXPORTER_SENT_BYTES, lane.sent_bytes),
    ] {
        page.put(metric, &[exporter], Value::Whole(value));
    }
    for (metric, seconds) in [
        (&table::EXPORTER_QUEUE_AGE_SECONDS, lane.oldest_age_seconds),
        (&table::EXPORTER_PAUSED_SECONDS, lane.paused_until_seconds),
    ] {
        page.put(metric, &[exporter], Value::Real(seconds.unwrap_or(0.0)));
    }
    for (cause, times) in &lane.breaker_openings {
        let labels = &[exporter, cause];
        page.put(
            &table::EXPORTER_BREAKER_OPENINGS,
            labels,
            Value::Whole(*times),
        );
    }
    for state in Breaker::ALL {
        let is = Value::Whole((lane.breaker == state).into());
        page.put(
            &table::EXPORTER_BREAKER_STATE,
            &[exporter, state.name()],
            is,
        );
    }
}

fn left_queues(page: &mut Page, sources: &Sources) {
    for queue in sources.left_queues() {
        let items = Value::Whole(queue.items);
        page.put(&table::LEFT_QUEUE_ITEMS, &[&queue.exporter], items);
    }
}

fn ledger(page: &mut Page, ledger: &Arc<Ledger>) {
    let snapshot = ledger.snapshot();
    for signal in Signal::ALL {
        let Some(kept) = snapshot.0.get(signal.name()) else {
            continue;
        };
        let received = Value::Whole(kept.received);
        page.put(&table::RECEIVED_ITEMS, &[signal.name()], received);
        for (exporter, counts) in &kept.exporters {
            collector_counts(page, signal, exporter, counts);
            own_counts(page, signal, exporter, counts);
        }
    }
}

/// In the Collector's words: what was queued and is lost has failed to be sent, and so has what
/// the destination rejected.
fn collector_counts(page: &mut Page, signal: Signal, exporter: &str, counts: &Counts) {
    let column = |reason| counts.dropped.get(reason as usize).copied().unwrap_or(0);
    let not_queued = column(Reason::QueueFull);
    let lost = counts.dropped_total().saturating_sub(not_queued);
    let mut put = |family: &'static BySignal, items| {
        if let Some(metric) = family.get(signal as usize) {
            page.put(metric, &[exporter], Value::Whole(items));
        }
    };
    put(&table::EXPORTER_SENT, counts.delivered);
    put(&table::EXPORTER_SEND_FAILED, lost + counts.rejected);
    put(&table::EXPORTER_ENQUEUE_FAILED, not_queued);
}

fn own_counts(page: &mut Page, signal: Signal, exporter: &str, counts: &Counts) {
    let of = [exporter, signal.name()];
    let columns: [(&'static Metric, u64); 4] = [
        (&table::LEDGER_RECEIVED_ITEMS, counts.received),
        (&table::LEDGER_DELIVERED_ITEMS, counts.delivered),
        (&table::LEDGER_REJECTED_ITEMS, counts.rejected),
        (&table::LEDGER_IN_PROCESS_ITEMS, counts.in_process),
    ];
    for (metric, items) in columns {
        page.put(metric, &of, Value::Whole(items));
    }
    for (reason, items) in Reason::ALL.into_iter().zip(counts.dropped) {
        let labels = [exporter, signal.name(), reason.name()];
        page.put(&table::LEDGER_DROPPED_ITEMS, &labels, Value::Whole(items));
    }
}

/// Every exporter and reason has its series from the start, so that the first letter is a rise.
fn dead_letters(page: &mut Page, sources: &Sources) {
    let counts = sources.dead_letters().unwrap_or_default();
    for (metric, value) in [
        (&table::DEAD_LETTERS, counts.letters),
        (&table::DEAD_LETTERS_BYTES, counts.disk_bytes),
        (&table::DEAD_LETTERS_LIMIT_BYTES, counts.max_bytes),
    ] {
        page.put(metric, &[], Value::Whole(value));
    }
    for lane in sources.lanes.all() {
        let exporter = &lane.facts().exporter;
        for reason in Reason::ALL.into_iter().filter(|r| is_kept(*r)) {
            let written = counts.written(exporter, reason);
            let labels = [exporter.as_str(), reason.name()];
            page.put(
                &table::DEAD_LETTERS_WRITTEN_ITEMS,
                &labels,
                Value::Whole(written),
            );
        }
    }
    for signal in Signal::ALL {
        for loss in Loss::ALL {
            let lost = counts.lost(signal, loss);
            let labels = [signal.name(), loss.name()];
            page.put(&table::DEAD_LETTERS_LOST_ITEMS, &labels, Value::Whole(lost));
        }
    }
}

fn host(page: &mut Page, sources: &Sources) {
    let usage = process::read(Path::new("/"));
    let (cpus, threads) = {
        let allowance = sources.cpu.borrow();
        (allowance.cpus, allowance.threads as u64)
    };
    let uptime = sources.health.uptime_seconds();
    for (metric, value) in [
        (&table::PROCESS_UPTIME, Value::Real(uptime)),
        (&table::PROCESS_CPU_SECONDS, Value::Real(usage.cpu_seconds)),
        (&table::PROCESS_MEMORY_RSS, Value::Whole(usage.rss_bytes)),
        (
            &table::PROCESS_PEAK_RSS_BYTES,
            Value::Whole(usage.peak_rss_bytes),
        ),
        (&table::PROCESS_OPEN_FDS, Value::Whole(usage.open_fds)),
        (&table::PROCESS_THREADS, Value::Whole(usage.threads)),
        (&table::CPU_ALLOWANCE_CPUS, Value::Real(cpus)),
        (&table::CPU_ALLOWANCE_THREADS, Value::Whole(threads)),
    ] {
        page.put(metric, &[], value);
    }
    let target = ["otlpd", env!("CARGO_PKG_VERSION")];
    page.put(&table::TARGET_INFO, &target, Value::Whole(1));
}
