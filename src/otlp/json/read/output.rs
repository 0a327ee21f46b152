//! Where the bytes of a message go.

use super::error::{Problem, Read, Stop};
use crate::otlp::schema::{Field, Kind};
use crate::otlp::wire::{
    DELIMITED, FIXED32, FIXED64, Reader as Wire, VARINT, set_length, write_varint,
};

/// Bytes that somebody pays for.
pub(super) struct Output<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    /// Asked before they grow.
    pub(super) room: &'a mut dyn FnMut(usize) -> bool,
}

/// The most that a tag and a number take, in bytes.
pub(super) const NUMBER: usize = 5 + 10;

impl Output<'_> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for this many more bytes.
    #[inline(always)]
    pub(super) fn reserve(&mut self, more: usize) -> Read {
        if more <= self.bytes.capacity() - self.bytes.len() {
            return Ok(());
        }
        self.grow(more)
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Read {
        let length = self.bytes.len();
        // A quarter more than there is, so that it is not asked for each field; or else no more
        // than it must be.
        for more in [more.max(length / 4), more] {
            if (self.room)(length + more) {
                self.bytes.reserve_exact(more);
                return Ok(());
            }
        }
        Err(Stop::new(0, Problem::NoRoom))
    }

    /// Writes the length of what follows into the room kept for it.
    #[inline(always)]
    pub(super) fn close(&mut self, start: usize, width: usize) -> Read {
        let length = self.bytes.len() - start - width;
        if width == 1
            && length < 0x80
            && let Some(kept) = self.bytes.get_mut(start)
        {
            *kept = length as u8;
            return Ok(());
        }
        self.reserve(NUMBER)?;
        set_length(self.bytes, start..start + width);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn tag(&mut self, field: &Field) {
        let wire_type = match field.kind {
            Kind::Varint => VARINT,
            Kind::Fixed32 => FIXED32,
            Kind::Fixed64 => FIXED64,
            _ => DELIMITED,
        };
        self.tag_of(field, wire_type);
    }

    #[inline(always)]
    pub(super) fn tag_of(&mut self, field: &Field, wire_type: u32) {
        write_varint(self.bytes, u64::from(field.number << 3 | wire_type));
    }

    #[inline(always)]
    pub(super) fn number(&mut self, kind: Kind, raw: u64) {
        match kind {
            Kind::Fixed32 => self.bytes.extend_from_slice(&(raw as u32).to_le_bytes()),
            Kind::Fixed64 => self.bytes.extend_from_slice(&raw.to_le_bytes()),
            _ => write_varint(self.bytes, raw),
        }
    }

    /// Takes out of the message that begins at `start` what came before the last value of a key,
    /// in one go over it, however often they came.
    #[cold]
    pub(super) fn keep_last(&mut self, start: usize, again: &[(u32, usize)]) {
        let (mut from, mut to) = (start, start);
        while from < self.bytes.len() {
            let mut reader = Wire::within(self.bytes, from..self.bytes.len());
            // We have just written it, so it can be read.
            let Ok(tag) = reader.tag() else { break };
            let Ok(()) = reader.skip(tag, 0) else { break };
            let end = reader.at();
            let is_old = |(number, last): &(u32, usize)| *number == tag >> 3 && from < *last;
            if !again.iter().any(is_old) {
                self.bytes.copy_within(from..end, to);
                to += end - from;
            }
            from = end;
        }
        self.bytes.truncate(to);
    }
}
