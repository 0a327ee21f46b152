//! What a receiver counts.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use super::Registry;
use super::table::{self, BySignal};
use crate::auth::{Outcome, Reason};
use crate::otlp::Signal;
use crate::otlp::walk::BadValue;

/// Why a request was told to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The memory budget is spent.
    Budget,
    /// As many requests are held already as may be.
    TooManyHeld,
    /// The queue of a required lane is full.
    QueueFull,
    /// otlpd is stopping.
    Draining,
    /// `acknowledge = "delivered"`, and a destination does not have it.
    NotDelivered,
    /// The disk did not take it within the time that the client waits.
    NotStored,
    /// The tenant has sent more than it may.
    RateLimited,
    /// A `fault` processor says so.
    FaultInjected,
    /// The client did not send in time what it announced.
    SlowClient,
    /// It could not, since the requests that are held on its connection fill that.
    ConnectionFull,
}

impl Refusal {
    /// Every reason; `as usize` is the index into it.
    pub const ALL: [Self; 10] = [
        Self::Budget,
        Self::TooManyHeld,
        Self::QueueFull,
        Self::Draining,
        Self::NotDelivered,
        Self::NotStored,
        Self::RateLimited,
        Self::FaultInjected,
        Self::SlowClient,
        Self::ConnectionFull,
    ];

    /// The word for it in metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::TooManyHeld => "too_many_held",
            Self::QueueFull => "queue_full",
            Self::Draining => "draining",
            Self::NotDelivered => "not_delivered",
            Self::NotStored => "not_stored",
            Self::RateLimited => "rate_limited",
            Self::FaultInjected => "fault_injected",
            Self::SlowClient => "slow_client",
            Self::ConnectionFull => "connection_full",
        }
    }
}

/// What is wrong with a request that must never be sent again as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The body is not the protobuf message that it should be.
    Malformed,
    /// The body does not inflate.
    Compression,
    /// We do not know the way it is compressed.
    Encoding,
    /// We do not know its content type.
    MediaType,
    /// It is larger than the limit, as it came or inflated.
    TooLarge,
    /// gRPC's own framing is broken.
    Framing,
    /// No such path, service or method.
    NoSuchPath,
    /// Not a `POST`.
    Method,
}

impl Fault {
    /// Every fault; `as usize` is the index into it.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Compression,
        Self::Encoding,
        Self::MediaType,
        Self::TooLarge,
        Self::Framing,
        Self::NoSuchPath,
        Self::Method,
    ];

    /// The word for it in metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Compression => "compression",
            Self::Encoding => "encoding",
            Self::MediaType => "media_type",
            Self::TooLarge => "too_large",
            Self::Framing => "framing",
            Self::NoSuchPath => "no_such_path",
            Self::Method => "method",
        }
    }
}

type Each = [Counter; Signal::ALL.len()];

/// By what is bad in an item.
type EachBad = [Counter; BadValue::ALL.len()];

/// The handles of one receiver and transport, registered once. Every request ends in exactly one
/// of `accepted`, `refused`, `faulty`, `denied` and `failed`.
#[derive(Debug)]
pub struct ReceiverMetrics {
    accepted: Each,
    refused: Each,
    failed: Each,
    rejected: [EachBad; Signal::ALL.len()],
    succeeded_requests: Counter,
    refused_requests: Counter,
    failed_requests: Counter,
    refusals: [Counter; Refusal::ALL.len()],
    faults: [Counter; Fault::ALL.len()],
    denials: [Counter; Reason::ALL.len()],
    wire_bytes: Counter,
    request_bytes: Histogram,
    request_seconds: Histogram,
    connections: Gauge,
    opened_connections: Counter,
}

