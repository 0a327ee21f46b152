//! A connection's bytes, whatever they travel through: TCP or a unix socket, in the clear or
//! encrypted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

mod socket;

pub use socket::{ReadAhead, Socket};

/// What requests and answers travel through.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain {
        /// What carries it.
        socket: Socket,
        /// Whether it comes from a client that was not heard yet: one that speaks TLS is told
        /// apart by its first byte.
        is_new: bool,
    },
    /// Encrypted, after the handshake.
    Tls(Box<TlsStream<ReadAhead>>),
}

/// The first byte of a TLS connection. Nothing that is HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// What is said of a client that speaks TLS where none is expected.
pub(super) const SPEAKS_TLS: &str = "the client speaks TLS, and this listener does not: give the \
                                     listener `tls`, or let the client use http://";

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain {
            socket: Socket::Tcp(stream),
            is_new: false,
        }
    }
}

impl Stream {
    /// What was agreed on by ALPN, if anything was.
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Self::Plain { .. } => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (socket, is_new) = match &mut *self {
            Self::Plain { socket, is_new } => (socket, is_new),
            Self::Tls(stream) => return Pin::new(stream.as_mut()).poll_read(cx, buf),
        };
        let before = buf.filled().len();
        ready!(Pin::new(socket).poll_read(cx, buf))?;
        if *is_new && buf.filled().get(before) == Some(&HANDSHAKE) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, SPEAKS_TLS)));
        }
        *is_new = false;
        Poll::Ready(Ok(()))
    }
}

macro_rules! each {
    ($stream:expr, $cx:ident, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Plain { socket, .. } => {
                let $inner = Pin::new(socket);
                $call
            }
            Stream::Tls(stream) => {
                let $inner = Pin::new(stream.as_mut());
                match $call {
                    Poll::Ready(Err(error)) => last_word(stream, $cx, error).map(Err),
                    done => done,
                }
            }
        }
    };
}

/// Why a write failed: what the other side said before it closed, if it said anything. A server
/// that wants a certificate and gets none sends an alert and goes, and all that the next write
/// finds is a broken pipe.
fn last_word(
    stream: &mut TlsStream<ReadAhead>,
    cx: &mut Context<'_>,
    error: io::Error,
) -> Poll<io::Error> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData};
    if !matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    ) {
        return Poll::Ready(error);
    }
    // A closed connection can be read at once, or as soon as the runtime has looked.
    let mut byte = [0];
    match ready!(Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut byte))) {
        Err(alert) if alert.kind() == InvalidData => Poll::Ready(alert),
        _ => Poll::Ready(error),
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, cx, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, cx, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, cx, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, cx, stream => stream.poll_shutdown(cx))
    }
}
