//! OTLP over HTTP/1.1, binary protobuf.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Compression;
use crate::units;

/// `type = "otlp_http"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpHttpConfig {
    /// `http://HOST:PORT[/PATH]`; `/v1/traces` and so on are added.
    pub endpoint: String,
    /// How requests are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Sent with each request; the values may be secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The age at which a connection is replaced and the name looked up again.
    #[serde(
        default = "super::otlp_grpc::default_connection_age",
        with = "units::duration"
    )]
    pub max_connection_age: Duration,
}
