//! Exporters deliver batches, one attempt at a time. A new one is a new file here, and a line
//! in each of the places below that the compiler names.

use std::sync::Arc;

use serde::Deserialize;

use crate::auth::CredentialsConfig;
use crate::component::Exporter;
use crate::host::workers::Workers;
use crate::net::compression::Encoding;
use crate::net::tls::Register;
use crate::otlp::Format;

mod authorization;
mod date;
pub mod debug;
pub mod discard;
pub mod file;
pub mod otlp_grpc;
pub mod otlp_http;
mod outgoing;

/// One exporter, by its `type`.
#[derive(Clone, Debug)]
pub enum ExporterConfig {
    /// OTLP over gRPC.
    OtlpGrpc(otlp_grpc::OtlpGrpcConfig),
    /// OTLP over HTTP, in binary protobuf or JSON.
    OtlpHttp(otlp_http::OtlpHttpConfig),
    /// Files, or standard output.
    File(file::FileConfig),
    /// Prints what passes.
    Debug(debug::DebugConfig),
    /// Takes everything and keeps nothing.
    Discard(discard::DiscardConfig),
}

impl ExporterConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 5] = [
        ("otlp_grpc", "OTLP over gRPC"),
        ("otlp_http", "OTLP over HTTP, in binary protobuf or JSON"),
        (
            "file",
            "files or standard output: JSON lines, or binary protobuf",
        ),
        ("debug", "prints what passes, for a person"),
        (
            "discard",
            "takes everything and keeps nothing, for measuring",
        ),
    ];

    /// Reads the keys of this type's own (the lane's are taken out before); `None` if there is
    /// no such type.
    pub fn read<'de, D: serde::Deserializer<'de>>(
        kind: &str,
        table: D,
    ) -> Option<Result<Self, D::Error>> {
        Some(match kind {
            "otlp_grpc" => otlp_grpc::OtlpGrpcConfig::deserialize(table).map(Self::OtlpGrpc),
            "otlp_http" => otlp_http::OtlpHttpConfig::deserialize(table).map(Self::OtlpHttp),
            "file" => file::FileConfig::deserialize(table).map(Self::File),
            "debug" => debug::DebugConfig::deserialize(table).map(Self::Debug),
            "discard" => discard::DiscardConfig::deserialize(table).map(Self::Discard),
            _ => return None,
        })
    }

    /// Whether an exporter of this type shows credentials to its destination.
    pub fn takes_auth(kind: &str) -> bool {
        matches!(kind, "otlp_grpc" | "otlp_http")
    }

    /// Says what is shown to the destination, which is read apart.
    pub fn set_auth(&mut self, auth: CredentialsConfig) {
        match self {
            Self::OtlpGrpc(config) => config.auth = Some(auth),
            Self::OtlpHttp(config) => config.auth = Some(auth),
            Self::File(_) | Self::Debug(_) | Self::Discard(_) => {}
        }
    }

    /// The exporter itself; nothing is connected yet. `whose` is what the configuration calls it,
    /// and where its use of TLS is told. To be called within a runtime.
    ///
    /// # Errors
    /// A sentence, where a setting cannot be used.
    pub fn build(
        &self,
        workers: &Workers,
        whose: (&str, &Register),
    ) -> Result<Arc<dyn Exporter>, String> {
        let workers = workers.clone();
        Ok(match self {
            Self::OtlpGrpc(config) => Arc::new(otlp_grpc::OtlpGrpc::new(config, workers, whose)?),
            Self::OtlpHttp(config) => Arc::new(otlp_http::OtlpHttp::new(config, workers, whose)?),
            Self::File(config) => Arc::new(file::File::new(config)?),
            Self::Debug(config) => Arc::new(debug::Debug::new(config, workers)?),
            Self::Discard(_) => Arc::new(discard::Discard),
        })
    }

    /// The encoding in which requests leave; one that came so encoded may leave as it came. None
    /// for JSON, which is made here and is never what came.
    pub fn encoding(&self) -> Option<Encoding> {
        match self {
            Self::OtlpGrpc(config) => config.compression.encoding(),
            Self::OtlpHttp(config) if config.encoding == Format::Json => None,
            Self::OtlpHttp(config) => config.compression.encoding(),
            Self::File(_) | Self::Debug(_) | Self::Discard(_) => None,
        }
    }
}

/// `compression = "gzip" | "zstd" | "none"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Deflate at level 1, as every OTLP server must understand.
    #[default]
    Gzip,
    /// zstd at level 1: faster, but not every server understands it.
    Zstd,
    /// The bytes as they are.
    None,
}

impl Compression {
    fn encoding(self) -> Option<Encoding> {
        match self {
            Self::Gzip => Some(Encoding::Gzip),
            Self::Zstd => Some(Encoding::Zstd),
            Self::None => None,
        }
    }
}
