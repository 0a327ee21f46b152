//! Generated telemetry, and what is read of the answers to it: protobuf and JSON by hand, apart
//! from the daemon's own.

pub(super) mod answer;
pub(super) mod bad;
pub(super) mod json;

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::bench::item::put_text;
use crate::cli::bench::wire::{put_bytes, put_fixed64, put_message, put_number};
use crate::otlp::Signal;

/// The service that all generated telemetry comes from.
pub(super) const SERVICE: &str = "otlpd-conform";

/// A valid request with so many items: spans, data points, log records or profiles.
pub(super) fn request(signal: Signal, items: usize) -> Vec<u8> {
    let items: Vec<Vec<u8>> = (0..items).map(|number| item(signal, number)).collect();
    of_items(signal, &items)
}

/// A request of these items, each as it stands in its scope: a span, a metric, a log record, a
/// profile.
pub(super) fn of_items(signal: Signal, items: &[Vec<u8>]) -> Vec<u8> {
    let mut request = Vec::new();
    put_message(&mut request, 1, |entry| {
        put_bytes(entry, 1, &resource());
        put_message(entry, 2, |scope| {
            put_message(scope, 1, |name| {
                put_bytes(name, 1, b"otlpd.conform");
            });
            for item in items {
                put_bytes(scope, 2, item);
            }
        });
    });
    if signal == Signal::Profiles {
        put_bytes(&mut request, 2, &dictionary());
    }
    request
}

/// The resource of all that is sent.
pub(super) fn resource() -> Vec<u8> {
    let mut resource = Vec::new();
    put_text(&mut resource, 1, "service.name", SERVICE.as_bytes());
    resource
}

/// A valid item: a span, a metric with one data point, a log record, or a profile.
pub(super) fn item(signal: Signal, number: usize) -> Vec<u8> {
    match signal {
        Signal::Traces => span(&id::<16>(), number),
        Signal::Metrics => gauge("otlpd.conform.gauge".as_bytes(), 1),
        Signal::Logs => log_record(&id::<16>(), number),
        Signal::Profiles => profile(),
    }
}

/// A span with this trace id.
pub(super) fn span(trace_id: &[u8], number: usize) -> Vec<u8> {
    let (mut span, now) = (Vec::new(), now());
    put_bytes(&mut span, 1, trace_id);
    put_bytes(&mut span, 2, &id::<8>());
    put_bytes(&mut span, 5, b"conform");
    put_number(&mut span, 6, 2);
    put_fixed64(&mut span, 7, now - 1_000_000);
    put_fixed64(&mut span, 8, now);
    put_text(
        &mut span,
        9,
        "conform.number",
        number.to_string().as_bytes(),
    );
    span
}

/// A gauge of this name with so many data points.
pub(super) fn gauge(name: &[u8], points: usize) -> Vec<u8> {
    let mut metric = Vec::new();
    put_bytes(&mut metric, 1, name);
    put_bytes(&mut metric, 3, b"1");
    put_message(&mut metric, 5, |gauge| {
        for number in 0..points {
            put_message(gauge, 1, |point| {
                put_fixed64(point, 3, now());
                put_fixed64(point, 6, number as u64);
                put_text(point, 7, "conform.number", number.to_string().as_bytes());
            });
        }
    });
    metric
}

/// A log record with this trace id.
pub(super) fn log_record(trace_id: &[u8], number: usize) -> Vec<u8> {
    let (mut record, now) = (Vec::new(), now());
    put_fixed64(&mut record, 1, now);
    put_number(&mut record, 2, 9);
    put_bytes(&mut record, 3, b"INFO");
    put_message(&mut record, 5, |body| {
        put_bytes(body, 1, b"a line of otlpd conform")
    });
    put_text(
        &mut record,
        6,
        "conform.number",
        number.to_string().as_bytes(),
    );
    put_bytes(&mut record, 9, trace_id);
    put_bytes(&mut record, 10, &id::<8>());
    put_fixed64(&mut record, 11, now);
    record
}

/// A profile without samples, whose type is in [`dictionary`].
fn profile() -> Vec<u8> {
    let mut profile = Vec::new();
    put_message(&mut profile, 1, |kind| {
        put_number(kind, 1, 1);
        put_number(kind, 2, 2);
    });
    put_fixed64(&mut profile, 3, now());
    put_number(&mut profile, 4, 1_000_000_000);
    put_bytes(&mut profile, 7, &id::<16>());
    profile
}

/// The tables of a request for profiles; the first entry of each is the zero value.
fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::new();
    for table in [1, 2, 3, 4] {
        put_bytes(&mut dictionary, table, b"");
    }
    for text in ["", "cpu", "nanoseconds"] {
        put_bytes(&mut dictionary, 5, text.as_bytes());
    }
    put_bytes(&mut dictionary, 6, b"");
    put_bytes(&mut dictionary, 7, b"");
    dictionary
}

/// How much of a large request is the same again and again, in bytes.
const FILLED: usize = 1 << 20;

/// A valid request of this many bytes, give or take two, which compresses well.
pub(super) fn sized(signal: Signal, bytes: usize) -> Vec<u8> {
    let (first, filled, times, last) = parts(signal, bytes);
    let mut request = first;
    for _ in 0..times {
        request.extend_from_slice(&filled);
    }
    request.extend_from_slice(&last);
    request
}

