//! OTLP over gRPC.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Compression;
use crate::units;

/// `type = "otlp_grpc"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpGrpcConfig {
    /// `http://HOST:PORT`, or `HOST:PORT`.
    pub endpoint: String,
    /// How requests are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Sent with each request; the values may be secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The age at which a connection is replaced and the name looked up again.
    #[serde(default = "default_connection_age", with = "units::duration")]
    pub max_connection_age: Duration,
}

/// Five minutes: a destination that moves is followed within that time even if the old address
/// still answers.
pub(super) fn default_connection_age() -> Duration {
    Duration::from_secs(300)
}
