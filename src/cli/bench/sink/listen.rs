//! Listeners that close, with all their connections, while the sink refuses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::behaviour::Mode;
use super::{Shared, serve};
use crate::cli::bench::listen;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, and the control routes where they have no listener of their own.
    Http { control: bool },
    /// The control routes alone.
    Control,
}

/// A listener and where it is.
#[derive(Debug)]
pub(super) struct Listening {
    listener: TcpListener,
    pub(super) address: SocketAddr,
    transport: Transport,
}

impl Listening {
    /// The error is a sentence about the address.
    pub(super) async fn bind(address: &str, transport: Transport) -> Result<Self, String> {
        let (listener, address) = listen(address).await?;
        Ok(Self {
            listener,
            address,
            transport,
        })
    }

    /// Accepts for ever, but not while the sink refuses.
    pub(super) async fn serve(self, shared: Arc<Shared>) {
        let mut behaviour = shared.behaviour.subscribe();
        let refuses = self.transport != Transport::Control;
        let mut listener = Some(self.listener);
        let mut connections = JoinSet::new();
        loop {
            if refuses && behaviour.borrow_and_update().mode == Mode::Refuse {
                listener = None;
                connections.shutdown().await;
                if behaviour.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Some(open) = &listener else {
                match listen(&self.address.to_string()).await {
                    Ok((again, _)) => listener = Some(again),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                continue;
            };
            tokio::select! {
                accepted = open.accept() => {
                    // A failed accept concerns that client alone.
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection(stream, self.transport, Arc::clone(&shared)));
                    }
                }
                _ = behaviour.changed() => {}
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Serves one connection; how it ends concerns its client alone.
async fn connection(stream: TcpStream, transport: Transport, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let io = TokioIo::new(stream);
    let (frame, window) = (shared.frame_bytes, shared.window_bytes);
    if transport == Transport::Grpc {
        let service =
            service_fn(move |request: Request<Incoming>| serve::grpc(Arc::clone(&shared), request));
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .max_frame_size(frame)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(4).min((1 << 31) - 1))
            .serve_connection(io, service)
            .await
            .ok();
    } else {
        let service = service_fn(move |request: Request<Incoming>| {
            serve::http(Arc::clone(&shared), transport, request)
        });
        hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
            .ok();
    }
}