/// The same as one gzip member. What repeats is compressed once.
pub(super) fn sized_gzip(signal: Signal, bytes: usize) -> Vec<u8> {
    let (first, filled, times, last) = parts(signal, bytes);
    let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    let mut sum = flate2::Crc::new();
    sum.update(&first);
    gzip.extend(deflated(&first, flate2::FlushCompress::Full));
    // Behind a full flush nothing refers to what came before it.
    let piece = deflated(&filled, flate2::FlushCompress::Full);
    let mut of_piece = flate2::Crc::new();
    of_piece.update(&filled);
    for _ in 0..times {
        gzip.extend_from_slice(&piece);
        sum.combine(&of_piece);
    }
    sum.update(&last);
    gzip.extend(deflated(&last, flate2::FlushCompress::Finish));
    let length = first.len() + times * filled.len() + last.len();
    gzip.extend(sum.sum().to_le_bytes());
    gzip.extend((length as u32).to_le_bytes());
    gzip
}

/// Raw deflate of these bytes.
fn deflated(plain: &[u8], end: flate2::FlushCompress) -> Vec<u8> {
    let mut deflater = flate2::Compress::new(flate2::Compression::fast(), false);
    // Incompressible bytes grow by less than this.
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 64 + 64);
    deflater.compress_vec(plain, &mut out, end).ok();
    out
}

/// A request in parts: its beginning, what then comes so many times, and its end. Each is whole
/// resources.
fn parts(signal: Signal, bytes: usize) -> (Vec<u8>, Vec<u8>, usize, Vec<u8>) {
    let (first, filled) = (request(signal, 1), filling(FILLED));
    let times = (bytes.saturating_sub(first.len()) / filled.len()).saturating_sub(1);
    let missing = bytes.saturating_sub(first.len() + times * filled.len());
    // The overhead grows by a byte where a length does: two tries meet any size.
    let overhead = filling(missing).len().saturating_sub(missing);
    let mut last = filling(missing.saturating_sub(overhead));
    if let Some(short) = missing.checked_sub(last.len()) {
        last = filling(missing.saturating_sub(overhead) + short);
    }
    (first, filled, times, last)
}

/// A resource with an attribute of this many bytes, and no items.
fn filling(bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |entry| {
        put_message(entry, 1, |resource| {
            put_text(resource, 1, "service.name", SERVICE.as_bytes());
            put_text(resource, 1, "conform.filling", &vec![b'x'; bytes]);
        });
    });
    out
}

/// A random id, never all zero.
pub(super) fn id<const N: usize>() -> [u8; N] {
    let mut id: [u8; N] = std::array::from_fn(|_| rand::random());
    if let Some(first) = id.first_mut() {
        *first |= 1;
    }
    id
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// One gzip member.
pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    // Writing to memory does not fail.
    encoder.write_all(plain).ok();
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use super::*;

    #[test]
    fn requests_are_what_the_generated_types_read() {
        let traces = request(Signal::Traces, 3);
        let traces = ExportTraceServiceRequest::decode(&traces[..]).unwrap();
        let spans = &traces.resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.len(), 3);
        assert!(spans.iter().all(|span| span.trace_id.len() == 16));
        let metrics = of_items(Signal::Metrics, &[gauge(b"g", 4)]);
        ExportMetricsServiceRequest::decode(&metrics[..]).unwrap();
        let logs = request(Signal::Logs, 2);
        let logs = ExportLogsServiceRequest::decode(&logs[..]).unwrap();
        assert_eq!(logs.resource_logs[0].scope_logs[0].log_records.len(), 2);
        let profiles = request(Signal::Profiles, 1);
        let profiles = ExportProfilesServiceRequest::decode(&profiles[..]).unwrap();
        let dictionary = profiles.dictionary.unwrap();
        assert_eq!(dictionary.string_table, ["", "cpu", "nanoseconds"]);
        assert_eq!(dictionary.stack_table.len(), 1);
    }

    #[test]
    fn a_request_has_the_size_that_was_asked_for() {
        for bytes in [1000, 1 << 14, 1 << 20, (1 << 20) + 131, (3 << 20) + 7] {
            let request = sized(Signal::Traces, bytes);
            assert!(
                request.len().abs_diff(bytes) <= 2,
                "{} for {bytes}",
                request.len()
            );
            ExportTraceServiceRequest::decode(&request[..]).unwrap();
        }
    }

    #[test]
    fn a_large_gzip_is_one_sound_member() {
        use std::io::Read;

        for bytes in [5000, (3 << 20) + 7] {
            let gzip = sized_gzip(Signal::Logs, bytes);
            let mut plain = Vec::new();
            let mut reader = &gzip[..];
            flate2::bufread::GzDecoder::new(&mut reader)
                .read_to_end(&mut plain)
                .unwrap();
            assert!(reader.is_empty());
            assert!(plain.len().abs_diff(bytes) <= 2);
            ExportLogsServiceRequest::decode(&plain[..]).unwrap();
        }
    }
}
