//! Metrics at `verbosity = "normal"`: a line a data point, much as Prometheus writes them.

use std::fmt::{self, Write};

use super::fields::{Content, Field, Part};
use super::normal::{each, end_line};
use super::numbers::{Number, unpack, unzigzag};
use super::page::Page;
use super::values::{Attributes, Name, Style, Unreadable};
use crate::otlp::schema::Kind;

/// The metric that a data point belongs to.
#[derive(Clone, Copy)]
struct Metric<'a> {
    name: &'a [u8],
    unit: &'a [u8],
    /// `gauge`, `sum` and so on, as the field is called.
    kind: &'static str,
    delta: bool,
}

/// A line for each point of a metric, or one that says that it has none.
pub(super) fn write_metric(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let (mut name, mut unit, mut data) = (&b""[..], &b""[..], Vec::new());
    let fault = each(part, |field| match (field.name(), field.content) {
        ("name", Content::Bytes(text)) => name = text,
        ("unit", Content::Bytes(text)) => unit = text,
        _ if matches!(field.known.map(|known| known.kind), Some(Kind::Level(_))) => {
            data.extend(field.part().map(|points| (field.name(), points)));
        }
        _ => {}
    });
    for (kind, points) in &data {
        write_points(
            page,
            Metric {
                name,
                unit,
                kind,
                delta: false,
            },
            *points,
        )?;
    }
    if data.is_empty() {
        write!(page, "metric {} (no data)", Name(name))?;
        return end_line(page, fault);
    }
    fault.map_or(Ok(()), |fault| writeln!(page, "{}", Unreadable(fault)))
}

fn write_points<'a>(page: &mut Page, mut metric: Metric<'a>, part: Part<'a>) -> fmt::Result {
    let mut points = Vec::new();
    let fault = each(part, |field| match (field.name(), field.content) {
        ("aggregation_temporality", Content::Varint(number)) => metric.delta = number == 1,
        ("data_points", _) => points.extend(field.part()),
        _ => {}
    });
    for point in points {
        write_point(page, metric, point)?;
        page.item_done();
    }
    fault.map_or(Ok(()), |fault| writeln!(page, "{}", Unreadable(fault)))
}

/// `sum requests{route="/"} 5 {request}`
fn write_point(page: &mut Page, metric: Metric<'_>, part: Part<'_>) -> fmt::Result {
    let (mut attributes, mut values, mut no_value) = (Vec::new(), Vec::new(), false);
    let fault = each(part, |field| match (field.name(), field.content) {
        ("attributes", _) => attributes.extend(field.part()),
        ("flags", Content::Varint(flags)) => no_value = flags & 1 == 1,
        _ => values.push(field),
    });
    let delta = if metric.delta { "delta " } else { "" };
    write!(page, "{delta}{} {}", metric.kind, Name(metric.name))?;
    if !attributes.is_empty() {
        write!(page, "{{{}}}", Attributes(&attributes))?;
    }
    for value in &values {
        write_value(page, *value)?;
    }
    write_buckets(page, &values)?;
    write_quantiles(page, &values)?;
    if no_value {
        write!(page, " (no recorded value)")?;
    }
    if !metric.unit.is_empty() {
        write!(page, " {}", Unit(metric.unit))?;
    }
    end_line(page, fault)
}

/// A unit such as `{request}` or `By/s`, without quotes.
struct Unit<'a>(&'a [u8]);

impl fmt::Display for Unit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

fn write_value(page: &mut Page, field: Field<'_>) -> fmt::Result {
    match field.name() {
        "as_int" | "as_double" => write!(page, " {}", Number(field)),
        name @ ("count" | "sum" | "min" | "max" | "scale" | "zero_count") => {
            write!(page, " {name}={}", Number(field))
        }
        name @ ("positive" | "negative") => {
            let Some(buckets) = field.part() else {
                return Ok(());
            };
            let (mut offset, mut counts) = (0, Vec::new());
            let fault = each(buckets, |field| match (field.name(), field.content) {
                ("offset", Content::Varint(raw)) => offset = unzigzag(raw),
                ("bucket_counts", _) => counts.extend(scalars(field)),
                _ => {}
            });
            let indices = (offset..).map(|index| index.to_string());
            write_list(page, name, indices.zip(&counts))?;
            fault.map_or(Ok(()), |fault| write!(page, " {}", Unreadable(fault)))
        }
        _ => Ok(()),
    }
}

/// Each bucket by its upper bound.
fn write_buckets(page: &mut Page, values: &[Field<'_>]) -> fmt::Result {
    let of = |name: &'static str| values.iter().filter(move |field| field.name() == name);
    let counts: Vec<u64> = of("bucket_counts").copied().flat_map(scalars).collect();
    if counts.is_empty() {
        return Ok(());
    }
    let bounds = of("explicit_bounds")
        .copied()
        .flat_map(scalars)
        .map(f64::from_bits);
    let bounds = bounds.map(|bound| format!("{bound:?}"));
    let last = std::iter::once("+Inf".to_owned());
    write_list(page, "buckets", bounds.chain(last).zip(&counts))
}

fn write_quantiles(page: &mut Page, values: &[Field<'_>]) -> fmt::Result {
    for part in values
        .iter()
        .filter(|field| field.name() == "quantile_values")
    {
        let (mut quantile, mut value) = (0.0, 0.0);
        let Some(part) = part.part() else { continue };
        let fault = each(part, |field| match (field.name(), field.content) {
            ("quantile", Content::Fixed64(raw)) => quantile = f64::from_bits(raw),
            ("value", Content::Fixed64(raw)) => value = f64::from_bits(raw),
            _ => {}
        });
        write!(page, " q{quantile:?}={value:?}")?;
        if let Some(fault) = fault {
            write!(page, " {}", Unreadable(fault))?;
        }
    }
    Ok(())
}

/// ` name=[5.0: 1, +Inf: 2]`: the buckets that are not empty.
fn write_list<'a>(
    page: &mut Page,
    name: &str,
    buckets: impl Iterator<Item = (String, &'a u64)>,
) -> fmt::Result {
    write!(page, " {name}=[")?;
    let filled = buckets.filter(|(_, count)| **count > 0);
    for (index, (bucket, count)) in filled.enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        if index == Style::SHORT.list {
            write!(page, "{comma}...")?;
            break;
        }
        write!(page, "{comma}{bucket}: {count}")?;
    }
    write!(page, "]")
}

/// The numbers of a list, packed or not.
fn scalars(field: Field<'_>) -> impl Iterator<Item = u64> {
    let kind = field.known.map(|known| known.kind);
    let (one, packed) = match field.content {
        Content::Bytes(packed) => (None, packed),
        content => (Some(content), &b""[..]),
    };
    let numbers = one.into_iter().chain(unpack(kind, packed).flatten());
    numbers.map(|number| match number {
        Content::Varint(raw) | Content::Fixed64(raw) => raw,
        Content::Fixed32(raw) => u64::from(raw),
        Content::Bytes(_) | Content::Group => 0,
    })
}
