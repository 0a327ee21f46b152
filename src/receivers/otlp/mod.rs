//! OTLP over gRPC and HTTP.

use std::time::Duration;

use serde::Deserialize;

use crate::auth::AuthConfig;
use crate::net::listen::SocketMode;
use crate::net::tls::ServerTlsConfig;
use crate::otlp::walk::{ItemPolicy, Rules, Validation};
use crate::units::{self, ByteSize};

use cors::CorsConfig;

mod answer;
mod body;
mod connection;
pub mod cors;
mod grpc;
mod guard;
mod health;
mod http;
pub mod listen;
mod packed;
mod refusal;
mod streams;

/// `type = "otlp"`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// The gRPC listener; none if absent.
    pub grpc: Option<GrpcConfig>,
    /// The HTTP listener; none if absent.
    pub http: Option<HttpConfig>,
    /// How far the walk at the door goes.
    pub validation: ValidationConfig,
    /// What becomes of items with a string that is not UTF-8.
    pub invalid_utf8: ItemPolicy,
    /// What becomes of items with an id of the wrong length.
    pub invalid_ids: ItemPolicy,
    /// Who is let in, on every listener; everybody if absent. Read apart.
    #[serde(skip)]
    pub auth: Option<AuthConfig>,
}

impl OtlpConfig {
    /// By what the walk at the door judges.
    pub fn rules(&self) -> Rules {
        Rules {
            validation: self.validation.into(),
            invalid_utf8: self.invalid_utf8,
            invalid_ids: self.invalid_ids,
        }
    }

    /// Whether both protocols are to be had at one address.
    pub fn shares_a_port(&self) -> bool {
        match (&self.grpc, &self.http) {
            (Some(grpc), Some(http)) => grpc.endpoint == http.endpoint && !is_any(&grpc.endpoint),
            (Some(_) | None, _) => false,
        }
    }
}

/// Port 0 is a free one, each time another.
fn is_any(endpoint: &str) -> bool {
    endpoint.ends_with(":0")
}

/// `validation = "full" | "items"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidationConfig {
    /// Every byte of every request is checked.
    #[default]
    Full,
    /// The walk stops at the items: their count is right, their insides are taken on trust.
    Items,
}

/// `grpc = { ... }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// `HOST:PORT` or `unix:PATH` to listen on.
    pub endpoint: String,
    /// Who may connect to a unix socket; what the umask leaves if not said.
    #[serde(default)]
    pub socket_mode: Option<SocketMode>,
    /// Clients are greeted by TLS; in the clear if absent.
    #[serde(default)]
    pub tls: Option<ServerTlsConfig>,
    /// The largest request, uncompressed.
    #[serde(default = "default_request_limit")]
    pub max_recv_msg_size: ByteSize,
    /// The most requests under way on one connection.
    #[serde(default = "default_streams")]
    pub max_concurrent_streams: u32,
    /// Limits of each connection.
    #[serde(default)]
    pub keepalive: KeepaliveConfig,
}

/// `http = { ... }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// `HOST:PORT` or `unix:PATH` to listen on.
    pub endpoint: String,
    /// Who may connect to a unix socket; what the umask leaves if not said.
    #[serde(default)]
    pub socket_mode: Option<SocketMode>,
    /// Clients are greeted by TLS; in the clear if absent.
    #[serde(default)]
    pub tls: Option<ServerTlsConfig>,
    /// The largest request, uncompressed.
    #[serde(default = "default_request_limit")]
    pub max_request_body_size: ByteSize,
    /// The longest that a client may take to send its headers, counted from the end of the
    /// request before: so long may an HTTP/1.1 connection be idle, too.
    #[serde(default = "default_read_timeout", with = "units::duration")]
    pub read_header_timeout: Duration,
    /// The longest that a client may take to send its body, once it is let in.
    #[serde(default = "default_read_timeout", with = "units::duration")]
    pub read_timeout: Duration,
    /// Which web pages may send; none if absent.
    #[serde(default)]
    pub cors: Option<CorsConfig>,
    /// Limits of each connection.
    #[serde(default)]
    pub keepalive: KeepaliveConfig,
}

/// `keepalive = { ... }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepaliveConfig {
    /// How long a connection may be without a request under way until it is asked to go; 0 is for
    /// ever.
    #[serde(with = "units::duration")]
    pub max_connection_idle: Duration,
    /// The age at which a connection is asked to go, with 10 % jitter; 0 is never.
    #[serde(with = "units::duration")]
    pub max_connection_age: Duration,
    /// How long it may then take.
    #[serde(with = "units::duration")]
    pub max_connection_age_grace: Duration,
    /// How often a client of HTTP/2 that is silent is asked whether it is still there; 0 is never.
    #[serde(with = "units::duration")]
    pub time: Duration,
    /// How long it may take to say so.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// The most connections at once on this listener; 0 is as many as the budget allows.
    pub max_connections: usize,
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        Self {
            max_connection_idle: Duration::ZERO,
            max_connection_age: Duration::ZERO,
            max_connection_age_grace: Duration::from_secs(10),
            time: Duration::ZERO,
            timeout: Duration::from_secs(20),
            max_connections: 0,
        }
    }
}

fn default_request_limit() -> ByteSize {
    ByteSize::mib(64)
}

fn default_streams() -> u32 {
    128
}

/// As the Collector has it. Many clients send once a minute and would rather not connect anew
/// each time.
fn default_read_timeout() -> Duration {
    Duration::from_secs(60)
}

impl From<ValidationConfig> for Validation {
    fn from(config: ValidationConfig) -> Self {
        match config {
            ValidationConfig::Full => Self::Full,
            ValidationConfig::Items => Self::Items,
        }
    }
}
