//! HTTP/1.1 byte by byte: what is sent is what a check wrote, and an answer is read to its end
//! whatever becomes of the sending.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::dial::AnyStream;

/// The most of an answer that is read, in bytes: an OTLP answer is at most 4 MiB by far.
const MAX_ANSWER: usize = 16 << 20;
/// How long a server may take to end a connection that it has to end: less than any would let an
/// idle one be.
const END: Duration = Duration::from_secs(5);
/// What is sent at once, in bytes.
const PIECE: usize = 64 << 10;

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Of the request's bytes, those that had been sent when the answer was complete.
    pub(crate) sent: usize,
}

impl Answer {
    /// The first header of this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Every value of a header that is a list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found
            .flat_map(|(_, value)| value.split(','))
            .map(|item| item.trim().to_ascii_lowercase())
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// The media type without its parameters, in lower case; empty where there is none.
    pub(crate) fn media_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    }

    /// Whether the server said that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.list("connection").iter().any(|item| item == "close")
    }

    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.code, 200..=299)
    }

    /// The code, the media type and the beginning of the body, for a report.
    pub(crate) fn told(&self) -> String {
        let kind = match self.header("content-type") {
            Some(kind) => kind.to_owned(),
            None => "no content type".to_owned(),
        };
        if self.body.is_empty() {
            return format!("{} with {kind} and no body", self.code);
        }
        format!("{} with {kind}: {}", self.code, excerpt(&self.body))
    }
}

/// The beginning of some bytes, on one line: as text, or where there is none in hexadecimal.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 160;
    let text = String::from_utf8_lossy(bytes);
    if !text.chars().any(char::is_alphanumeric) {
        let hex = bytes.iter().take(16).map(|byte| format!("{byte:02x}"));
        return format!("the bytes {}", hex.collect::<Vec<_>>().join(" "));
    }
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = printable.take(MOST).collect();
    let dots = if text.chars().count() > MOST {
        "..."
    } else {
        ""
    };
    format!("`{}{dots}`", short.trim())
}

/// A connection.
pub(crate) struct Http1 {
    read: ReadHalf<AnyStream>,
    write: WriteHalf<AnyStream>,
    /// Read, and not yet taken.
    held: Vec<u8>,
    /// How long each answer may take.
    patience: Duration,
}

