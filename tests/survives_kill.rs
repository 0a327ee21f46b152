//! A success answer that means "stored" survives `kill -9`, and the loss of power: short forms of
//! the proofs in `tests/proof/`, whose generator and sink are not our own.
//!
//! They need Python's gRPC and OTLP packages (`tests/sdks/install.sh python`) and say so where
//! those are missing.

#![allow(
    clippy::unwrap_used,
    clippy::explicit_write,
    reason = "a test may panic, and say why it is left out"
)]

#[path = "support/proof.rs"]
mod proof;

#[test]
fn what_was_acknowledged_as_stored_survives_kill_nine() {
    proof::run("survives_kill.py", "--kills 6 --longest 1.5 --rate 120");
}

#[test]
fn what_was_acknowledged_as_delivered_has_arrived_whenever_it_is_killed() {
    proof::run(
        "survives_kill.py",
        "--kills 3 --acknowledge delivered --rate 120",
    );
}

/// A proof that cannot fail proves nothing: what lies in memory is lost, and it must see that.
#[test]
fn the_proof_sees_the_loss_of_what_was_only_queued() {
    let mut said = String::new();
    // Refusing, hanging or away at least once in six: the seeds are constants. While a machine
    // stands still nothing is acknowledged, and so nothing lost.
    for seed in ["1", "2", "3"] {
        let arguments = format!("--kills 3 --acknowledge queued --rate 120 --seed {seed}");
        let Some(found) = proof::attempt("survives_kill.py", &arguments) else {
            return;
        };
        if !found.0 && found.1.contains("MISSING") && !found.1.contains("MISSING 0") {
            return;
        }
        said += &found.1;
    }
    panic!("{said}");
}

#[test]
fn what_was_synced_before_it_was_acknowledged_survives_the_loss_of_power() {
    if proof::has_compiler() {
        proof::run("power_test.py", "");
        proof::run(
            "survives_kill.py",
            "--kills 4 --fsync always --power recorded --rate 120",
        );
    }
}

#[test]
fn the_loss_of_power_takes_no_more_than_the_last_interval() {
    if proof::has_compiler() {
        proof::run(
            "survives_kill.py",
            // An interval is a second; more where the machine stands still, and much less than
            // what would be lost if nothing were synced.
            "--kills 2 --shortest 8 --longest 9 --sync-interval 3 --power recorded --rate 120",
        );
    }
}