impl ReceiverMetrics {
    /// Registers the series of a receiver's `transport`, `grpc` or `http`.
    pub fn new(registry: &Registry, receiver: &str, transport: &str) -> Self {
        let of = [receiver, transport];
        let with = |metric, third| registry.counter(metric, &[receiver, transport, third]);
        let each = |family: &'static BySignal| family.each_ref().map(|m| registry.counter(m, &of));
        Self {
            accepted: each(&table::RECEIVER_ACCEPTED),
            refused: each(&table::RECEIVER_REFUSED),
            failed: each(&table::RECEIVER_FAILED),
            rejected: Signal::ALL.map(|signal| {
                BadValue::ALL.map(|bad| {
                    let labels = [receiver, transport, signal.name(), bad.name()];
                    registry.counter(&table::RECEIVER_REJECTED_ITEMS, &labels)
                })
            }),
            succeeded_requests: with(&table::RECEIVER_REQUESTS, "success"),
            refused_requests: with(&table::RECEIVER_REQUESTS, "refused"),
            failed_requests: with(&table::RECEIVER_REQUESTS, "failure"),
            refusals: Refusal::ALL.map(|r| with(&table::RECEIVER_REFUSED_REQUESTS, r.name())),
            faults: Fault::ALL.map(|f| with(&table::RECEIVER_FAULTY_REQUESTS, f.name())),
            denials: Reason::ALL.map(|r| with(&table::RECEIVER_DENIED_REQUESTS, r.name())),
            wire_bytes: registry.counter(&table::RECEIVER_WIRE_BYTES, &of),
            request_bytes: registry.histogram(&table::RECEIVER_REQUEST_BYTES, &of),
            request_seconds: registry.histogram(&table::RECEIVER_REQUEST_SECONDS, &of),
            connections: registry.gauge(&table::RECEIVER_CONNECTIONS, &of),
            opened_connections: registry.counter(&table::RECEIVER_OPENED_CONNECTIONS, &of),
        }
    }

    /// A body was read: `wire` bytes as it came, `plain` bytes uncompressed.
    pub fn body(&self, wire: usize, plain: usize) {
        self.wire_bytes.increment(wire as u64);
        self.request_bytes.record(plain as f64);
    }

    /// The client was told that we have `items`; those in `rejected`, by `BadValue as usize`,
    /// were cut out of the request.
    pub fn accepted(&self, signal: Signal, items: u64, rejected: [u64; BadValue::ALL.len()]) {
        add(&self.accepted, signal as usize, items);
        if let Some(counters) = self.rejected.get(signal as usize) {
            for (bad, items) in BadValue::ALL.into_iter().zip(rejected) {
                add(counters, bad as usize, items);
            }
        }
        self.succeeded_requests.increment(1);
    }

    /// The client was told to come back later. `items` is 0 where the body was not read.
    pub fn refused(&self, signal: Signal, items: u64, why: Refusal) {
        add(&self.refused, signal as usize, items);
        add(&self.refusals, why as usize, 1);
        self.refused_requests.increment(1);
    }

    /// The client was told never to send that again.
    pub fn faulty(&self, what: Fault) {
        add(&self.faults, what as usize, 1);
        self.failed_requests.increment(1);
    }

    /// The client was not let in.
    pub fn denied(&self, why: Reason) {
        add(&self.denials, why as usize, 1);
        match why.outcome() {
            Outcome::Unavailable => self.refused_requests.increment(1),
            Outcome::Unauthenticated | Outcome::Forbidden => self.failed_requests.increment(1),
        }
    }

    /// The request failed by a fault in otlpd itself.
    pub fn failed(&self, signal: Signal, items: u64) {
        add(&self.failed, signal as usize, items);
        self.failed_requests.increment(1);
    }

    /// A request was answered after this time.
    pub fn took(&self, time: Duration) {
        self.request_seconds.record(time.as_secs_f64());
    }

    /// A connection was opened; it is open until the return value is dropped.
    pub fn connection(&self) -> Connection {
        self.opened_connections.increment(1);
        self.connections.increment(1.0);
        Connection(self.connections.clone())
    }
}

fn add(counters: &[Counter], index: usize, amount: u64) {
    if amount > 0
        && let Some(counter) = counters.get(index)
    {
        counter.increment(amount);
    }
}

