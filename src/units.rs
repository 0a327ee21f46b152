//! Byte sizes and durations as people write them: `"64MiB"`, `"250ms"`.

use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// A number of bytes, written in TOML as a string with a unit: `"512KiB"`, `"64MiB"`, `"1.5GiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const WANTED_SIZE: &str = "a size with its unit, such as \"512KiB\", \"64MiB\" or \"1.5GiB\"";
const WANTED_DURATION: &str =
    "a duration with its unit, such as \"250ms\", \"8s\", \"1m30s\" or \"2h\"";

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

/// Exact, in the largest unit that divides it: `64MiB`, `1500B`. With a precision (`{:.1}`) it
/// is rounded for a reader: `1.5KiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = || SIZE_UNITS.into_iter().take(4);
        if let Some((unit, bytes)) =
            binary().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes))
        {
            return write!(f, "{}{unit}", self.0 / bytes);
        }
        match (f.precision(), binary().find(|(_, bytes)| self.0 >= *bytes)) {
            (Some(digits), Some((unit, bytes))) => {
                write!(f, "{:.digits$}{unit}", self.0 as f64 / bytes as f64)
            }
            _ => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, WANTED_SIZE)?;
        parse_bytes(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Reads `"64MiB"`. The error is a phrase that says what is wanted; it never holds `text`, which
/// may have come from a secret.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split_number(text);
    let Some((_, bytes)) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit) else {
        return Err(match size_unit_meant(unit) {
            Some(meant) => format!(
                "has a unit that is written {meant}, directly after the number: it wants {WANTED_SIZE}"
            ),
            None => format!("wants {WANTED_SIZE}"),
        });
    };
    scale(number, bytes).map_err(|problem| problem.sentence(WANTED_SIZE))
}

/// Reads `"250ms"`, `"8s"`, `"1m30s"`, `"2h"`. The error is a phrase that says what is wanted;
/// it never holds `text`, which may have come from a secret.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos = 0_u64;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, tail) = split_number(rest);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let Some((_, each)) = DURATION_UNITS.into_iter().find(|(name, _)| *name == unit) else {
            return Err(format!("wants {WANTED_DURATION}"));
        };
        let part = scale(number, each).map_err(|problem| problem.sentence(WANTED_DURATION))?;
        nanos = nanos
            .checked_add(part)
            .ok_or_else(|| Unreadable::TooLarge.sentence(WANTED_DURATION))?;
        rest = tail;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The duration as [`parse_duration`] reads it back, exactly: `1m30s`, `1.5s`, `250ms`.
pub fn readable(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            n if n % 1_000_000 == 0 => format!("{}ms", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{}us", n / 1_000),
            n => format!("{n}ns"),
        };
    }
    let mut text = String::new();
    if seconds >= 3600 {
        text += &format!("{}h", seconds / 3600);
    }
    if seconds % 3600 >= 60 {
        text += &format!("{}m", seconds % 3600 / 60);
    }
    let fraction = format!("{nanos:09}");
    match (seconds % 60, fraction.trim_end_matches('0')) {
        (0, "") => {}
        (s, "") => text += &format!("{s}s"),
        (s, fraction) => text += &format!("{s}.{fraction}s"),
    }
    text
}

/// `#[serde(with = "units::duration")]` on a `Duration` field.
pub mod duration {
    use super::{Deserializer, Duration, WANTED_DURATION};

    /// Reads a duration from a string such as `"250ms"`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = super::text(deserializer, WANTED_DURATION)?;
        super::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

/// Reads a string; `wanted` tells who wrote something else what belongs there.
pub fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
    wanted: &'static str,
) -> Result<String, D::Error> {
    deserializer.deserialize_str(Text(wanted))
}

struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

enum Unreadable {
    NoNumber,
    TooLarge,
}

