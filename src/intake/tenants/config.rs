//! What an operator can set for tenants.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::units::{self, ByteSize};

/// `[tenants]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantsConfig {
    /// What tells the tenant of a request.
    pub from: TenantSource,
    /// The HTTP header and gRPC metadata key that names the tenant of a request.
    pub header: String,
    /// The tenant of requests without it.
    pub anonymous: String,
    /// How many tenants without limits of their own are told apart at once; the others share
    /// one bucket.
    pub max_tenants: usize,
    /// The most of the memory budget, and of the places of requests that are held, that one
    /// tenant may take: above 0, up to 1.
    pub max_share: f64,
    /// What each tenant may send that has no limits of its own.
    pub default: LimitsConfig,
    /// `[tenants.limits.NAME]`: what these may send, in place of `default`.
    pub limits: BTreeMap<String, LimitsConfig>,
}

impl Default for TenantsConfig {
    fn default() -> Self {
        Self {
            from: TenantSource::default(),
            header: "x-scope-orgid".to_owned(),
            anonymous: "anonymous".to_owned(),
            max_tenants: 1000,
            max_share: 0.5,
            default: LimitsConfig::default(),
            limits: BTreeMap::new(),
        }
    }
}

/// `from = "header" | "identity"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantSource {
    /// A header, which is believed.
    #[default]
    Header,
    /// The credentials of the request, by the `auth` of its receiver.
    Identity,
}

/// What one tenant may send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Spans, data points and log records a second; as many as come if not said.
    pub items_per_second: Option<u64>,
    /// Uncompressed bytes a second; as many as come if not said.
    pub bytes_per_second: Option<ByteSize>,
    /// How long the rates are saved up for, to be spent at once.
    #[serde(with = "units::duration")]
    pub burst: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            items_per_second: None,
            bytes_per_second: None,
            // As often as the SDKs of most languages send what they have gathered.
            burst: Duration::from_secs(5),
        }
    }
}
