//! What the checks ask with: the servers, and what the user said about them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::line::{Verdict, failed, skipped};
use super::sink::Sink;
use super::wire::dial::Endpoint;
use super::wire::grpc::{CallBody, Called, Http2, framed, whole};
use super::wire::http1::{Answer, Http1};
use super::{JSON, PROTOBUF};
use crate::otlp::Signal;

/// How a run asks.
#[derive(Clone)]
pub(super) struct Probe {
    /// Where gRPC is served.
    pub(super) grpc: Option<Endpoint>,
    /// Where HTTP is served.
    pub(super) http: Option<Endpoint>,
    /// Where the server delivers to, if that is here.
    pub(super) sink: Option<Arc<Sink>>,
    pub(super) known: Known,
}

/// What the user said of the servers, which cannot be found out from outside.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// How long an answer may take.
    pub(super) timeout: Duration,
    /// How long a server may wait for a slow client.
    pub(super) slow: Duration,
    /// Of every request, names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The signals that the server takes.
    pub(super) signals: Vec<Signal>,
    /// The server's limit for a request, in bytes.
    pub(super) request_limit: Option<u64>,
    /// The same for HTTP.
    pub(super) http_request_limit: Option<u64>,
    /// An origin that the server lets in by CORS.
    pub(super) cors_origin: Option<String>,
    /// Whether floods may be sent.
    pub(super) floods: bool,
    /// Servers that are overloaded during the run.
    pub(super) overloaded: Pair,
    /// Servers whose destination fails for now.
    pub(super) failing: Pair,
    /// The path of a unix socket on which HTTP is served.
    pub(super) unix: Option<String>,
}

/// Where a server in some state takes gRPC and HTTP.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub(super) grpc: Option<Endpoint>,
    pub(super) http: Option<Endpoint>,
}

/// What OTLP recommends as the default limit for a request, in bytes.
pub(super) const RECOMMENDED_LIMIT: u64 = 64 << 20;

/// The `User-Agent` of every request.
const USER_AGENT: &str = concat!("otlpd-conform/", env!("CARGO_PKG_VERSION"));

/// A request for HTTP, before it is written down. Without a content type it has none.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Whether `Content-Length` is written: a check that leaves it out frames the body itself.
    pub(super) has_length: bool,
}

impl Ask {
    /// A POST without a body.
    pub(super) fn post(path: &str) -> Self {
        Self {
            method: "POST",
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            has_length: true,
        }
    }

    /// Binary protobuf for this signal's default path.
    pub(super) fn protobuf(signal: Signal, body: impl Into<Vec<u8>>) -> Self {
        Self::post(signal.http_path())
            .with("content-type", PROTOBUF)
            .body(body)
    }

    /// JSON for this signal's default path.
    pub(super) fn json(signal: Signal, body: impl Into<Vec<u8>>) -> Self {
        Self::post(signal.http_path())
            .with("content-type", JSON)
            .body(body)
    }

    pub(super) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// As one chunk or more of this many bytes, without a length before them.
    pub(super) fn chunked(mut self, size: usize) -> Self {
        let mut body = Vec::with_capacity(self.body.len() + 64);
        for piece in self.body.chunks(size) {
            body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            body.extend(piece);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        self.body = body;
        self.has_length = false;
        self.with("transfer-encoding", "chunked")
    }
}

impl Probe {
    /// The gRPC server; where there is none, the line is skipped.
    pub(super) fn grpc(&self) -> Result<&Endpoint, Verdict> {
        let none = || skipped("no gRPC endpoint was given (--grpc)");
        self.grpc.as_ref().ok_or_else(none)
    }

    /// The HTTP server; where there is none, the line is skipped.
    pub(super) fn http(&self) -> Result<&Endpoint, Verdict> {
        let none = || skipped("no HTTP endpoint was given (--http)");
        self.http.as_ref().ok_or_else(none)
    }

    /// The signal that is sent where any would do.
    pub(super) fn any_signal(&self) -> Signal {
        let stable = |signal: &&Signal| **signal != Signal::Profiles;
        let found = self.known.signals.iter().find(stable);
        found
            .or(self.known.signals.first())
            .copied()
            .unwrap_or(Signal::Traces)
    }

    /// Whether the server takes this signal, as the user said.
    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.known.signals.contains(&signal)
    }

    /// The same, for requests that take long to send or to be answered.
    pub(super) fn patient(&self) -> Self {
        let mut patient = self.clone();
        patient.known.timeout = self.known.timeout * 6;
        patient
    }

    /// The same without this header, or with another value of it.
    pub(super) fn with_header(&self, name: &str, value: Option<&str>) -> Self {
        let mut other = self.clone();
        let headers = &mut other.known.headers;
        headers.retain(|(known, _)| known != name);
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        other
    }

