//! What a request comes to need of the budget on its way, as far as that can be told before.

use crate::net::compression::Coding;
use crate::otlp::{Format, Signal};

/// What a request is, by its head.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it carries.
    pub signal: Signal,
    /// How it is written.
    pub format: Format,
    /// How it is compressed.
    pub encoding: Option<Coding>,
    /// The most that it may inflate to, in bytes.
    pub limit: usize,
}

/// How the pipelines that take a signal hold a request.
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    /// How often.
    pub count: usize,
    /// Whether processors may make more of it.
    pub edited: bool,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            count: 1,
            edited: false,
        }
    }
}

/// So many times its length is what a compressed body becomes that does not say.
const INFLATED: usize = 8;

impl Kind {
    /// What a body of so many bytes comes to, with what is made of it while it is still there.
    /// `plain` is what it says that it inflates to.
    pub fn needs(self, copies: Copies, body: usize, plain: Option<usize>) -> usize {
        let (compressed, plain) = match self.encoding {
            None => (0, body),
            Some(_) => {
                let plain = plain.unwrap_or(body.saturating_mul(INFLATED));
                (body, plain.min(self.limit))
            }
        };
        // Text becomes no longer, but for lists of small numbers: half as long where it is made of
        // many small things, and no shorter where it is one long string.
        let text = if self.format == Format::Json {
            plain
        } else {
            0
        };
        // Attributes that are added, as a rule.
        let more = if copies.edited { plain / 8 } else { 0 };
        compressed + text + plain.saturating_mul(copies.count.max(1)) + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_needs_room_for_what_becomes_of_it() {
        let kind = |format, encoding| Kind {
            signal: Signal::Logs,
            format,
            encoding,
            limit: 10_000,
        };
        let needs =
            |format, encoding, plain| kind(format, encoding).needs(Copies::default(), 800, plain);
        assert_eq!(needs(Format::Protobuf, None, None), 800);
        assert_eq!(needs(Format::Json, None, None), 800 + 800);
        let gzip = Some(Coding::Gzip);
        assert_eq!(needs(Format::Protobuf, gzip, None), 800 + 6400);
        assert_eq!(needs(Format::Protobuf, gzip, Some(1000)), 1800);
        assert_eq!(needs(Format::Protobuf, gzip, Some(usize::MAX)), 10_800);
        let copies = Copies {
            count: 2,
            edited: true,
        };
        let kind = kind(Format::Protobuf, None);
        assert_eq!(kind.needs(copies, 800, None), 1700);
    }
}
