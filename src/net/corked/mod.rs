//! A stream with fewer, larger system calls.
//!
//! HTTP/2 libraries write and flush frame by frame, and read into whatever room is left in a
//! small buffer. Here small writes gather until the connection's task has had one more turn, and
//! small reads are served from a larger one. Large ones pass through without a copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use smallvec::SmallVec;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::frames::Frames;
use super::heads::{Contradiction, Heads, Watched};
use super::stream::Stream;

/// The stream. Its buffers exist only while there is something in them.
#[derive(Debug)]
pub struct Corked {
    stream: TokioIo<Watched>,
    /// Read from the kernel, not asked for yet.
    read: BytesMut,
    /// Written, not given to the kernel yet.
    written: BytesMut,
    /// A flush of what is written was put off until the next turn, which is asked for.
    put_off: bool,
}

/// Reads into less room than this are served from a larger buffer, in bytes.
const READ: usize = 32 << 10;

/// The size of that buffer: eight frames of 16 KiB, which is what many clients send.
const READ_AHEAD: usize = 128 << 10;

/// So much may gather before it is written, in bytes.
const GATHER: usize = 64 << 10;

/// More slices in one write than this are left for the next one.
const SLICES: usize = 16;

impl Corked {
    /// Takes over the stream.
    pub fn new(stream: impl Into<Stream>) -> Self {
        Self::of(stream.into(), None)
    }

    /// Takes over the stream of a client, tells which of its requests contradicts itself, and
    /// fails where it floods us with frames that are no requests.
    pub(super) fn watched(stream: Stream) -> (Self, Contradiction) {
        let contradiction = Contradiction::default();
        let heads = Heads::new(contradiction.clone());
        (
            Self::of(stream, Some((heads, Frames::new()))),
            contradiction,
        )
    }

    fn of(stream: Stream, watch: Option<(Heads, Frames)>) -> Self {
        Self {
            stream: TokioIo::new(Watched { stream, watch }),
            read: BytesMut::new(),
            written: BytesMut::new(),
            put_off: false,
        }
    }

    fn serve_read(&mut self, mut buf: ReadBufCursor<'_>) {
        let count = self.read.len().min(buf.remaining());
        buf.put_slice(self.read.get(..count).unwrap_or_default());
        self.read.advance(count);
    }

    /// Gives to the kernel what has gathered, and what TLS has made of it.
    fn poll_uncork(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let stream = sink(&mut self.stream);
            let count = ready!(stream.poll_write(cx, &self.written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(count);
        }
        self.written = BytesMut::new();
        self.put_off = false;
        sink(&mut self.stream).poll_flush(cx)
    }

    /// Gives to the kernel what has gathered and these slices, in one call; how much of the
    /// slices it took.
    fn poll_write_through(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let stream = sink(&mut self.stream);
            let gathered = self.written.len();
            let mut all: SmallVec<[IoSlice<'_>; SLICES]> = SmallVec::new();
            if gathered > 0 {
                all.push(IoSlice::new(&self.written));
            }
            let full = slices.iter().filter(|slice| !slice.is_empty());
            all.extend(full.take(SLICES - 1).map(|slice| IoSlice::new(slice)));
            let count = ready!(stream.poll_write_vectored(cx, &all))?;
            drop(all);
            if count > gathered {
                self.written = BytesMut::new();
                self.put_off = false;
                return Poll::Ready(Ok(count - gathered));
            }
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(count);
        }
    }
}

/// What is written to.
fn sink(stream: &mut TokioIo<Watched>) -> Pin<&mut Stream> {
    Pin::new(&mut stream.inner_mut().stream)
}

impl Read for Corked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            if buf.remaining() >= READ {
                return Pin::new(&mut self.stream).poll_read(cx, buf);
            }
            let this = &mut *self;
            this.read.reserve(READ_AHEAD);
            let polled = poll_read_buf(Pin::new(this.stream.inner_mut()), cx, &mut this.read);
            if !matches!(polled, Poll::Ready(Ok(1..))) {
                this.read = BytesMut::new();
            }
            ready!(polled)?;
        }
        self.serve_read(buf);
        Poll::Ready(Ok(()))
    }
}

impl Write for Corked {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.written.len() + count > GATHER {
            return self.poll_write_through(cx, bufs);
        }
        for buf in bufs {
            self.written.extend_from_slice(buf);
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The first flush behind a write only asks for another turn of the task, in which whoever
    /// drives the connection flushes again: what is written until then goes along. The second
    /// one is in earnest, whatever was written in between, so that steady small writes cannot
    /// put it off for ever.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written.is_empty() && !self.put_off {
            self.put_off = true;
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.poll_uncork(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_uncork(cx))?;
        sink(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
