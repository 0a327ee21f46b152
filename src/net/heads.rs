//! The heads of HTTP/1 requests, watched as their bytes go by.
//!
//! hyper takes a request that declares its length in two ways (`Content-Length` and
//! `Transfer-Encoding`) by its chunks alone, as it may (RFC 9112 section 6.3), and removes the
//! other header before we see the request. But whoever stands between may have gone by the other
//! one, and then the next request on the connection is not who it seems to be from. So bytes are
//! looked at before hyper has them: heads line by line, bodies only for their length. No byte is
//! copied but the beginnings of lines.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::frames::Frames;
use super::stream::Stream;

/// A stream that is watched, or not.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: Stream,
    pub(super) watch: Option<(Heads, Frames)>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some((heads, frames)) = &mut self.watch {
            let bytes = buf.filled().get(before..).unwrap_or_default();
            heads.look(bytes);
            frames.look(bytes, Instant::now())?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Tells which request of a connection contradicts itself.
#[derive(Clone, Debug)]
pub(super) struct Contradiction(Arc<AtomicU64>);

impl Default for Contradiction {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Contradiction {
    /// Whether the request of this number does, counted from 0. Nothing is known of those behind it.
    pub(super) fn is(&self, number: u64) -> bool {
        self.0.load(Ordering::Relaxed) == number
    }
}

/// What has been seen of a connection.
#[derive(Debug)]
pub(super) struct Heads {
    state: State,
    line: Line,
    /// How many heads have ended.
    ended: u64,
    contradiction: Contradiction,
}

#[derive(Debug)]
enum State {
    /// In a head; with what it has said of its body.
    Head {
        begun: bool,
        length: Option<u64>,
        chunked: bool,
    },
    /// In a body with so many bytes to come.
    Body(u64),
    /// In the line that says how long a chunk is.
    Size,
    /// In a chunk with so many bytes to come, its line end included.
    Chunk(u64),
    /// In the lines behind the last chunk.
    Trailers,
    /// Nothing more is looked at: another protocol, or something that hyper refuses too.
    Off,
}

const HEAD: State = State::Head {
    begun: false,
    length: None,
    chunked: false,
};

impl Heads {
    pub(super) fn new(contradiction: Contradiction) -> Self {
        Self {
            state: HEAD,
            line: Line::default(),
            ended: 0,
            contradiction,
        }
    }

    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Off => return,
                State::Body(left) | State::Chunk(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let count = bytes.len().min(most);
                    bytes = bytes.get(count..).unwrap_or_default();
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Body(_) => HEAD,
                            _ => State::Size,
                        };
                    }
                }
                State::Head { .. } | State::Size | State::Trailers => {
                    if self.line.take(&mut bytes) {
                        self.end_line();
                    }
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.start.trim_ascii_end();
        self.state = match &mut self.state {
            State::Head {
                begun,
                length,
                chunked,
            } => match (text.is_empty(), *begun) {
                // Empty lines before a request are passed over.
                (true, false) => return,
                (true, true) => return self.end_head(),
                (false, false) if text.starts_with(b"PRI ") => State::Off,
                (false, false) => {
                    *begun = true;
                    return;
                }
                (false, true) => {
                    if let Some(value) = header(text, b"content-length") {
                        *length = Some(number(value, 10).unwrap_or(0));
                    } else if header(text, b"transfer-encoding").is_some() {
                        *chunked = true;
                    }
                    return;
                }
            },
            State::Size => {
                let size = text.split(|byte| *byte == b';').next().unwrap_or_default();
                match number(size, 16) {
                    Some(0) => State::Trailers,
                    Some(size) => State::Chunk(size.saturating_add(2)),
                    None => State::Off,
                }
            }
            State::Trailers if text.is_empty() => HEAD,
            State::Trailers => State::Trailers,
            State::Body(_) | State::Chunk(_) | State::Off => return,
        };
    }

    fn end_head(&mut self) {
        let State::Head {
            length, chunked, ..
        } = self.state
        else {
            return;
        };
        self.state = match (length, chunked) {
            (Some(_), true) => {
                self.contradiction.0.store(self.ended, Ordering::Relaxed);
                State::Off
            }
            (None, true) => State::Size,
            (Some(length @ 1..), false) => State::Body(length),
            (Some(0) | None, false) => HEAD,
        };
        self.ended += 1;
    }
}

/// A line, as far as it has come.
#[derive(Debug, Default)]
struct Line {
    /// No more of it than what we know can take.
    start: SmallVec<[u8; 64]>,
}

impl Line {
    /// Takes bytes up to the end of the line; whether it was reached.
    fn take(&mut self, bytes: &mut &[u8]) -> bool {
        let end = memchr::memchr(b'\n', bytes);
        let (part, rest) = match end {
            Some(end) => bytes.split_at_checked(end + 1).unwrap_or((bytes, &[])),
            None => (*bytes, &[][..]),
        };
        *bytes = rest;
        let room = self.start.inline_size().saturating_sub(self.start.len());
        let kept = part.get(..part.len().min(room)).unwrap_or_default();
        self.start.extend_from_slice(kept);
        end.is_some()
    }
}

/// The value of the header of this name, if the line is that header.
fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the request that contradicts itself, if one does, whatever pieces its
    /// connection comes in.
    fn contradicting(bytes: &[u8]) -> Option<u64> {
        let in_pieces = |size: usize| {
            let contradiction = Contradiction::default();
            let mut heads = Heads::new(contradiction.clone());
            for piece in bytes.chunks(size) {
                heads.look(piece);
            }
            (0..100).find(|number| contradiction.is(*number))
        };
        let whole = in_pieces(bytes.len());
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(in_pieces(size), whole, "in pieces of {size}");
        }
        whole
    }

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn two_lengths_contradict_each_other_in_any_order_and_spelling() {
        let long = format!(
            "POST /{} HTTP/1.1\r\nx: {}\r\n",
            "p".repeat(500),
            "y".repeat(500)
        );
        for head in [
            BOTH.to_owned(),
            "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nCONTENT-LENGTH:0\r\n\r\n".to_owned(),
            "\r\n\r\nPOST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: x\n\n".to_owned(),
            format!("{long}content-length: 1\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"),
        ] {
            assert_eq!(contradicting(head.as_bytes()), Some(0), "{head}");
        }
    }

    #[test]
    fn requests_that_go_before_are_counted_and_their_bodies_passed_over() {
        let body = format!("\r\n\r\n{BOTH}");
        let chunk = format!("{:X};x=y\r\n{body}\r\n", body.len());
        let before = [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            format!(
                "POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n".to_owned(),
            format!(
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\
                 content-length: 7\r\ntransfer-encoding: chunked\r\n\r\n"
            ),
        ]
        .concat();
        assert_eq!(contradicting(before.as_bytes()), None);
        let all = [&before, BOTH].concat();
        assert_eq!(contradicting(all.as_bytes()), Some(4));
    }

    #[test]
    fn what_is_not_http_1_is_not_looked_at() {
        for start in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert_eq!(contradicting(format!("{start}{BOTH}").as_bytes()), None);
        }
    }
}
