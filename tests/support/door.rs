//! A running daemon, and clients that speak to its receivers with as little between the test and
//! the wire as can be.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlpd::otlp::status::{Status, from_grpc_trailers};
use serde_json::Value;
use tempfile::TempDir;

#[path = "ports.rs"]
mod ports;

pub(crate) use ports::free_port;

/// How long a test waits for anything before it fails: long enough for any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// What stands in the configuration of a daemon besides its addresses.
pub(crate) struct Setup<'a> {
    /// More keys of the receiver's `grpc` table, each with a comma before it.
    pub(crate) grpc: &'a str,
    /// The same of its `http` table.
    pub(crate) http: &'a str,
    /// More keys of the receiver, a line each.
    pub(crate) receiver: &'a str,
    /// All sections but `[admin]` and the receiver `apps`.
    pub(crate) sections: &'a str,
}

/// Everything is taken, and nothing kept.
pub(crate) const DISCARD: &str = r#"
[intake]
memory_budget = "192MiB"
max_wait = "500ms"
[exporters.out]
type = "discard"
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            grpc: "",
            http: "",
            receiver: "",
            sections: DISCARD,
        }
    }
}

/// A daemon; it ends with the test.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Daemon {
    pub(crate) fn start(setup: &Setup<'_>) -> Self {
        // Between choosing a port and listening on it another process may take it.
        for _ in 0..10 {
            if let Some(daemon) = Self::try_start(setup) {
                return daemon;
            }
        }
        panic!("no free ports were found");
    }

    fn try_start(setup: &Setup<'_>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let [grpc, http, admin] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let config = format!(
            "[admin]\nendpoint = \"{admin}\"\n[receivers.apps]\ntype = \"otlp\"\n\
             grpc = {{ endpoint = \"{grpc}\"{} }}\nhttp = {{ endpoint = \"{http}\"{} }}\n{}\n{}",
            setup.grpc, setup.http, setup.receiver, setup.sections
        );
        let file = folder.path().join("otlpd.toml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
        command.arg("--config").arg(&file).stderr(log);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let mut daemon = Self {
            child,
            folder,
            grpc,
            http,
            admin,
        };
        let mut gone = false;
        until("the daemon listens or has ended", || {
            gone = daemon.child.try_wait().unwrap().is_some();
            gone || daemon
                .try_ask("/readyz")
                .is_some_and(|(code, _)| code == 200)
        });
        if gone {
            let log = daemon.log();
            assert!(log.contains("the address is in use"), "{log}");
            return None;
        }
        Some(daemon)
    }

    /// Everything that it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// `/status`.
    pub(crate) fn status(&self) -> Value {
        let (_, body) = self.try_ask("/status").unwrap();
        serde_json::from_str(&body).unwrap()
    }

    /// What is reserved of the budget now, in bytes.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.status()["budget"]["used_bytes"].as_u64().unwrap()
    }

    /// The sum of the series of `/metrics` that begin so.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let (_, page) = self.try_ask("/metrics").unwrap();
        let of_series = page.lines().filter(|line| line.starts_with(series));
        of_series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }

    /// A line of `/proc/PID/status` that is a size, in bytes.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        let kib = found.unwrap().trim_start_matches(':').trim();
        kib.trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let mut kill = Command::new("kill");
        kill.args(["-TERM", &self.child.id().to_string()]);
        assert!(kill.status().unwrap().success());
    }

    /// Waits until it has ended, and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        until("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// What the admin side answers.
    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        self.try_ask(path).unwrap()
    }

    fn try_ask(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = SystemTime::now();
    while !condition() {
        let waited = begun.elapsed().unwrap_or_default();
        assert!(waited < PATIENCE, "waited in vain: {what}");
        // The daemon that is waited for needs the CPU.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// gRPC's five bytes and a message.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag][..], &length.to_be_bytes(), message]
        .concat()
        .into()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut members = flate2::read::MultiGzDecoder::new(packed);
    members.read_to_end(&mut plain).unwrap();
    plain
}

/// So many MiB of zeros, compressed, and what the end says of their length in bytes. Its checksum
/// is false, which only somebody could tell who has inflated all of it.
pub(crate) fn bomb(mebibytes: usize, says: u32) -> Vec<u8> {
    let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
    let mut block = Vec::with_capacity(1 << 20);
    let full = flate2::FlushCompress::Full;
    deflater
        .compress_vec(&vec![0; 1 << 20], &mut block, full)
        .unwrap();
    let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    // Behind a full flush nothing refers to what came before it.
    gzip.extend(block.repeat(mebibytes));
    gzip.extend(b"\x03\0\xde\xad\xbe\xef");
    gzip.extend(says.to_le_bytes());
    gzip
}

type CallBody = BoxBody<Bytes, std::io::Error>;

/// A body that is there as a whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> CallBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A connection over HTTP/2, prior knowledge, for gRPC and for HTTP.
#[derive(Clone)]
pub(crate) struct H2(http2::SendRequest<CallBody>);

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) http: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) data: Bytes,
    /// By the trailers, or the headers where there is no body.
    pub(crate) status: Status,
}

