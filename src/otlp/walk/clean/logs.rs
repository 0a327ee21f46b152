//! Log records.

use super::BELOW_ITEM;
use super::common::{Clean, any_value, attribute, id, text, unknown};
use crate::otlp::wire::Reader;

pub(super) fn log_record(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x09 | 0x59 => reader.fixed::<8>()?,
            0x10 | 0x38 => reader.varint()?,
            0x1a | 0x62 => text(&mut reader)?,
            0x2a => any_value(reader.message()?, BELOW_ITEM - 1)?,
            0x32 => attribute(&mut reader, BELOW_ITEM - 1)?,
            0x45 => reader.fixed::<4>()?,
            0x4a => id::<16>(&mut reader)?,
            0x52 => id::<8>(&mut reader)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}
