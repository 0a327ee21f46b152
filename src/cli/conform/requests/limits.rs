//! H18 to H23 and H43: how large a request may be.

use std::sync::Arc;

use super::expect_ok;
use crate::cli::conform::data;
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, noted, pass, skip,
};
use crate::cli::conform::probe::{Ask, Probe, took_too_much};
use crate::cli::conform::wire::http1::Answer;

const REQUEST: &str = "OTLP 1.11 \"OTLP/HTTP Request\"";
const EXPECT: &str = "RFC 9110 section 10.1.1";

pub(super) const LINES: &[Check] = &[
    check!(Must "H18", "a body above the limit, of a known length, is answered 413", REQUEST, declared),
    check!(Choice "H18b", "that answer comes before all of the body was read", "otlpd's choice", early),
    check!(Must "H19", "a body above the limit, in chunks, is answered 413", REQUEST, chunked),
    check!(Must "H20", "gzip that inflates above the limit is answered 413", REQUEST, inflated),
    check!(Should "H21", "the default limit is 64 MiB: a body just below is answered 200", REQUEST, large),
    check!(Choice "H22", "Expect: 100-continue with a body above the limit: 413, and no 100", EXPECT, refused),
    check!(Must "H22b", "Expect: 100-continue with a body that fits: 100, then 200", EXPECT, continued),
    check!(Must "H23", "after an early 413 the connection ends, or stays in step",
        "RFC 9112 sections 6.3, 9.3", in_step),
    check!(Must "H43", "a body above the limit is never answered as if it could be retried",
        "OTLP 1.11 \"Retryable Response Codes\"", never_retried),
];

/// By how much a body is above or below the limit, in bytes.
const MARGIN: usize = 4 << 10;

fn too_large(probe: &Probe) -> Ask {
    let signal = probe.any_signal();
    Ask::protobuf(signal, data::sized(signal, probe.http_limit() + MARGIN))
}

/// A request that is small on its way and above the limit when it is inflated.
pub(super) fn too_large_inflated(probe: &Probe) -> Ask {
    let signal = probe.any_signal();
    let body = data::sized_gzip(signal, probe.http_limit() + MARGIN);
    Ask::protobuf(signal, body).with("content-encoding", "gzip")
}

fn expect_413(probe: &Probe, answer: &Answer) -> Result<(), Verdict> {
    if answer.is_success() {
        return Err(took_too_much(
            probe.known.http_request_limit,
            "413",
            &answer.told(),
        ));
    }
    expect(answer.code == 413, "413", answer.told())
}

async fn declared(probe: Arc<Probe>) -> Checked {
    let answer = probe.patient().ask(&too_large(&probe)).await?;
    expect_413(&probe, &answer)?;
    pass()
}

async fn early(probe: Arc<Probe>) -> Checked {
    let ask = too_large(&probe);
    let answer = probe.patient().ask(&ask).await?;
    if answer.is_success() {
        return Err(took_too_much(
            probe.known.http_request_limit,
            "a refusal",
            &answer.told(),
        ));
    }
    let (sent, all) = (answer.sent, ask.body.len());
    expect(
        sent < all,
        "an answer before the end",
        format!("one after all {all} bytes"),
    )?;
    noted(format!("after {sent} of {all} bytes"))
}

async fn chunked(probe: Arc<Probe>) -> Checked {
    let ask = too_large(&probe).chunked(64 << 10);
    let answer = probe.patient().ask(&ask).await?;
    expect_413(&probe, &answer)?;
    pass()
}

async fn inflated(probe: Arc<Probe>) -> Checked {
    let answer = probe.patient().ask(&too_large_inflated(&probe)).await?;
    if answer.is_success() && probe.known.http_request_limit.is_none() {
        // Its limit may be above what OTLP recommends; but then it is so for plain ones, too.
        let plain = probe.patient().ask(&too_large(&probe)).await?;
        let got = format!("{}, and without gzip {}", answer.told(), plain.told());
        expect(plain.is_success(), "one limit for both", got)?;
    }
    expect_413(&probe, &answer)?;
    pass()
}

async fn large(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let size = probe.http_limit().saturating_sub(MARGIN);
    let ask = Ask::protobuf(signal, data::sized(signal, size));
    let answer = probe.patient().ask(&ask).await?;
    expect(
        answer.code == 200,
        format!("200 for {size} bytes"),
        answer.told(),
    )?;
    pass()
}

async fn refused(probe: Arc<Probe>) -> Checked {
    let mut ask = Ask::protobuf(probe.any_signal(), "");
    ask.has_length = false;
    let length = probe.http_limit() + MARGIN;
    let ask = ask
        .with("content-length", length.to_string())
        .with("expect", "100-continue");
    let mut connection = probe.http1().await?;
    let head = probe.head(probe.http()?, &ask);
    let sent = connection.send(&head).await;
    sent.map_err(|problem| failed("a connection", problem))?;
    let answer = connection.answer().await;
    let answer = answer.map_err(|problem| failed("413", problem))?;
    expect(
        matches!(answer.code, 413 | 417),
        "413, or 417",
        answer.told(),
    )?;
    pass()
}

async fn continued(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let ask = Ask::protobuf(signal, data::request(signal, 3)).with("expect", "100-continue");
    let mut connection = probe.http1().await?;
    let broke = |problem| failed("100, then 200", problem);
    connection
        .send(&probe.head(probe.http()?, &ask))
        .await
        .map_err(broke)?;
    let interim = connection.answer().await.map_err(broke)?;
    if interim.code != 100 {
        // By the RFC a final answer may come at once, where the head is reason enough for it.
        return Err(failed("100", interim.told()));
    }
    let answer = connection.exchange(&ask.body).await.map_err(broke)?;
    expect_ok(signal, &answer)?;
    pass()
}

async fn in_step(probe: Arc<Probe>) -> Checked {
    let (probe, signal) = (probe.patient(), probe.any_signal());
    let endpoint = probe.http()?;
    let mut connection = probe.http1().await?;
    let written = probe.written(endpoint, &too_large(&probe));
    let first = connection.exchange(&written).await;
    let first = first.map_err(|problem| failed("an answer", problem))?;
    if first.is_success() {
        return Err(took_too_much(
            probe.known.http_request_limit,
            "a refusal",
            &first.told(),
        ));
    }
    let rest = written.get(first.sent..).unwrap_or_default();
    if first.closes() || connection.send(rest).await.is_err() {
        return noted("it ends");
    }
    let next = probe.written(endpoint, &Ask::protobuf(signal, data::request(signal, 1)));
    match connection.exchange(&next).await {
        Err(_ended) => noted("it ends"),
        Ok(second) => {
            let expected = "200 to the next request on the connection, or its end";
            expect(second.code == 200, expected, second.told())?;
            noted("it stays")
        }
    }
}

async fn never_retried(probe: Arc<Probe>) -> Checked {
    let answer = probe.patient().ask(&too_large_inflated(&probe)).await?;
    if answer.is_success() {
        return skip("it took the body, which H20 tells");
    }
    let retried = matches!(answer.code, 429 | 502 | 503 | 504);
    expect(!retried, "a code that is not to be retried", answer.told())?;
    pass()
}
