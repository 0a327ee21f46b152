//! Receivers turn the outside into batches, and a refusal into the protocol's own words.

use serde::Deserialize;

use crate::auth::AuthConfig;

pub mod otlp;

/// One receiver, by its `type`.
#[derive(Clone, Debug)]
pub enum ReceiverConfig {
    /// OTLP over gRPC and HTTP.
    Otlp(otlp::OtlpConfig),
}

impl ReceiverConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 1] =
        [("otlp", "OTLP over gRPC and HTTP (binary protobuf or JSON)")];

    /// Reads the table of a receiver of this type; `None` if there is no such type.
    pub fn read<'de, D: serde::Deserializer<'de>>(
        kind: &str,
        table: D,
    ) -> Option<Result<Self, D::Error>> {
        match kind {
            "otlp" => Some(otlp::OtlpConfig::deserialize(table).map(Self::Otlp)),
            _ => None,
        }
    }

    /// Says who is let in, which is read apart.
    pub fn set_auth(&mut self, auth: AuthConfig) {
        match self {
            Self::Otlp(config) => config.auth = Some(auth),
        }
    }
}
