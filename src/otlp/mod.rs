//! OTLP as bytes: tags and varints, the walk that counts and validates, the editor, merge and
//! split, and the words of the protocol (services, paths, status codes).

use serde::{Deserialize, Serialize};

pub mod attributes;
pub mod editor;
pub mod file;
pub mod health;
pub mod json;
pub mod schema;
pub mod split;
pub mod view;
pub mod walk;
pub mod wire;

pub mod response;
pub mod status;

#[cfg(test)]
#[path = "../../tests/support/requests.rs"]
pub(crate) mod requests;

/// The four kinds of OTLP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// `ExportTraceServiceRequest`; its items are spans.
    Traces,
    /// `ExportMetricsServiceRequest`; its items are data points.
    Metrics,
    /// `ExportLogsServiceRequest`; its items are log records.
    Logs,
    /// `ExportProfilesServiceRequest` (development); carried, never merged or split.
    Profiles,
}

/// How OTLP is written. In TOML it has the names that the Collector has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Format {
    /// Binary protobuf.
    #[default]
    #[serde(rename = "proto")]
    Protobuf,
    /// OTLP/JSON, which only HTTP and files have.
    #[serde(rename = "json")]
    Json,
}

impl Format {
    /// Its media type in HTTP.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The format of this media type, whatever its parameters and its case.
    pub fn from_media_type(value: &str) -> Option<Self> {
        let name = value.split(';').next()?.trim();
        [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|format| format.media_type().eq_ignore_ascii_case(name))
    }
}

impl Signal {
    /// Every signal, in the order in which tables list them; `as usize` is the index into it.
    pub const ALL: [Self; 4] = [Self::Traces, Self::Metrics, Self::Logs, Self::Profiles];

    /// The word for it in TOML, logs, metric labels and `/status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Profiles => "profiles",
        }
    }

    /// The plural noun of one item, as the Collector's metric names have it.
    pub const fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metric_points",
            Self::Logs => "log_records",
            Self::Profiles => "profiles",
        }
    }

    /// The gRPC path of its `Export` method.
    pub const fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Profiles => {
                "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
            }
        }
    }

    /// The name of its gRPC service.
    pub fn grpc_service(self) -> &'static str {
        let path = self.grpc_path().trim_start_matches('/');
        path.strip_suffix("/Export").unwrap_or(path)
    }

    /// The default HTTP path.
    pub const fn http_path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
            Self::Profiles => "/v1development/profiles",
        }
    }

    /// The signal whose gRPC `Export` method this path names.
    pub fn from_grpc_path(path: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.grpc_path() == path)
    }

    /// The signal that this HTTP path is for.
    pub fn from_http_path(path: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.http_path() == path)
    }
}
