//! Protobuf's wire format: tags, varints and lengths, read from a slice without copying, and
//! written into a vector.

use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

/// How deeply messages and groups may lie in a request, as Google's parsers have it. Deeper
/// bodies are refused by every C++, Java and Rust receiver, so one of them in a merged batch
/// would cost the batch.
pub const MAX_DEPTH: u32 = 100;

/// Wire type of varints.
pub const VARINT: u32 = 0;
/// Wire type of eight bytes.
pub const FIXED64: u32 = 1;
/// Wire type of a length and as many bytes.
pub const DELIMITED: u32 = 2;
/// Wire type that opens a group.
pub const GROUP_START: u32 = 3;
/// Wire type that closes a group.
pub const GROUP_END: u32 = 4;
/// Wire type of four bytes.
pub const FIXED32: u32 = 5;

/// What is wrong with bytes that are not an OTLP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field goes on after the end of its message.
    Truncated,
    /// A varint of more than ten bytes (five in tags and lengths), or too large for its type.
    Varint,
    /// Field number 0.
    FieldNumber,
    /// Wire type 6 or 7.
    WireType,
    /// A group that is closed and was not opened, or the other way round.
    Group,
    /// More than [`MAX_DEPTH`] messages and groups in each other.
    Nesting,
    /// A packed list of fixed-width numbers that is not a whole number of them long.
    Packed,
    /// A string that is not UTF-8.
    Utf8,
    /// A trace id that has neither 16 nor 0 bytes, or a span id that has neither 8 nor 0.
    IdLength {
        /// 16 or 8.
        expected: u8,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("goes on after the end of its message"),
            Self::Varint => f.write_str("has a varint that is too long or too large"),
            Self::FieldNumber => f.write_str("has the field number 0"),
            Self::WireType => f.write_str("has a wire type that does not exist"),
            Self::Group => f.write_str("opens or closes a group that has no other end"),
            Self::Nesting => write!(f, "is nested more than {MAX_DEPTH} levels deep"),
            Self::Packed => f.write_str("is a packed list that ends within a number"),
            Self::Utf8 => f.write_str("is not UTF-8"),
            Self::IdLength { expected } => {
                write!(f, "is an id of neither {expected} nor 0 bytes")
            }
        }
    }
}

