//! Family T: TLS, authentication, and attacks.

mod access;
mod floods;
mod tls;

use super::data;
use super::line::{Check, Verdict, expect, skipped};
use super::probe::{Ask, Probe};

/// Its lines.
pub(super) const TABLES: &[&[Check]] = &[tls::LINES, access::LINES, floods::LINES];

/// Goes on where every server that was given takes an ordinary request: whatever was done to it
/// before has not brought it down.
async fn expect_alive(probe: &Probe, after: &str) -> Result<(), Verdict> {
    let signal = probe.any_signal();
    if probe.grpc.is_some() {
        let called = probe.export(signal, &data::request(signal, 1)).await?;
        let got = format!("{} after {after}", called.told());
        expect(called.is_ok(), "OK to the next call", got)?;
    }
    if probe.http.is_some() {
        let ask = Ask::protobuf(signal, data::request(signal, 1));
        let answer = probe.ask(&ask).await?;
        let got = format!("{} after {after}", answer.told());
        expect(answer.code == 200, "200 to the next request", got)?;
    }
    Ok(())
}

/// Goes on where the user allows floods.
fn needs_floods(probe: &Probe) -> Result<(), Verdict> {
    if probe.known.floods {
        return Ok(());
    }
    Err(skipped("floods are sent with --floods only"))
}