impl Called {
    /// The number in `grpc-status`.
    pub(crate) fn code(&self) -> u8 {
        self.status.code.number()
    }
}

impl H2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request with these headers, and waits for its end.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: CallBody,
    ) -> Result<Called, hyper::Error> {
        let uri = format!("http://otlpd{path}");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.ready().await?;
        let response = self.0.send_request(request.body(body).unwrap()).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let status = from_grpc_trailers(trailers.as_ref().unwrap_or(&head.headers));
        Ok(Called {
            http: head.status.as_u16(),
            headers: head.headers,
            data: body.to_bytes(),
            status,
        })
    }

    /// A gRPC call with this body, framing included.
    pub(crate) async fn call(&mut self, path: &str, more: &[(&str, &str)], body: Bytes) -> Called {
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let headers = [&grpc[..], more].concat();
        let called = self.send("POST", path, &headers, whole(body)).await;
        called.unwrap()
    }

    /// A gRPC call with this message, plain.
    pub(crate) async fn export(&mut self, path: &str, message: &[u8]) -> Called {
        self.call(path, &[], framed(0, message)).await
    }
}

/// An answer over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body, which must be a `google.rpc.Status` in the format that is said.
    pub(crate) fn status(&self) -> Status {
        match self.header("content-type") {
            Some("application/x-protobuf") => Status::decode(&self.body).unwrap(),
            Some("application/json") => Status::decode_json(&self.body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// A raw connection for HTTP/1.1 or for bytes of any kind.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a POST with these header lines and this body, with its length.
    pub(crate) fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.write(post_head(path, headers, body.len()));
        self.write(body);
        self.answer()
    }

    /// Reads one answer, interim ones included.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer before the end")
    }

    /// Reads one answer; `None` if the connection ends before it.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            match self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.more()?,
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let mut answer = Answer {
            code: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        };
        let length = answer.header("content-length").unwrap_or("0");
        let length: usize = length.parse().unwrap();
        while self.read.len() < length {
            self.more()?;
        }
        answer.body = self.read.drain(..length).collect();
        Some(answer)
    }

    /// Whether the peer ends the connection, and sends nothing more before it does.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.more().is_none() && self.read.is_empty()
    }

    fn more(&mut self) -> Option<()> {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => None,
            Ok(count) => {
                self.read.extend_from_slice(&chunk[..count]);
                Some(())
            }
            Err(error) => {
                let timed_out = matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                assert!(!timed_out, "waited in vain for bytes");
                None
            }
        }
    }

    /// So many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            self.more()?;
        }
        Some(self.read.drain(..count).collect())
    }
}

/// The head of a POST.
pub(crate) fn post_head(path: &str, headers: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: otlpd\r\n{headers}content-length: {length}\r\n\r\n")
}

pub(crate) const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

/// HTTP/2, frame by frame.
pub(crate) struct Frames(pub(crate) Raw);

/// A frame that has arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) content: Vec<u8>,
}

impl Frames {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RESET: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;

    /// Says hello with empty settings.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut frames = Self(Raw::connect(address));
        frames.0.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(Self::SETTINGS, 0, 0, b"");
        frames
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) {
        self.0.write(frame(kind, flags, stream, content));
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head = self.0.exactly(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
            content: self.0.exactly(length)?,
        })
    }

    /// The next frame of this kind.
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), content].concat()
}

/// The headers of a gRPC call, in HPACK without any compression.
pub(crate) fn call_headers(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "otlpd"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers
        .iter()
        .flat_map(|(name, value)| header(name, value))
        .collect()
}

/// One header of fewer than 127 bytes, never indexed.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let (name, value) = ((length(name), name), (length(value), value));
    assert!(name.0 < 127 && value.0 < 127);
    [
        &[0, name.0][..],
        name.1.as_bytes(),
        &[value.0],
        value.1.as_bytes(),
    ]
    .concat()
}
