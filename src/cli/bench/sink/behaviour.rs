//! How the sink answers, and how `POST /control?...` says so.

use std::time::Duration;

use rand::Rng;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is accounted for and acknowledged.
    Ok,
    /// It is answered with `code`, the share `rate` of them.
    Fail,
    /// It is never answered.
    Hang,
    /// Nothing comes so far: listeners and connections are closed.
    Refuse,
}

/// The whole of what the sink can be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behaviour {
    pub(super) mode: Mode,
    pub(super) code: u16,
    pub(super) rate: f64,
    pub(super) retry_after: Option<Duration>,
    pub(super) delay: Duration,
    pub(super) partial: u64,
    pub(super) refuse_after: Option<u64>,
}

/// What is done with one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Accept {
        partial: u64,
    },
    Fail {
        code: u16,
        retry_after: Option<Duration>,
    },
    Hang,
}

impl Behaviour {
    /// Reads `mode=fail&code=14&rate=0.5&ms=50&retry_after_ms=100&partial=3`. What is not named is
    /// as if the sink had been started without options. The error is a sentence.
    pub(super) fn from_query(query: &str) -> Result<Self, String> {
        let mut read = Self {
            mode: Mode::Ok,
            code: 14,
            rate: 1.0,
            retry_after: None,
            delay: Duration::ZERO,
            partial: 0,
            refuse_after: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            read.set(key, value).ok_or_else(|| {
                format!(
                    "`{key}={value}` is not understood: mode=ok|fail|hang|delay|refuse, code=N, \
                     rate=SHARE, ms=N, retry_after_ms=N, partial=N, refuse_after=N"
                )
            })?;
        }
        Ok(read)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        let millis = || value.parse().ok().map(Duration::from_millis);
        match key {
            "mode" => {
                self.mode = match value {
                    "ok" | "delay" => Mode::Ok,
                    "fail" => Mode::Fail,
                    "hang" => Mode::Hang,
                    "refuse" => Mode::Refuse,
                    _ => return None,
                }
            }
            "code" => self.code = value.parse().ok()?,
            "rate" => self.rate = value.parse().ok()?,
            "ms" => self.delay = millis()?,
            "retry_after_ms" => self.retry_after = Some(millis()?),
            "partial" => self.partial = value.parse().ok()?,
            "refuse_after" => self.refuse_after = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.mode {
            Mode::Fail if self.rate >= 1.0 || rand::rng().random::<f64>() < self.rate => {
                Verdict::Fail {
                    code: self.code,
                    retry_after: self.retry_after,
                }
            }
            Mode::Ok | Mode::Fail => Verdict::Accept {
                partial: self.partial,
            },
            Mode::Hang | Mode::Refuse => Verdict::Hang,
        }
    }
}

/// The gRPC code for a failure that may have been given as an HTTP status.
pub(super) const fn grpc_code(code: u16) -> u16 {
    match code {
        0..100 => code,
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 12,
        413 => 8,
        429 | 502 | 503 | 504 => 14,
        _ => 13,
    }
}

/// The HTTP status for a failure that may have been given as a gRPC code.
pub(super) const fn http_status(code: u16) -> u16 {
    match code {
        100.. => code,
        3 => 400,
        16 => 401,
        7 => 403,
        12 => 404,
        8 => 429,
        1 | 4 | 10 | 11 | 14 | 15 => 503,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_states_the_whole_behaviour() {
        let read = Behaviour::from_query("mode=fail&code=8&ms=50&retry_after_ms=100").unwrap();
        let retry_after = Some(Duration::from_millis(100));
        assert_eq!(
            read.verdict(),
            Verdict::Fail {
                code: 8,
                retry_after
            }
        );
        assert_eq!(read.delay, Duration::from_millis(50));
        let read = Behaviour::from_query("").unwrap();
        assert_eq!(read.verdict(), Verdict::Accept { partial: 0 });
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for query in ["mode=odd", "cod=14", "ms=soon", "mode"] {
            let problem = Behaviour::from_query(query).unwrap_err();
            assert!(problem.contains("is not understood"), "{problem}");
        }
    }

    #[test]
    fn a_rate_of_zero_never_fails() {
        let read = Behaviour::from_query("mode=fail&rate=0").unwrap();
        assert!((0..100).all(|_| read.verdict() == Verdict::Accept { partial: 0 }));
    }
}
