//! What a client makes of an answer (OTLP specification, Failures and Retryable Response Codes).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::{GrpcCode, Status, parse_retry_after};

/// What an answer means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has it.
    Delivered,
    /// Another try may succeed, not before `after` where the destination named a delay.
    Retryable {
        /// The delay of RetryInfo or Retry-After.
        after: Option<Duration>,
    },
    /// No other try can succeed.
    Permanent,
}

/// The verdict on a gRPC status. RESOURCE_EXHAUSTED is worth another try only with a RetryInfo.
pub fn classify_grpc(status: &Status) -> Verdict {
    let after = status.retry_delay();
    match status.code {
        GrpcCode::Ok => Verdict::Delivered,
        GrpcCode::ResourceExhausted if after.is_some() => Verdict::Retryable { after },
        code if code.is_retryable() => Verdict::Retryable { after },
        _ => Verdict::Permanent,
    }
}

/// The verdict on an HTTP answer. Redirects are not followed: a POST would become a GET.
pub fn classify_http(status: u16, headers: &HeaderMap, now: SystemTime) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        429 | 502..=504 => Verdict::Retryable {
            after: headers
                .get(RETRY_AFTER)
                .and_then(|value| parse_retry_after(value, now)),
        },
        _ => Verdict::Permanent,
    }
}
