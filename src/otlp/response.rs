//! `Export*ServiceResponse`: the answer to a request that was taken. Its only field,
//! `partial_success = 1 { int64 rejected_* = 1; string error_message = 2 }`, has the same
//! numbers for every signal, so one reader and one writer serve all of them.

use bytes::Bytes;

use super::schema;
use super::status::{shortened, wire};
use super::{Signal, json};

/// What an answer says of the items that were not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Items refused one by one: spans, data points, log records or profiles. Never sent again.
    pub rejected: u64,
    /// Why, for a person; with nothing rejected it is a warning.
    pub message: String,
    /// The answer could not be read. It is taken for a full success, since the destination
    /// has the request and a second one would be a duplicate.
    pub unreadable: bool,
}

/// The answer to a request of which all items were taken: an empty message.
pub const fn full_success() -> Bytes {
    Bytes::new()
}

/// The longest text of an answer, in bytes: OTLP asks that an answer stays under 4 MiB, and
/// whoever reads this reads it in a log.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// The answer to a request of which some items were refused, and why. A long message is shortened.
pub fn partial_success(rejected: u64, message: &str) -> Bytes {
    let message = &*shortened(message.to_owned(), MAX_MESSAGE_BYTES);
    let mut partial = Vec::with_capacity(message.len() + 16);
    wire::put_number(&mut partial, 1, rejected);
    wire::put_text(&mut partial, 2, message);
    let mut out = Vec::with_capacity(partial.len() + 8);
    wire::put_bytes(&mut out, 1, &partial);
    out.into()
}

/// An answer in JSON: `{}` where all items were taken.
pub fn to_json(signal: Signal, answer: &[u8]) -> Bytes {
    let mut text = Vec::new();
    // What is our own is not damaged.
    json::write_message(schema::response(signal), &[answer], &mut text).ok();
    text.into()
}

/// An answer out of JSON. What cannot be read becomes what [`read`] cannot read.
pub fn from_json(signal: Signal, text: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    match json::read_message(schema::response(signal), text, &mut answer, &mut |_| true) {
        Ok(()) => answer,
        Err(_) => vec![0],
    }
}

/// Reads an answer. A negative count is none.
pub fn read(answer: &[u8]) -> PartialSuccess {
    try_read(answer).unwrap_or_else(|| PartialSuccess {
        unreadable: true,
        ..PartialSuccess::default()
    })
}

fn try_read(answer: &[u8]) -> Option<PartialSuccess> {
    let mut partial = PartialSuccess::default();
    for field in wire::fields(answer) {
        let (1, wire::Value::Bytes(message)) = field? else {
            continue;
        };
        // A message that comes in several pieces is merged: the last value of each field counts.
        for part in wire::fields(message) {
            match part? {
                (1, wire::Value::Number(rejected)) => {
                    partial.rejected = u64::try_from(rejected.cast_signed()).unwrap_or(0);
                }
                (2, wire::Value::Bytes(text)) => partial.message = wire::text(text),
                _ => {}
            }
        }
    }
    Some(partial)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceResponse,
    };
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };
    use opentelemetry_proto::tonic::collector::profiles::v1development::{
        ExportProfilesPartialSuccess, ExportProfilesServiceResponse,
    };
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use prost::Message;

    use super::*;

    /// The same answer as the four generated types write it.
    fn by_prost(rejected: i64, error_message: &str) -> [Vec<u8>; 4] {
        let error_message = error_message.to_owned();
        [
            ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans: rejected,
                    error_message: error_message.clone(),
                }),
            }
            .encode_to_vec(),
            ExportMetricsServiceResponse {
                partial_success: Some(ExportMetricsPartialSuccess {
                    rejected_data_points: rejected,
                    error_message: error_message.clone(),
                }),
            }
            .encode_to_vec(),
            ExportLogsServiceResponse {
                partial_success: Some(ExportLogsPartialSuccess {
                    rejected_log_records: rejected,
                    error_message: error_message.clone(),
                }),
            }
            .encode_to_vec(),
            ExportProfilesServiceResponse {
                partial_success: Some(ExportProfilesPartialSuccess {
                    rejected_profiles: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
        ]
    }

    #[test]
    fn the_answer_is_the_same_for_every_signal() {
        for (rejected, message) in [
            (3, "3 spans have an id of the wrong length"),
            (0, "a warning"),
            (1 << 40, ""),
            (0, ""),
        ] {
            for bytes in by_prost(rejected, message) {
                let rejected = rejected as u64;
                assert_eq!(partial_success(rejected, message), bytes);
                let expected = PartialSuccess {
                    rejected,
                    message: message.to_owned(),
                    unreadable: false,
                };
                assert_eq!(read(&bytes), expected);
            }
        }
    }

    #[test]
    fn a_long_message_is_shortened_between_two_characters() {
        let answer = partial_success(1, &"\u{e4}".repeat(4 << 20));
        assert!(answer.len() < MAX_MESSAGE_BYTES + 16);
        let read = read(&answer);
        assert_eq!(read.rejected, 1);
        assert!(read.message.starts_with("\u{e4}\u{e4}") && read.message.ends_with("\u{e4}..."));
    }

    #[test]
    fn in_json_each_signal_has_a_name_for_its_count_and_it_is_a_string() {
        for (signal, name) in [
            (Signal::Traces, "rejectedSpans"),
            (Signal::Metrics, "rejectedDataPoints"),
            (Signal::Logs, "rejectedLogRecords"),
            (Signal::Profiles, "rejectedProfiles"),
        ] {
            let answer = partial_success(5, "why \"so\"");
            let text = to_json(signal, &answer);
            let expected =
                format!(r#"{{"partialSuccess":{{"{name}":"5","errorMessage":"why \"so\""}}}}"#);
            assert_eq!(text, expected);
            assert_eq!(from_json(signal, &text), answer);
            let as_number = expected.replace("\"5\"", "5");
            assert_eq!(from_json(signal, as_number.as_bytes()), answer);
            assert_eq!(to_json(signal, &full_success()), "{}");
            assert_eq!(from_json(signal, b"{}"), b"");
            for unreadable in ["", "[]", "<html>", r#"{"partialSuccess":5}"#] {
                assert!(read(&from_json(signal, unreadable.as_bytes())).unreadable);
            }
        }
    }

    #[test]
    fn full_success_is_no_bytes_and_no_bytes_are_full_success() {
        assert_eq!(full_success().len(), 0);
        assert_eq!(read(b""), PartialSuccess::default());
    }

    #[test]
    fn what_cannot_be_read_is_a_full_success_with_a_flag() {
        let whole = partial_success(3, "x");
        let cut = &whole[..whole.len() - 1];
        for answer in [
            cut,
            b"<html>",
            b"{}",
            b"\x0a\x03\x08\x03\x12",
            b"\x00\x01",
            b"\x0b",
        ] {
            let read = read(answer);
            assert!(read.unreadable, "{answer:?}");
            assert_eq!((read.rejected, read.message.as_str()), (0, ""));
        }
    }

    #[test]
    fn fields_that_we_do_not_know_are_passed_over() {
        let mut answer = b"\x10\x07\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0".to_vec();
        answer.extend_from_slice(&partial_success(5, "y"));
        assert_eq!(read(&answer).rejected, 5);
    }

    #[test]
    fn a_negative_count_rejects_nothing() {
        for bytes in by_prost(-1, "") {
            assert_eq!(read(&bytes), PartialSuccess::default());
        }
    }
}
