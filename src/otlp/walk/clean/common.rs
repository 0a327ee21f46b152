//! What the signals share: resource, scope, attributes and their values.

use crate::otlp::wire::{self, Fault, GROUP_END, GROUP_START, MAX_DEPTH, Reader};

/// Something is not in order, or not usual; the thorough walk will say what.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotClean;

impl From<Fault> for NotClean {
    fn from(_: Fault) -> Self {
        Self
    }
}

/// What a walk over something that is not counted says.
pub(super) type Clean = Result<(), NotClean>;

/// The content of a field that we do not know, or not with this wire type.
#[cold]
#[inline(never)]
pub(super) fn unknown(reader: &mut Reader<'_>, tag: u32) -> Clean {
    if matches!(tag & 7, GROUP_START | GROUP_END) {
        return Err(NotClean);
    }
    Ok(reader.skip(tag, 0)?)
}

/// A string.
#[inline(always)]
pub(super) fn text(reader: &mut Reader<'_>) -> Clean {
    let text = reader.bytes()?;
    if wire::is_ascii(text) || is_utf8(text) {
        Ok(())
    } else {
        Err(NotClean)
    }
}

#[inline(never)]
fn is_utf8(text: &[u8]) -> bool {
    simdutf8::basic::from_utf8(text).is_ok()
}

/// An id of `N` bytes, or an empty one.
#[inline(always)]
pub(super) fn id<const N: usize>(reader: &mut Reader<'_>) -> Clean {
    let length = reader.bytes()?.len();
    if length == N || length == 0 {
        Ok(())
    } else {
        Err(NotClean)
    }
}

/// An attribute that lies `depth` levels above the limit.
#[inline(always)]
pub(super) fn attribute(reader: &mut Reader<'_>, depth: u32) -> Clean {
    let attribute = reader.message()?;
    if is_usual(attribute.rest()) {
        return Ok(());
    }
    key_value(attribute, depth)
}

/// Whether these bytes are what most attributes are: a short key and a short string or a small
/// integer, in this order, all of it in ASCII but the integer. Tags and lengths below 128 are
/// ASCII as well, so one look over all bytes also proves that every length has one byte.
#[inline(always)]
fn is_usual(attribute: &[u8]) -> bool {
    let [0x0a, key_length, after @ ..] = attribute else {
        return false;
    };
    let Some((key, value)) = after.split_at_checked(usize::from(*key_length)) else {
        return false;
    };
    match value {
        [0x12, value_length, 0x0a, string_length, string @ ..] => {
            usize::from(*string_length) == string.len()
                && usize::from(*value_length) == string.len() + 2
                && wire::is_ascii(attribute)
        }
        [0x12, 2, 0x18, ..0x80] | [0x12, 3, 0x18, 0x80..=0xff, ..0x80] => {
            *key_length < 0x80 && wire::is_ascii(key)
        }
        _ => false,
    }
}

/// Any attribute.
pub(super) fn key_value(mut reader: Reader<'_>, depth: u32) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => text(&mut reader)?,
            0x12 => any_value(reader.message()?, depth.checked_sub(1).ok_or(NotClean)?)?,
            0x18 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

/// A value of any kind, in which `depth` more levels are allowed.
pub(super) fn any_value(mut reader: Reader<'_>, depth: u32) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => text(&mut reader)?,
            0x10 | 0x18 | 0x40 => reader.varint()?,
            0x21 => reader.fixed::<8>()?,
            0x2a => list(reader.message()?, depth, any_value)?,
            0x32 => list(reader.message()?, depth, key_value)?,
            0x3a => drop(reader.bytes()?),
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

/// An `ArrayValue` or a `KeyValueList`.
#[inline(always)]
fn list(mut reader: Reader<'_>, depth: u32, element: fn(Reader<'_>, u32) -> Clean) -> Clean {
    let depth = depth.checked_sub(1).ok_or(NotClean)?;
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => element(reader.message()?, depth.checked_sub(1).ok_or(NotClean)?)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

/// A resource; it lies two levels down.
pub(super) fn resource(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => attribute(&mut reader, MAX_DEPTH - 3)?,
            0x10 => reader.varint()?,
            0x1a => entity_ref(reader.message()?)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

fn entity_ref(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a | 0x12 | 0x1a | 0x22 => text(&mut reader)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}

/// An instrumentation scope; it lies three levels down.
pub(super) fn scope(mut reader: Reader<'_>) -> Clean {
    while !reader.is_done() {
        match reader.tag()? {
            0x0a | 0x12 => text(&mut reader)?,
            0x1a => attribute(&mut reader, MAX_DEPTH - 4)?,
            0x20 => reader.varint()?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(())
}
