//! From a body as it came to a request in binary protobuf: inflated, and read where it is JSON.

use std::time::Duration;

use bytes::Bytes;

use crate::budget::{Budget, Reservation};
use crate::intake::{Refused, Request, jittered};
use crate::net::compression::{self, Encoding, InflateError};
use crate::otlp::json::{self, Problem};
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::Refusal;

/// A request in binary protobuf.
pub(super) struct Unpacked {
    /// Its bytes.
    pub(super) plain: Bytes,
    /// The same as the client compressed them.
    pub(super) encoded: Option<(Encoding, Bytes)>,
    /// How many bytes the client sent, uncompressed.
    pub(super) bytes: usize,
}

/// Takes the body out of a request. All that it becomes on the way is paid for before it is
/// there, and given back when it is not needed any more.
pub(super) fn unpack(request: &mut Request, budget: &Budget) -> Result<Unpacked, Refused> {
    let body = std::mem::take(&mut request.body);
    let (limit, reservation) = (request.limit, &mut request.reservation);
    let (plain, encoded) = match request.encoding {
        None => (body, None),
        Some(coding) => {
            let mut grow = |total: usize| pay(budget, reservation, body.len() + total);
            // What could not be paid for even if it were alone is not to come again.
            let most = budget.most();
            let payable = limit.min(most.saturating_sub(body.len()));
            let plain = compression::inflate(coding, &body, payable, &mut grow)
                .map_err(|error| refuse(error, limit.min(most)))?;
            let encoded = coding.encoding().map(|encoding| (encoding, body));
            let kept = encoded.as_ref().map_or(0, |(_, body)| body.len());
            reservation.shrink_to(kept + plain.len());
            (Bytes::from(plain), encoded)
        }
    };
    let bytes = plain.len();
    if request.format == Format::Protobuf {
        return Ok(Unpacked {
            plain,
            encoded,
            bytes,
        });
    }
    // What the client compressed is JSON, which no destination is sent as it came.
    if let Some((_, body)) = encoded {
        give_back(reservation, body.len());
    }
    let read = from_json(request.signal, &plain, limit, (budget, reservation))?;
    give_back(reservation, bytes);
    Ok(Unpacked {
        plain: read.into(),
        encoded: None,
        bytes,
    })
}

fn from_json(
    signal: Signal,
    text: &Bytes,
    limit: usize,
    (budget, reservation): (&Budget, &mut Reservation),
) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let mut least = 0;
    let mut room = |total: usize| {
        least = total;
        total <= limit.max(json::expected(text.len()))
            && pay(budget, reservation, text.len() + total)
    };
    json::read_within(signal, text, &mut out, &mut room).map_err(|error| match error.problem {
        Problem::NoRoom if least > limit => Refused::TooLarge { limit },
        Problem::NoRoom if text.len() + least > budget.most() => Refused::TooLarge {
            limit: budget.most(),
        },
        Problem::NoRoom => no_budget(),
        Problem::Text(_) => Refused::Invalid {
            problem: error.to_string(),
            field: error.path,
        },
    })?;
    out.shrink_to_fit();
    Ok(out)
}

/// Pays until `total` bytes are paid for.
fn pay(budget: &Budget, reservation: &mut Reservation, total: usize) -> bool {
    budget.try_grow(reservation, total).is_ok()
}

fn give_back(reservation: &mut Reservation, bytes: usize) {
    reservation.shrink_to(reservation.bytes().saturating_sub(bytes));
}

fn refuse(error: InflateError, limit: usize) -> Refused {
    match error {
        InflateError::TooLarge => Refused::TooLarge { limit },
        InflateError::NoBudget => no_budget(),
        InflateError::Damaged(what) => Refused::Damaged {
            problem: what.to_string(),
        },
    }
}

