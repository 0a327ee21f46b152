//! Delivery: each exporter's lane, with its queue, batcher, sender, breaker and retry. It knows
//! exporters only by the trait.

pub mod backoff;
pub mod batcher;
pub mod breaker;
pub mod config;
pub mod dead_letters;
mod flight;
pub mod lane;
pub mod left;
pub mod limiter;
pub mod queue;
pub mod record;
pub mod retry_budget;
pub mod sender;
pub mod shipment;
