//! Byte sizes and durations as people write them: `"64MiB"`, `"250ms"`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A number of bytes, written in TOML as a string with a unit: `"512KiB"`, `"64MiB"`, `"1.5GiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// A whole number of KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// A whole number of MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes, for lengths; saturates where `usize` is narrower.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >= 1 << shift {
                return write!(f, "{:.1}{unit}", self.0 as f64 / f64::from(1_u32 << shift));
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_bytes(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Reads `"64MiB"`; the error is a sentence that says what is allowed.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let _ = text;
    Err("not yet".to_owned())
}

/// Reads `"250ms"`, `"8s"`, `"1m30s"`, `"2h"`; the error is a sentence that says what is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let _ = text;
    Err("not yet".to_owned())
}

/// `#[serde(with = "units::duration")]` on a `Duration` field.
pub mod duration {
    use super::{Deserialize, Deserializer, Duration};

    /// Reads a duration from a string such as `"250ms"`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}
