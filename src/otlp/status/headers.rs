//! The header and trailer fields that carry a status, and those that carry a time.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{GrpcCode, MAX_DELAY, Status, base64, decode_retry_info, encode_retry_info};

/// The status code, in decimal.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The message, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The whole `google.rpc.Status`.
pub const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// A bare RetryInfo: where Python's exporter looks for the delay, and nobody else.
pub const RETRY_INFO_TRAILER: HeaderName = HeaderName::from_static("google.rpc.retryinfo-bin");

/// The trailers that end a gRPC call with this status.
pub fn grpc_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert(
        GRPC_STATUS,
        HeaderValue::from(u16::from(status.code.number())),
    );
    insert_text(
        &mut trailers,
        GRPC_MESSAGE,
        &percent_encode(&status.message),
    );
    if status.retry_delay.is_some() || !status.violations.is_empty() {
        let details = base64::encode(&status.encode());
        insert_text(&mut trailers, GRPC_STATUS_DETAILS, &details);
    }
    if let Some(delay) = status.retry_delay {
        let info = base64::encode(&encode_retry_info(delay));
        insert_text(&mut trailers, RETRY_INFO_TRAILER, &info);
    }
    trailers
}

/// Adds a field, unless it is empty. What comes here is printable ASCII by construction.
fn insert_text(trailers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(text)) {
        trailers.insert(name, value);
    }
}

/// The status that these trailers (or the headers of an answer without a body) carry. Without
/// a `grpc-status` that can be read it is UNKNOWN.
pub fn from_grpc_trailers(trailers: &HeaderMap) -> Status {
    let code = trailers
        .get(&GRPC_STATUS)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let mut status = match code {
        Some(number) => Status::new(GrpcCode::from_number(number), ""),
        None => Status::new(GrpcCode::Unknown, "the answer has no grpc-status"),
    };
    if let Some(details) = binary(trailers, &GRPC_STATUS_DETAILS) {
        // The trailer's code is the call's; the details are only its explanation.
        if let Some(details) = Status::decode(&details) {
            status = Status {
                code: status.code,
                ..details
            };
        }
    }
    if let Some(message) = trailers.get(&GRPC_MESSAGE) {
        status.message = percent_decode(message.as_bytes());
    }
    if status.retry_delay.is_none() {
        status.retry_delay =
            binary(trailers, &RETRY_INFO_TRAILER).and_then(|info| decode_retry_info(&info));
    }
    status
}

/// The first value of a `-bin` field; several may be joined by commas.
fn binary(trailers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let value = trailers.get(name)?.as_bytes();
    base64::decode(value.split(|byte| *byte == b',').next()?.trim_ascii())
}

/// Text as `grpc-message` carries it: printable ASCII as it is, every other byte and `%` as
/// `%XX`.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(u32::from(digit), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
    out
}

/// Reads a `grpc-message`. What is not an escape is taken as it stands, as gRPC asks.
pub fn percent_decode(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, tail @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = tail;
        } else {
            out.push(*first);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// `Retry-After` in whole seconds, rounded up: zero would be an invitation to come at once.
pub fn retry_after_header(delay: Duration) -> HeaderValue {
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    HeaderValue::from(seconds.max(1))
}

/// Reads `Retry-After`: seconds, or an HTTP date, which is set against `now`; at most
/// [`MAX_DELAY`]. `None` for a date that has passed and for what is neither.
pub fn parse_retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let delay = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the cap.
        text.parse().map_or(MAX_DELAY, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok()?
    };
    Some(delay.min(MAX_DELAY))
}

/// Reads `grpc-timeout`: at most eight digits and a unit. `None` for anything else.
pub fn parse_grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}
