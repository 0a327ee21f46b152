//! A refusal in the words of gRPC and of HTTP: one table for both, so that they never disagree.

use crate::intake::Refused;
use crate::otlp::status::{GrpcCode, Status};

/// The refusal as a gRPC status. Overload is always UNAVAILABLE with RetryInfo: a bare
/// RESOURCE_EXHAUSTED makes most clients drop what they have.
pub(super) fn grpc(refused: &Refused) -> Status {
    match refused {
        Refused::Overloaded { retry_after, what } => {
            Status::unavailable(format!("{what}; try again later"), *retry_after)
        }
        Refused::Draining { retry_after } => {
            Status::unavailable("shutting down; try again later", *retry_after)
        }
        Refused::TooLarge { limit } => {
            let problem = format!("the request is above the limit of {limit} bytes");
            Status::new(GrpcCode::ResourceExhausted, problem)
        }
        Refused::Invalid { field, problem } => {
            Status::invalid_argument(problem.clone(), field, problem)
        }
        Refused::Undeliverable => {
            Status::new(GrpcCode::FailedPrecondition, "the destination refused it for good")
        }
    }
}
