//! The words in which OTLP says how a request went: gRPC codes, `google.rpc.Status` with its
//! details, the headers that carry them, and what a client makes of them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{json, schema};

pub(in crate::otlp) mod base64;
mod code;
mod headers;
mod verdict;
pub(in crate::otlp) mod wire;

pub use code::GrpcCode;
pub use headers::{
    GRPC_MESSAGE, GRPC_STATUS, GRPC_STATUS_DETAILS, RETRY_INFO_TRAILER, from_grpc_trailers,
    grpc_trailers, parse_grpc_timeout, parse_retry_after, percent_decode, percent_encode,
    retry_after_header,
};
pub use verdict::{Verdict, classify_grpc, classify_http};

/// The longest message that a status carries, in bytes. It goes into header fields, up to three
/// times, and HTTP/2 peers take 16 KiB of those (hyper's default).
const MAX_MESSAGE_BYTES: usize = 1024;

/// No delay that a peer names is believed beyond this: a proxy that says "tomorrow" must not
/// stop a lane until then.
pub const MAX_DELAY: Duration = Duration::from_secs(300);

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// `google.rpc.Status`, with those details that OTLP makes use of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What kind of failure it is.
    pub code: GrpcCode,
    /// What happened, for a person.
    pub message: String,
    retry_delay: Option<Duration>,
    violations: Vec<FieldViolation>,
}