impl Unreadable {
    fn sentence(&self, wanted: &str) -> String {
        match self {
            Self::NoNumber => format!("wants {wanted}"),
            Self::TooLarge => format!("is too large: it wants {wanted}"),
        }
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// `number` (digits, or digits with a fraction) times `unit`, rounded down, without floats.
fn scale(number: &str, unit: u64) -> Result<u64, Unreadable> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(Unreadable::NoNumber),
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !(fraction.is_empty() || digits(fraction)) || fraction.len() > 18 {
        return Err(Unreadable::NoNumber);
    }
    let whole: u64 = whole.parse().map_err(|_| Unreadable::TooLarge)?;
    let part = match fraction.parse::<u128>() {
        Ok(digits) => digits * u128::from(unit) / 10_u128.pow(fraction.len() as u32),
        Err(_) => 0,
    };
    u64::try_from(u128::from(whole) * u128::from(unit) + part).map_err(|_| Unreadable::TooLarge)
}

fn size_unit_meant(unit: &str) -> Option<&'static str> {
    let unit = unit.trim();
    let same = |name: &str| {
        name.eq_ignore_ascii_case(unit) || name.trim_end_matches('B').eq_ignore_ascii_case(unit)
    };
    let found = SIZE_UNITS.into_iter().find(|(name, _)| same(name));
    found.map(|(name, _)| name).filter(|_| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("0B", 0),
            ("512KiB", 512 << 10),
            ("64MiB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("2TiB", 2 << 40),
            ("10kB", 10_000),
            ("4MB", 4_000_000),
            ("1.25GB", 1_250_000_000),
            ("17B", 17),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_without_a_number_or_a_unit_are_refused() {
        for text in [
            "", " ", "64", "MiB", "-1MiB", "1,5MiB", "1.MiB", ".5MiB", "1.5.5MiB", "64MiBs",
            "1e3B", "٣MiB",
        ] {
            let problem = parse_bytes(text).unwrap_err();
            assert!(problem.starts_with("wants a size"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_size_that_overflows_is_too_large() {
        for text in ["99999999999999999999B", "99999999TiB"] {
            assert!(
                parse_bytes(text).unwrap_err().contains("too large"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_unit_in_another_spelling_is_named() {
        for (text, meant) in [
            ("64mib", "MiB"),
            ("64Mi", "MiB"),
            ("64M", "MB"),
            ("1KB", "kB"),
            ("64 MiB", "MiB"),
        ] {
            let problem = parse_bytes(text).unwrap_err();
            assert!(problem.contains(&format!("written {meant},")), "{problem}");
        }
    }

    #[test]
    fn durations_are_read_in_go_spelling() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250_000_000),
            ("8s", 8_000_000_000),
            ("1m30s", 90_000_000_000),
            ("2h", 7_200_000_000_000),
            ("1.5s", 1_500_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("7ns", 7),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn durations_without_a_number_or_a_unit_are_refused() {
        for text in ["", "8", "s", "-8s", "8 s", "1m30", "8sec", "1..5s", "3d"] {
            let problem = parse_duration(text).unwrap_err();
            assert!(problem.starts_with("wants a duration"), "{text}: {problem}");
        }
        assert!(parse_duration("99999999h").is_err());
    }

    #[test]
    fn readable_durations_use_few_units() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1.5s"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (3_661_001, "1h1m1.001s"),
        ] {
            assert_eq!(readable(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_precision_rounds_what_no_unit_divides() {
        assert_eq!(format!("{:.1}", ByteSize(1_500)), "1.5KiB");
        assert_eq!(format!("{:.1}", ByteSize::mib(64)), "64MiB");
        assert_eq!(format!("{}", ByteSize(1_500)), "1500B");
        assert_eq!(format!("{}", ByteSize(0)), "0B");
    }

    proptest! {
        #[test]
        fn every_size_reads_back_as_printed(bytes: u64) {
            prop_assert_eq!(parse_bytes(&ByteSize(bytes).to_string()), Ok(bytes));
        }

        #[test]
        fn every_duration_reads_back_as_printed(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&readable(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,24}") {
            for problem in [parse_bytes(&text).err(), parse_duration(&text).err()] {
                prop_assert!(problem.is_none_or(|problem| problem.contains("with its unit")));
            }
        }
    }
}
