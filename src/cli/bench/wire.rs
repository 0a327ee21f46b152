//! The little of protobuf and gRPC that the bench writes and reads by hand. It shares nothing
//! with the daemon's own reader on purpose: a fault there must not hide itself here.

use std::time::Duration;

/// The bytes before each gRPC message: a flag for compression and a length.
pub(crate) const GRPC_PREFIX: usize = 5;

/// The prefix of a gRPC message of this length.
pub(crate) fn grpc_prefix(compressed: bool, length: usize) -> [u8; GRPC_PREFIX] {
    let [a, b, c, d] = (u32::try_from(length).unwrap_or(u32::MAX)).to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}

/// Takes one gRPC message apart: whether it is compressed, and its bytes.
pub(crate) fn grpc_message(frame: &[u8]) -> Option<(bool, &[u8])> {
    let (prefix, message) = frame.split_first_chunk::<GRPC_PREFIX>()?;
    let [flag, length @ ..] = *prefix;
    (u32::from_be_bytes(length) as usize == message.len() && flag <= 1)
        .then_some((flag == 1, message))
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

pub(crate) fn put_fixed64(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A message inside a message.
pub(crate) fn put_message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    put_bytes(out, field, &message);
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, in order. It ends early at bytes that are not protobuf, and `torn`
/// says so.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    pub(crate) torn: bool,
}

impl<'a> Fields<'a> {
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self {
            rest: message,
            torn: false,
        }
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed64(self.chunk()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(self.chunk()?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&chunk, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(chunk)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.torn {
            return None;
        }
        let field = self.field();
        self.torn = field.is_none();
        field
    }
}

/// The first length-delimited field of this number.
pub(crate) fn find_bytes(message: &[u8], number: u64) -> Option<&[u8]> {
    Fields::of(message).find_map(|field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

/// The first varint field of this number; 0, as protobuf has it, where there is none.
pub(crate) fn find_number(message: &[u8], number: u64) -> u64 {
    Fields::of(message)
        .find_map(|field| match field {
            (found, Value::Number(value)) if found == number => Some(value),
            _ => None,
        })
        .unwrap_or(0)
}

const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";

/// A `google.rpc.Status` with a RetryInfo, as `grpc-status-details-bin` carries it.
pub(crate) fn retry_info(code: u16, after: Duration) -> String {
    let mut status = Vec::new();
    put_number(&mut status, 1, u64::from(code));
    put_message(&mut status, 3, |any| {
        put_bytes(any, 1, RETRY_INFO);
        put_message(any, 2, |info| {
            put_message(info, 1, |delay| {
                put_number(delay, 1, after.as_secs());
                put_number(delay, 2, u64::from(after.subsec_nanos()));
            });
        });
    });
    base64(&status)
}

/// The delay in a `grpc-status-details-bin`, where there is one.
pub(crate) fn retry_delay(details: &str) -> Option<Duration> {
    let status = from_base64(details)?;
    Fields::of(&status).find_map(|field| {
        let (3, Value::Bytes(any)) = field else {
            return None;
        };
        if find_bytes(any, 1) != Some(RETRY_INFO) {
            return None;
        }
        let delay = find_bytes(find_bytes(any, 2)?, 1)?;
        let nanos = u32::try_from(find_number(delay, 2)).ok()?;
        Some(Duration::from_secs(find_number(delay, 1)) + Duration::from_nanos(nanos.into()))
    })
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Without padding, as gRPC wants it for headers that end in `-bin`.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for sextet in 0..=group.len() {
            let index = (bits >> (18 - 6 * sextet)) as usize & 63;
            text.extend(BASE64.get(index).map(|&byte| char::from(byte)));
        }
    }
    text
}

/// With padding or without.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        let sextet = BASE64.iter().position(|&known| known == byte)?;
        bits = bits << 6 | sextet as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_delay_survives_its_way_through_a_header() {
        for delay in [
            Duration::from_millis(1500),
            Duration::from_secs(3),
            Duration::ZERO,
        ] {
            assert_eq!(retry_delay(&retry_info(14, delay)), Some(delay));
        }
        assert_eq!(retry_delay("not base64!"), None);
        assert_eq!(retry_delay(""), None);
    }

    #[test]
    fn base64_is_the_alphabet_of_rfc_4648() {
        for (plain, text) in [
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
            assert_eq!(from_base64(text).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn a_grpc_message_is_taken_only_when_its_length_fits() {
        let mut frame = grpc_prefix(true, 3).to_vec();
        frame.extend_from_slice(b"abc");
        assert_eq!(grpc_message(&frame), Some((true, &b"abc"[..])));
        frame.push(b'd');
        assert_eq!(grpc_message(&frame), None);
        assert_eq!(grpc_message(&[0; 4]), None);
    }

    #[test]
    fn fields_end_at_the_first_byte_that_is_not_protobuf() {
        let mut message = Vec::new();
        put_number(&mut message, 1, 300);
        put_bytes(&mut message, 2, b"xy");
        put_fixed64(&mut message, 3, 7);
        let mut fields = Fields::of(&message);
        assert_eq!(fields.next(), Some((1, Value::Number(300))));
        assert_eq!(fields.next(), Some((2, Value::Bytes(b"xy"))));
        assert_eq!(
            fields.next(),
            Some((3, Value::Fixed64(7_u64.to_le_bytes())))
        );
        assert!(fields.next().is_none() && !fields.torn);

        message.truncate(message.len() - 1);
        let mut fields = Fields::of(&message);
        assert_eq!(fields.by_ref().count(), 2);
        assert!(fields.torn);
    }
}
