//! G12 to G17: how large a request may be, and how it may be compressed.

use std::sync::Arc;

use super::expect_ok;
use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, pass};
use crate::cli::conform::probe::{Probe, took_too_much};
use crate::cli::conform::wire::grpc::{Called, framed, whole};
use crate::otlp::Signal;
use crate::otlp::status::GrpcCode;

const REQUEST: &str = "OTLP 1.11 \"OTLP/gRPC Request\"";
const COMPRESSION: &str = "OTLP 1.11 \"Protocol Details\" (server components)";

pub(super) const LINES: &[Check] = &[
    check!(Must "G12", "a message above the limit: RESOURCE_EXHAUSTED without RetryInfo", REQUEST, too_large),
    check!(Must "G13", "gzip that inflates above the limit: the same", REQUEST, too_large_inflated),
    check!(Should "G14", "the default limit is 64 MiB: a message just below is answered OK", REQUEST, large),
    check!(Must "G16", "messages compressed with gzip are taken", COMPRESSION, gzip),
    check!(Must "G17", "messages without compression are taken, said or not", COMPRESSION, plain),
];

/// By how much a request is above or below the limit, in bytes.
const MARGIN: usize = 4 << 10;

async fn too_large(probe: Arc<Probe>) -> Checked {
    let probe = probe.patient();
    let message = data::sized(probe.any_signal(), probe.limit() + MARGIN);
    let called = probe.export(probe.any_signal(), &message).await?;
    expect_too_large(&probe, &called)
}

async fn too_large_inflated(probe: Arc<Probe>) -> Checked {
    let (probe, signal) = (probe.patient(), probe.any_signal());
    let gzip = data::sized_gzip(signal, probe.limit() + MARGIN);
    let called = compressed(&probe, signal, &gzip).await?;
    if called.is_ok() && probe.known.request_limit.is_none() {
        // Its limit may be above what OTLP recommends; but then it is so for plain ones, too.
        let message = data::sized(signal, probe.limit() + MARGIN);
        let plain = probe.export(signal, &message).await?;
        let got = format!("OK, and without gzip {}", plain.told());
        expect(plain.is_ok(), "one limit for both", got)?;
    }
    expect_too_large(&probe, &called)
}

fn expect_too_large(probe: &Probe, called: &Called) -> Checked {
    const EXPECTED: &str = "RESOURCE_EXHAUSTED without RetryInfo";
    if called.is_ok() {
        return Err(took_too_much(
            probe.known.request_limit,
            EXPECTED,
            &called.told(),
        ));
    }
    let is_exhausted = called.code() == Some(GrpcCode::ResourceExhausted);
    expect(
        is_exhausted && !called.has_retry_info(),
        EXPECTED,
        called.told(),
    )?;
    pass()
}

async fn large(probe: Arc<Probe>) -> Checked {
    let probe = probe.patient();
    let size = probe.limit().saturating_sub(MARGIN);
    let message = data::sized(probe.any_signal(), size);
    let called = probe.export(probe.any_signal(), &message).await?;
    let expected = format!("OK for {size} bytes");
    expect(called.is_ok(), expected, called.told())?;
    pass()
}

/// Exports what is gzip already.
async fn compressed(probe: &Probe, signal: Signal, gzip: &[u8]) -> Result<Called, Verdict> {
    let body = whole(framed(true, gzip));
    let own = [("grpc-encoding", "gzip")];
    probe.call(signal.grpc_path(), &own, body).await
}

async fn gzip(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let called = compressed(&probe, signal, &data::gzip(&data::request(signal, 50))).await?;
        expect_ok(signal, &called)?;
    }
    pass()
}

async fn plain(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let body = whole(framed(false, &data::request(signal, 3)));
        let own = [("grpc-encoding", "identity")];
        let called = probe.call(signal.grpc_path(), &own, body).await?;
        expect_ok(signal, &called)?;
        // gzip is announced, and this message does without.
        let body = whole(framed(false, &data::request(signal, 3)));
        let own = [("grpc-encoding", "gzip")];
        let called = probe.call(signal.grpc_path(), &own, body).await?;
        expect_ok(signal, &called)?;
    }
    pass()
}
