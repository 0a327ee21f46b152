//! G1 to G4: requests that a server takes whole.

use std::sync::Arc;

use super::expect_ok;
use crate::cli::conform::data::{self, answer};
use crate::cli::conform::line::{Check, Checked, check, expect, failed, pass};
use crate::cli::conform::probe::Probe;

const FULL: &str = "OTLP 1.11 \"OTLP/gRPC Response, Full Success\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "G1", "Export of each signal is answered OK with its response message", FULL, exports),
    check!(Must "G2", "partial_success is unset when all was taken", FULL, unset),
    check!(Should "G3", "a request of zero bytes is answered OK", FULL, empty),
    check!(Should "G4", "resources and scopes without items are answered OK",
        "OTLP 1.11 \"Full Success\" (empty requests), \"Empty Telemetry Envelopes\"", envelopes),
];

async fn exports(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let called = probe.export(signal, &data::request(signal, 3)).await?;
        expect_ok(signal, &called)?;
        let response = called.message();
        let read = response.and_then(|message| answer::partial(&message));
        let name = signal.name();
        let wrong = |problem| failed("an Export response", format!("{problem} for {name}"));
        read.map_err(wrong)?;
    }
    pass()
}

async fn unset(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let called = probe.export(signal, &data::request(signal, 3)).await?;
        expect_ok(signal, &called)?;
        let message = called.message().unwrap_or_default();
        let partial = answer::partial(&message).unwrap_or_default();
        let got = partial.as_ref().map(|partial| {
            let (rejected, message) = (partial.rejected, &partial.message);
            let name = signal.name();
            format!("one with {rejected} rejected and the message {message:?} for {name}")
        });
        let got = got.unwrap_or_default();
        expect(partial.is_none(), "no partial_success", got)?;
    }
    pass()
}

async fn empty(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        expect_ok(signal, &probe.export(signal, b"").await?)?;
    }
    pass()
}

async fn envelopes(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let no_items = data::of_items(signal, &[]);
        // And an entry with neither a resource nor a scope.
        for request in [no_items.as_slice(), b"\x0a\x00"] {
            expect_ok(signal, &probe.export(signal, request).await?)?;
        }
    }
    pass()
}
