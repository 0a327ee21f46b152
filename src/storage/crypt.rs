//! Records at rest, encrypted: AES-256-GCM under a key of the segment's own.
//!
//! The segment's key is HKDF-SHA256 of the secret and the segment's salt, so a sequence number
//! is a nonce that no key sees twice: a segment that a write failed in is never written to again.

use std::fmt;

use aws_lc_rs::aead::AES_256_GCM;
use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::aead::UnboundKey;
use aws_lc_rs::hkdf;
use bytes::Bytes;
use smallvec::SmallVec;

use super::NewRecord;
use super::StorageError;
use super::format::MAX_KEY_ID;
use super::format::RECORD_LEN;
use super::format::RecordHead;

/// What encryption adds to a record, in bytes.
pub(super) const TAG_LEN: usize = 16;

/// A secret, and the name that segments remember it by.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// 1 to 64 bytes.
    pub id: String,
    /// Random.
    pub secret: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    /// A key from the text of its secret: 32 bytes in base64 (of either alphabet, padded or not)
    /// or 64 hexadecimal digits. White space around it does not count.
    ///
    /// # Errors
    /// The id is empty or longer than 64 bytes, or the text is not such a secret.
    pub fn parse(id: &str, text: &str) -> Result<Self, StorageError> {
        if id.is_empty() || id.len() > MAX_KEY_ID {
            return Err(StorageError(format!(
                "the key id \"{id}\" has {} bytes: 1 to {MAX_KEY_ID} are asked for",
                id.len()
            )));
        }
        let text = text.trim();
        let bytes = from_hex(text).or_else(|| from_base64(text));
        let secret = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let secret = secret.ok_or_else(|| {
            StorageError(format!(
                "the key \"{id}\" is not 32 bytes in base64 or hexadecimal: make one with \
                 `openssl rand -base64 32`"
            ))
        })?;
        Ok(Self {
            id: id.to_owned(),
            secret,
        })
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16);
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0u32, 0);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// A segment's key.
pub(super) struct Cipher {
    key: LessSafeKey,
    /// Stands in the header: another secret makes another.
    pub(super) check: [u8; 8],
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    /// The key of the segment with this salt.
    pub(super) fn new(key: &Key, salt: [u8; 16]) -> Result<Self, StorageError> {
        let failed = |_| StorageError(format!("no cipher could be made of the key \"{}\"", key.id));
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(&key.secret);
        let mut secret = [0; 32];
        let mut check = [0; 32];
        derived
            .expand(&[b"otlpd segment 1: records"], hkdf::HKDF_SHA256)
            .and_then(|out| out.fill(&mut secret))
            .map_err(failed)?;
        derived
            .expand(&[b"otlpd segment 1: check"], hkdf::HKDF_SHA256)
            .and_then(|out| out.fill(&mut check))
            .map_err(failed)?;
        let [a, b, c, d, e, f, g, h, ..] = check;
        Ok(Self {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).map_err(failed)?),
            check: [a, b, c, d, e, f, g, h],
        })
    }

    /// Replaces what is in the record by its encrypted form, which `head` is to describe.
    pub(super) fn seal(
        &self,
        head: &RecordHead,
        record: &mut NewRecord,
    ) -> Result<(), StorageError> {
        let mut bytes = Vec::with_capacity(head.payload_len());
        bytes.extend_from_slice(&record.head);
        for chunk in &record.body {
            bytes.extend_from_slice(chunk);
        }
        let (nonce, bound) = bind(head);
        self.key
            .seal_in_place_append_tag(nonce, bound, &mut bytes)
            .map_err(|_| StorageError("a record is too large to be encrypted".to_owned()))?;
        record.head = Bytes::new();
        record.body = SmallVec::from_buf([Bytes::from(bytes)]);
        Ok(())
    }

    /// The record's head and body as they were given; `None` if they are not what was written.
    pub(super) fn open(&self, head: &RecordHead, payload: Bytes) -> Option<Bytes> {
        let mut bytes = Vec::from(payload);
        let (nonce, bound) = bind(head);
        let plain = self.key.open_in_place(nonce, bound, &mut bytes).ok()?.len();
        bytes.truncate(plain);
        Some(Bytes::from(bytes))
    }
}

/// What a record is encrypted with beside the key: its place, and what stands before it.
fn bind(head: &RecordHead) -> (Nonce, Aad<[u8; RECORD_LEN]>) {
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().skip(4).zip(head.seq.to_be_bytes()) {
        *to = from;
    }
    let bound = RecordHead { crc: 0, ..*head };
    (
        Nonce::assume_unique_for_key(nonce),
        Aad::from(bound.encode()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_in_base64_and_in_hexadecimal() {
        let secret: [u8; 32] = std::array::from_fn(|at| at as u8 * 8 + 3);
        let hex: String = secret.iter().map(|byte| format!("{byte:02X}")).collect();
        let base64 = "AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s=";
        for text in [
            hex.as_str(),
            base64,
            &format!(" {} \n", base64.trim_end_matches('=')),
        ] {
            assert_eq!(Key::parse("one", text).unwrap().secret, secret, "{text}");
        }
        let url_safe = base64.replace('+', "-").replace('/', "_");
        assert_eq!(Key::parse("one", &url_safe).unwrap().secret, secret);
        for wrong in [
            "",
            "abc",
            &hex[2..],
            &base64[4..],
            &base64.replace('A', "!"),
        ] {
            let error = Key::parse("one", wrong).unwrap_err().to_string();
            assert!(error.contains("\"one\" is not 32 bytes"), "{error}");
            assert!(
                wrong.is_empty() || !error.contains(wrong),
                "a secret is never shown"
            );
        }
        assert!(Key::parse("", &hex).is_err() && Key::parse(&"x".repeat(65), &hex).is_err());
    }
}
