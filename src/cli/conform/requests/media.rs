//! H6, H14 to H17, H44 to H46 and H56: media types, methods and paths.

use std::sync::Arc;

use super::needs_json;
use crate::cli::conform::data::{self, json};
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, noted, pass, skip};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::{JSON, PROTOBUF};

const METHODS: &str = "RFC 9110 sections 9.1, 15.5.6";

pub(super) const LINES: &[Check] = &[
    check!(Must "H6", "media types are read without regard to case; a charset has no effect",
        "RFC 9110 section 8.3.1, RFC 8259 section 11", variants),
    check!(Choice "H6b", "parameters of media types that are not known have no effect",
        "RFC 2045 section 5", parameters),
    check!(Must "H14", "an unknown path is answered 4xx, never with a success", "OTLP 1.11 \"OTLP/HTTP Response, Failures\", RFC 9110 section 15.5.5", unknown_path),
    check!(Should "H15", "GET, PUT, PATCH and HEAD of a signal's path are answered 405", METHODS, methods),
    check!(Must "H15b", "a 405 has an Allow header, in which POST stands", "RFC 9110 section 15.5.6", allow),
    check!(Choice "H16", "a POST without Content-Type is answered 415", "otlpd's choice", no_type),
    check!(Choice "H17", "text/plain and application/grpc are answered 415", "otlpd's choice", other_types),
    check!(Choice "H44", "/v1/traces/ is no redirect, which clients do not follow with a POST", "otlpd's choice", trailing_slash),
    check!(Choice "H45", "//v1/traces and /v1/traces?x=y are answered 200", "otlpd's choice", odd_paths),
    check!(Choice "H46", "other paths can be configured for each signal",
        "OTLP 1.11 \"OTLP/HTTP Request\" (MAY)", skip "depends on the server's configuration"),
    check!(Choice "H56", "without a configuration it listens on the loopback only",
        "otlpd's choice", skip "depends on the server's configuration"),
];

/// Goes on where a body is taken under these media types.
async fn expect_taken(probe: &Probe, body: &[u8], kinds: &[&'static str]) -> Result<(), Verdict> {
    for kind in kinds {
        let ask = Ask::post(probe.any_signal().http_path()).with("content-type", *kind);
        let answer = probe.ask(&ask.body(body)).await?;
        expect(
            answer.code == 200,
            "200",
            format!("{} to {kind:?}", answer.told()),
        )?;
    }
    Ok(())
}

async fn variants(probe: Arc<Probe>) -> Checked {
    let body = data::request(probe.any_signal(), 1);
    expect_taken(&probe, &body, &["APPLICATION/X-Protobuf"]).await?;
    if needs_json(&probe).await.is_err() {
        return noted("JSON is not served");
    }
    let body = json::request(probe.any_signal(), 1);
    let kinds = ["APPLICATION/JSON", "application/json; charset=utf-8"];
    expect_taken(&probe, body.as_bytes(), &kinds).await?;
    pass()
}

async fn parameters(probe: Arc<Probe>) -> Checked {
    let body = data::request(probe.any_signal(), 1);
    expect_taken(&probe, &body, &["application/x-protobuf; v=1"]).await?;
    if needs_json(&probe).await.is_err() {
        return noted("JSON is not served");
    }
    let body = json::request(probe.any_signal(), 1);
    expect_taken(&probe, body.as_bytes(), &["application/json;v=1"]).await?;
    pass()
}

async fn unknown_path(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    for path in ["/otlpd-conform/no-such-path", "/v1/otlpd-conform"] {
        let ask = Ask::post(path).with("content-type", PROTOBUF);
        let answer = probe.ask(&ask.body(data::request(signal, 1))).await?;
        let got = format!("{} to {path}", answer.told());
        expect((400..500).contains(&answer.code), "404", &got)?;
        if answer.code != 404 {
            return noted(got);
        }
    }
    pass()
}

async fn methods(probe: Arc<Probe>) -> Checked {
    for method in ["GET", "PUT", "PATCH", "HEAD"] {
        let ask = Ask::post(probe.any_signal().http_path()).method(method);
        let answer = probe.ask(&ask).await?;
        // RFC 9110 section 9.1 has 501 for methods that are not known at all.
        expect(
            matches!(answer.code, 405 | 501),
            "405",
            format!("{} to {method}", answer.code),
        )?;
    }
    pass()
}

async fn allow(probe: Arc<Probe>) -> Checked {
    let ask = Ask::post(probe.any_signal().http_path()).method("GET");
    let answer = probe.ask(&ask).await?;
    if answer.code != 405 {
        return skip(format!("GET is answered {}, not 405", answer.code));
    }
    let found = answer
        .header("allow")
        .unwrap_or("no such header")
        .to_owned();
    let has_post = answer.list("allow").iter().any(|method| method == "post");
    expect(has_post, "Allow with POST", found)?;
    pass()
}

async fn no_type(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let ask = Ask::post(signal.http_path()).body(data::request(signal, 1));
    let answer = probe.ask(&ask).await?;
    expect(answer.code == 415, "415", answer.told())?;
    pass()
}

async fn other_types(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    for kind in ["text/plain", "application/grpc"] {
        let ask = Ask::post(signal.http_path()).with("content-type", kind);
        let answer = probe.ask(&ask.body(data::request(signal, 1))).await?;
        expect(
            answer.code == 415,
            "415",
            format!("{} to {kind}", answer.told()),
        )?;
    }
    let ask = Ask::post(signal.http_path()).with("content-type", "application/protobuf");
    let answer = probe.ask(&ask.body(data::request(signal, 1))).await?;
    let same = answer.media_type() == "application/protobuf";
    let fits = answer.code == 415 || (answer.code == 200 && same);
    let expected = "415 to application/protobuf, or 200 of the same type";
    expect(fits, expected, answer.told())?;
    pass()
}

async fn trailing_slash(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let path = format!("{}/", signal.http_path());
    let ask = Ask::post(&path).with("content-type", PROTOBUF);
    let answer = probe.ask(&ask.body(data::request(signal, 1))).await?;
    expect(
        !(300..400).contains(&answer.code),
        "404, or 200",
        answer.told(),
    )?;
    noted(format!("{} to {path}", answer.code))
}

async fn odd_paths(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let path = signal.http_path();
    for path in [format!("/{path}"), format!("{path}?otlpd=conform")] {
        let ask = Ask::post(&path).with("content-type", PROTOBUF);
        let answer = probe.ask(&ask.body(data::request(signal, 1))).await?;
        expect(
            answer.code == 200,
            "200",
            format!("{} to {path}", answer.told()),
        )?;
    }
    if needs_json(&probe).await.is_ok() {
        let ask = Ask::post(&format!("{path}?otlpd=conform")).with("content-type", JSON);
        let answer = probe.ask(&ask.body(json::request(signal, 1))).await?;
        expect(answer.code == 200, "200", answer.told())?;
    }
    pass()
}
