//! Tenants: whose a request is, what each may send, and how much it may hold up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics::Counter;
use tokio::time::Instant;

use super::IntakeConfig;
use crate::auth::Identity;
use crate::budget::Budget;
use crate::telemetry::metrics::Registry;
use crate::telemetry::metrics::table;

mod bucket;
mod config;
mod tenant;
mod turn;

pub use config::{LimitsConfig, TenantSource, TenantsConfig};
pub use tenant::{Charge, Tenant};

/// The label of all tenants without limits of their own, and the name of what has none that can
/// be told.
pub const OTHER: &str = "other";

/// The longest name, in bytes: names are kept, and go along with what they send.
const MAX_NAME: usize = 128;

/// When the table is full it is looked through for tenants that are idle at most so often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A tenant by the name that it came under. Tenants that are not told apart share one bucket and
/// keep their names: what they send is not merged.
#[derive(Clone, Debug)]
pub struct Named {
    /// What the header says.
    pub name: Arc<str>,
    /// What it may send, and what it has.
    pub tenant: Arc<Tenant>,
}

/// All tenants.
#[derive(Debug)]
pub struct Tenants {
    from: TenantSource,
    header: HeaderName,
    anonymous: Arc<str>,
    configured: BTreeMap<Arc<str>, Arc<Tenant>>,
    other: Arc<Tenant>,
    max_tenants: usize,
    tracked: Mutex<Tracked>,
    untracked: Counter,
    maker: tenant::Maker,
    default: LimitsConfig,
}

#[derive(Debug)]
struct Tracked {
    tenants: HashMap<Arc<str>, Arc<Tenant>>,
    swept: Option<Instant>,
}

impl Tenants {
    /// By these settings. A header that can be none, which a checked configuration does not
    /// have, leaves every request without a name.
    pub fn new(
        config: &TenantsConfig,
        intake: &IntakeConfig,
        budget: &Budget,
        registry: &Registry,
    ) -> Self {
        let maker = tenant::Maker::new(config.max_share, intake.max_held, budget, registry);
        let own = |(name, limits): (&String, &LimitsConfig)| {
            let tenant = maker.make(limits, tenant::Counters::new(name, registry));
            (Arc::from(name.as_str()), tenant)
        };
        Self {
            from: config.from,
            header: HeaderName::from_bytes(config.header.as_bytes())
                .unwrap_or(HeaderName::from_static("x-scope-orgid")),
            anonymous: config.anonymous.as_str().into(),
            configured: config.limits.iter().map(own).collect(),
            other: maker.make_other(&config.default),
            max_tenants: config.max_tenants,
            tracked: Mutex::new(Tracked {
                tenants: HashMap::new(),
                swept: None,
            }),
            untracked: registry.counter(&table::TENANT_UNTRACKED_REQUESTS, &[]),
            maker,
            default: config.default.clone(),
        }
    }

    /// The tenant that these headers, or these credentials, name.
    pub(super) fn of(&self, headers: &HeaderMap, identity: Option<&Identity>) -> Named {
        let name = match self.from {
            TenantSource::Header => headers.get(&self.header).map(HeaderValue::to_str),
            TenantSource::Identity => identity.map(|identity| Ok(identity.name.as_ref())),
        };
        let Some(name) = name.filter(|name| !matches!(name, Ok(""))) else {
            return self.named(&self.anonymous);
        };
        match name {
            Ok(name) if name.len() <= MAX_NAME => self.named(name),
            _ => {
                self.untracked.increment(1);
                self.share(OTHER.into())
            }
        }
    }

    fn named(&self, name: &str) -> Named {
        if let Some((name, tenant)) = self.configured.get_key_value(name) {
            return named(name, tenant);
        }
        let mut tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, tenant)) = tracked.tenants.get_key_value(name) {
            return named(name, tenant);
        }
        tracked.sweep(self.max_tenants, Instant::now());
        if tracked.tenants.len() >= self.max_tenants {
            drop(tracked);
            self.untracked.increment(1);
            return self.share(name.into());
        }
        let (name, tenant): (Arc<str>, _) = (name.into(), self.maker.make_other(&self.default));
        let found = named(&name, &tenant);
        tracked.tenants.insert(name, tenant);
        found
    }

    fn share(&self, name: Arc<str>) -> Named {
        named(&name, &self.other)
    }
}

fn named(name: &Arc<str>, tenant: &Arc<Tenant>) -> Named {
    Named {
        name: Arc::clone(name),
        tenant: Arc::clone(tenant),
    }
}

impl Tracked {
    /// Makes room by forgetting tenants of whom there is nothing to remember: a new one would be
    /// like them.
    fn sweep(&mut self, max_tenants: usize, now: Instant) {
        if self.tenants.len() < max_tenants {
            return;
        }
        if self.swept.is_some_and(|swept| now < swept + SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.tenants
            .retain(|_, tenant| Arc::strong_count(tenant) > 1 || !tenant.is_idle(now));
    }
}

#[cfg(test)]
mod tests;
