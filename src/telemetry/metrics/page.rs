//! The page of metrics: Prometheus text 0.0.4, or OpenMetrics 1.0.0.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::Buckets;
use super::table::{Kind, Metric};

/// The two formats that scrapers understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Exposition {
    /// The `Content-Type` of the page.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge.
    Whole(u64),
    /// Of a counter or a gauge.
    Real(f64),
    /// Of a histogram.
    Buckets(Buckets),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) if *value == f64::INFINITY => f.write_str("+Inf"),
            Self::Real(value) if *value == f64::NEG_INFINITY => f.write_str("-Inf"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Buckets(buckets) => write!(f, "{}", buckets.count),
        }
    }
}

/// All values at one moment, by metric.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<&'static str, Family>,
}

#[derive(Debug)]
struct Family {
    metric: &'static Metric,
    samples: Vec<(Vec<String>, Value)>,
}

impl Page {
    /// Puts a value down; label values stand in the order of the metric's labels. Of two values
    /// for the same series the later counts: scrapers refuse a page on which one stands twice.
    pub fn put(&mut self, metric: &'static Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let family = self.families.entry(metric.name).or_insert_with(|| Family {
            metric,
            samples: Vec::new(),
        });
        match family.samples.iter_mut().find(|(known, _)| known == labels) {
            Some((_, known)) => *known = value,
            None => {
                let labels = labels.iter().map(|&value| value.to_owned()).collect();
                family.samples.push((labels, value));
            }
        }
    }

    /// The page in this format.
    pub fn render(&self, format: Exposition) -> String {
        let mut out = String::with_capacity(16 << 10);
        for family in self.families.values() {
            // Writing to a string does not fail.
            let _infallible = family.render(&mut out, format);
        }
        if format == Exposition::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

impl Family {
    fn render(&self, out: &mut String, format: Exposition) -> fmt::Result {
        self.render_head(out, format)?;
        let series = self.metric.series();
        for (values, value) in &self.samples {
            let labels = Labels {
                names: self.metric.labels,
                values,
                bound: None,
            };
            match value {
                Value::Buckets(buckets) => render_buckets(out, &series, labels, buckets)?,
                value => writeln!(out, "{series}{labels} {value}")?,
            }
        }
        Ok(())
    }

    /// In the text format all lines carry the name of the series; in OpenMetrics the head
    /// carries the family's, to which each type adds its endings.
    fn render_head(&self, out: &mut String, format: Exposition) -> fmt::Result {
        let Metric {
            name, unit, help, ..
        } = self.metric;
        match format {
            Exposition::Text => {
                let series = self.metric.series();
                writeln!(out, "# HELP {series} {}", Escaped::in_text_help(help))?;
                writeln!(out, "# TYPE {series} {}", self.metric.kind.name())
            }
            Exposition::OpenMetrics => {
                let (family, kind) = match self.metric.kind {
                    Kind::Info => (name.strip_suffix("_info").unwrap_or(name), "info"),
                    kind => (*name, kind.name()),
                };
                writeln!(out, "# HELP {family} {}", Escaped::quoted(help))?;
                writeln!(out, "# TYPE {family} {kind}")?;
                // A unit may only be named where the family's name ends in it.
                let ending = family.strip_suffix(unit);
                if !unit.is_empty() && ending.is_some_and(|rest| rest.ends_with('_')) {
                    writeln!(out, "# UNIT {family} {unit}")?;
                }
                Ok(())
            }
        }
    }
}

fn render_buckets(
    out: &mut String,
    series: &str,
    labels: Labels<'_>,
    buckets: &Buckets,
) -> fmt::Result {
    for (bound, count) in &buckets.cumulative {
        // With a decimal point in both formats, as OpenMetrics has it.
        let bound = format!("{bound:?}");
        let labels = labels.with_bound(&bound);
        writeln!(out, "{series}_bucket{labels} {count}")?;
    }
    let above = labels.with_bound("+Inf");
    writeln!(out, "{series}_bucket{above} {}", buckets.count)?;
    writeln!(out, "{series}_sum{labels} {}", Value::Real(buckets.sum))?;
    writeln!(out, "{series}_count{labels} {}", buckets.count)
}

#[derive(Clone, Copy)]
struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [String],
    bound: Option<&'a str>,
}