fn no_budget() -> Refused {
    Refused::Overloaded {
        retry_after: jittered(Duration::from_secs(1)),
        why: Refusal::Budget,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Caller;
    use crate::net::compression::Coding;

    const TEXT: &str =
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"a"}]}]}]}"#;
    const BYTES: &[u8] = b"\x0a\x09\x12\x07\x12\x05\x1a\x03aaa";

    fn request(body: impl Into<Bytes>, encoding: Option<Coding>, budget: &Budget) -> Request {
        let body = body.into();
        Request {
            signal: Signal::Logs,
            reservation: budget.try_reserve(body.len()).unwrap(),
            body,
            encoding,
            format: Format::Json,
            limit: 100_000,
            caller: Caller::until(tokio::time::Instant::now()),
            charge: None,
        }
    }

    #[test]
    fn json_becomes_protobuf_and_what_was_compressed_does_not_leave_as_it_came() {
        let text = TEXT.replace("\"a\"", "\"aaa\"");
        let packed = |encoding| compression::deflate(encoding, &[text.clone().into()]).unwrap();
        let mut deflated = Vec::with_capacity(200);
        let mut deflater = flate2::Compress::new(flate2::Compression::fast(), true);
        let end = flate2::FlushCompress::Finish;
        deflater
            .compress_vec(text.as_bytes(), &mut deflated, end)
            .unwrap();
        for (body, encoding) in [
            (Bytes::from(text.clone()), None),
            (packed(Encoding::Gzip), Some(Coding::Gzip)),
            (packed(Encoding::Zstd), Some(Coding::Zstd)),
            (deflated.into(), Some(Coding::Deflate)),
        ] {
            let budget = Budget::new(100_000);
            let mut request = request(body, encoding, &budget);
            let unpacked = unpack(&mut request, &budget).ok().unwrap();
            assert_eq!(unpacked.plain, BYTES);
            assert!(unpacked.encoded.is_none());
            assert_eq!(unpacked.bytes, text.len());
            // The text is paid for no longer, what came of it is.
            let held = request.reservation.bytes();
            assert!((BYTES.len()..text.len() + 64).contains(&held), "{held}");
            assert_eq!(budget.used(), held as u64);
        }
    }

    /// A histogram of so many counts, of two characters and eight bytes each.
    fn growing(count: usize) -> String {
        let counts = vec!["1"; count].join(",");
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{counts}]}}]}}}}]}}]}}]}}"#
        )
    }

    fn refused(text: &str, limit: usize, budget: &Budget) -> Refused {
        let mut request = request(text.to_owned(), None, budget);
        (request.signal, request.limit) = (Signal::Metrics, limit);
        let refused = unpack(&mut request, budget).err().unwrap();
        drop(request);
        assert_eq!(budget.used(), 0);
        refused
    }

    #[test]
    fn what_grows_beyond_a_limit_is_told_as_what_it_is() {
        let text = growing(1000);
        let limit = 7000;
        assert_eq!(
            refused(&text, limit, &Budget::new(100_000)),
            Refused::TooLarge { limit }
        );
        // It could never have so much, so it is not to come again.
        let budget = Budget::new(9000);
        let limit = budget.most();
        assert_eq!(
            refused(&text, 100_000, &budget),
            Refused::TooLarge { limit }
        );
        // It can, when others have gone.
        let budget = Budget::new(15_000);
        let other = budget.try_reserve(9000).unwrap();
        let mut request = request(text, None, &budget);
        request.signal = Signal::Metrics;
        let refused = unpack(&mut request, &budget).err().unwrap();
        assert!(matches!(refused, Refused::Overloaded { .. }), "{refused:?}");
        drop((request, other));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_inflates_to_more_than_may_ever_be_paid_for_is_not_to_come_again() {
        let text = TEXT.replace("\"a\"", &format!("\"{}\"", "a".repeat(8000)));
        for (encoding, coding) in [
            (Encoding::Gzip, Coding::Gzip),
            (Encoding::Zstd, Coding::Zstd),
        ] {
            let body = compression::deflate(encoding, &[text.clone().into()]).unwrap();
            let budget = Budget::new(9000);
            let limit = budget.most();
            let mut request = request(body, Some(coding), &budget);
            let refused = unpack(&mut request, &budget).err().unwrap();
            assert_eq!(refused, Refused::TooLarge { limit });
        }
    }

    #[test]
    fn what_is_wrong_with_a_text_is_told_with_its_place() {
        let budget = Budget::new(1000);
        let mut request = request(TEXT.replace("\"a\"", "5"), None, &budget);
        assert_eq!(
            unpack(&mut request, &budget).err().unwrap(),
            Refused::Invalid {
                field: "resourceLogs[0].scopeLogs[0].logRecords[0].severityText".to_owned(),
                problem: "resourceLogs[0].scopeLogs[0].logRecords[0].severityText must be a \
                          string (line 1, column 63)"
                    .to_owned(),
            }
        );
    }
}
