//! What is written down of a request that was given up: `proto/otlpd/storage/v1/dead_letter.proto`.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::batch::Priority;
use crate::otlp::Signal;
use crate::otlp::wire::{self, Fault, Reader};

/// The head of a dead letter. Its body is the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The exporter that it was for.
    pub exporter: String,
    /// The [`Reason`](crate::telemetry::ledger::Reason) in its own word; another version may
    /// have others.
    pub reason: String,
    /// What the destination said, or what was wrong.
    pub cause: String,
    /// When it was given up.
    pub given_up: SystemTime,
    /// When the oldest of it was received.
    pub received: SystemTime,
    /// What kind of request it is.
    pub signal: Signal,
    /// Spans, data points, log records or profiles.
    pub items: u64,
    /// Whose it is; empty where tenants are not told apart.
    pub tenant: String,
    /// How much it mattered.
    pub priority: Priority,
}

/// The most of a cause that is written down, in bytes: a destination chooses what it says.
const LONGEST_CAUSE: usize = 1024;

const EXPORTER: u32 = 1 << 3 | wire::DELIMITED;
const REASON: u32 = 2 << 3 | wire::DELIMITED;
const CAUSE: u32 = 3 << 3 | wire::DELIMITED;
const GIVEN_UP: u32 = 4 << 3 | wire::FIXED64;
const RECEIVED: u32 = 5 << 3 | wire::FIXED64;
const SIGNAL: u32 = 6 << 3 | wire::VARINT;
const ITEMS: u32 = 7 << 3 | wire::VARINT;
const TENANT: u32 = 8 << 3 | wire::DELIMITED;
const PRIORITY: u32 = 9 << 3 | wire::VARINT;

/// Why bytes are not a letter that this version can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They are not the message.
    Malformed(Fault),
    /// It is of a kind of request that this version does not know, by number.
    Signal(u64),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(fault) => write!(f, "the head of the dead letter {fault}"),
            Self::Signal(number) => write!(
                f,
                "the dead letter holds a kind of request, {number}, that this version of otlpd \
                 does not know"
            ),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault)
    }
}

impl Letter {
    /// The bytes of the message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(96 + self.cause.len().min(LONGEST_CAUSE));
        text(&mut out, EXPORTER, &self.exporter);
        text(&mut out, REASON, &self.reason);
        text(&mut out, CAUSE, front(&self.cause, LONGEST_CAUSE));
        time(&mut out, GIVEN_UP, self.given_up);
        time(&mut out, RECEIVED, self.received);
        wire::write_number(&mut out, SIGNAL, self.signal as u64 + 1);
        wire::write_number(&mut out, ITEMS, self.items);
        text(&mut out, TENANT, &self.tenant);
        wire::write_number(&mut out, PRIORITY, self.priority as u64 + 1);
        out.into()
    }

    /// Reads the message.
    ///
    /// # Errors
    /// The bytes are no such message, or one of a later version that this one cannot use.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut letter = Self {
            exporter: String::new(),
            reason: String::new(),
            cause: String::new(),
            given_up: SystemTime::UNIX_EPOCH,
            received: SystemTime::UNIX_EPOCH,
            signal: Signal::Traces,
            items: 0,
            tenant: String::new(),
            priority: Priority::Normal,
        };
        let mut signal = 0;
        let mut reader = Reader::new(bytes);
        while !reader.is_done() {
            match reader.tag()? {
                EXPORTER => letter.exporter = read_text(&mut reader)?,
                REASON => letter.reason = read_text(&mut reader)?,
                CAUSE => letter.cause = read_text(&mut reader)?,
                TENANT => letter.tenant = read_text(&mut reader)?,
                GIVEN_UP => letter.given_up = read_time(&mut reader)?,
                RECEIVED => letter.received = read_time(&mut reader)?,
                SIGNAL => signal = reader.varint_value()?,
                ITEMS => letter.items = reader.varint_value()?,
                PRIORITY => letter.priority = counted_from_one(reader.varint_value()?),
                tag => reader.skip(tag, wire::MAX_DEPTH)?,
            }
        }
        let known = Signal::ALL.into_iter();
        letter.signal = known
            .zip(1..)
            .find(|(_, number)| *number == signal)
            .map(|(known, _)| known)
            .ok_or(Unreadable::Signal(signal))?;
        Ok(letter)
    }
}

/// A priority that is not known, or not said, is an ordinary one.
fn counted_from_one(priority: u64) -> Priority {
    let mut known = Priority::ALL.into_iter().zip(1..);
    known
        .find(|(_, number)| *number == priority)
        .map_or(Priority::Normal, |(known, _)| known)
}

