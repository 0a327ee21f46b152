//! Family G: what a gRPC server answers.

mod answers;
mod faults;
mod lifetime;
mod limits;
mod partial;

use super::line::{Check, Verdict, expect};
use super::wire::grpc::Called;
use crate::otlp::Signal;

/// Its lines, in their order.
pub(super) const TABLES: &[&[Check]] = &[
    answers::LINES,
    partial::LINES,
    lifetime::OVERLOAD,
    faults::UNDECODABLE,
    limits::LINES,
    faults::LINES,
    lifetime::LINES,
];

/// Goes on where the call was answered OK, for this signal.
fn expect_ok(signal: Signal, called: &Called) -> Result<(), Verdict> {
    let got = format!("{} for {}", called.told(), signal.name());
    expect(called.is_ok(), "OK", got)
}
