//! What the targets have in common: the first byte of an input says which signal it is.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlpd::otlp::Signal;
use otlpd::otlp::walk::{Validation, Walked, walk, without_rejected};
use prost::Message;

/// The signal, and the request.
pub fn request(input: &[u8]) -> Option<(Signal, &[u8])> {
    let (first, body) = input.split_first()?;
    Some((Signal::ALL[usize::from(*first) % Signal::ALL.len()], body))
}

/// The request without its bad items, and how many are left; `None` if it is refused.
pub fn accepted(signal: Signal, body: &[u8]) -> Option<(Vec<u8>, u64)> {
    let Walked { items, rejected } = walk(signal, body, Validation::Full).ok()?;
    let rest = match rejected {
        Some(_) => without_rejected(signal, body, Validation::Full),
        None => body.to_vec(),
    };
    Some((rest, items))
}

/// Fails unless these bytes are a good request of so many items.
pub fn assert_good(signal: Signal, body: &[u8], items: u64) {
    let walked = walk(signal, body, Validation::Full).expect("it is accepted");
    assert_eq!((walked.items, walked.rejected), (items, None));
}

/// Fails unless prost can decode it. A known field of another wire type is an unknown one to
/// Google's parsers and an error to prost, which also allows nothing in the deepest level.
pub fn assert_decodes(signal: Signal, body: &[u8]) {
    let decoded = match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(body).map(drop),
        Signal::Metrics => ExportMetricsServiceRequest::decode(body).map(drop),
        Signal::Logs => ExportLogsServiceRequest::decode(body).map(drop),
        Signal::Profiles => ExportProfilesServiceRequest::decode(body).map(drop),
    };
    if let Err(error) = decoded {
        let error = error.to_string();
        let is_prosts_opinion =
            error.contains("invalid wire type") || error.contains("recursion limit");
        assert!(is_prosts_opinion, "{error}");
    }
}
