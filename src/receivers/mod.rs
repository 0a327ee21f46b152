//! Receivers turn the outside into batches, and a refusal into the protocol's own words.

use serde::Deserialize;

use crate::auth::AuthConfig;

pub mod file;
pub mod otlp;

/// One receiver, by its `type`.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is a handful of them, made once"
)]
pub enum ReceiverConfig {
    /// OTLP over gRPC and HTTP.
    Otlp(otlp::OtlpConfig),
    /// Files of OTLP.
    File(file::FileConfig),
}

impl ReceiverConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 2] = [
        ("otlp", "OTLP over gRPC and HTTP (binary protobuf or JSON)"),
        ("file", "files that grow: JSON lines, or binary protobuf"),
    ];

    /// Reads the table of a receiver of this type; `None` if there is no such type.
    pub fn read<'de, D: serde::Deserializer<'de>>(
        kind: &str,
        table: D,
    ) -> Option<Result<Self, D::Error>> {
        match kind {
            "file" => Some(file::FileConfig::deserialize(table).map(Self::File)),
            "otlp" => Some(otlp::OtlpConfig::deserialize(table).map(Self::Otlp)),
            _ => None,
        }
    }

    /// Whether this type asks who somebody is.
    pub fn takes_auth(kind: &str) -> bool {
        kind == "otlp"
    }

    /// Says who is let in, which is read apart.
    pub fn set_auth(&mut self, auth: AuthConfig) {
        match self {
            Self::Otlp(config) => config.auth = Some(auth),
            Self::File(_) => {}
        }
    }
}