impl Http1 {
    pub(crate) fn new(stream: AnyStream, patience: Duration) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self {
            read,
            write,
            held: Vec::new(),
            patience,
        }
    }

    /// Sends bytes. The error is a phrase.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        super::send(&mut self.write, bytes, self.patience).await
    }

    /// Sends a request while waiting for its answer, which may come before all is sent. Interim
    /// answers (1xx) are passed over.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer, String> {
        self.exchange_with(request, true).await
    }

    /// The same; `has_body` is false for an answer to HEAD.
    pub(crate) async fn exchange_with(
        &mut self,
        request: &[u8],
        has_body: bool,
    ) -> Result<Answer, String> {
        let mut sent = 0;
        let Self {
            read,
            write,
            held,
            patience,
        } = self;
        let sending = async {
            // A server that has answered may have closed its side: the answer counts. What was
            // written is counted to the byte, since the rest may have to follow.
            while let Some(rest) = request.get(sent..).filter(|rest| !rest.is_empty()) {
                let piece = rest.get(..PIECE).unwrap_or(rest);
                match write.write(piece).await {
                    Ok(count) if count > 0 => sent += count,
                    _ => break,
                }
            }
            write.flush().await.ok();
            std::future::pending::<()>().await;
        };
        let reading = async {
            loop {
                let answer = read_answer(read, held, has_body).await?;
                if answer.code >= 200 {
                    return Ok(answer);
                }
            }
        };
        let answer = tokio::select! {
            answer = timeout(*patience, reading) => answer,
            () = sending => unreachable_answer(),
        };
        let mut answer =
            answer.unwrap_or_else(|_| Err(format!("no answer within {patience:?}")))?;
        answer.sent = sent;
        Ok(answer)
    }

    /// Reads one answer, an interim one included.
    pub(crate) async fn answer(&mut self) -> Result<Answer, String> {
        let patience = self.patience;
        self.answer_within(patience).await
    }

    /// The same, with another patience.
    pub(crate) async fn answer_within(&mut self, patience: Duration) -> Result<Answer, String> {
        match timeout(patience, read_answer(&mut self.read, &mut self.held, true)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(format!("no answer within {patience:?}")),
        }
    }

    /// Whether the server ends the connection soon; what else it sends is let go.
    pub(crate) async fn ends(&mut self) -> bool {
        let ending = async {
            let mut piece = vec![0; PIECE];
            while !matches!(self.read.read(&mut piece).await, Ok(0) | Err(_)) {}
        };
        timeout(END, ending).await.is_ok()
    }

    /// Whether the server ends the connection soon, and says nothing more.
    pub(crate) async fn ends_without_a_byte(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(END, self.read.read(&mut byte)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}

fn unreachable_answer() -> Result<Result<Answer, String>, tokio::time::error::Elapsed> {
    Ok(Err("the sending ended".to_owned()))
}

async fn more(read: &mut ReadHalf<AnyStream>, held: &mut Vec<u8>) -> Result<(), String> {
    match read.read_buf(held).await {
        Ok(0) => Err("the connection was closed without an answer".to_owned()),
        Ok(_) if held.len() > MAX_ANSWER => Err(format!("more than {MAX_ANSWER} bytes of answer")),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the connection broke before an answer: {error}")),
    }
}

async fn read_answer(
    read: &mut ReadHalf<AnyStream>,
    held: &mut Vec<u8>,
    has_body: bool,
) -> Result<Answer, String> {
    let end = loop {
        match memchr::memmem::find(held, b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(read, held).await?,
        }
    };
    let head: Vec<u8> = held.drain(..end).collect();
    let mut answer = read_head(&String::from_utf8_lossy(&head))?;
    if !has_body || answer.code < 200 || matches!(answer.code, 204 | 304) {
        return Ok(answer);
    }
    let chunked = answer
        .list("transfer-encoding")
        .iter()
        .any(|c| c == "chunked");
    if chunked {
        answer.body = read_chunks(read, held).await?;
    } else if let Some(length) = answer.header("content-length") {
        let length = length.trim().parse::<usize>();
        let length = length.map_err(|_| "the answer's content-length is no number".to_owned())?;
        while held.len() < length {
            more(read, held).await?;
        }
        answer.body = held.drain(..length).collect();
    } else {
        while more(read, held).await.is_ok() {}
        answer.body = std::mem::take(held);
    }
    Ok(answer)
}

fn read_head(head: &str) -> Result<Answer, String> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let code = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| format!("an answer that is not HTTP/1.1: {first:?}"))?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| {
        let value = value.trim().to_owned();
        (name.trim().to_ascii_lowercase(), value)
    });
    Ok(Answer {
        code,
        headers: headers.collect(),
        ..Answer::default()
    })
}

async fn read_chunks(
    read: &mut ReadHalf<AnyStream>,
    held: &mut Vec<u8>,
) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let size = read_line(read, held).await?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| format!("a chunk of the answer has the length {size:?}"))?;
        if size == 0 {
            // Trailers, to the empty line.
            while !read_line(read, held).await?.is_empty() {}
            return Ok(body);
        }
        while held.len() < size.saturating_add(2) {
            more(read, held).await?;
        }
        body.extend(held.drain(..size));
        held.drain(..2);
    }
}

async fn read_line(read: &mut ReadHalf<AnyStream>, held: &mut Vec<u8>) -> Result<String, String> {
    let end = loop {
        match memchr::memmem::find(held, b"\r\n") {
            Some(end) => break end,
            None => more(read, held).await?,
        }
    };
    let line: Vec<u8> = held.drain(..end + 2).collect();
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
