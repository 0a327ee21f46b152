//! The listeners of an OTLP receiver, and what each of their connections is bounded by.

use std::io;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

use super::grpc::Grpc;
use super::{GrpcConfig, KeepaliveConfig, OtlpConfig};
use crate::budget::Budget;
use crate::intake::Intake;
use crate::net::serve::{Limits, serve};
use crate::shutdown::Drain;

/// The largest frame that a client may send. Large frames are most of what makes a pass-through
/// cheap; clients that pin theirs to 16 KiB are free to.
const MAX_FRAME: u32 = 1 << 20;

/// The share of the budget that one connection's flow-control window may take.
const WINDOW_SHARE: u64 = 64;

/// Listeners that are bound, and not served yet.
pub struct Listeners {
    grpc: Option<(TcpListener, GrpcConfig)>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// A sentence that names the address and the key.
    pub async fn bind(name: &str, config: &OtlpConfig) -> Result<Self, String> {
        let grpc = match &config.grpc {
            Some(grpc) => {
                let key = format!("receivers.{name}.grpc");
                Some((bind(&grpc.endpoint, &key).await?, grpc.clone()))
            }
            None => None,
        };
        Ok(Self { grpc })
    }

    /// Serves them until the drain begins and their connections are done.
    pub async fn serve(self, intake: Intake, drain: Drain) {
        let budget = intake.budget.clone();
        if let Some((listener, config)) = self.grpc {
            let limit = config.max_recv_msg_size.as_usize();
            let grpc = Arc::new(Grpc { intake, limit });
            let limits = limits(&config.keepalive, &budget);
            let builder = http2(&config, &budget);
            serve(listener, limits, drain, move |_peer| {
                let grpc = Arc::clone(&grpc);
                let service = service_fn(move |request| Arc::clone(&grpc).serve(request));
                (builder.clone(), service)
            })
            .await;
        }
    }
}

async fn bind(endpoint: &str, key: &str) -> Result<TcpListener, String> {
    let describe = |error: io::Error| format!("{key}: cannot listen on {endpoint}: {error}");
    TcpListener::bind(endpoint).await.map_err(describe)
}

fn limits(keepalive: &KeepaliveConfig, budget: &Budget) -> Limits {
    let affordable = usize::try_from(budget.limit() / u64::from(window(budget))).unwrap_or(usize::MAX);
    let max_connections = match keepalive.max_connections {
        0 => affordable.clamp(64, 4096),
        set => set,
    };
    Limits {
        max_connections,
        max_age: keepalive.max_connection_age,
        grace: keepalive.max_connection_age_grace,
    }
}

/// What a client may send on one connection before anybody reads it, in bytes.
fn window(budget: &Budget) -> u32 {
    let share = u32::try_from(budget.limit() / WINDOW_SHARE).unwrap_or(u32::MAX);
    share.clamp(64 << 10, MAX_FRAME)
}

fn http2(config: &GrpcConfig, budget: &Budget) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(window(budget))
        .initial_connection_window_size(window(budget))
        .max_concurrent_streams(config.max_concurrent_streams)
        .auto_date_header(false);
    builder
}

