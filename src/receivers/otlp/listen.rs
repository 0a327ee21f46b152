//! The listeners of an OTLP receiver, and what each of their connections is bounded by.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::grpc::Grpc;
use super::http::Http;
use super::{GrpcConfig, HttpConfig, KeepaliveConfig, OtlpConfig};
use crate::budget::{Budget, Reservation};
use crate::intake::Intake;
use crate::net::inherited::Sockets;
use crate::net::listen::Listener;
use crate::net::serve::{Limits, serve};
use crate::shutdown::Drain;
use crate::telemetry::metrics::{ReceiverMetrics, Registry};

/// Listeners that are bound, and not served yet.
pub struct Listeners {
    grpc: Option<(Listener, GrpcConfig, ReceiverMetrics)>,
    http: Option<(Listener, HttpConfig, ReceiverMetrics)>,
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
        registry: &Registry,
        sockets: &mut Sockets,
    ) -> Result<Self, String> {
        let mut listeners = Self {
            grpc: None,
            http: None,
        };
        if let Some(grpc) = &config.grpc {
            let key = format!("receivers.{name}.grpc");
            let listener = open(&grpc.endpoint, &key, sockets).await?;
            let metrics = ReceiverMetrics::new(registry, name, "grpc");
            listeners.grpc = Some((listener, grpc.clone(), metrics));
        }
        if let Some(http) = &config.http {
            let key = format!("receivers.{name}.http");
            let listener = open(&http.endpoint, &key, sockets).await?;
            let metrics = ReceiverMetrics::new(registry, name, "http");
            listeners.http = Some((listener, http.clone(), metrics));
        }
        Ok(listeners)
    }

    /// Second descriptors of their sockets.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn duplicate(&self) -> io::Result<Vec<OwnedFd>> {
        let grpc = self.grpc.iter().map(|(listener, ..)| listener);
        let http = self.http.iter().map(|(listener, ..)| listener);
        grpc.chain(http).map(Listener::duplicate).collect()
    }

    /// Serves them until the drain begins and their connections are done.
    pub async fn serve(self, intake: Intake, drain: Drain) {
        let windows = Windows::new(&intake.budget);
        let grpc = async {
            if let Some((listener, config, metrics)) = self.grpc {
                let limit = config.max_recv_msg_size.as_usize();
                let grpc = Grpc {
                    intake: intake.clone(),
                    limit,
                    metrics,
                };
                serve_grpc(listener, &config, grpc, &windows, drain.clone()).await;
            }
        };
        let http = async {
            if let Some((listener, config, metrics)) = self.http {
                let limit = config.max_request_body_size.as_usize();
                let http = Http {
                    intake: intake.clone(),
                    limit,
                    read_timeout: config.read_timeout,
                    metrics,
                };
                serve_http(listener, &config, http, &windows, drain.clone()).await;
            }
        };
        tokio::join!(grpc, http);
    }
}

async fn open(endpoint: &str, key: &str, sockets: &mut Sockets) -> Result<Listener, String> {
    Listener::open(endpoint, key, sockets)
        .await
        .map_err(|error| error.to_string())
}

async fn serve_grpc(
    listener: Listener,
    config: &GrpcConfig,
    grpc: Grpc,
    windows: &Windows,
    drain: Drain,
) {
    let grpc = Arc::new(grpc);
    let limits = limits(&config.keepalive, PATIENCE, windows);
    serve(listener, limits, drain, move |_peer, traffic| {
        let window = windows.open();
        let mut builder = Builder::new(TokioExecutor::new()).http2_only();
        http2(&mut builder, &window, config.max_concurrent_streams);
        let held = Arc::new((grpc.metrics.connection(), window));
        let grpc = Arc::clone(&grpc);
        let service = service_fn(move |request| {
            // As long as the connection lives, its window is paid for.
            let _held = &held;
            traffic.during(Arc::clone(&grpc).serve(request))
        });
        (builder, service)
    })
    .await;
}

