//! What otlpd says of itself: the ledger, metrics, health, and its log.

pub mod ledger;
