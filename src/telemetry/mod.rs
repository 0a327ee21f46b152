//! What otlpd says of itself: the ledger, the lanes' state, health, metrics, and its log.

pub mod denials;
pub mod health;
pub mod lanes;
pub mod ledger;
pub mod limited;
pub mod logging;
pub mod metrics;
pub mod upgrades;