async fn serve_http(
    listener: Listener,
    config: &HttpConfig,
    http: Http,
    windows: &Windows,
    drain: Drain,
) {
    let http = Arc::new(http);
    let limits = limits(&config.keepalive, config.read_header_timeout, windows);
    serve(listener, limits, drain, move |_peer, traffic| {
        let window = windows.open();
        let mut builder = Builder::new(TokioExecutor::new());
        http2(&mut builder, &window, HTTP_STREAMS);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(config.read_header_timeout)
            .max_buf_size(window.bytes.min(HTTP1_BUFFER));
        let held = Arc::new((http.metrics.connection(), window));
        let http = Arc::clone(&http);
        let service = service_fn(move |request| {
            let _held = &held;
            traffic.during(Arc::clone(&http).serve(request))
        });
        (builder, service)
    })
    .await;
}

/// How long a gRPC connection may be open before its first call.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest frame that a client may send. Large frames are most of what makes a pass-through
/// cheap; clients that pin theirs to 16 KiB are free to.
const MAX_FRAME: u32 = 1 << 20;

/// What one stream may send before anybody reads it: a frame and what stands around it.
const STREAM_WINDOW: u32 = MAX_FRAME + (64 << 10);

/// The most and the least that one connection may send before anybody reads it. The least is
/// HTTP/2's own initial window, which cannot be made smaller.
const WINDOW: (usize, usize) = (4 << 20, 64 << 10);

/// Requests under way on one HTTP/2 connection to the HTTP listener.
const HTTP_STREAMS: u32 = 128;

/// The largest read buffer of an HTTP/1.1 connection, its headers included: it is what the
/// connection may send before anybody reads it, and no larger than its window is.
const HTTP1_BUFFER: usize = 96 << 10;

/// The longest list of headers.
const MAX_HEADERS: u32 = 16 << 10;

/// So many streams may be reset by the client before we came to see them, or by us for its
/// mistakes, before the connection is given up (CVE-2023-44487 and its kin).
const MAX_RESETS: (usize, usize) = (128, 1024);

/// Flow-control windows are memory that a client can fill before anybody reads: they are paid
/// for out of the budget, and all of them together take no more than a quarter of it.
struct Windows {
    budget: Budget,
    share: Budget,
}

/// One connection's window, and what pays for it.
struct Window {
    bytes: usize,
    _paid: (Reservation, Reservation),
}

impl Windows {
    fn new(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            share: Budget::new(budget.limit() / 4),
        }
    }

    /// The first connections have large windows, later ones what is left. Where nothing is, a
    /// connection still has HTTP/2's least: their number is bounded.
    fn open(&self) -> Window {
        let free = self.share.limit().saturating_sub(self.share.used());
        let (most, least) = WINDOW;
        let bytes = usize::try_from(free / 8)
            .unwrap_or(usize::MAX)
            .clamp(least, most);
        let paid = self.budget.try_reserve(bytes).and_then(|budget| {
            let share = self.share.try_reserve(bytes)?;
            Ok((budget, share))
        });
        match paid {
            Ok(paid) => Window { bytes, _paid: paid },
            Err(_unpaid) => Window {
                bytes: least,
                _paid: Default::default(),
            },
        }
    }

    /// As many connections as the share of all windows can pay for at their least.
    fn affordable(&self) -> usize {
        let (_, least) = WINDOW;
        usize::try_from(self.share.limit()).unwrap_or(usize::MAX) / least
    }
}

fn limits(keepalive: &KeepaliveConfig, patience: Duration, windows: &Windows) -> Limits {
    let max_connections = match keepalive.max_connections {
        0 => windows.affordable().max(64),
        set => set,
    };
    Limits {
        max_connections,
        max_age: keepalive.max_connection_age,
        patience,
        grace: keepalive.max_connection_age_grace,
    }
}

fn http2(builder: &mut Builder<TokioExecutor>, window: &Window, streams: u32) {
    let window = u32::try_from(window.bytes).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(window.min(STREAM_WINDOW))
        .initial_connection_window_size(window)
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_RESETS.0)
        .max_local_error_reset_streams(MAX_RESETS.1)
        .auto_date_header(false);
}
