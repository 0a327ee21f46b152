//! The listeners of an OTLP receiver.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;

use super::connection::{Windows, http1, http2, limits};
use super::cors::Cors;
use super::grpc::Grpc;
use super::guard::Guard;
use super::health::Health;
use super::http::Http;
use super::streams::{Streams, is_large};
use super::{GrpcConfig, HttpConfig, OtlpConfig};
use crate::auth::Authenticator;
use crate::intake::Intake;
use crate::net::inherited::Sockets;
use crate::net::listen::{Kept, Listener, SocketMode};
use crate::net::serve::serve;
use crate::net::tls::{Alpn, Register, Server, ServerTlsConfig};
use crate::shutdown::Drain;
use crate::telemetry::health::Ready;
use crate::telemetry::metrics::{ReceiverMetrics, Registry};

/// Listeners that are bound, and not served yet.
pub struct Listeners {
    grpc: Option<(Listener, GrpcConfig, ReceiverMetrics)>,
    /// Without a listener of its own where it has the one of gRPC.
    http: Option<(Option<Listener>, HttpConfig, ReceiverMetrics)>,
    guard: Guard,
}

/// What listeners are opened with.
pub struct Ground<'a> {
    /// Where their series go.
    pub registry: &'a Registry,
    /// Where their uses of TLS are told.
    pub tls: &'a Register,
    /// What was inherited.
    pub sockets: &'a mut Sockets,
}

impl Listeners {
    /// Binds what the configuration of this receiver names, or takes sockets that were inherited
    /// for it.
    ///
    /// # Errors
    /// A sentence that names the address and the key.
    pub async fn open(
        name: &str,
        config: &OtlpConfig,
        ground: &mut Ground<'_>,
    ) -> Result<Self, String> {
        let component = format!("receivers.{name}");
        let guard = match &config.auth {
            Some(auth) => Some(Authenticator::open(auth, &component, ground.tls).await?),
            None => None,
        };
        let mut listeners = Self {
            grpc: None,
            http: None,
            guard: Guard::new(guard),
        };
        let shares = config.shares_a_port();
        if let Some(grpc) = &config.grpc {
            let alpn = match shares {
                true => Alpn::Any,
                false => Alpn::Http2,
            };
            let door = Door {
                key: format!("receivers.{name}.grpc"),
                endpoint: &grpc.endpoint,
                mode: grpc.socket_mode,
                tls: grpc.tls.as_ref(),
                alpn,
            };
            let listener = door.open(ground).await?;
            let metrics = ReceiverMetrics::new(ground.registry, name, "grpc");
            listeners.grpc = Some((listener, grpc.clone(), metrics));
        }
        if let Some(http) = &config.http {
            let door = Door {
                key: format!("receivers.{name}.http"),
                endpoint: &http.endpoint,
                mode: http.socket_mode,
                tls: http.tls.as_ref(),
                alpn: Alpn::Any,
            };
            let listener = match shares {
                true => None,
                false => Some(door.open(ground).await?),
            };
            let metrics = ReceiverMetrics::new(ground.registry, name, "http");
            listeners.http = Some((listener, http.clone(), metrics));
        }
        Ok(listeners)
    }

    /// Second descriptors of their sockets.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn duplicate(&self) -> io::Result<Vec<Kept>> {
        let grpc = self.grpc.iter().map(|(listener, ..)| listener);
        let http = self.http.iter().flat_map(|(listener, ..)| listener);
        grpc.chain(http).map(Listener::duplicate).collect()
    }

    /// Serves them until the drain begins and their connections are done.
    pub async fn serve(self, intake: Intake, ready: Ready, drain: Drain) {
        let windows = Windows::new(&intake.budget);
        let streams = Streams::new(&intake.budget);
        let guard = self.guard;
        let grpc = self.grpc.map(|(listener, config, metrics)| {
            let limit = config.max_recv_msg_size.as_usize();
            let intake = intake.clone();
            let grpc = Grpc {
                intake,
                guard: guard.clone(),
                streams: streams.clone(),
                limit,
                metrics,
                health: Health::new(ready, drain.clone()),
            };
            (listener, config, Arc::new(grpc))
        });
        let http = self.http.map(|(listener, config, metrics)| {
            let http = Http {
                intake,
                guard,
                streams,
                limit: config.max_request_body_size.as_usize(),
                read_timeout: config.read_timeout,
                cors: config.cors.as_ref().map(Cors::new),
                metrics,
            };
            (listener, config, Arc::new(http))
        });
        match (grpc, http) {
            (Some((listener, config, grpc)), Some((None, http_config, http))) => {
                let side = Side {
                    config,
                    service: grpc,
                };
                let other = Side {
                    config: http_config,
                    service: http,
                };
                serve_both(listener, side, other, windows, drain).await;
            }
            (grpc, http) => {
                let grpc = async {
                    if let Some((listener, config, service)) = grpc {
                        let side = Side { config, service };
                        serve_grpc(listener, side, windows.clone(), drain.clone()).await;
                    }
                };
                let http = async {
                    if let Some((Some(listener), config, service)) = http {
                        let side = Side { config, service };
                        serve_http(listener, side, windows.clone(), drain.clone()).await;
                    }
                };
                tokio::join!(grpc, http);
            }
        }
    }
}

