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

/// What a line of OTLP/JSON is, told by its first key that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request of this signal, as far as that can be told.
    Of(Signal),
    /// Nothing: white space, or an object without keys.
    Empty,
    /// Something else.
    Unknown,
}

/// Looks for a key that tells what the line is. It reads no more of values than it must to pass
/// them over; of a line that is longer, `text` may be the begin.
pub fn kind(text: &[u8]) -> Kind {
    let mut rest = text.trim_ascii_start();
    if rest.is_empty() {
        return Kind::Empty;
    }
    let Some(inside) = rest.strip_prefix(b"{") else {
        return Kind::Unknown;
    };
    rest = inside.trim_ascii_start();
    if rest.trim_ascii_end() == b"}" {
        return Kind::Empty;
    }
    loop {
        let Some((key, after)) = string(rest) else {
            return Kind::Unknown;
        };
        match key {
            b"resourceSpans" => return Kind::Of(Signal::Traces),
            b"resourceMetrics" => return Kind::Of(Signal::Metrics),
            b"resourceLogs" => return Kind::Of(Signal::Logs),
            b"resourceProfiles" | b"dictionary" => return Kind::Of(Signal::Profiles),
            _ => {}
        }
        match behind_value(after) {
            Some(after) => rest = after.trim_ascii_start(),
            None => return Kind::Unknown,
        }
    }
}

/// A string as it stands there, and what is behind it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', inside.get(from..)?)?;
        match inside.get(at) {
            Some(b'"') => return Some((inside.get(..at)?, inside.get(at + 1..)?)),
            _ => from = at + 2,
        }
    }
}

/// What is behind the comma that ends a value of the outermost object.
fn behind_value(mut text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    loop {
        let (first, rest) = text.split_first()?;
        text = match first {
            b'"' => string(text)?.1,
            _ => rest,
        };
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return Some(text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_their_first_known_key_of_the_outermost_object() {
        for (text, expected) in [
            (r#"{"resourceSpans":[]}"#, Kind::Of(Signal::Traces)),
            (" { \"resourceMetrics\" : [", Kind::Of(Signal::Metrics)),
            (
                r#"{"resourceLogs":[{"a":"resourceSpans"}]}"#,
                Kind::Of(Signal::Logs),
            ),
            (
                r#"{"dictionary":{},"resourceProfiles":[]}"#,
                Kind::Of(Signal::Profiles),
            ),
            (
                r#"{"x":{"resourceSpans":[1,2,"}],\"{"]},"y":-1.5,"resourceLogs":[]}"#,
                Kind::Of(Signal::Logs),
            ),
            ("", Kind::Empty),
            (" \r", Kind::Empty),
            ("{}", Kind::Empty),
            (" { } ", Kind::Empty),
            (r#"{"x":1}"#, Kind::Unknown),
            (r#"{"x":"resourceSpans"}"#, Kind::Unknown),
            (r#"{"x""#, Kind::Unknown),
            (r#"{"x\"#, Kind::Unknown),
            ("[]", Kind::Unknown),
            ("hello", Kind::Unknown),
            ("\u{1f}\u{8b}", Kind::Unknown),
        ] {
            assert_eq!(kind(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn both_formats_are_as_others_have_them() {
        let mut out = Vec::new();
        append(Format::Json, Signal::Logs, &[10, 0], &mut out).unwrap();
        append(Format::Protobuf, Signal::Logs, &[10, 0], &mut out).unwrap();
        assert_eq!(out, b"{\"resourceLogs\":[{}]}\n\0\0\0\x02\n\0");
        assert!(append(Format::Json, Signal::Logs, &[10, 9], &mut out).is_err());
        assert!(out.ends_with(b"\x02\n\0"), "nothing is appended");
    }
}
