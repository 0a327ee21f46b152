//! The ledger balances and nothing acknowledged is missing, whatever destinations, disk and
//! signals do: a short form of the loop in `tests/proof/`, whose generator and sink are not our
//! own.
//!
//! It needs Python's gRPC and OTLP packages (`tests/sdks/install.sh python`) and says so where
//! those are missing.

#![allow(
    clippy::unwrap_used,
    clippy::explicit_write,
    reason = "a test may panic, and say why it is left out"
)]

#[path = "support/proof.rs"]
mod proof;

#[test]
fn a_loop_of_faults_loses_nothing_that_was_acknowledged() {
    proof::run(
        "fault_loop.py",
        "--minutes 0.4 --lasts 2 --rate 100 --disk 64",
    );
}
