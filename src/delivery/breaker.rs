//! wip
#![allow(missing_docs)]
use tokio::time::Instant;
pub struct Breaker;
pub enum Permit { Go, Probe, Wait(Option<Instant>) }
impl Breaker {
    pub fn new(_: &super::config::BreakerConfig) -> Self { Self }
    pub fn permit(&mut self, _: Instant) -> Permit { if false { Permit::Probe } else if false { Permit::Wait(None) } else { Permit::Go } }
    pub fn success(&mut self, _: Instant) {}
    pub fn failure(&mut self, _: Instant, _: f64) {}
    pub fn release(&mut self) {}
}
