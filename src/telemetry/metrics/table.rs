//! Every metric that otlpd has: the one place where a name is written.
//!
//! What the Go Collector has too carries its name and labels, so that dashboards and alerts keep
//! working; what only we have is `otlpd_*`. Names stand here without `_total`, which the page
//! adds to every counter in both formats: OpenMetrics demands it, and a series must not change
//! its name with the format that a scraper happens to ask for.

/// One family of series.
#[derive(Debug)]
pub struct Metric {
    /// The name, without the `_total` of counters.
    pub name: &'static str,
    /// What the values are.
    pub kind: Kind,
    /// What they count in; empty for a bare number.
    pub unit: &'static str,
    /// One sentence for a person.
    pub help: &'static str,
    /// The names of the labels, in the order in which values are given.
    pub labels: &'static [&'static str],
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations, by upper bound.
    Histogram(&'static [f64]),
    /// Always 1: its labels are what it says.
    Info,
}

impl Kind {
    /// The word for it in the text format, which knows no `info`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Info => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Metric {
    /// The name of its series on the page; a histogram adds its own endings.
    pub fn series(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram(_) | Kind::Info => self.name.to_owned(),
        }
    }
}

/// The same thing counted for each signal, by `Signal as usize`.
pub type BySignal = [Metric; 4];

/// Seconds from the first byte of a request to its answer; 9 s is how long one is held.
const REQUEST_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 9.0, 10.0,
];

/// Powers of eight up to the largest request.
const REQUEST_BYTES: &[f64] = &[
    512.0, 4096.0, 32768.0, 262144.0, 2097152.0, 16777216.0, 67108864.0,
];

/// From a neighbour on the same machine to the default timeout.
pub(crate) const ATTEMPT_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
];

// A macro, so that no metric can be defined and left out of the table, and so that a row reads as
// a row.
macro_rules! by_signal {
    ($($name:ident: $prefix:literal [$($label:literal),*] $help:literal;)+) => {
        $(#[doc = $help]
        pub static $name: BySignal = [
            by_signal!(@ $prefix "_spans" [$($label),*] $help),
            by_signal!(@ $prefix "_metric_points" [$($label),*] $help),
            by_signal!(@ $prefix "_log_records" [$($label),*] $help),
            by_signal!(@ $prefix "_profiles" [$($label),*] $help),
        ];)+
        static BY_SIGNAL: &[&BySignal] = &[$(&$name),+];
    };
    (@ $prefix:literal $items:literal [$($label:literal),*] $help:literal) => {
        Metric {
            name: concat!($prefix, $items),
            kind: Kind::Counter,
            unit: "",
            help: $help,
            labels: &[$($label),*],
        }
    };
}

macro_rules! single {
    ($(
        $name:ident: $kind:expr, $metric:literal $unit:literal [$($label:literal),*] $help:literal;
    )+) => {
        $(#[doc = $help]
        pub static $name: Metric = Metric {
            name: $metric,
            kind: $kind,
            unit: $unit,
            help: $help,
            labels: &[$($label),*],
        };)+
        static SINGLE: &[&Metric] = &[$(&$name),+];
    };
}

by_signal! {
    RECEIVER_ACCEPTED: "otelcol_receiver_accepted" ["receiver", "transport"]
        "Items that were accepted: the client was told that we have them.";
    RECEIVER_REFUSED: "otelcol_receiver_refused" ["receiver", "transport"]
        "Items of requests that were read, and then refused: the client was told to come back \
         later.";
    RECEIVER_FAILED: "otelcol_receiver_failed" ["receiver", "transport"]
        "Items of requests that failed by a fault in otlpd itself.";
    EXPORTER_SENT: "otelcol_exporter_sent" ["exporter"]
        "Items that the destination has.";
    EXPORTER_SEND_FAILED: "otelcol_exporter_send_failed" ["exporter"]
        "Items that the destination rejected, or that were given up after they were queued.";
    EXPORTER_ENQUEUE_FAILED: "otelcol_exporter_enqueue_failed" ["exporter"]
        "Items that were given up because the queue was full.";
}

