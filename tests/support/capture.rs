//! A destination that keeps everything it is sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlpd::otlp::Signal;
use tokio::net::TcpListener;

type Kept = Arc<Mutex<Vec<(Signal, Bytes)>>>;

/// An OTLP/gRPC server that accepts every message, and keeps it.
pub(crate) struct Capture {
    pub(crate) address: SocketAddr,
    kept: Kept,
}

impl Capture {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Kept::default();
        let keep = Arc::clone(&kept);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let keep = Arc::clone(&keep);
                let service = service_fn(move |request| answer(request, Arc::clone(&keep)));
                let builder = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, kept }
    }

    /// The messages so far, in order of arrival, uncompressed.
    pub(crate) fn take(&self) -> Vec<(Signal, Bytes)> {
        std::mem::take(&mut *self.kept.lock().unwrap())
    }
}

async fn answer(
    request: Request<Incoming>,
    keep: Kept,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let signal = Signal::from_grpc_path(request.uri().path()).unwrap();
    let framed = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(framed[0], 0, "the test's exporter does not compress");
    let length = u32::from_be_bytes([framed[1], framed[2], framed[3], framed[4]]);
    assert_eq!(framed.len(), length as usize + 5);
    keep.lock().unwrap().push((signal, framed.slice(5..)));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; 5]));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}
