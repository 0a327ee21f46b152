//! The hash of a value, as the Collector's attributes processor makes it.

use sha2::{Digest, Sha256};

use crate::otlp::wire::{self, MAX_DEPTH, Reader};

const STRING: u32 = 0x0a;
const BOOL: u32 = 0x10;
const INT: u32 = 0x18;
const DOUBLE: u32 = 0x21;
const LIST: u32 = 0x2a;
const MAP: u32 = 0x32;
const BYTES: u32 = 0x3a;

/// Replaces an `AnyValue` by a string: the SHA-256 of a string's bytes, of a bool as one byte,
/// of a number as eight, little end first. Every other value becomes the empty string.
pub(super) fn hash(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(66);
    match hashed(value) {
        Some(digest) => wire::write_bytes(&mut out, STRING, digest.as_bytes()),
        None => wire::write_bytes(&mut out, STRING, b""),
    }
    out
}

/// The digest of the last field that is set, which is the one that counts in a `oneof`.
fn hashed(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    let mut digest = None;
    while !reader.is_done() {
        let tag = reader.tag().ok()?;
        match tag {
            STRING => digest = Some(Sha256::digest(reader.bytes().ok()?)),
            BOOL => digest = Some(Sha256::digest([u8::from(reader.varint_value().ok()? != 0)])),
            INT => digest = Some(Sha256::digest(reader.varint_value().ok()?.to_le_bytes())),
            DOUBLE => {
                let start = reader.at();
                reader.fixed::<8>().ok()?;
                digest = Some(Sha256::digest(reader.since(start)));
            }
            LIST | MAP | BYTES => {
                reader.bytes().ok()?;
                digest = None;
            }
            _ => reader.skip(tag, MAX_DEPTH).ok()?,
        }
    }
    let hexadecimal = digest?.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &[u8]) -> String {
        let hashed = hash(value);
        let content = Reader::new(&hashed[1..]).bytes().unwrap();
        String::from_utf8(content.to_vec()).unwrap()
    }

    #[test]
    fn values_are_hashed_as_the_collector_hashes_them() {
        let cases: [(&[u8], &str); 4] = [
            (
                b"\x0a\x03abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                &[0x10, 1],
                "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a",
            ),
            (
                &[0x18, 0],
                "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
            ),
            (
                &[0x21, 0, 0, 0, 0, 0, 0, 0, 0],
                "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected, "{value:?}");
        }
    }

    #[test]
    fn what_has_no_hash_becomes_the_empty_string() {
        for value in [&b"\x2a\x00"[..], b"\x32\x00", b"\x3a\x01x", b""] {
            assert_eq!(text(value), "");
        }
    }
}
