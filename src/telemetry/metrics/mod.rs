//! Metrics: one table of names, handles that are registered once, storage that cannot grow, and
//! the page that Prometheus reads.
//!
//! Counters and gauges are handles of the `metrics` crate over our own atomics; histograms are
//! ours, with fixed buckets. The exporter crate that goes with `metrics` keeps every sample of a
//! histogram until the next scrape, and does not speak OpenMetrics.

mod document;
mod histogram;
mod page;
mod receiver;
mod registry;
mod shards;
pub mod table;

pub use document::document;
pub use histogram::{Buckets, Histogram};
pub use page::{Exposition, Page, Value};
pub use receiver::{Connection, Fault, ReadingMetrics, ReceiverMetrics, Refusal};
pub use registry::Registry;
