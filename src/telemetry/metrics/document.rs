//! The documentation of the metrics, written from the table.

use std::fmt::Write;

use super::table::{self, Kind, Metric};

const HEAD: &str = "\
# Metrics

The admin listener serves these at `/metrics`, as Prometheus text 0.0.4 or, where the scraper asks
for it, as OpenMetrics 1.0.0. This page is written from `src/telemetry/metrics/table.rs` by
`OTLPD_BLESS=1 cargo test --lib metrics::document`; a test compares the two.

Names that begin with `otelcol_` are those of the Go Collector, with its labels. Counters carry
`_total` in both formats. The Collector's queue sizes are requests by default; ours are bytes, and
its `data_type` label is absent, since all signals share a lane's one queue.

| Name | Type | Unit | Labels | What it is |
|---|---|---|---|---|
";

/// The page that stands in `docs/metrics.md`.
pub fn document() -> String {
    let mut page = HEAD.to_owned();
    for metric in table::all() {
        // Writing to a string does not fail.
        let _infallible = writeln!(page, "{}", row(metric));
    }
    page
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
    let kind = match metric.kind {
        Kind::Info => "info",
        kind => kind.name(),
    };
    format!(
        "| `{}` | {kind} | {} | {} | {} |",
        metric.series(),
        metric.unit,
        labels.join(", "),
        metric.help
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("OTLPD_BLESS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == document(),
            "docs/metrics.md is not what the table says: run OTLPD_BLESS=1 cargo test --lib metrics::document"
        );
    }
}