impl<'a> Labels<'a> {
    fn with_bound<'b>(self, bound: &'b str) -> Labels<'b>
    where
        'a: 'b,
    {
        Labels {
            bound: Some(bound),
            ..self
        }
    }
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(String::as_str);
        let bound = self.bound.map(|bound| ("le", bound));
        let pairs = self.names.iter().copied().zip(values).chain(bound);
        let mut open = false;
        for (name, value) in pairs {
            f.write_char(if open { ',' } else { '{' })?;
            open = true;
            write!(f, "{name}=\"{}\"", Escaped::quoted(value))?;
        }
        if open { f.write_char('}') } else { Ok(()) }
    }
}

struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl<'a> Escaped<'a> {
    /// The help of the text format leaves quotes as they are.
    fn in_text_help(text: &'a str) -> Self {
        let quotes = false;
        Self { text, quotes }
    }

    fn quoted(text: &'a str) -> Self {
        let quotes = true;
        Self { text, quotes }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.text.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Histogram, table};

    fn page() -> Page {
        let mut page = Page::default();
        let nasty = "a\\b\"c\nd";
        let size = Value::Whole(7);
        page.put(&table::EXPORTER_QUEUE_SIZE, &[nasty], size);
        page.put(&table::PROCESS_UPTIME, &[], Value::Real(1.5));
        page.put(&table::PROCESS_CPU_SECONDS, &[], Value::Real(2.0));
        page.put(&table::TARGET_INFO, &["otlpd", "1"], Value::Whole(1));
        let histogram = Histogram::new(&[0.5, 1.0]);
        histogram.observe(0.75);
        let buckets = Value::Buckets(histogram.snapshot());
        page.put(&table::EXPORTER_ATTEMPT_SECONDS, &["out"], buckets);
        page
    }

    #[test]
    fn the_text_page_is_prometheus_text() {
        let expected = r#"# HELP otelcol_exporter_queue_size Bytes that wait in the queue.
# TYPE otelcol_exporter_queue_size gauge
otelcol_exporter_queue_size{exporter="a\\b\"c\nd"} 7
# HELP otelcol_process_cpu_seconds_total CPU time spent, in user and in kernel mode.
# TYPE otelcol_process_cpu_seconds_total counter
otelcol_process_cpu_seconds_total 2
# HELP otelcol_process_uptime_total Seconds since the process started.
# TYPE otelcol_process_uptime_total counter
otelcol_process_uptime_total 1.5
# HELP otlpd_exporter_attempt_seconds Time that attempts take.
# TYPE otlpd_exporter_attempt_seconds histogram
otlpd_exporter_attempt_seconds_bucket{exporter="out",le="0.5"} 0
otlpd_exporter_attempt_seconds_bucket{exporter="out",le="1.0"} 1
otlpd_exporter_attempt_seconds_bucket{exporter="out",le="+Inf"} 1
otlpd_exporter_attempt_seconds_sum{exporter="out"} 0.75
otlpd_exporter_attempt_seconds_count{exporter="out"} 1
# HELP target_info What is being measured.
# TYPE target_info gauge
target_info{service_name="otlpd",service_version="1"} 1
"#;
        assert_eq!(page().render(Exposition::Text), expected);
    }

    #[test]
    fn the_openmetrics_page_names_families_and_units_and_ends() {
        let text = page().render(Exposition::OpenMetrics);
        for line in [
            "# TYPE otelcol_process_cpu_seconds counter",
            "# UNIT otelcol_process_cpu_seconds seconds",
            "otelcol_process_cpu_seconds_total 2",
            "# TYPE otelcol_process_uptime counter",
            "# UNIT otlpd_exporter_attempt_seconds seconds",
            "# TYPE target info",
            "target_info{service_name=\"otlpd\",service_version=\"1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("# UNIT otelcol_process_uptime"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn a_series_stands_on_the_page_once() {
        let mut page = Page::default();
        for (exporter, size) in [("a", 1), ("b", 2), ("a", 3)] {
            page.put(&table::EXPORTER_QUEUE_SIZE, &[exporter], Value::Whole(size));
        }
        let text = page.render(Exposition::Text);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "otelcol_exporter_queue_size{exporter=\"a\"} 3",
                "otelcol_exporter_queue_size{exporter=\"b\"} 2",
            ]
        );
    }

    #[test]
    fn infinities_are_written_as_scrapers_read_them() {
        let written =
            [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(|v| Value::Real(v).to_string());
        assert_eq!(written, ["+Inf", "-Inf", "NaN"]);
    }
}