/// One entry of `google.rpc.BadRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path to the field.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Status {
    /// A status without details. A long message is shortened.
    pub fn new(code: GrpcCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: shortened(message.into(), MAX_MESSAGE_BYTES),
            retry_delay: None,
            violations: Vec::new(),
        }
    }

    /// Overload, or a fault that passes: come back no sooner than `retry` from now.
    pub fn unavailable(message: impl Into<String>, retry: Duration) -> Self {
        Self {
            retry_delay: Some(retry),
            ..Self::new(GrpcCode::Unavailable, message)
        }
    }

    /// A limit that passes: RESOURCE_EXHAUSTED with RetryInfo, which OTLP makes retryable, though
    /// not every client heeds it.
    pub fn exhausted(message: impl Into<String>, retry: Duration) -> Self {
        Self {
            retry_delay: Some(retry),
            ..Self::new(GrpcCode::ResourceExhausted, message)
        }
    }

    /// Data that cannot be read; no other try can succeed.
    pub fn invalid_argument(
        message: impl Into<String>,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            violations: vec![FieldViolation {
                field: shortened(field.into(), MAX_MESSAGE_BYTES),
                description: shortened(description.into(), MAX_MESSAGE_BYTES),
            }],
            ..Self::new(GrpcCode::InvalidArgument, message)
        }
    }

    /// More than the limit: RESOURCE_EXHAUSTED without RetryInfo, which OTLP 1.11 makes
    /// permanent.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(GrpcCode::ResourceExhausted, message)
    }

    /// The delay of its RetryInfo. Zero where there is a RetryInfo that names none.
    pub const fn retry_delay(&self) -> Option<Duration> {
        self.retry_delay
    }

    /// The entries of its BadRequest.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.violations
    }

    /// The HTTP status for it. RESOURCE_EXHAUSTED is 429 where the client may come back, and
    /// 413 where it may not: oversize must never look like overload.
    pub const fn http_status(&self) -> u16 {
        match self.code {
            GrpcCode::ResourceExhausted if self.retry_delay.is_none() => 413,
            code => code.http_status(),
        }
    }

    /// The binary protobuf form.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.message.len() + 128);
        wire::put_number(&mut out, 1, u64::from(self.code.number()));
        wire::put_text(&mut out, 2, &self.message);
        if let Some(delay) = self.retry_delay {
            wire::put_bytes(&mut out, 3, &pack(RETRY_INFO, &encode_retry_info(delay)));
        }
        if !self.violations.is_empty() {
            let mut bad_request = Vec::new();
            for violation in &self.violations {
                let mut entry = Vec::new();
                wire::put_text(&mut entry, 1, &violation.field);
                wire::put_text(&mut entry, 2, &violation.description);
                wire::put_bytes(&mut bad_request, 1, &entry);
            }
            wire::put_bytes(&mut out, 3, &pack(BAD_REQUEST, &bad_request));
        }
        out.into()
    }

    /// The JSON form, for clients that asked in JSON.
    pub fn encode_json(&self) -> Bytes {
        let mut details = Vec::new();
        if let Some(delay) = self.retry_delay {
            let seconds = format!("{}.{:09}s", delay.as_secs(), delay.subsec_nanos());
            details.push(json!({ "@type": RETRY_INFO, "retryDelay": seconds }));
        }
        if !self.violations.is_empty() {
            let entry =
                |v: &FieldViolation| json!({ "field": v.field, "description": v.description });
            let entries: Vec<_> = self.violations.iter().map(entry).collect();
            details.push(json!({ "@type": BAD_REQUEST, "fieldViolations": entries }));
        }
        let mut status = json!({ "code": self.code.number(), "message": self.message });
        if let (Some(fields), false) = (status.as_object_mut(), details.is_empty()) {
            fields.insert("details".to_owned(), details.into());
        }
        status.to_string().into()
    }

    /// Reads the binary protobuf form. Details of other types are left out.
    ///
    /// `None` is for bytes that are not a protobuf message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut status = Self::new(GrpcCode::Ok, "");
        for field in wire::fields(bytes) {
            match field? {
                (1, wire::Value::Number(code)) => status.code = GrpcCode::from_number(code),
                (2, wire::Value::Bytes(text)) => status.message = wire::text(text),
                (3, wire::Value::Bytes(detail)) => status.read_detail(detail)?,
                _ => {}
            }
        }
        Some(status)
    }

    /// Reads the JSON form: code and message, without the details.
    ///
    /// `None` is for what is not JSON, or not a status.
    pub fn decode_json(text: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        json::read_message(&schema::RPC_STATUS, text, &mut bytes, &mut |_| true).ok()?;
        Self::decode(&bytes)
    }

    fn read_detail(&mut self, any: &[u8]) -> Option<()> {
        let (mut url, mut value) = (&[][..], &[][..]);
        for field in wire::fields(any) {
            match field? {
                (1, wire::Value::Bytes(bytes)) => url = bytes,
                (2, wire::Value::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        if url.ends_with(b"/google.rpc.RetryInfo") {
            self.retry_delay = Some(decode_retry_info(value)?);
        } else if url.ends_with(b"/google.rpc.BadRequest") {
            self.read_bad_request(value)?;
        }
        Some(())
    }

    fn read_bad_request(&mut self, bytes: &[u8]) -> Option<()> {
        for field in wire::fields(bytes) {
            let (1, wire::Value::Bytes(entry)) = field? else {
                continue;
            };
            let (mut field, mut description) = (String::new(), String::new());
            for part in wire::fields(entry) {
                match part? {
                    (1, wire::Value::Bytes(bytes)) => field = wire::text(bytes),
                    (2, wire::Value::Bytes(bytes)) => description = wire::text(bytes),
                    _ => {}
                }
            }
            self.violations.push(FieldViolation { field, description });
        }
        Some(())
    }
}

/// `google.protobuf.Any`
fn pack(url: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(url.len() + value.len() + 8);
    wire::put_text(&mut out, 1, url);
    wire::put_bytes(&mut out, 2, value);
    out
}

/// `google.rpc.RetryInfo { google.protobuf.Duration { int64 seconds; int32 nanos } }`
fn encode_retry_info(delay: Duration) -> Vec<u8> {
    let mut duration = Vec::new();
    wire::put_number(&mut duration, 1, delay.as_secs());
    wire::put_number(&mut duration, 2, u64::from(delay.subsec_nanos()));
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, &duration);
    out
}

/// The delay of a RetryInfo, capped; zero where it names none, or a negative one.
fn decode_retry_info(bytes: &[u8]) -> Option<Duration> {
    let mut delay = Duration::ZERO;
    for field in wire::fields(bytes) {
        let (1, wire::Value::Bytes(duration)) = field? else {
            continue;
        };
        let (mut seconds, mut nanos) = (0, 0);
        for part in wire::fields(duration) {
            match part? {
                // Signed numbers are two's complement on the wire.
                (1, wire::Value::Number(value)) => seconds = value.cast_signed(),
                (2, wire::Value::Number(value)) => nanos = value.cast_signed(),
                _ => {}
            }
        }
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(MAX_DELAY);
        let nanos = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        delay = (seconds + nanos).min(MAX_DELAY);
    }
    Some(delay)
}

/// The text, or as much of its start as fits into so many bytes.
pub(in crate::otlp) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most.saturating_sub(3))
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests;
