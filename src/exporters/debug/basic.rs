//! `verbosity = "basic"`: one line a batch, with its counts.

use std::fmt::{self, Write};

use super::fields::Part;
use super::page::{Page, count, items};
use crate::batch::Batch;
use crate::otlp::{Signal, schema};

#[derive(Default)]
struct Counts {
    resources: u64,
    scopes: u64,
    metrics: u64,
}

/// `traces: 2 spans, 1 scope, 1 resource, 431 bytes`
pub(super) fn write(page: &mut Page, batch: &Batch) -> fmt::Result {
    let mut counts = Counts::default();
    for part in parts(batch) {
        counts.add(part);
    }
    let signal = batch.signal;
    write!(page, "{}: {}, ", signal.name(), items(batch))?;
    if signal == Signal::Metrics {
        write!(page, "{}, ", count(counts.metrics, "metrics"))?;
    }
    writeln!(
        page,
        "{}, {}, {}",
        count(counts.scopes, "scopes"),
        count(counts.resources, "resources"),
        count(batch.bytes() as u64, "bytes"),
    )
}

/// The requests that the batch is made of.
pub(super) fn parts(batch: &Batch) -> impl Iterator<Item = Part<'_>> {
    let message = schema::request(batch.signal);
    batch
        .chunks
        .iter()
        .map(move |bytes| Part { message, bytes })
}

impl Counts {
    /// Counts what is on the way down to the items.
    fn add(&mut self, part: Part<'_>) {
        for field in part.fields().filter_map(Result::ok) {
            let name = field.name();
            let Some(part) = field.part() else { continue };
            if name.starts_with("resource_") {
                self.resources += 1;
                self.add(part);
            } else if name.starts_with("scope_") {
                self.scopes += 1;
                self.add(part);
            } else if name == "metrics" {
                self.metrics += 1;
            }
        }
    }
}