/// Reads one message from front to back. Positions are counted from the start of the bytes that
/// the outermost reader was made of, so a reader of a message inside knows where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Ends where the message ends.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads the whole of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Reads the message that lies there in `bytes`.
    pub fn within(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self {
            bytes: bytes.get(..range.end).unwrap_or_default(),
            at: range.start,
        }
    }

    /// Where the next byte lies.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Where the message ends.
    pub const fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the message has been read to its end.
    #[inline(always)]
    pub const fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What has not been read.
    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The bytes from `start` to where the reader stands.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// The next tag: field number and wire type in one. Whether they are allowed is found by
    /// whoever does not know the tag, see [`Reader::skip`].
    #[inline(always)]
    pub fn tag(&mut self) -> Result<u32, Fault> {
        self.short_varint()
    }

    /// The content of a field of wire type 2.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.short_varint()? as usize;
        let end = self.at.checked_add(length).ok_or(Fault::Truncated)?;
        let content = self.bytes.get(self.at..end).ok_or(Fault::Truncated)?;
        self.at = end;
        Ok(content)
    }

    /// A reader of the message in a field of wire type 2.
    #[inline(always)]
    pub fn message(&mut self) -> Result<Self, Fault> {
        let length = self.short_varint()? as usize;
        let end = self.at.checked_add(length).ok_or(Fault::Truncated)?;
        let bytes = self.bytes.get(..end).ok_or(Fault::Truncated)?;
        let start = self.at;
        self.at = end;
        Ok(Self { bytes, at: start })
    }

    /// Steps over a fixed-width number of `N` bytes.
    #[inline(always)]
    pub fn fixed<const N: usize>(&mut self) -> Result<(), Fault> {
        let end = self.at + N;
        if end > self.bytes.len() {
            return Err(Fault::Truncated);
        }
        self.at = end;
        Ok(())
    }

    /// Steps over a varint.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at) {
            Some(..0x80) => {
                self.at += 1;
                Ok(())
            }
            _ => self.long_varint().map(|_| ()),
        }
    }

    /// The value of a varint.
    pub fn varint_value(&mut self) -> Result<u64, Fault> {
        self.long_varint()
    }

    /// Steps over the content of a field that the caller does not know, `depth` levels of
    /// messages and groups being left.
    pub fn skip(&mut self, tag: u32, depth: u32) -> Result<(), Fault> {
        if tag >> 3 == 0 {
            return Err(Fault::FieldNumber);
        }
        match tag & 7 {
            VARINT => self.varint(),
            FIXED64 => self.fixed::<8>(),
            DELIMITED => self.bytes().map(|_| ()),
            GROUP_START => self.skip_group(tag >> 3, depth),
            GROUP_END => Err(Fault::Group),
            FIXED32 => self.fixed::<4>(),
            _ => Err(Fault::WireType),
        }
    }

    fn skip_group(&mut self, number: u32, depth: u32) -> Result<(), Fault> {
        let depth = depth.checked_sub(1).ok_or(Fault::Nesting)?;
        loop {
            if self.is_done() {
                return Err(Fault::Group);
            }
            let tag = self.tag()?;
            if tag == number << 3 | GROUP_END {
                return Ok(());
            }
            self.skip(tag, depth)?;
        }
    }

    /// A tag or a length: one or two bytes as a rule, five at most.
    #[inline(always)]
    fn short_varint(&mut self) -> Result<u32, Fault> {
        let Some(&first) = self.bytes.get(self.at) else {
            return Err(Fault::Truncated);
        };
        if first < 0x80 {
            self.at += 1;
            return Ok(u32::from(first));
        }
        match self.bytes.get(self.at + 1) {
            Some(&second) if second < 0x80 => {
                self.at += 2;
                Ok(u32::from(first & 0x7f) | u32::from(second) << 7)
            }
            _ => self.longer_varint(),
        }
    }

    #[cold]
    #[inline(never)]
    fn longer_varint(&mut self) -> Result<u32, Fault> {
        let start = self.at;
        let value = self.long_varint()?;
        if self.at - start > 5 {
            return Err(Fault::Varint);
        }
        u32::try_from(value).map_err(|_| Fault::Varint)
    }

    /// Ten bytes at most, and no more than 64 bits: Google's parsers drop what is above, those
    /// of Go and Rust refuse it, so it cannot be let through to them.
    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest().iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.at += index + 1;
                let overflows = index == 9 && byte > 1;
                return if overflows {
                    Err(Fault::Varint)
                } else {
                    Ok(value)
                };
            }
        }
        Err(if self.rest().len() < 10 {
            Fault::Truncated
        } else {
            Fault::Varint
        })
    }
}

/// Whether all bytes are ASCII: the usual case, told by sixteen bytes at a time. The last ones
/// may be looked at twice, so that no length needs a loop over single bytes.
#[inline(always)]
pub fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
    let word = |bytes: [u8; 8]| u128::from(u64::from_le_bytes(bytes));
    let mut seen = 0;
    if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
        seen |= u128::from_le_bytes(*first) | u128::from_le_bytes(*last);
        if bytes.len() > 32 {
            for chunk in bytes.as_chunks::<16>().0 {
                seen |= u128::from_le_bytes(*chunk);
            }
        }
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        seen |= word(*first) | word(*last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        seen |= u128::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last));
    } else {
        seen |= u128::from(bytes.iter().fold(0, |all, byte| all | byte));
    }
    seen & HIGH == 0
}

