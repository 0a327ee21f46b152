//! A server in front of a daemon that changes its answers in one way: servers that are wrong, and
//! known to be. Everything else of it is the daemon's.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// As one collector answers what is too large.
    OversizeIs400,
    OversizeIs503,
    ErrorsAreText,
    ErrorsAreEmpty,
    DamagedIsTaken,
    UnknownPathIsTaken,
    NoAllow,
    /// A redirect, as routers make it.
    TrailingSlashMoves,
    UnknownCodingIsNone,
    EmptyPartialSuccess,
    PartialCountIsTooLarge,
    MetricsAreCounted,
    SuccessIsText,
    JsonPartialSuccessIsNull,
    JsonPartialSuccessIsEmpty,
    JsonIsAnsweredAsProtobuf,
    JsonCountIsNumber,
    JsonIsUnknown,
    GrpcOversizeIsOutOfRange,
    GrpcOversizeHasRetryInfo,
    GrpcInvalidIsUnavailable,
    GrpcInvalidIsOk,
    GrpcUnimplementedIsNotFound,
    NoGrpcAcceptEncoding,
    GrpcEmptyPartialSuccess,
}

/// What the suite finds then, beyond what it finds anyway; ids in the order of text.
pub(crate) struct Expected {
    pub(crate) fails: &'static str,
    pub(crate) differs: &'static str,
}

const fn fails(fails: &'static str) -> Expected {
    Expected { fails, differs: "" }
}

const fn finds(fails: &'static str, differs: &'static str) -> Expected {
    Expected { fails, differs }
}

/// Every way to be wrong, and what it costs.
pub(crate) const CHANGES: &[(Change, Expected)] = &[
    (Change::OversizeIs400, fails("H18 H19 H20")),
    (Change::OversizeIs503, fails("H18 H19 H20 H43")),
    (Change::ErrorsAreText, fails("H12b H13 H13c")),
    (Change::ErrorsAreEmpty, fails("H12b H13 H13c")),
    (Change::DamagedIsTaken, finds("H12 H29 H30", "H10 H28 H32")),
    (Change::UnknownPathIsTaken, fails("H14")),
    (Change::NoAllow, fails("H15b")),
    (Change::TrailingSlashMoves, finds("", "H44")),
    (Change::UnknownCodingIsNone, finds("H27", "H27b")),
    (Change::EmptyPartialSuccess, fails("H7")),
    (Change::PartialCountIsTooLarge, fails("G5 H11")),
    (Change::MetricsAreCounted, fails("G8")),
    (Change::SuccessIsText, fails("H3 H4")),
    (Change::JsonPartialSuccessIsNull, finds("", "H8b")),
    (Change::JsonPartialSuccessIsEmpty, finds("H8", "H8b")),
    (Change::JsonIsAnsweredAsProtobuf, fails("H4")),
    (Change::JsonCountIsNumber, fails("H11b")),
    (Change::JsonIsUnknown, fails("H5")),
    (Change::GrpcOversizeIsOutOfRange, fails("G12 G13")),
    (Change::GrpcOversizeHasRetryInfo, fails("G12 G13")),
    (Change::GrpcInvalidIsUnavailable, finds("G11", "G11b")),
    (Change::GrpcInvalidIsOk, finds("G11 G28 G29", "G11b")),
    (Change::GrpcUnimplementedIsNotFound, fails("G18 G20 G21")),
    (Change::NoGrpcAcceptEncoding, fails("G18b")),
    (Change::GrpcEmptyPartialSuccess, fails("G2")),
];

/// The server; it ends with the test.
pub(crate) struct Altered {
    _runtime: Runtime,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Altered {
    pub(crate) fn start(grpc: SocketAddr, http: SocketAddr, change: Change) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let (grpc, http) =
            runtime.block_on(async { (listen(grpc, change).await, listen(http, change).await) });
        Self {
            _runtime: runtime,
            grpc,
            http,
        }
    }
}

async fn listen(behind: SocketAddr, change: Change) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request| serve(request, behind, change));
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                // A client may break off whenever it likes.
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    address
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn serve(
    request: Request<Incoming>,
    behind: SocketAddr,
    change: Change,
) -> Result<Answer, hyper::Error> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let kind = head.headers.get(header::CONTENT_TYPE).cloned();
    let is_call = kind
        .as_ref()
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let body = body.collect().await?.to_bytes();
    if change == Change::UnknownCodingIsNone {
        let coding = head.headers.get(header::CONTENT_ENCODING);
        if coding.is_some_and(|coding| coding == "otlpd-conform") {
            head.headers.remove(header::CONTENT_ENCODING);
        }
    }
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.remove(header::EXPECT);
    if !is_call {
        head.headers
            .insert(header::CONTENT_LENGTH, body.len().into());
    }
    let is_http2 = head.version == http::Version::HTTP_2;
    let response = forward(Request::from_parts(head, Full::new(body)), behind, is_http2).await?;
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let mut found = Found {
        path,
        is_json,
        status: head.status,
        headers: head.headers,
        trailers: collected.trailers().cloned(),
        body: collected.to_bytes(),
    };
    if is_call {
        found.alter_call(change);
    } else {
        found.alter_request(change);
    }
    Ok(found.into_answer(is_call))
}

