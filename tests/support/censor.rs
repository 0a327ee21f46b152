//! Servers that are wrong about some requests, for tests of the conformance suite: one in front
//! of a daemon that answers some bodies by itself, and a collector that passes on what it has
//! changed.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The status with which a body is answered, where it is not the daemon that answers.
pub(crate) type Judge = fn(&[u8]) -> Option<u16>;
/// What a collector passes on, by the path of the request.
pub(crate) type Rewrite = fn(&str, &[u8]) -> Vec<u8>;

#[derive(Clone, Copy)]
enum Kind {
    Censor(SocketAddr, Judge),
    Collector(SocketAddr, Rewrite),
}

/// A server of HTTP; it ends with the test.
pub(crate) struct Server {
    _runtime: Runtime,
    pub(crate) http: SocketAddr,
}

impl Server {
    /// Answers some bodies itself; the rest is this daemon's.
    pub(crate) fn censor(daemon: SocketAddr, judge: Judge) -> Self {
        Self::start(Kind::Censor(daemon, judge))
    }

    /// Takes everything, and sends it on to there.
    pub(crate) fn collector(destination: SocketAddr, rewrite: Rewrite) -> Self {
        Self::start(Kind::Collector(destination, rewrite))
    }

    fn start(kind: Kind) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let http = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(move |request| serve(kind, request));
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let serving = builder.serve_connection(TokioIo::new(stream), service);
                    // A client may break off whenever it likes.
                    serving.await.ok();
                });
            }
        });
        Self {
            _runtime: runtime,
            http,
        }
    }
}

async fn serve(
    kind: Kind,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let content_type = head.headers.get("content-type").cloned();
    let is_json = content_type
        .as_ref()
        .is_some_and(|kind| kind == "application/json");
    match kind {
        Kind::Censor(daemon, judge) => Ok(match judge(&body) {
            Some(code) => answer(code, content_type, is_json),
            None => forward(daemon, Request::from_parts(head, body)).await,
        }),
        Kind::Collector(destination, rewrite) => {
            let body = rewrite(head.uri.path(), &body).into();
            forward(destination, Request::from_parts(head, body)).await;
            Ok(answer(200, content_type, is_json))
        }
    }
}

/// A success, or a Status without content, which either encoding has.
fn answer(code: u16, kind: Option<HeaderValue>, is_json: bool) -> Response<Full<Bytes>> {
    let body = if is_json { "{}" } else { "" };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert("content-type", kind.unwrap());
    response
}

async fn forward(to: SocketAddr, request: Request<Bytes>) -> Response<Full<Bytes>> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    // A rewrite may have made JSON of it. No request in protobuf begins so.
    let is_json = request.body().first() == Some(&b'{');
    let mut request = request.map(Full::new);
    // The length is another where the body was changed.
    request.headers_mut().remove("content-length");
    if is_json {
        let kind = HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", kind);
    }
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, Full::new(body))
}