/// Whether the bytes are UTF-8.
#[inline(always)]
pub fn is_utf8(bytes: &[u8]) -> bool {
    is_ascii(bytes) || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Appends a varint in its shortest form.
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field of wire type 0; proto3 does not write nought, which is what a missing one means.
pub fn write_number(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value > 0 {
        write_varint(out, u64::from(tag));
        write_varint(out, value);
    }
}

/// The number of bytes of a varint in its shortest form.
pub const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends a field of wire type 2 whose content is what `content` appends; `expected` is how
/// long it is likely to be, so that the length need not be moved afterwards.
pub fn write_message(
    out: &mut Vec<u8>,
    tag: u32,
    expected: usize,
    content: impl FnOnce(&mut Vec<u8>),
) {
    write_varint(out, u64::from(tag));
    let start = out.len();
    let reserved = varint_len(expected as u64);
    out.resize(start + reserved, 0);
    content(out);
    set_length(out, start..start + reserved);
}

/// Writes a length into the room kept for it: that of all that follows. What follows is moved
/// if the length takes more or less room.
pub fn set_length(out: &mut Vec<u8>, kept: Range<usize>) {
    let length = out.len().saturating_sub(kept.end) as u64;
    let mut varint = SmallVec::<[u8; 10]>::new();
    for shift in (0..varint_len(length)).map(|index| 7 * index) {
        varint.push((length >> shift) as u8 | 0x80);
    }
    if let Some(last) = varint.last_mut() {
        *last &= 0x7f;
    }
    match out.get_mut(kept.clone()) {
        Some(room) if room.len() == varint.len() => room.copy_from_slice(&varint),
        _ => drop(out.splice(kept, varint)),
    }
}

/// Appends a field of wire type 2.
pub fn write_bytes(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    write_varint(out, u64::from(tag));
    write_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> Result<u64, Fault> {
        Reader::new(bytes).varint_value()
    }

    #[test]
    fn varints_come_back_as_they_were_written() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                write_varint(&mut bytes, number);
                assert_eq!(value(&bytes), Ok(number));
                assert_eq!(bytes.len(), varint_len(number));
            }
        }
    }

    #[test]
    fn varints_longer_than_ten_bytes_or_64_bits_are_refused() {
        let mut ten = [0xff; 10];
        ten[9] = 1;
        assert_eq!(value(&ten), Ok(u64::MAX));
        ten[9] = 2;
        assert_eq!(value(&ten), Err(Fault::Varint));
        assert_eq!(value(&[0x80; 11]), Err(Fault::Varint));
        assert_eq!(value(&[0x80; 9]), Err(Fault::Truncated));
    }

    #[test]
    fn tags_and_lengths_have_at_most_five_bytes_and_32_bits() {
        let tag = |bytes: &[u8]| Reader::new(bytes).tag();
        assert_eq!(tag(&[0xb0, 0x80, 0x80, 0x80, 0x0f]), Ok(0xf000_0030));
        assert_eq!(tag(&[0xb0, 0x80, 0x80, 0x80, 0x10]), Err(Fault::Varint));
        assert_eq!(tag(&[0xb0, 0x80, 0x80, 0x80, 0x80, 0]), Err(Fault::Varint));
        assert_eq!(tag(&[0xb0, 0x80, 0x80, 0x80, 0]), Ok(0x30));
    }

    #[test]
    fn a_length_past_the_end_is_refused_without_reading() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
        assert_eq!(reader.bytes(), Err(Fault::Truncated));
        assert_eq!(Reader::new(&[2, 1]).bytes(), Err(Fault::Truncated));
        assert_eq!(Reader::new(&[1, 1]).bytes(), Ok(&[1][..]));
    }

    #[test]
    fn ascii_is_told_from_the_rest_at_every_place() {
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert!(is_ascii(&text));
            for place in 0..length {
                text[place] = 0x80;
                assert!(!is_ascii(&text), "{place} of {length}");
                text[place] = b'a';
            }
        }
    }

    #[test]
    fn a_written_message_has_its_length_whatever_was_expected() {
        for (expected, length) in [(0, 0), (0, 200), (300, 1), (20_000, 20_000), (127, 128)] {
            let mut out = vec![9];
            write_message(&mut out, 0x0a, expected, |out| {
                out.extend(std::iter::repeat_n(7, length));
            });
            let mut plain = vec![9];
            write_bytes(&mut plain, 0x0a, &vec![7; length]);
            assert_eq!(out, plain);
        }
    }
}
