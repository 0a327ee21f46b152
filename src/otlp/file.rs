//! How requests stand in a file one after the other: OTLP/JSON, one object a line (OpenTelemetry's
//! file exporter specification), or binary protobuf, each message behind its length in four bytes,
//! most significant first (`format: proto` of the Collector's file exporter).

use super::json;
use super::{Format, Signal};

/// Appends one request as it stands in a file.
///
/// # Errors
/// A phrase that goes on after the name of the request: it cannot be written. Nothing is appended
/// then.
pub fn append(
    format: Format,
    signal: Signal,
    request: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match format {
        Format::Json => {
            json::write(signal, request, out)
                .map_err(|fault| format!("cannot be written as JSON: a field of it {fault}"))?;
            out.push(b'\n');
        }
        Format::Protobuf => {
            let length = u32::try_from(request.len())
                .map_err(|_| "is above 4 GiB, more than its length can say".to_owned())?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(request);
        }
    }
    Ok(())
}