async fn forward(
    request: Request<Full<Bytes>>,
    behind: SocketAddr,
    is_http2: bool,
) -> Result<Response<Incoming>, hyper::Error> {
    let stream = TokioIo::new(TcpStream::connect(behind).await.unwrap());
    if is_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        return sender.send_request(request).await;
    }
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// An answer of the daemon.
struct Found {
    path: String,
    /// Whether the request was of this type.
    is_json: bool,
    status: StatusCode,
    headers: HeaderMap,
    trailers: Option<HeaderMap>,
    body: Bytes,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

impl Found {
    fn alter_request(&mut self, change: Change) {
        let is_error = self.status.as_u16() >= 400;
        match (change, self.status.as_u16()) {
            (Change::OversizeIs400, 413) => self.status = StatusCode::BAD_REQUEST,
            (Change::OversizeIs503, 413) => self.status = StatusCode::SERVICE_UNAVAILABLE,
            (Change::ErrorsAreText, _) if is_error => self.say(&TEXT, b"an error"),
            (Change::ErrorsAreEmpty, _) if is_error => self.say(&PROTOBUF, b""),
            (Change::DamagedIsTaken, 400) => self.take(),
            (Change::UnknownPathIsTaken, 404) if !self.path.ends_with('/') => self.take(),
            (Change::NoAllow, _) => drop(self.headers.remove(header::ALLOW)),
            (Change::TrailingSlashMoves, 404) if self.path.ends_with('/') => {
                self.status = StatusCode::PERMANENT_REDIRECT;
            }
            (Change::EmptyPartialSuccess, 200) if self.body.is_empty() && !self.is_json => {
                self.body = Bytes::from_static(b"\x0a\x00");
            }
            (Change::PartialCountIsTooLarge, 200) if !self.body.is_empty() && !self.is_json => {
                self.body = Bytes::from_static(b"\x0a\x05\x08\x63\x12\x01x");
            }
            (Change::JsonPartialSuccessIsNull, 200) if self.body == "{}" => {
                self.body = Bytes::from_static(b"{\"partialSuccess\":null}");
            }
            (Change::JsonPartialSuccessIsEmpty, 200) if self.body == "{}" => {
                self.body = Bytes::from_static(b"{\"partialSuccess\":{}}");
            }
            (Change::JsonIsAnsweredAsProtobuf, 200) => {
                self.headers.insert(header::CONTENT_TYPE, PROTOBUF);
            }
            (Change::JsonCountIsNumber, 200) if self.is_json => {
                let text = String::from_utf8_lossy(&self.body);
                let number = text.replace("\"1\"", "1");
                self.body = number.into_bytes().into();
            }
            (Change::JsonIsUnknown, _) if self.is_json => {
                self.status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                self.say(&JSON, b"{\"message\":\"no JSON\"}");
            }
            (Change::SuccessIsText, 200) => {
                self.headers.insert(header::CONTENT_TYPE, TEXT);
            }
            _ => {}
        }
    }

    fn take(&mut self) {
        self.status = StatusCode::OK;
        self.say(&PROTOBUF, b"");
    }

    fn say(&mut self, kind: &HeaderValue, body: &'static [u8]) {
        self.headers.insert(header::CONTENT_TYPE, kind.clone());
        self.body = Bytes::from_static(body);
    }

    /// What `grpc-status` stands in.
    fn outcome(&mut self) -> &mut HeaderMap {
        self.trailers.as_mut().unwrap_or(&mut self.headers)
    }

    fn alter_call(&mut self, change: Change) {
        let code = self.outcome().get("grpc-status").cloned();
        let code = code.and_then(|code| code.to_str().unwrap().parse::<u8>().ok());
        let mut becomes = |code: &'static str| {
            let code = HeaderValue::from_static(code);
            self.outcome().insert("grpc-status", code);
        };
        match (change, code) {
            (Change::GrpcOversizeIsOutOfRange, Some(8)) => becomes("11"),
            (Change::GrpcInvalidIsUnavailable, Some(3)) => becomes("14"),
            (Change::GrpcUnimplementedIsNotFound, Some(12)) => becomes("5"),
            (Change::GrpcInvalidIsOk, Some(3)) => {
                becomes("0");
                self.body = Bytes::from_static(b"\0\0\0\0\0");
            }
            (Change::GrpcOversizeHasRetryInfo, Some(8)) => {
                // A Status with one detail: { type_url: ".../google.rpc.RetryInfo" }.
                let info = "GioKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8";
                let info = HeaderValue::from_static(info);
                self.outcome().insert("grpc-status-details-bin", info);
            }
            (Change::NoGrpcAcceptEncoding, _) => {
                self.headers.remove("grpc-accept-encoding");
                self.outcome().remove("grpc-accept-encoding");
            }
            (Change::GrpcEmptyPartialSuccess, Some(0)) if self.body.len() == 5 => {
                self.body = Bytes::from_static(b"\0\0\0\0\x02\x0a\x00");
            }
            (Change::PartialCountIsTooLarge, Some(0))
                if self.body.len() > 5 && self.path.ends_with("/Export") =>
            {
                self.body = Bytes::from_static(b"\0\0\0\0\x07\x0a\x05\x08\x63\x12\x01x");
            }
            (Change::MetricsAreCounted, Some(0))
                if self.body.len() > 5 && self.path.contains("Metrics") =>
            {
                self.body = Bytes::from_static(b"\0\0\0\0\x07\x0a\x05\x08\x01\x12\x01x");
            }
            _ => {}
        }
    }

    fn into_answer(mut self, is_call: bool) -> Answer {
        self.headers.remove(header::CONTENT_LENGTH);
        self.headers.remove(header::TRANSFER_ENCODING);
        self.headers.remove(header::CONNECTION);
        let body = match (self.trailers, is_call) {
            (Some(trailers), true) => Full::new(self.body)
                .with_trailers(std::future::ready(Some(Ok(trailers))))
                .boxed(),
            _ => Full::new(self.body).boxed(),
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers;
        answer
    }
}
