//! The values that are counted where things happen. What is kept elsewhere anyway (the ledger,
//! the lanes, the budget) is not counted a second time but read when the page is written.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::shards::ShardedCounter;
use super::table::{Kind, Metric};
use super::{Histogram, Page, Value};

/// Every registered series. Registering takes a lock; counting does not.
#[derive(Debug, Default)]
pub struct Registry {
    series: Mutex<Vec<Series>>,
}

#[derive(Debug)]
struct Series {
    metric: &'static Metric,
    labels: Vec<String>,
    storage: Storage,
}

#[derive(Clone)]
enum Storage {
    Counter(Arc<ShardedCounter>),
    /// The bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Histogram>),
}

impl Registry {
    /// The counter of `metric` with these label values, which stand in the order of its labels.
    /// Asking again gives another handle of the same.
    pub fn counter(&self, metric: &'static Metric, labels: &[&str]) -> metrics::Counter {
        match self.register(metric, labels) {
            Storage::Counter(count) => metrics::Counter::from_arc(count),
            Storage::Gauge(_) | Storage::Histogram(_) => metrics::Counter::noop(),
        }
    }

    /// The gauge of `metric` with these label values.
    pub fn gauge(&self, metric: &'static Metric, labels: &[&str]) -> metrics::Gauge {
        match self.register(metric, labels) {
            Storage::Gauge(value) => metrics::Gauge::from_arc(value),
            Storage::Counter(_) | Storage::Histogram(_) => metrics::Gauge::noop(),
        }
    }

    /// The histogram of `metric` with these label values.
    pub fn histogram(&self, metric: &'static Metric, labels: &[&str]) -> metrics::Histogram {
        match self.register(metric, labels) {
            Storage::Histogram(histogram) => metrics::Histogram::from_arc(histogram),
            Storage::Counter(_) | Storage::Gauge(_) => metrics::Histogram::noop(),
        }
    }

    /// Puts all values on the page.
    pub fn write(&self, page: &mut Page) {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for series in all.iter() {
            let labels: Vec<&str> = series.labels.iter().map(String::as_str).collect();
            page.put(series.metric, &labels, series.storage.value());
        }
    }

    fn register(&self, metric: &'static Metric, labels: &[&str]) -> Storage {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all
            .iter()
            .find(|series| series.metric.name == metric.name && series.labels == labels);
        if let Some(known) = known {
            return known.storage.clone();
        }
        let storage = Storage::new(metric.kind);
        all.push(Series {
            metric,
            labels: labels.iter().map(|&value| value.to_owned()).collect(),
            storage: storage.clone(),
        });
        storage
    }
}

impl Storage {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Arc::default()),
            Kind::Gauge | Kind::Info => Self::Gauge(Arc::default()),
            Kind::Histogram(bounds) => Self::Histogram(Arc::new(Histogram::new(bounds))),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Counter(count) => Value::Whole(count.total()),
            Self::Gauge(bits) => Value::Real(f64::from_bits(bits.load(Ordering::Relaxed))),
            Self::Histogram(histogram) => Value::Buckets(histogram.snapshot()),
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Exposition, table};

    #[test]
    fn asking_twice_counts_in_one_place() {
        let registry = Registry::default();
        let labels = ["apps", "grpc"];
        for _ in 0..2 {
            registry
                .counter(&table::RECEIVER_ACCEPTED[0], &labels)
                .increment(2);
            let connections = registry.gauge(&table::RECEIVER_CONNECTIONS, &labels);
            connections.increment(1);
        }
        let mut page = Page::default();
        registry.write(&mut page);
        let text = page.render(Exposition::Text);
        let accepted =
            "otelcol_receiver_accepted_spans_total{receiver=\"apps\",transport=\"grpc\"} 4";
        assert!(text.lines().any(|line| line == accepted), "{text}");
        let open = "otlpd_receiver_connections{receiver=\"apps\",transport=\"grpc\"} 2";
        assert!(text.lines().any(|line| line == open), "{text}");
    }
}
