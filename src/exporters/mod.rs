//! Exporters deliver batches, one attempt at a time. A new one is a new file here, and a line
//! in each of the places below that the compiler names.

use serde::Deserialize;

pub mod debug;
pub mod discard;
pub mod otlp_grpc;
pub mod otlp_http;

/// One exporter, by its `type`.
#[derive(Clone, Debug)]
pub enum ExporterConfig {
    /// OTLP over gRPC.
    OtlpGrpc(otlp_grpc::OtlpGrpcConfig),
    /// OTLP over HTTP, binary protobuf.
    OtlpHttp(otlp_http::OtlpHttpConfig),
    /// Prints what passes.
    Debug(debug::DebugConfig),
    /// Takes everything and keeps nothing.
    Discard(discard::DiscardConfig),
}

impl ExporterConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 4] = [
        ("otlp_grpc", "OTLP over gRPC"),
        ("otlp_http", "OTLP over HTTP (binary protobuf)"),
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
            "debug" => debug::DebugConfig::deserialize(table).map(Self::Debug),
            "discard" => discard::DiscardConfig::deserialize(table).map(Self::Discard),
            _ => return None,
        })
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