    /// Whether every request carries this header.
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.known.headers.iter().any(|(known, _)| known == name)
    }

    /// The size that no gRPC message may have, in bytes: the limit that the user gave, or else
    /// the default that OTLP recommends.
    pub(super) fn limit(&self) -> usize {
        as_size(self.known.request_limit)
    }

    /// The same for a body over HTTP.
    pub(super) fn http_limit(&self) -> usize {
        as_size(self.known.http_request_limit)
    }

    /// The head of a request for HTTP/1.1.
    pub(super) fn head(&self, endpoint: &Endpoint, ask: &Ask) -> Vec<u8> {
        let mut head = format!(
            "{} {}{} HTTP/1.1\r\nhost: {}\r\nuser-agent: {USER_AGENT}\r\n",
            ask.method,
            endpoint.base,
            ask.path,
            endpoint.authority()
        );
        let extra = self.known.headers.iter();
        let extra = extra.map(|(name, value)| (name.as_str(), value.as_str()));
        let own = ask
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        for (name, value) in extra.chain(own) {
            head += &format!("{name}: {value}\r\n");
        }
        if ask.has_length {
            head += &format!("content-length: {}\r\n", ask.body.len());
        }
        head += "\r\n";
        head.into_bytes()
    }

    /// A request for HTTP/1.1, written down.
    pub(super) fn written(&self, endpoint: &Endpoint, ask: &Ask) -> Vec<u8> {
        let mut written = self.head(endpoint, ask);
        written.extend_from_slice(&ask.body);
        written
    }

    /// A new connection for HTTP/1.1 to the server.
    pub(super) async fn http1(&self) -> Result<Http1, Verdict> {
        self.http1_to(self.http()?).await
    }

    /// A new connection for HTTP/1.1.
    pub(super) async fn http1_to(&self, endpoint: &Endpoint) -> Result<Http1, Verdict> {
        let stream = endpoint.connect(&["http/1.1"]).await;
        let stream = stream.map_err(|problem| failed("a connection", problem))?;
        Ok(Http1::new(stream, self.known.timeout))
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, Verdict> {
        self.ask_at(self.http()?, ask).await
    }

    /// The same, of another server.
    pub(super) async fn ask_at(&self, endpoint: &Endpoint, ask: &Ask) -> Result<Answer, Verdict> {
        let mut connection = self.http1_to(endpoint).await?;
        let written = self.written(endpoint, ask);
        // The answer to HEAD may announce a body, and has none.
        let has_body = ask.method != "HEAD";
        let answer = connection.exchange_with(&written, has_body).await;
        answer.map_err(|problem| failed("an answer", problem))
    }

    /// A new connection for gRPC.
    pub(super) async fn http2(&self) -> Result<Http2, Verdict> {
        self.http2_to(self.grpc()?).await
    }

    /// A new connection for HTTP/2.
    pub(super) async fn http2_to(&self, endpoint: &Endpoint) -> Result<Http2, Verdict> {
        let connected = Http2::connect(endpoint, self.known.timeout).await;
        connected.map_err(|problem| failed("an HTTP/2 connection", problem))
    }

    /// The headers of a gRPC call; those in `own` come after them, or instead of them where they
    /// have the same name. An empty value leaves a header out.
    pub(super) fn call_headers(&self, own: &[(&str, &str)]) -> Vec<(String, String)> {
        let deadline = format!("{}m", self.known.timeout.as_millis().min(99_999_999));
        let usual = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", USER_AGENT),
            ("grpc-timeout", &deadline),
        ];
        let extra = self.known.headers.iter();
        let extra = extra.map(|(name, value)| (name.as_str(), value.as_str()));
        let all = usual.into_iter().chain(extra);
        let kept = all.filter(|(name, _)| own.iter().all(|(other, _)| other != name));
        let own = own.iter().filter(|(_, value)| !value.is_empty()).copied();
        kept.chain(own)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// A call on a connection of its own, with this body, framing included.
    pub(super) async fn call(
        &self,
        path: &str,
        own: &[(&str, &str)],
        body: CallBody,
    ) -> Result<Called, Verdict> {
        self.call_at(self.grpc()?, path, own, body).await
    }

    /// The same, of another server.
    pub(super) async fn call_at(
        &self,
        endpoint: &Endpoint,
        path: &str,
        own: &[(&str, &str)],
        body: CallBody,
    ) -> Result<Called, Verdict> {
        let connection = self.http2_to(endpoint).await?;
        let headers = self.call_headers(own);
        let called = connection.send("POST", path, &headers, body).await;
        called.map_err(|problem| failed("an answer", problem))
    }

    /// Exports this message, plain.
    pub(super) async fn export(&self, signal: Signal, message: &[u8]) -> Result<Called, Verdict> {
        let body = whole(Bytes::from(framed(false, message)));
        self.call(signal.grpc_path(), &[], body).await
    }
}

fn as_size(limit: Option<u64>) -> usize {
    usize::try_from(limit.unwrap_or(RECOMMENDED_LIMIT)).unwrap_or(usize::MAX)
}

/// What it means that a request above the limit was taken: a failure where the limit is known,
/// and nothing where it is not.
pub(super) fn took_too_much(limit: Option<u64>, expected: &str, got: &str) -> Verdict {
    if limit.is_some() {
        return failed(expected, got);
    }
    skipped(format!(
        "it took more than {RECOMMENDED_LIMIT} bytes, so its limit is above the recommended one: \
         say it with --request-limit"
    ))
}
