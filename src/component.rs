//! What a component is: the traits that the rooms of layer 3 implement.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::batch::Batch;

/// Changes batches on their way. It never waits and never fails the pipeline; several threads
/// call it at once.
pub trait Processor: Send + Sync {
    /// The batch as it goes on.
    fn process(&self, batch: Batch) -> Batch;
}

/// Delivers batches to one destination: one attempt, no loop, no queue, no sleep. How failures
/// are classified is the exporter's; what is done about them is delivery's.
pub trait Exporter: Send + Sync {
    /// One attempt to deliver the batch. Dropping the future gives the attempt up.
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>>;
}

/// The destination has the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Items that the destination refused one by one (`partial_success`); never sent again.
    pub rejected: u64,
}

/// The destination does not have the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another try may succeed, not before `after` where the destination named a delay.
    Retryable {
        /// The destination's own RetryInfo or Retry-After.
        after: Option<Duration>,
        /// What happened, for a person.
        cause: String,
    },
    /// No other try can succeed.
    Permanent {
        /// What happened, for a person.
        cause: String,
    },
}