/// What is shown besides of a receiver that reads files.
#[derive(Debug)]
pub struct ReadingMetrics {
    files: Gauge,
    unread: Gauge,
}

impl ReadingMetrics {
    /// Registers the series of a receiver.
    pub fn new(registry: &Registry, receiver: &str) -> Self {
        Self {
            files: registry.gauge(&table::RECEIVER_FILES, &[receiver]),
            unread: registry.gauge(&table::RECEIVER_UNREAD_BYTES, &[receiver]),
        }
    }

    /// So many files are there, and so many bytes of them were not read yet.
    pub fn found(&self, files: usize, unread: u64) {
        self.files.set(files as f64);
        self.unread.set(unread as f64);
    }
}

/// A connection that is open.
#[derive(Debug)]
#[must_use = "the connection counts as closed when this is dropped"]
pub struct Connection(Gauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Exposition, Page};

    fn lines(registry: &Registry) -> Vec<String> {
        let mut page = Page::default();
        registry.write(&mut page);
        let text = page.render(Exposition::Text);
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"))
            .map(|line| line.replace("{receiver=\"apps\",transport=\"grpc\"", "{"))
            .collect()
    }

    #[test]
    fn every_outcome_is_counted_under_its_own_name() {
        let registry = Registry::default();
        let receiver = ReceiverMetrics::new(&registry, "apps", "grpc");
        receiver.accepted(Signal::Traces, 10, [2, 1]);
        receiver.refused(Signal::Metrics, 5, Refusal::QueueFull);
        receiver.refused(Signal::Logs, 0, Refusal::Budget);
        receiver.faulty(Fault::Malformed);
        receiver.failed(Signal::Logs, 3);
        receiver.denied(Reason::Expired);
        receiver.denied(Reason::NoKeys);
        assert_eq!(
            lines(&registry),
            [
                "otelcol_receiver_accepted_spans_total{} 10",
                "otelcol_receiver_failed_log_records_total{} 3",
                "otelcol_receiver_refused_metric_points_total{} 5",
                "otelcol_receiver_requests_total{,outcome=\"success\"} 1",
                "otelcol_receiver_requests_total{,outcome=\"refused\"} 3",
                "otelcol_receiver_requests_total{,outcome=\"failure\"} 3",
                "otlpd_receiver_denied_requests_total{,reason=\"expired\"} 1",
                "otlpd_receiver_denied_requests_total{,reason=\"no_keys\"} 1",
                "otlpd_receiver_faulty_requests_total{,reason=\"malformed\"} 1",
                "otlpd_receiver_refused_requests_total{,reason=\"budget\"} 1",
                "otlpd_receiver_refused_requests_total{,reason=\"queue_full\"} 1",
                "otlpd_receiver_rejected_items_total{,signal=\"traces\",reason=\"invalid_utf8\"} 2",
                "otlpd_receiver_rejected_items_total{,signal=\"traces\",reason=\"invalid_id\"} 1",
            ]
        );
    }

    #[test]
    fn bytes_and_connections_are_counted_on_the_wire_and_off_it() {
        let registry = Registry::default();
        let receiver = ReceiverMetrics::new(&registry, "apps", "grpc");
        receiver.body(100, 1000);
        receiver.took(Duration::from_millis(3));
        let connection = receiver.connection();
        let open = "otlpd_receiver_connections{} 1".to_owned();
        assert!(lines(&registry).contains(&open));
        drop(connection);
        let found = lines(&registry);
        assert!(!found.contains(&open));
        for line in [
            "otlpd_receiver_wire_bytes_total{} 100",
            "otlpd_receiver_request_bytes_sum{} 1000",
            "otlpd_receiver_request_bytes_bucket{,le=\"4096.0\"} 1",
            "otlpd_receiver_request_seconds_sum{} 0.003",
            "otlpd_receiver_opened_connections_total{} 1",
        ] {
            assert!(found.contains(&line.to_owned()), "{line}: {found:?}");
        }
    }
}