single! {
    // The door.
    RECEIVER_REQUESTS: Kind::Counter,
        "otelcol_receiver_requests" "" ["receiver", "transport", "outcome"]
        "Requests by outcome: success, refused (come back later) or failure (never send that \
         again).";
    RECEIVER_REFUSED_REQUESTS: Kind::Counter,
        "otlpd_receiver_refused_requests" "" ["receiver", "transport", "reason"]
        "Requests that were refused: budget, too_many_held, queue_full, draining, \
         not_delivered, not_stored, rate_limited, fault_injected, slow_client or \
         connection_full.";
    RECEIVER_FAULTY_REQUESTS: Kind::Counter,
        "otlpd_receiver_faulty_requests" "" ["receiver", "transport", "reason"]
        "Requests at fault: malformed, compression, encoding, media_type, too_large, framing, \
         no_such_path or method.";
    RECEIVER_DENIED_REQUESTS: Kind::Counter,
        "otlpd_receiver_denied_requests" "" ["receiver", "transport", "reason"]
        "Requests whose sender was not let in: missing, malformed, invalid, expired, \
         not_yet_valid, wrong_audience or wrong_issuer (UNAUTHENTICATED, 401), not_allowed \
         (PERMISSION_DENIED, 403) or no_keys (UNAVAILABLE, 503).";
    RECEIVER_REJECTED_ITEMS: Kind::Counter,
        "otlpd_receiver_rejected_items" "" ["receiver", "transport", "signal", "reason"]
        "Items that were cut out of a request whose other items were accepted (partial success), \
         for a bad value in them or in their resource, scope or metric: invalid_utf8 or \
         invalid_id.";
    RECEIVER_WIRE_BYTES: Kind::Counter,
        "otlpd_receiver_wire_bytes" "bytes" ["receiver", "transport"]
        "Bytes of request bodies as they came, compressed or not.";
    RECEIVER_REQUEST_BYTES: Kind::Histogram(REQUEST_BYTES),
        "otlpd_receiver_request_bytes" "bytes" ["receiver", "transport"]
        "Size of request bodies, uncompressed; the sum is the bytes taken in.";
    RECEIVER_REQUEST_SECONDS: Kind::Histogram(REQUEST_SECONDS),
        "otlpd_receiver_request_seconds" "seconds" ["receiver", "transport"]
        "Time from the headers of a request to its answer, the time that it was held included.";
    RECEIVER_CONNECTIONS: Kind::Gauge, "otlpd_receiver_connections" "" ["receiver", "transport"]
        "Connections that are open.";
    RECEIVER_OPENED_CONNECTIONS: Kind::Counter,
        "otlpd_receiver_opened_connections" "" ["receiver", "transport"]
        "Connections that were opened.";
    RECEIVER_FILES: Kind::Gauge, "otlpd_receiver_files" "" ["receiver"]
        "Files that a file receiver follows.";
    RECEIVER_UNREAD_BYTES: Kind::Gauge, "otlpd_receiver_unread_bytes" "bytes" ["receiver"]
        "What of them was not read yet, in bytes on disk.";
    RECEIVED_ITEMS: Kind::Counter, "otlpd_received_items" "" ["signal"]
        "Items accepted at the door, over all receivers.";
    // Admission.
    BUDGET_LIMIT_BYTES: Kind::Gauge, "otlpd_budget_limit_bytes" "bytes" []
        "The memory budget: the most bytes of telemetry that are held at once.";
    BUDGET_USED_BYTES: Kind::Gauge, "otlpd_budget_used_bytes" "bytes" []
        "Bytes of the memory budget that are reserved.";
    BUDGET_WAITING_REQUESTS: Kind::Gauge, "otlpd_budget_waiting_requests" "" []
        "Requests that wait for bytes of the memory budget.";
    HELD_REQUESTS: Kind::Gauge, "otlpd_held_requests" "" []
        "Requests that are held because there is no room for them yet, for whatever reason.";
    // TLS, where it is used.
    TLS_CERTIFICATE_EXPIRY: Kind::Gauge,
        "otlpd_tls_certificate_expiry_seconds" "seconds" ["component"]
        "Until the certificate that is shown to others expires; below zero since it has. Absent \
         where none is shown.";
    TLS_RELOADS: Kind::Counter, "otlpd_tls_reloads" "" ["component", "outcome"]
        "Times that files of certificates and keys had changed and were read again: success, or \
         failure (what was read before stays in use).";
    TLS_FAILED_HANDSHAKES: Kind::Counter, "otlpd_tls_failed_handshakes" "" ["component", "reason"]
        "Clients that could not be served: timeout, not_tls, nothing_in_common (version, cipher or \
         protocol), client_certificate (none, expired, of another CA), broken_off (by the client, \
         which may not trust our certificate) or other.";
    // The admin side.
    ADMIN_DENIED_REQUESTS: Kind::Counter, "otlpd_admin_denied_requests" "" ["reason"]
        "Requests to the admin listener whose sender was not let in, by the reasons of \
         otlpd_receiver_denied_requests.";
    // Tenants: those with limits of their own by name, all the others as one.
    TENANT_ACCEPTED_ITEMS: Kind::Counter, "otlpd_tenant_accepted_items" "" ["tenant", "signal"]
        "Items that were accepted of a tenant.";
    TENANT_ACCEPTED_BYTES: Kind::Counter, "otlpd_tenant_accepted_bytes" "bytes" ["tenant"]
        "Uncompressed bytes that were accepted of a tenant.";
    TENANT_REFUSED_REQUESTS: Kind::Counter,
        "otlpd_tenant_refused_requests" "" ["tenant", "reason"]
        "Requests of a tenant that were refused, by the reasons of \
         otlpd_receiver_refused_requests.";
    TENANT_UNTRACKED_REQUESTS: Kind::Counter, "otlpd_tenant_untracked_requests" "" []
        "Requests of tenants that are not told apart, because there are more than \
         tenants.max_tenants or because their name is none.";
    // Priorities.
    PRIORITY_ACCEPTED_ITEMS: Kind::Counter,
        "otlpd_priority_accepted_items" "" ["priority", "signal"]
        "Items that were accepted, by the class of their request.";
    PRIORITY_IGNORED_VALUES: Kind::Counter, "otlpd_priority_ignored_values" "" ["source"]
        "Values that named no class: of the header of a request, or of the attribute of a \
         resource.";
    // Rehearsals.
    INJECTED_FAULTS: Kind::Counter, "otlpd_injected_faults" "" ["processor", "kind"]
        "Times that a fault processor acted: latency, drop, or the error that clients were told.";
    // The lanes.
    EXPORTER_QUEUE_SIZE: Kind::Gauge, "otelcol_exporter_queue_size" "" ["exporter"]
        "Bytes that wait in the queue.";
    EXPORTER_QUEUE_CAPACITY: Kind::Gauge, "otelcol_exporter_queue_capacity" "" ["exporter"]
        "Bytes that the queue has room for.";
    EXPORTER_IN_FLIGHT: Kind::Gauge, "otelcol_exporter_in_flight_requests" "" ["exporter"]
        "Attempts that are under way.";
    EXPORTER_IN_FLIGHT_LIMIT: Kind::Gauge, "otlpd_exporter_in_flight_limit" "" ["exporter"]
        "How many attempts may be under way at once; where max_in_flight is adaptive, it moves.";
    EXPORTER_QUEUE_ITEMS: Kind::Gauge, "otlpd_exporter_queue_items" "" ["exporter"]
        "Items that wait in the queue.";
    EXPORTER_QUEUE_AGE_SECONDS: Kind::Gauge,
        "otlpd_exporter_queue_age_seconds" "seconds" ["exporter"]
        "Age of the oldest that waits in the queue.";
    EXPORTER_QUEUE_FULL: Kind::Gauge, "otlpd_exporter_queue_full" "" ["exporter"]
        "1 while batches find no room in the queue, else 0.";
    EXPORTER_DISK_BYTES: Kind::Gauge, "otlpd_exporter_queue_disk_bytes" "bytes" ["exporter"]
        "What the queue takes on disk.";
    EXPORTER_DISK_FAILS: Kind::Gauge, "otlpd_exporter_queue_disk_fails" "" ["exporter"]
        "1 while the disk does not take what is written to the queue, else 0.";
    EXPORTER_REMOVED_FILES: Kind::Counter,
        "otlpd_exporter_queue_removed_files" "" ["exporter"]
        "Files of the queue that something other than otlpd removed or replaced. What is lost by \
         it is among otlpd_exporter_dropped_items, as damaged.";
    EXPORTER_DAMAGED_FILES: Kind::Counter, "otlpd_exporter_queue_damaged_files" "" ["exporter"]
        "Files of the queue on disk that were found damaged, unreadable or missing.";
    EXPORTER_LOST_REQUESTS: Kind::Counter, "otlpd_exporter_queue_lost_requests" "" ["exporter"]
        "Stored requests that were lost by damage on the disk. Their items, where they are known, \
         are dropped for the reason damaged as well.";
    EXPORTER_ATTEMPTS: Kind::Counter, "otlpd_exporter_attempts" "" ["exporter"]
        "Attempts to deliver.";
    EXPORTER_RETRIES: Kind::Counter, "otlpd_exporter_retries" "" ["exporter"]
        "Attempts that were not the first for their batch.";
    EXPORTER_BISECTIONS: Kind::Counter, "otlpd_exporter_bisections" "" ["exporter"]
        "Merged requests, or parts of them, that the destination refused for good and that were \
         halved, so that one bad request does not cost the others.";
    EXPORTER_RETRIES_PUT_OFF: Kind::Counter, "otlpd_exporter_retries_put_off" "" ["exporter"]
        "Times that a retry was due and waited, since the retry budget was spent.";
    EXPORTER_FAILED_ATTEMPTS: Kind::Counter, "otlpd_exporter_failed_attempts" "" ["exporter"]
        "Attempts that failed.";
    EXPORTER_ATTEMPT_SECONDS: Kind::Histogram(ATTEMPT_SECONDS),
        "otlpd_exporter_attempt_seconds" "seconds" ["exporter"]
        "Time that attempts take.";
    EXPORTER_SENT_BYTES: Kind::Counter, "otlpd_exporter_sent_bytes" "bytes" ["exporter"]
        "Bytes that the destination has, uncompressed.";
    EXPORTER_BREAKER_STATE: Kind::Gauge, "otlpd_exporter_breaker_state" "" ["exporter", "state"]
        "1 for the state that the breaker is in, of closed (attempts pass), open (none is made) \
         and half-open (one is).";
    EXPORTER_BREAKER_OPENINGS: Kind::Counter,
        "otlpd_exporter_breaker_openings" "" ["exporter", "cause"]
        "Times that the breaker opened, by cause: failures (so many in a row), failure_rate (of a \
         window) or probe (one failed, and the breaker stays open).";
    EXPORTER_PAUSED_SECONDS: Kind::Gauge, "otlpd_exporter_paused_seconds" "seconds" ["exporter"]
        "For how long the destination asked to be left alone; 0 if it did not.";
    // The ledger: received = delivered + rejected + dropped + in process.
    LEDGER_RECEIVED_ITEMS: Kind::Counter, "otlpd_exporter_received_items" "" ["exporter", "signal"]
        "Items that the lane took over.";
    LEDGER_DELIVERED_ITEMS: Kind::Counter,
        "otlpd_exporter_delivered_items" "" ["exporter", "signal"]
        "Items that the destination has.";
    LEDGER_REJECTED_ITEMS: Kind::Counter, "otlpd_exporter_rejected_items" "" ["exporter", "signal"]
        "Items that the destination refused one by one (partial success).";
    LEDGER_DROPPED_ITEMS: Kind::Counter,
        "otlpd_exporter_dropped_items" "" ["exporter", "signal", "reason"]
        "Items that were given up: queue_full, permanent, too_large, retries_exhausted, \
         too_old, damaged, storage_failed, shutdown, fault_injected or bug.";
    LEDGER_IN_PROCESS_ITEMS: Kind::Gauge,
        "otlpd_exporter_in_process_items" "" ["exporter", "signal"]
        "Items that are neither delivered nor given up yet.";
    // The dead letters.
    DEAD_LETTERS: Kind::Gauge, "otlpd_dead_letters" "" []
        "Requests that stand in the dead letters.";
    DEAD_LETTERS_BYTES: Kind::Gauge, "otlpd_dead_letters_bytes" "bytes" []
        "What the dead letters take on disk.";
    DEAD_LETTERS_LIMIT_BYTES: Kind::Gauge, "otlpd_dead_letters_limit_bytes" "bytes" []
        "What the dead letters may take on disk; 0 where they are off.";
    DEAD_LETTERS_WRITTEN_ITEMS: Kind::Counter,
        "otlpd_dead_letters_written_items" "" ["exporter", "reason"]
        "Items of requests that were given up and written to the dead letters: permanent, \
         too_large, retries_exhausted or too_old.";
    DEAD_LETTERS_LOST_ITEMS: Kind::Counter, "otlpd_dead_letters_lost_items" "" ["signal", "reason"]
        "Items that were given up and are not, or no longer, in the dead letters: \
         dead_letters_full (displaced by newer ones), too_large or storage_failed.";
    LEFT_QUEUE_ITEMS: Kind::Gauge, "otlpd_left_queue_items" "" ["exporter"]
        "Items, found at the start, in queues on disk of exporters that the configuration does not \
         name or keeps in memory: nobody delivers them.";
    // The process.
    PROCESS_UPTIME: Kind::Counter, "otelcol_process_uptime" "seconds" []
        "Seconds since the process started.";
    PROCESS_CPU_SECONDS: Kind::Counter, "otelcol_process_cpu_seconds" "seconds" []
        "CPU time spent, in user and in kernel mode.";
    PROCESS_MEMORY_RSS: Kind::Gauge, "otelcol_process_memory_rss" "bytes" []
        "Resident memory.";
    PROCESS_PEAK_RSS_BYTES: Kind::Gauge, "otlpd_process_peak_rss_bytes" "bytes" []
        "The most memory that was ever resident.";
    PROCESS_OPEN_FDS: Kind::Gauge, "otlpd_process_open_fds" "" []
        "Open file descriptors.";
    PROCESS_THREADS: Kind::Gauge, "otlpd_process_threads" "" []
        "Threads.";
    CPU_ALLOWANCE_CPUS: Kind::Gauge, "otlpd_cpu_allowance_cpus" "cpus" []
        "CPU seconds a second that affinity, cpuset and quota allow.";
    CPU_ALLOWANCE_THREADS: Kind::Gauge, "otlpd_cpu_allowance_threads" "" []
        "Threads that the CPU allowance can keep busy.";
    READY: Kind::Gauge, "otlpd_ready" "" []
        "1 while clients should send to us, else 0.";
    TARGET_INFO: Kind::Info, "target_info" "" ["service_name", "service_version"]
        "What is being measured.";
}

/// All of it, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    BY_SIGNAL
        .iter()
        .copied()
        .flatten()
        .chain(SINGLE.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::otlp::Signal;

    #[test]
    fn no_name_stands_twice() {
        let names: BTreeSet<&str> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn names_are_what_both_formats_allow() {
        for metric in all() {
            let name = metric.name;
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert!(!name.ends_with("_total"), "{name}: the page adds it");
            let ours = name.starts_with("otlpd_");
            assert!(
                ours || name.starts_with("otelcol_") || name == "target_info",
                "{name}"
            );
            let ends_with_unit = name.ends_with(&format!("_{}", metric.unit));
            assert!(!ours || metric.unit.is_empty() || ends_with_unit, "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn per_signal_names_end_in_the_noun_of_the_signal() {
        for family in BY_SIGNAL {
            for signal in Signal::ALL {
                let name = family[signal as usize].name;
                assert!(name.ends_with(signal.items()), "{name}");
            }
        }
    }

    #[test]
    fn bounds_of_histograms_rise() {
        for metric in all() {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