/// The longest front of `text` that has `most` bytes and ends between characters.
fn front(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Proto3 does not write what is empty.
fn text(out: &mut Vec<u8>, tag: u32, text: &str) {
    if !text.is_empty() {
        wire::write_bytes(out, tag, text.as_bytes());
    }
}

fn time(out: &mut Vec<u8>, tag: u32, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    if nanos > 0 {
        wire::write_varint(out, u64::from(tag));
        out.extend_from_slice(&nanos.to_le_bytes());
    }
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, Fault> {
    let bytes = reader.bytes()?.to_vec();
    String::from_utf8(bytes).map_err(|_| Fault::Utf8)
}

fn read_time(reader: &mut Reader<'_>) -> Result<SystemTime, Fault> {
    let start = reader.at();
    reader.fixed::<8>()?;
    let bytes = reader.since(start).first_chunk().copied();
    let nanos = u64::from_le_bytes(bytes.unwrap_or_default());
    Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// As `dead_letter.proto` has it.
    #[derive(Clone, PartialEq, Message)]
    struct DeadLetter {
        #[prost(string, tag = "1")]
        exporter: String,
        #[prost(string, tag = "2")]
        reason: String,
        #[prost(string, tag = "3")]
        cause: String,
        #[prost(fixed64, tag = "4")]
        given_up_unix_nano: u64,
        #[prost(fixed64, tag = "5")]
        received_unix_nano: u64,
        #[prost(enumeration = "ProtoSignal", tag = "6")]
        signal: i32,
        #[prost(uint64, tag = "7")]
        items: u64,
        #[prost(string, tag = "8")]
        tenant: String,
        #[prost(enumeration = "ProtoPriority", tag = "9")]
        priority: i32,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
    #[repr(i32)]
    enum ProtoSignal {
        Unspecified = 0,
        Traces = 1,
        Metrics = 2,
        Logs = 3,
        Profiles = 4,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
    #[repr(i32)]
    enum ProtoPriority {
        Unspecified = 0,
        Low = 1,
        Normal = 2,
        High = 3,
    }

    fn at(nanos: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
    }

    fn letter() -> Letter {
        Letter {
            exporter: "backend".to_owned(),
            reason: "permanent".to_owned(),
            cause: "INVALID_ARGUMENT: no".to_owned(),
            given_up: at(1_700_000_000_000_000_001),
            received: at(1_600_000_000_000_000_002),
            signal: Signal::Logs,
            items: 300,
            tenant: "ü".to_owned(),
            priority: Priority::High,
        }
    }

    #[test]
    fn prost_reads_what_is_written_and_writes_the_same_bytes() {
        let bytes = letter().encode();
        let read = DeadLetter::decode(bytes.clone()).unwrap();
        assert_eq!(read.exporter, "backend");
        assert_eq!(read.reason, "permanent");
        assert_eq!(read.cause, "INVALID_ARGUMENT: no");
        assert_eq!(read.given_up_unix_nano, 1_700_000_000_000_000_001);
        assert_eq!(read.received_unix_nano, 1_600_000_000_000_000_002);
        assert_eq!(read.signal(), ProtoSignal::Logs);
        assert_eq!((read.items, read.tenant.as_str()), (300, "ü"));
        assert_eq!(read.priority(), ProtoPriority::High);
        assert_eq!(read.encode_to_vec(), bytes);
    }

    #[test]
    fn the_description_names_the_same_fields_by_the_same_numbers() {
        let proto = include_str!("../../../proto/otlpd/storage/v1/dead_letter.proto");
        for (field, tag) in [
            ("string exporter", EXPORTER),
            ("string reason", REASON),
            ("string cause", CAUSE),
            ("fixed64 given_up_unix_nano", GIVEN_UP),
            ("fixed64 received_unix_nano", RECEIVED),
            ("Signal signal", SIGNAL),
            ("uint64 items", ITEMS),
            ("string tenant", TENANT),
            ("Priority priority", PRIORITY),
        ] {
            let line = format!("  {field} = {};", tag >> 3);
            assert!(proto.contains(&line), "{line}");
        }
        for signal in Signal::ALL {
            let (name, number) = (signal.name().to_uppercase(), signal as u32 + 1);
            assert!(proto.contains(&format!("  SIGNAL_{name} = {number};")));
        }
        for priority in Priority::ALL {
            let (name, number) = (priority.name().to_uppercase(), priority as u32 + 1);
            assert!(proto.contains(&format!("  PRIORITY_{name} = {number};")));
        }
    }

    #[test]
    fn a_long_cause_is_cut_between_characters() {
        let long = Letter {
            cause: format!("x{}", "ü".repeat(1000)),
            ..letter()
        };
        let read = Letter::decode(&long.encode()).unwrap();
        assert_eq!(read.cause, format!("x{}", "ü".repeat(511)));
    }

    #[test]
    fn what_a_later_version_adds_is_skipped_or_named() {
        let mut bytes = letter().encode().to_vec();
        bytes.extend([0x98, 0x06, 7]);
        assert_eq!(Letter::decode(&bytes), Ok(letter()));
        let later = DeadLetter {
            signal: 9,
            ..DeadLetter::default()
        };
        let bytes = later.encode_to_vec();
        assert_eq!(Letter::decode(&bytes), Err(Unreadable::Signal(9)));
    }

    proptest! {
        #[test]
        fn a_letter_is_read_as_it_was_written(
            texts in [".{0,40}", ".{0,40}", ".{0,40}", ".{0,40}"],
            (given_up, received, items) in any::<(u64, u64, u64)>(),
            (signal, priority) in (0_usize..4, 0_usize..3),
        ) {
            let [exporter, reason, cause, tenant] = texts;
            let letter = Letter {
                exporter,
                reason,
                cause,
                given_up: at(given_up),
                received: at(received),
                signal: Signal::ALL[signal],
                items,
                tenant,
                priority: Priority::ALL[priority],
            };
            prop_assert_eq!(Letter::decode(&letter.encode()), Ok(letter));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Whether they are a letter does not matter here.
            let _read = Letter::decode(&bytes);
        }
    }
}
