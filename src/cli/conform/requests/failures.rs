//! H12 and H13: what is said of a request that fails.

use std::sync::Arc;

use super::{limits, needs_json};
use crate::cli::conform::data::{self, answer, json};
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, pass, skip, skipped,
};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::http1::Answer;
use crate::cli::conform::{JSON, PROTOBUF};
use crate::otlp::Signal;

const BAD_DATA: &str = "OTLP 1.11 \"Bad Data\"";
const FAILURES: &str = "OTLP 1.11 \"OTLP/HTTP Response, Failures\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "H12", "data that cannot be decoded is answered 400", BAD_DATA, bad_data),
    check!(Should "H12b", "that answer's details hold a google.rpc.BadRequest", BAD_DATA, bad_request),
    check!(Must "H13", "the body of each 4xx and 5xx is a Status, in the request's encoding", FAILURES, status),
    check!(Must "H13c", "the refusal of a body above the limit has such a body, too", FAILURES, too_large),
    check!(Should "H13b", "the message of that Status says what is wrong", FAILURES, message),
];

/// Requests that cannot be decoded.
async fn undecodable(probe: &Probe) -> Vec<(&'static str, Ask)> {
    let signal = probe.any_signal();
    let mut torn = data::request(signal, 3);
    torn.truncate(torn.len() - 3);
    let mut asks = vec![
        ("protobuf that is cut off", Ask::protobuf(signal, torn)),
        ("no protobuf", Ask::protobuf(signal, "\x0f\x01\x02")),
    ];
    if needs_json(probe).await.is_ok() {
        let mut torn = json::request(signal, 3);
        torn.truncate(torn.len() - 3);
        asks.push(("JSON that is cut off", Ask::json(signal, torn)));
        asks.push(("no JSON", Ask::json(signal, "otlpd conform")));
    }
    asks
}

async fn bad_data(probe: Arc<Probe>) -> Checked {
    for (what, ask) in undecodable(&probe).await {
        let answer = probe.ask(&ask).await?;
        expect(
            answer.code == 400,
            "400",
            format!("{} for {what}", answer.told()),
        )?;
    }
    pass()
}

async fn bad_request(probe: Arc<Probe>) -> Checked {
    for (what, ask) in undecodable(&probe).await {
        let answer = probe.ask(&ask).await?;
        if answer.is_success() {
            return skip(format!("{what} is taken, which H12 tells"));
        }
        let has_details = answer::status(&answer).is_ok_and(|status| {
            let mut details = status.details.iter();
            details.any(|kind| kind == "google.rpc.BadRequest")
        });
        expect(
            has_details,
            "details with google.rpc.BadRequest",
            format!("none for {what}"),
        )?;
    }
    pass()
}

/// A request that fails, and the encoding of its answer, where it has one.
struct Failing {
    what: &'static str,
    ask: Ask,
    /// Empty where the request has no encoding that OTLP knows: either will do.
    kind: &'static str,
}

async fn failing(probe: &Probe) -> Vec<Failing> {
    let signal = probe.any_signal();
    let (path, body) = (signal.http_path(), data::request(signal, 1));
    let unknown = Ask::post("/otlpd-conform/no-such-path").body(body.clone());
    let mut all: Vec<Failing> = undecodable(probe)
        .await
        .into_iter()
        .map(|(what, ask)| Failing {
            kind: if what.contains("JSON") {
                JSON
            } else {
                PROTOBUF
            },
            what,
            ask,
        })
        .collect();
    let mut add = |what, kind, ask| all.push(Failing { what, ask, kind });
    add(
        "an unknown path",
        PROTOBUF,
        unknown.clone().with("content-type", PROTOBUF),
    );
    if needs_json(probe).await.is_ok() {
        add(
            "an unknown path, in JSON",
            JSON,
            unknown.with("content-type", JSON),
        );
    }
    add("GET", "", Ask::post(path).method("GET"));
    let text = Ask::post(path).with("content-type", "text/plain").body("x");
    add("text/plain", "", text);
    let coded = Ask::protobuf(signal, body).with("content-encoding", "otlpd-conform");
    add("an unknown content-encoding", PROTOBUF, coded);
    all
}

/// What is wrong with the body of a failure; nothing where it is a Status.
fn wrong(found: &Failing, answer: &Answer) -> Option<String> {
    let (code, what) = (answer.code, found.what);
    let problem = match answer::status(answer) {
        Err(problem) => problem,
        Ok(_) if !found.kind.is_empty() && answer.media_type() != found.kind => {
            format!(
                "a Status as {} to a request of {}",
                answer.media_type(),
                found.kind
            )
        }
        Ok(_) => return None,
    };
    Some(format!("{problem} ({code} to {what})"))
}

/// The failures among the answers.
async fn failures(probe: &Probe) -> Result<Vec<(Failing, Answer)>, Verdict> {
    let mut failures = Vec::new();
    for found in failing(probe).await {
        let answer = probe.ask(&found.ask).await?;
        if answer.code >= 400 {
            failures.push((found, answer));
        }
    }
    if failures.is_empty() {
        return Err(skipped("no request failed, which other lines tell"));
    }
    Ok(failures)
}

async fn status(probe: Arc<Probe>) -> Checked {
    let failures = failures(&probe).await?;
    let wrong: Vec<String> = failures
        .iter()
        .filter_map(|(found, answer)| wrong(found, answer))
        .collect();
    if wrong.is_empty() {
        return pass();
    }
    Err(failed(
        "a google.rpc.Status in the request's encoding",
        wrong.join("; "),
    ))
}

async fn too_large(probe: Arc<Probe>) -> Checked {
    let found = Failing {
        what: "a body above the limit",
        ask: limits::too_large_inflated(&probe),
        kind: PROTOBUF,
    };
    let answer = probe.patient().ask(&found.ask).await?;
    if answer.is_success() {
        return skip("it took the body, which H20 tells");
    }
    match wrong(&found, &answer) {
        None => pass(),
        Some(wrong) => Err(failed(
            "a google.rpc.Status in the request's encoding",
            wrong,
        )),
    }
}

async fn message(probe: Arc<Probe>) -> Checked {
    let mut any = false;
    for (found, answer) in failures(&probe).await? {
        let Ok(status) = answer::status(&answer) else {
            continue;
        };
        any = true;
        let got = format!("none ({} to {})", answer.code, found.what);
        expect(!status.message.trim().is_empty(), "a message", got)?;
    }
    if any {
        return pass();
    }
    skip("no failure had a Status, which H13 tells")
}

/// A request that fails in every server: what others use to see an error.
pub(super) fn sure_to_fail(signal: Signal) -> Ask {
    Ask::protobuf(signal, "\x0f\x01\x02")
}
