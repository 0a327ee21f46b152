//! Pipelines: what happens to a request between the door and the lanes.

use std::sync::Arc;

use crate::component::Processor;
use crate::delivery::lane::Lane;
use crate::processors::fault::Fault;

pub mod fan_out;
mod faults;
pub mod route;
mod unpack;
pub mod worker;

/// One `[pipelines.NAME]`: processors in a row, and the lanes at its end.
pub struct Pipeline {
    /// Its name in the configuration.
    pub name: String,
    /// What its batches pass through, in order.
    pub processors: Vec<Box<dyn Processor>>,
    /// Faults that are injected behind them.
    pub faults: Vec<Arc<Fault>>,
    /// Where its batches go, all at once.
    pub lanes: Vec<Arc<Lane>>,
}
