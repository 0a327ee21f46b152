//! H40 to H42: servers that cannot take a request now.

use std::sync::Arc;

use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, noted, skip, skipped};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::dial::Endpoint;
use crate::cli::conform::wire::http1::Answer;

const THROTTLING: &str = "OTLP 1.11 \"OTLP/HTTP Throttling\"";

pub(super) const LINES: &[Check] = &[
    check!(Should "H40", "overload: 429 or 503", THROTTLING, overloaded),
    check!(Must "H40b", "its Retry-After, where there is one, is seconds or a date",
        "RFC 9110 section 10.2.3", retry_after),
    check!(Should "H41", "a destination that fails for now: a code that is to be retried",
        "OTLP 1.11 \"Retryable Response Codes\"", failing),
    check!(Choice "H42", "an error downstream has the same meaning over gRPC and HTTP",
        "otlpd's choice", skip "needs a destination that gives each code"),
];

async fn post(probe: &Probe, endpoint: &Endpoint) -> Result<Answer, Verdict> {
    let signal = probe.any_signal();
    let ask = Ask::protobuf(signal, data::request(signal, 3));
    probe.patient().ask_at(endpoint, &ask).await
}

fn overloaded_server(probe: &Probe) -> Result<Endpoint, Verdict> {
    let none = || skipped("needs a server that is overloaded (--overloaded-http)");
    probe.known.overloaded.http.clone().ok_or_else(none)
}

async fn overloaded(probe: Arc<Probe>) -> Checked {
    let answer = post(&probe, &overloaded_server(&probe)?).await?;
    expect(
        matches!(answer.code, 429 | 503),
        "429 or 503",
        answer.told(),
    )?;
    noted(answer.code.to_string())
}

async fn retry_after(probe: Arc<Probe>) -> Checked {
    let answer = post(&probe, &overloaded_server(&probe)?).await?;
    let Some(value) = answer.header("retry-after") else {
        return skip("there is no Retry-After, which OTLP leaves open");
    };
    let is_seconds = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let fits = is_seconds || httpdate::parse_http_date(value).is_ok();
    expect(fits, "seconds or a date", value)?;
    noted(value)
}

async fn failing(probe: Arc<Probe>) -> Checked {
    let Some(endpoint) = probe.known.failing.http.clone() else {
        return skip("needs a server whose destination fails (--failing-http)");
    };
    let answer = post(&probe, &endpoint).await?;
    let fits = matches!(answer.code, 429 | 502 | 503 | 504);
    expect(fits, "429, 502, 503 or 504", answer.told())?;
    noted(answer.code.to_string())
}
