//! H52 to H55: what browsers ask for. Whoever configures CORS wants it to work, so that these
//! lines are as binding as the standard that browsers hold to.

use std::sync::Arc;

use super::{expect_ok, failures};
use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, pass, skipped};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::http1::Answer;

const PREFLIGHT: &str = "WHATWG Fetch \"CORS-preflight fetch\"";
const CHECK: &str = "WHATWG Fetch \"CORS check\"";

pub(super) const LINES: &[Check] = &[
    check!(Must "H52", "a preflight, without credentials, is answered 2xx and lets a POST in", PREFLIGHT, preflight),
    check!(Choice "H52b", "that answer has Access-Control-Max-Age", PREFLIGHT, max_age),
    check!(Must "H53", "successes and failures have Access-Control-Allow-Origin", CHECK, responses),
    check!(Should "H53b", "with an origin in it they have Vary: Origin",
        "WHATWG Fetch \"CORS protocol and HTTP caches\"", vary),
    check!(Must "H54", "where credentials are allowed the origin is named, not *", CHECK, credentials),
    check!(Choice "H55", "another origin is served without CORS headers", "otlpd's choice", stranger),
];

fn origin(probe: &Probe) -> Result<String, Verdict> {
    let none = || skipped("no origin was given that the server lets in (--cors-origin)");
    probe.known.cors_origin.clone().ok_or_else(none)
}

async fn asked(probe: &Probe) -> Result<Answer, Verdict> {
    let ask = Ask::post(probe.any_signal().http_path())
        .method("OPTIONS")
        .with("origin", origin(probe)?)
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "content-type");
    // A browser sends no credentials with it.
    probe.with_header("authorization", None).ask(&ask).await
}

/// Goes on where a browser lets this origin read the answer.
fn expect_allowed(probe: &Probe, answer: &Answer) -> Result<(), Verdict> {
    let origin = origin(probe)?;
    let found = answer.header("access-control-allow-origin");
    let fits = found.is_some_and(|found| found == "*" || found == origin);
    let got = format!("{} ({})", found.unwrap_or("no such header"), answer.code);
    expect(fits, format!("Access-Control-Allow-Origin: {origin}"), got)
}

async fn preflight(probe: Arc<Probe>) -> Checked {
    let answer = asked(&probe).await?;
    expect(answer.is_success(), "200 or 204", answer.told())?;
    expect_allowed(&probe, &answer)?;
    let headers = answer.list("access-control-allow-headers");
    let lets_in = headers
        .iter()
        .any(|name| name == "content-type" || name == "*");
    let expected = "Access-Control-Allow-Headers with content-type";
    expect(lets_in, expected, headers.join(", "))?;
    pass()
}

async fn max_age(probe: Arc<Probe>) -> Checked {
    let answer = asked(&probe).await?;
    let found = answer.header("access-control-max-age");
    expect(found.is_some(), "Access-Control-Max-Age", "no such header")?;
    pass()
}

/// A success and a failure, as that origin's page has them.
async fn both(probe: &Probe) -> Result<[Answer; 2], Verdict> {
    let (origin, signal) = (origin(probe)?, probe.any_signal());
    let good = Ask::protobuf(signal, data::request(signal, 1)).with("origin", &origin);
    let bad = failures::sure_to_fail(signal).with("origin", origin);
    let (good, bad) = (probe.ask(&good).await?, probe.ask(&bad).await?);
    expect_ok(signal, &good)?;
    Ok([good, bad])
}

async fn responses(probe: Arc<Probe>) -> Checked {
    for answer in both(&probe).await? {
        expect_allowed(&probe, &answer)?;
    }
    pass()
}

async fn vary(probe: Arc<Probe>) -> Checked {
    for answer in both(&probe).await? {
        if answer.header("access-control-allow-origin") == Some("*") {
            continue;
        }
        let listed = answer.list("vary");
        let varies = listed.iter().any(|name| name == "origin" || name == "*");
        expect(
            varies,
            "Vary: Origin",
            format!("{} ({})", listed.join(", "), answer.code),
        )?;
    }
    pass()
}

async fn credentials(probe: Arc<Probe>) -> Checked {
    let [good, bad] = both(&probe).await?;
    for answer in [asked(&probe).await?, good, bad] {
        let allows = answer.header("access-control-allow-credentials") == Some("true");
        let any = answer.header("access-control-allow-origin") == Some("*");
        let got = format!("* with credentials ({})", answer.code);
        expect(!(allows && any), "the origin by its name", got)?;
    }
    pass()
}

async fn stranger(probe: Arc<Probe>) -> Checked {
    origin(&probe)?;
    let signal = probe.any_signal();
    let ask = Ask::protobuf(signal, data::request(signal, 1));
    let ask = ask.with("origin", "https://conform.otlpd.invalid");
    let answer = probe.ask(&ask).await?;
    let found = answer.header("access-control-allow-origin");
    let got = found.unwrap_or_default().to_owned();
    expect(found.is_none(), "no Access-Control-Allow-Origin", got)?;
    expect_ok(signal, &answer)?;
    pass()
}
