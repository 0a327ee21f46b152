//! What came back for one attempt, and what an SDK makes of it.

use std::io::Read;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::cli::bench::wire::{find_bytes, find_number, grpc_message, retry_delay};

/// An answer is small; what a server adds beyond this is not read (OTLP: 4 MiB).
const LONGEST_MESSAGE: u64 = 4 << 20;

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A `grpc-status`.
    Grpc {
        code: u16,
        rejected: u64,
        after: Option<Duration>,
    },
    /// An HTTP status, from an OTLP/HTTP server, or instead of gRPC's.
    Http {
        code: u16,
        rejected: u64,
        after: Option<Duration>,
    },
    /// None, and why: `timeout`, `connect`, `connection`, `malformed`.
    Nothing(&'static str),
}

impl Answer {
    /// Reads gRPC's answer from headers, or trailers where there are any, and the body.
    pub(super) fn of_grpc(headers: &HeaderMap, trailers: Option<&HeaderMap>, body: &[u8]) -> Self {
        let metadata = trailers.unwrap_or(headers);
        let Some(code) = number(metadata, "grpc-status") else {
            return Self::Nothing("malformed");
        };
        let rejected = if code == 0 {
            rejected_in_frame(body)
        } else {
            Some(0)
        };
        let Some(rejected) = rejected else {
            return Self::Nothing("malformed");
        };
        let details = metadata.get("grpc-status-details-bin");
        let after = details.and_then(|details| retry_delay(details.to_str().ok()?));
        Self::Grpc {
            code,
            rejected,
            after,
        }
    }

    /// Reads an OTLP/HTTP answer.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let rejected = if status.is_success() {
            rejected_in(body)
        } else {
            0
        };
        let after = number(headers, "retry-after").map(|s| Duration::from_secs(s.into()));
        let code = status.as_u16();
        Self::Http {
            code,
            rejected,
            after,
        }
    }

    /// The acknowledgement's count of rejected items; `None` when it is no acknowledgement.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        match *self {
            Self::Grpc {
                code: 0, rejected, ..
            } => Some(rejected),
            Self::Http {
                code: 200..=299,
                rejected,
                ..
            } => Some(rejected),
            _ => None,
        }
    }

    /// Whether an SDK sends again, and the delay that the server named. The codes are those of
    /// OTLP 1.11; RESOURCE_EXHAUSTED (8) only where the server says when.
    pub(super) fn retry(&self) -> Option<Option<Duration>> {
        match *self {
            Self::Grpc { code, after, .. } => match code {
                1 | 4 | 10 | 11 | 14 | 15 => Some(after),
                8 if after.is_some() => Some(after),
                _ => None,
            },
            Self::Http { code, after, .. } => {
                matches!(code, 429 | 502 | 503 | 504).then_some(after)
            }
            Self::Nothing(_) => Some(None),
        }
    }

    /// Whether the server named a delay.
    pub(super) fn names_a_delay(&self) -> bool {
        matches!(
            self,
            Self::Grpc { after: Some(_), .. } | Self::Http { after: Some(_), .. }
        )
    }

    /// The word for it in the report.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Grpc { code, .. } => format!("grpc-status {code}"),
            Self::Http { code, .. } => format!("http {code}"),
            Self::Nothing(why) => (*why).to_owned(),
        }
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u16> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// grpc-go answers gzip to whoever sent gzip.
fn rejected_in_frame(frame: &[u8]) -> Option<u64> {
    let (compressed, message) = grpc_message(frame)?;
    if !compressed {
        return Some(rejected_in(message));
    }
    let mut plain = Vec::new();
    flate2::bufread::MultiGzDecoder::new(message)
        .take(LONGEST_MESSAGE)
        .read_to_end(&mut plain)
        .ok()?;
    Some(rejected_in(&plain))
}

/// `partial_success.rejected_*` has the same numbers in all responses.
fn rejected_in(response: &[u8]) -> u64 {
    find_bytes(response, 1).map_or(0, |partial| find_number(partial, 1))
}

#[cfg(test)]
mod tests {
    use super::super::super::wire::retry_info;
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn partial_success_is_an_acknowledgement_with_rejected_items() {
        let ok = headers(&[("grpc-status", "0")]);
        let frame = [0, 0, 0, 0, 4, 0x0a, 2, 8, 5];
        let answer = Answer::of_grpc(&HeaderMap::new(), Some(&ok), &frame);
        assert_eq!(answer.acknowledged(), Some(5));
        assert_eq!(answer.retry(), None);
    }

    #[test]
    fn success_without_a_message_is_malformed() {
        let ok = headers(&[("grpc-status", "0")]);
        assert_eq!(
            Answer::of_grpc(&ok, None, &[]),
            Answer::Nothing("malformed")
        );
    }

    #[test]
    fn exhausted_is_sent_again_only_with_a_delay() {
        let bare = headers(&[("grpc-status", "8")]);
        assert_eq!(Answer::of_grpc(&bare, None, &[]).retry(), None);
        let delay = Duration::from_millis(250);
        let named = headers(&[
            ("grpc-status", "8"),
            ("grpc-status-details-bin", &retry_info(8, delay)),
        ]);
        assert_eq!(
            Answer::of_grpc(&named, None, &[]).retry(),
            Some(Some(delay))
        );
    }

    #[test]
    fn http_answers_are_sent_again_by_their_code() {
        let after = headers(&[("retry-after", "3")]);
        let answer = |code| Answer::of_http(StatusCode::from_u16(code).unwrap(), &after, &[]);
        assert_eq!(answer(503).retry(), Some(Some(Duration::from_secs(3))));
        assert_eq!(answer(500).retry(), None);
        assert_eq!(answer(200).acknowledged(), Some(0));
    }
}
