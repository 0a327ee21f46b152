//! A client that sends given bytes, and a destination that keeps the bytes that it gets: both
//! on hyper alone, so that nothing of the daemon's own is tested against itself.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otlpd::otlp::Signal;
use tokio::net::{TcpListener, TcpStream};

/// What came in: the signal, and the message without its framing.
pub(crate) type Call = (Signal, Bytes);

/// How a destination answers: the `grpc-status` for what it got.
pub(crate) type Verdict = Arc<dyn Fn(&Call) -> u16 + Send + Sync>;

/// A destination that keeps what it gets, gRPC and HTTP on one port.
pub(crate) struct Capture {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Capture {
    /// Takes everything.
    pub(crate) async fn start() -> Self {
        Self::judging(|_| 0).await
    }

    /// Answers as `verdict` says, and keeps what is answered with 0.
    pub(crate) async fn judging(verdict: impl Fn(&Call) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (kept, verdict): (_, Verdict) = (Arc::clone(&calls), Arc::new(verdict));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (kept, verdict) = (Arc::clone(&kept), Arc::clone(&verdict));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        answer(request, Arc::clone(&kept), Arc::clone(&verdict))
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // How it ends concerns the client.
                    drop(
                        builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self { address, calls }
    }

    /// What it has got so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Takes out what it has got so far.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Call>>>,
    verdict: Verdict,
) -> Result<Response<Body>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path();
    let grpc = head.version == Version::HTTP_2;
    let call = if grpc {
        assert_eq!(body[0], 0, "not compressed");
        (Signal::from_grpc_path(path).unwrap(), body.slice(5..))
    } else {
        (Signal::from_http_path(path).unwrap(), body)
    };
    let code = verdict(&call);
    if code == 0 {
        kept.lock().unwrap().push(call);
    }
    Ok(if grpc {
        grpc_answer(code)
    } else {
        let mut response = Response::new(Full::default().boxed());
        let status = match code {
            0 => 200,
            3 => 400,
            _ => 503,
        };
        *response.status_mut() = status.try_into().unwrap();
        response
    })
}

fn grpc_answer(code: u16) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    let body = Full::new(Bytes::from_static(&[0; 5]));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

/// A connection that sends one request after the other.
pub(crate) enum Client {
    Grpc(http2::SendRequest<Full<Bytes>>),
    Http(http1::SendRequest<Full<Bytes>>),
}

/// What a client heard.
#[derive(Debug)]
pub(crate) struct Heard {
    /// `grpc-status`, or the HTTP status.
    pub(crate) code: u16,
    /// The headers, and over gRPC the trailers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn grpc(address: SocketAddr) -> Self {
        let io = connect(address).await;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self::Grpc(sender)
    }

    pub(crate) async fn http(address: SocketAddr) -> Self {
        let io = connect(address).await;
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::Http(sender)
    }

    /// Sends a message, and waits for the answer to it.
    pub(crate) async fn send(&mut self, signal: Signal, message: &[u8]) -> Heard {
        match self {
            Self::Grpc(sender) => {
                let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                let framed = [&[0][..], &length, message].concat();
                let request = Request::post(format!("http://otlpd{}", signal.grpc_path()))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Full::new(Bytes::from(framed)))
                    .unwrap();
                heard(sender.send_request(request).await.unwrap(), true).await
            }
            Self::Http(sender) => {
                let request = Request::post(signal.http_path())
                    .header("host", "otlpd")
                    .header("content-type", "application/x-protobuf")
                    .body(Full::new(Bytes::copy_from_slice(message)))
                    .unwrap();
                sender.ready().await.unwrap();
                heard(sender.send_request(request).await.unwrap(), false).await
            }
        }
    }
}

async fn connect(address: SocketAddr) -> TokioIo<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    TokioIo::new(stream)
}

async fn heard(response: Response<Incoming>, grpc: bool) -> Heard {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let mut headers = head.headers;
    if let Some(trailers) = body.trailers() {
        headers.extend(trailers.clone());
    }
    let code = if grpc {
        headers["grpc-status"].to_str().unwrap().parse().unwrap()
    } else {
        head.status.as_u16()
    };
    Heard {
        code,
        headers,
        body: body.to_bytes(),
    }
}
