//! H1: requests that a server takes whole.

use std::sync::Arc;

use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, check, expect, pass};
use crate::cli::conform::probe::{Ask, Probe};

const FULL: &str = "OTLP 1.11 \"OTLP/HTTP Response, Full Success\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "H1", "POST to /v1/traces, /v1/metrics and /v1/logs is answered 200", FULL, posts),
];

async fn posts(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let ask = Ask::protobuf(signal, data::request(signal, 3));
        let answer = probe.ask(&ask).await?;
        let got = format!("{} for {}", answer.told(), signal.name());
        expect(answer.code == 200, "200", got)?;
    }
    pass()
}