/// One listener, as it is configured.
struct Door<'a> {
    key: String,
    endpoint: &'a str,
    mode: Option<SocketMode>,
    tls: Option<&'a ServerTlsConfig>,
    alpn: Alpn,
}

impl Door<'_> {
    async fn open(&self, ground: &mut Ground<'_>) -> Result<Listener, String> {
        let Self { key, alpn, .. } = self;
        let tls = self
            .tls
            .map(|tls| Server::open(tls, *alpn, key, ground.tls));
        let tls = tls.transpose()?;
        let listener = Listener::open(self.endpoint, key, self.mode, ground.sockets).await;
        let listener = listener.map_err(|error| error.to_string())?;
        Ok(listener.with_tls(tls))
    }
}

/// One protocol of a receiver.
struct Side<C, S> {
    config: C,
    service: Arc<S>,
}

/// How long a gRPC connection may be open before its first call.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests under way on one HTTP/2 connection to the HTTP listener.
const HTTP_STREAMS: u32 = 128;

async fn serve_grpc(
    listener: Listener,
    side: Side<GrpcConfig, Grpc>,
    windows: Windows,
    drain: Drain,
) {
    let Side { config, service } = side;
    let limits = limits(&config.keepalive, PATIENCE, &windows);
    serve(listener, limits, drain, move |peer, traffic| {
        let window = windows.open();
        let mut builder = Builder::new(TokioExecutor::new()).http2_only();
        let streams = config.max_concurrent_streams;
        http2(&mut builder, &window, streams, &config.keepalive);
        let held = Arc::new((service.metrics.connection(), window));
        let grpc = Arc::clone(&service);
        let service = service_fn(move |request: Request<Incoming>| {
            // As long as the connection lives, its window is paid for.
            let _held = &held;
            let from = (peer.clone(), Arc::clone(&traffic));
            let (stream, large) = (grpc.streams.open(), is_large(request.headers()));
            let answer = Arc::clone(&grpc).serve(request, from);
            traffic.during(stream.during(large, answer))
        });
        (builder, service)
    })
    .await;
}

async fn serve_http(
    listener: Listener,
    side: Side<HttpConfig, Http>,
    windows: Windows,
    drain: Drain,
) {
    let Side { config, service } = side;
    let limits = limits(&config.keepalive, config.read_header_timeout, &windows);
    serve(listener, limits, drain, move |peer, traffic| {
        let window = windows.open();
        let mut builder = Builder::new(TokioExecutor::new());
        http2(&mut builder, &window, HTTP_STREAMS, &config.keepalive);
        http1(&mut builder, &window, config.read_header_timeout);
        let held = Arc::new((service.metrics.connection(), window));
        let http = Arc::clone(&service);
        let service = service_fn(move |request: Request<Incoming>| {
            let _held = &held;
            let from = (peer.clone(), Arc::clone(&traffic));
            let (stream, large) = (http.streams.open(), is_large(request.headers()));
            let answer = Arc::clone(&http).serve(request, from);
            traffic.during(stream.during(large, answer))
        });
        (builder, service)
    })
    .await;
}

/// Both protocols on one port, told apart request by request. A connection counts as one of gRPC.
async fn serve_both(
    listener: Listener,
    grpc: Side<GrpcConfig, Grpc>,
    http: Side<HttpConfig, Http>,
    windows: Windows,
    drain: Drain,
) {
    let limits = limits(
        &http.config.keepalive,
        http.config.read_header_timeout,
        &windows,
    );
    let streams = grpc.config.max_concurrent_streams;
    serve(listener, limits, drain, move |peer, traffic| {
        let window = windows.open();
        let mut builder = Builder::new(TokioExecutor::new());
        http2(&mut builder, &window, streams, &http.config.keepalive);
        http1(&mut builder, &window, http.config.read_header_timeout);
        let held = Arc::new((grpc.service.metrics.connection(), window));
        let (grpc, http) = (Arc::clone(&grpc.service), Arc::clone(&http.service));
        let service = service_fn(move |request: Request<Incoming>| {
            let _held = &held;
            let (grpc, http) = (Arc::clone(&grpc), Arc::clone(&http));
            let from = (peer.clone(), Arc::clone(&traffic));
            let (stream, large) = (grpc.streams.open(), is_large(request.headers()));
            traffic.during(stream.during(large, async move {
                match is_grpc(&request) {
                    true => grpc.serve(request, from).await.map(|a| a.map(Either::Left)),
                    false => http
                        .serve(request, from)
                        .await
                        .map(|a| a.map(Either::Right)),
                }
            }))
        });
        (builder, service)
    })
    .await;
}

/// gRPC says so in its content type, and speaks HTTP/2.
fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
