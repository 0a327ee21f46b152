//! wip
#![allow(missing_docs)]
use std::time::Duration;
pub struct Backoff;
impl Backoff {
    pub fn new(_: &super::config::RetryConfig) -> Self { Self }
    pub fn delay(&self, _: u32, _: f64, f: Option<Duration>) -> Duration { f.unwrap_or(Duration::from_millis(500)) }
}
