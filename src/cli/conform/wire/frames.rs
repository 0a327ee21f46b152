//! HTTP/2 frame by frame, for what a proper client would not send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::dial::{AnyStream, Endpoint};
use crate::cli::conform::line::{Verdict, failed};

/// Kinds of frames, and their flags.
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What a new connection of HTTP/2 says first, before its settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that has arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) content: Vec<u8>,
}

/// A connection.
pub(crate) struct Frames {
    read: ReadHalf<AnyStream>,
    write: WriteHalf<AnyStream>,
    patience: Duration,
}

impl Frames {
    /// Connects and says hello with empty settings.
    pub(crate) async fn connect(endpoint: &Endpoint, patience: Duration) -> Result<Self, Verdict> {
        let stream = endpoint.connect(&["h2"]).await;
        let stream = stream.map_err(|problem| failed("a connection", problem))?;
        let (read, write) = tokio::io::split(stream);
        let mut frames = Self {
            read,
            write,
            patience,
        };
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        let said = frames.send(&hello).await;
        said.map_err(|problem| failed("an HTTP/2 connection", problem))?;
        Ok(frames)
    }

    /// Sends bytes. The error is a phrase.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        super::send(&mut self.write, bytes, self.patience).await
    }

    /// The next frame. The error is a phrase; the end of the connection is one.
    pub(crate) async fn next(&mut self) -> Result<Frame, String> {
        match timeout(self.patience, self.read_frame()).await {
            Ok(frame) => frame.map_err(|error| format!("the connection ended: {error}")),
            Err(_elapsed) => Err(format!("no frame within {:?}", self.patience)),
        }
    }

    async fn read_frame(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.read.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let mut content = vec![0; length];
        self.read.read_exact(&mut content).await?;
        Ok(Frame {
            kind,
            flags,
            content,
        })
    }

    /// Sends a ping and waits for its answer; settings that come meanwhile are acknowledged.
    pub(crate) async fn ping(&mut self) -> Result<(), String> {
        self.send(&frame(PING, 0, 0, b"conforms")).await?;
        loop {
            let found = self.next().await?;
            match (found.kind, found.flags & ACK) {
                (PING, ACK) => return Ok(()),
                (SETTINGS, 0) => self.send(&frame(SETTINGS, ACK, 0, b"")).await?,
                (GOAWAY, _) => return Err(format!("GOAWAY {}", reason(&found.content))),
                _ => {}
            }
        }
    }

    /// Reads and lets go whatever comes, to the end of the connection or of this time. Whether
    /// the connection ended.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> bool {
        let ending = async { while self.read_frame().await.is_ok() {} };
        timeout(patience, ending).await.is_ok()
    }
}

/// A frame, written down.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
    let head = [a, b, c, kind, flags];
    [&head[..], &stream.to_be_bytes(), content].concat()
}

/// The error code of a GOAWAY, and what it says besides.
fn reason(content: &[u8]) -> String {
    let code = content.get(4..8).and_then(|code| code.try_into().ok());
    let code = code.map_or(0, u32::from_be_bytes);
    let text = String::from_utf8_lossy(content.get(8..).unwrap_or_default());
    format!("with code {code} {text:?}")
}

/// The headers of a gRPC call, in HPACK without any compression.
pub(crate) fn call_headers(authority: &str, path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let headers = headers.iter();
    headers
        .flat_map(|(name, value)| header(name, value))
        .collect()
}

/// One header of fewer than 127 bytes, never indexed.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len().min(126)).unwrap_or(0);
    let cut = |text: &str| {
        text.as_bytes()
            .iter()
            .take(126)
            .copied()
            .collect::<Vec<u8>>()
    };
    [
        &[0, length(name)][..],
        &cut(name),
        &[length(value)],
        &cut(value),
    ]
    .concat()
}
