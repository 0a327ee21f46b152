//! Spans.

use super::BELOW_ITEM;
use super::common::{Clean, attribute, id, text, unknown};
use crate::otlp::wire::Reader;

pub(super) fn span(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => id::<16>(&mut reader)?,
            0x12 | 0x22 => id::<8>(&mut reader)?,
            0x1a | 0x2a => text(&mut reader)?,
            0x30 | 0x50 | 0x60 | 0x70 => reader.varint()?,
            0x39 | 0x41 => reader.fixed::<8>()?,
            0x4a => attribute(&mut reader, BELOW_ITEM - 1)?,
            0x5a => event(reader.message()?)?,
            0x6a => link(reader.message()?)?,
            0x7a => status(reader.message()?)?,
            0x85 => reader.fixed::<4>()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn event(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x09 => reader.fixed::<8>()?,
            0x12 => text(&mut reader)?,
            0x1a => attribute(&mut reader, BELOW_ITEM - 2)?,
            0x20 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn link(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => id::<16>(&mut reader)?,
            0x12 => id::<8>(&mut reader)?,
            0x1a => text(&mut reader)?,
            0x22 => attribute(&mut reader, BELOW_ITEM - 2)?,
            0x28 => reader.varint()?,
            0x35 => reader.fixed::<4>()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn status(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x12 => text(&mut reader)?,
            0x18 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}
