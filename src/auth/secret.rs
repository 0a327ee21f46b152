//! What must not be seen: a type that does not print it, and a comparison that does not tell by
//! the time it takes how much of a guess is right.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A text of the configuration that nothing prints.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, for where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        Digest::of(self.0.as_bytes()).is(&Digest::of(other.0.as_bytes()))
    }
}

impl Eq for Secret {}

/// The SHA-256 of a secret: what is kept of those that only have to be compared.
#[derive(Clone)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// 64 hexadecimal digits; `None` for anything else.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            // from_str_radix would take a sign.
            let pair = std::str::from_utf8(pair).ok()?;
            let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = is_hex.then(|| u8::from_str_radix(pair, 16).ok())??;
        }
        Some(Self(bytes))
    }

    /// Whether they are the same; it takes as long where they are not.
    pub(super) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(format!("{:?}", Some(&secret)), "Some(Secret)");
        assert_eq!(format!("{:?}", Digest::of(b"hunter2")), "Digest");
    }

    #[test]
    fn digests_are_read_in_hexadecimal_and_compared() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let read = Digest::from_hex(&abc.to_uppercase()).unwrap();
        assert!(read.is(&Digest::of(b"abc")));
        assert!(!read.is(&Digest::of(b"abd")));
        assert!(Digest::from_hex(&abc[1..]).is_none());
        assert!(Digest::from_hex(&abc.replace("ba", "+1")).is_none());
    }
}
