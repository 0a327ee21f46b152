//! Numbers as a person reads them. The tables know how a number lies on the wire; what it means
//! is told by the field's name, which no two meanings share.

use std::fmt;

use super::fields::{Content, Field, number_of};
use crate::exporters::date::date;
use crate::otlp::schema::Kind;
use crate::otlp::wire::Reader;

/// The value of a field that holds a number, or a packed list of them.
pub(super) struct Number<'a>(pub(super) Field<'a>);

/// A time in nanoseconds since 1970, in RFC 3339.
pub(super) struct Time(pub(super) u64);

const SPAN_KINDS: [&str; 6] = [
    "UNSPECIFIED",
    "INTERNAL",
    "SERVER",
    "CLIENT",
    "PRODUCER",
    "CONSUMER",
];
const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];
const TEMPORALITIES: [&str; 3] = ["UNSPECIFIED", "DELTA", "CUMULATIVE"];
const SEVERITIES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// `SERVER`; `None` where there is no such kind of span.
pub(super) fn span_kind(number: u64) -> Option<&'static str> {
    name(&SPAN_KINDS, number)
}

/// `ERROR`; `None` where there is no such status.
pub(super) fn status_code(number: u64) -> Option<&'static str> {
    name(&STATUS_CODES, number)
}

/// `INFO`, `INFO2` and so on; `None` where there is no such severity.
pub(super) fn severity(number: u64) -> Option<String> {
    let step = number.checked_sub(1)?;
    let name = name(&SEVERITIES, step / 4)?;
    Some(match step % 4 {
        0 => name.to_owned(),
        more => format!("{name}{}", more + 1),
    })
}

fn name(names: &[&'static str], number: u64) -> Option<&'static str> {
    usize::try_from(number)
        .ok()
        .and_then(|index| names.get(index).copied())
}

/// The number that an `sint32` or `sint64` stands for.
pub(super) const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name();
        match self.0.content {
            Content::Varint(raw) => varint(f, name, raw),
            Content::Fixed64(raw) => fixed64(f, name, raw),
            Content::Fixed32(raw) => write!(f, "{raw:#x}"),
            Content::Bytes(packed) => list(f, self.0, packed),
            Content::Group => Ok(()),
        }
    }
}

fn varint(f: &mut fmt::Formatter<'_>, name: &str, raw: u64) -> fmt::Result {
    let meaning = match name {
        "bool_value" | "is_monotonic" => return write!(f, "{}", raw != 0),
        "flags" => return write!(f, "{raw:#x}"),
        "scale" | "offset" => return write!(f, "{}", unzigzag(raw)),
        "kind" => span_kind(raw).map(str::to_owned),
        "code" => status_code(raw).map(str::to_owned),
        "aggregation_temporality" => self::name(&TEMPORALITIES, raw).map(str::to_owned),
        "severity_number" => severity(raw),
        "memory_start" | "memory_limit" | "file_offset" | "address" => {
            return write!(f, "{raw:#x}");
        }
        "bucket_counts" | "duration_nano" => return write!(f, "{raw}"),
        // All others are signed, or small.
        _ => return write!(f, "{}", raw as i64),
    };
    match meaning {
        Some(meaning) => write!(f, "{meaning} ({raw})"),
        None => write!(f, "{}", raw as i64),
    }
}

fn fixed64(f: &mut fmt::Formatter<'_>, name: &str, raw: u64) -> fmt::Result {
    match name {
        "as_int" => write!(f, "{}", raw as i64),
        "count" | "bucket_counts" | "zero_count" => write!(f, "{raw}"),
        _ if name.contains("unix_nano") => match raw {
            0 => f.write_str("0"),
            _ => write!(f, "{} ({raw})", Time(raw)),
        },
        // What is left of them are doubles.
        _ => write!(f, "{:?}", f64::from_bits(raw)),
    }
}

/// Numbers without tags between them.
fn list(f: &mut fmt::Formatter<'_>, field: Field<'_>, packed: &[u8]) -> fmt::Result {
    f.write_str("[")?;
    let kind = field.known.map(|known| known.kind);
    for (index, number) in unpack(kind, packed).enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        match number {
            Some(content) => write!(f, "{}", Number(Field { content, ..field }))?,
            None => f.write_str("(and a number that is cut off)")?,
        }
    }
    f.write_str("]")
}

/// The numbers of a packed list; `None` is a number that is not whole, and the last.
pub(super) fn unpack<'a>(
    kind: Option<Kind>,
    packed: &'a [u8],
) -> impl Iterator<Item = Option<Content<'a>>> {
    let mut reader = Reader::new(packed);
    std::iter::from_fn(move || {
        if reader.is_done() {
            return None;
        }
        let start = reader.at();
        let number = match kind {
            Some(Kind::Fixed64) => reader
                .fixed::<8>()
                .map(|()| Content::Fixed64(number_of(reader.since(start)))),
            Some(Kind::Fixed32) => reader
                .fixed::<4>()
                .map(|()| Content::Fixed32(number_of(reader.since(start)) as u32)),
            _ => reader.varint_value().map(Content::Varint),
        };
        if number.is_err() {
            reader = Reader::new(&[]);
        }
        Some(number.ok())
    })
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if nanos > 0 {
            let fraction = format!("{nanos:09}");
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}
