//! H1 to H5 and H7 to H10: requests that a server takes whole.

use std::sync::Arc;

use super::{expect_ok, needs_json};
use crate::cli::conform::data::{self, answer, json};
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, failed, noted, pass};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::http1::Answer;
use crate::cli::conform::{JSON, PROTOBUF};
use crate::otlp::Signal;

const REQUEST: &str = "OTLP 1.11 \"OTLP/HTTP Request\"";
const RESPONSE: &str = "OTLP 1.11 \"OTLP/HTTP Response\"";
const FULL: &str = "OTLP 1.11 \"OTLP/HTTP Response, Full Success\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "H1", "POST to /v1/traces, /v1/metrics and /v1/logs is answered 200", FULL, posts),
    check!(Must "H2", "POST to /v1development/profiles: 200, or 404 without profiles", REQUEST, profiles),
    check!(Must "H3", "binary protobuf is answered as application/x-protobuf", RESPONSE, protobuf),
    check!(Must "H4", "JSON is answered as application/json", RESPONSE, json),
    check!(Should "H5", "protobuf and JSON are taken on one port, by Content-Type",
        "OTLP 1.11 \"OTLP/HTTP Connection\"", both),
    check!(Must "H7", "partial_success is unset when all was taken (protobuf)", FULL, unset),
    check!(Must "H8", "partialSuccess is unset when all was taken (JSON)", FULL, unset_json),
    check!(Choice "H8b", "that answer is {}, without a null", "ProtoJSON (unset fields are left out)", no_null),
    check!(Should "H9", "protobuf of zero bytes is answered 200", FULL, empty),
    check!(Choice "H10", "JSON of zero bytes, which is no JSON, is answered 400", "RFC 8259 section 2", nothing),
    check!(Should "H10b", "JSON without data ({}) is answered 200", FULL, empty_json),
];

async fn post(probe: &Probe, signal: Signal) -> Result<Answer, Verdict> {
    let ask = Ask::protobuf(signal, data::request(signal, 3));
    let answer = probe.ask(&ask).await?;
    expect_ok(signal, &answer)?;
    Ok(answer)
}

async fn post_json(probe: &Probe, signal: Signal) -> Result<Answer, Verdict> {
    let ask = Ask::json(signal, json::request(signal, 3));
    let answer = probe.ask(&ask).await?;
    expect_ok(signal, &answer)?;
    Ok(answer)
}

async fn posts(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        post(&probe, signal).await?;
    }
    pass()
}

async fn profiles(probe: Arc<Probe>) -> Checked {
    let signal = Signal::Profiles;
    let ask = Ask::protobuf(signal, data::request(signal, 1));
    let answer = probe.ask(&ask).await?;
    if probe.takes(signal) {
        expect_ok(signal, &answer)?;
        return pass();
    }
    expect(
        matches!(answer.code, 200 | 404),
        "200 or 404",
        answer.told(),
    )?;
    let served = answer.code == 200;
    noted(if served {
        "profiles are served"
    } else {
        "profiles are not served"
    })
}

fn expect_type(kind: &str, answer: &Answer) -> Result<(), Verdict> {
    let found = answer.header("content-type").unwrap_or("none");
    expect(
        answer.media_type() == kind,
        format!("content-type {kind}"),
        found,
    )
}

async fn protobuf(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        expect_type(PROTOBUF, &post(&probe, signal).await?)?;
    }
    pass()
}

async fn json(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    for signal in probe.known.signals.clone() {
        expect_type(JSON, &post_json(&probe, signal).await?)?;
    }
    pass()
}

async fn both(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        post(&probe, signal).await?;
        post_json(&probe, signal).await?;
    }
    pass()
}

async fn unset(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let answer = post(&probe, signal).await?;
        let wrong = |problem| failed("an Export response", problem);
        let partial = answer::partial(&answer.body).map_err(wrong)?;
        expect(
            partial.is_none(),
            "no partial_success (0 bytes)",
            answer.told(),
        )?;
    }
    pass()
}

async fn unset_json(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    for signal in probe.known.signals.clone() {
        let answer = post_json(&probe, signal).await?;
        let wrong = |problem| failed("an Export response in JSON", problem);
        let partial = answer::partial_json(signal, &answer.body).map_err(wrong)?;
        expect(partial.is_none(), "no partialSuccess", answer.told())?;
    }
    pass()
}

async fn no_null(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    for signal in probe.known.signals.clone() {
        let answer = post_json(&probe, signal).await?;
        let found: Result<serde_json::Value, _> = serde_json::from_slice(&answer.body);
        let is_empty = found.is_ok_and(|value| value == serde_json::json!({}));
        expect(is_empty, "{}", answer.told())?;
    }
    pass()
}

async fn empty(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        expect_ok(signal, &probe.ask(&Ask::protobuf(signal, "")).await?)?;
    }
    pass()
}

async fn nothing(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    let answer = probe.ask(&Ask::json(probe.any_signal(), "")).await?;
    expect(answer.code == 400, "400", answer.told())?;
    pass()
}

async fn empty_json(probe: Arc<Probe>) -> Checked {
    needs_json(&probe).await?;
    for signal in probe.known.signals.clone() {
        expect_ok(signal, &probe.ask(&Ask::json(signal, "{}")).await?)?;
    }
    pass()
}
