//! Metrics and their data points, which are the items.

use super::common::{Clean, NotClean, attribute, id, text, unknown};
use super::{BELOW_ITEM, packed};
use crate::otlp::wire::Reader;

/// A data point lies two levels below its metric.
const BELOW_POINT: u32 = BELOW_ITEM - 2;

/// The number of data points of a metric. Where `FULL` is false their insides are not looked at.
pub(super) fn metric<const FULL: bool>(mut reader: Reader<'_>) -> Result<u64, NotClean> {
    let mut points = 0;
    while !reader.is_done() {
        match reader.tag()? {
            0x0a | 0x12 | 0x1a => text(&mut reader)?,
            0x2a | 0x3a => points += data::<FULL>(reader.message()?, number_point)?,
            0x4a => points += data::<FULL>(reader.message()?, histogram_point)?,
            0x52 => points += data::<FULL>(reader.message()?, exponential_point)?,
            0x5a => points += data::<FULL>(reader.message()?, summary_point)?,
            0x62 => attribute(&mut reader, BELOW_ITEM - 1)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(points)
}

/// Gauge, sum, histogram, exponential histogram or summary. What is not a data point in them is
/// a varint, and a varint is what an unknown field of that wire type is too.
#[inline(always)]
fn data<const FULL: bool>(
    mut reader: Reader<'_>,
    point: impl Fn(Reader<'_>) -> Clean,
) -> Result<u64, NotClean> {
    let mut points = 0;
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => {
                let content = reader.message()?;
                if FULL {
                    point(content)?;
                }
                points += 1;
            }
            0x10 | 0x18 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(points)
}

fn number_point(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x11 | 0x19 | 0x21 | 0x31 => reader.fixed::<8>()?,
            0x2a => exemplar(reader.message()?)?,
            0x3a => attribute(&mut reader, BELOW_POINT - 1)?,
            0x40 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn histogram_point(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x11 | 0x19 | 0x21 | 0x29 | 0x31 | 0x39 | 0x59 | 0x61 => reader.fixed::<8>()?,
            0x32 | 0x3a => packed::<8>(&mut reader)?,
            0x42 => exemplar(reader.message()?)?,
            0x4a => attribute(&mut reader, BELOW_POINT - 1)?,
            0x50 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn exponential_point(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => attribute(&mut reader, BELOW_POINT - 1)?,
            0x11 | 0x19 | 0x21 | 0x29 | 0x39 | 0x61 | 0x69 | 0x71 => reader.fixed::<8>()?,
            0x30 | 0x50 => reader.varint()?,
            0x42 | 0x4a => buckets(reader.message()?)?,
            0x5a => exemplar(reader.message()?)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn buckets(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x08 | 0x10 => reader.varint()?,
            0x12 => {
                let mut counts = reader.message()?;
                while !counts.is_done() {
                    counts.varint()?;
                }
            }
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn summary_point(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x11 | 0x19 | 0x21 | 0x29 => reader.fixed::<8>()?,
            0x32 => quantile(reader.message()?)?,
            0x3a => attribute(&mut reader, BELOW_POINT - 1)?,
            0x40 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn quantile(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x09 | 0x11 => reader.fixed::<8>()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn exemplar(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x11 | 0x19 | 0x31 => reader.fixed::<8>()?,
            0x22 => id::<8>(&mut reader)?,
            0x2a => id::<16>(&mut reader)?,
            0x3a => attribute(&mut reader, BELOW_POINT - 2)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}
