//! What a client makes of status codes and redirects.

use std::time::Duration;

use crate::cli::conform::client::answer::{Answer, Field};
use crate::cli::conform::client::arrival::Wire;
use crate::cli::conform::client::case::{Case, Expect, Seen};
use crate::cli::conform::client::line::{ClientLine, GRPC, HTTP, Judge, Needs};
use crate::cli::conform::line::{Level, Line};
use crate::otlp::status::GrpcCode;

/// These go through one after the other.
const fn line(
    id: &'static str,
    level: Level,
    what: &'static str,
    source: &'static str,
    cases: fn(Wire) -> Vec<Case>,
) -> ClientLine {
    let line = Line {
        id,
        level,
        what,
        source,
    };
    let wires = match id.as_bytes() {
        [b'C', b'1'..=b'4'] => GRPC,
        _ => HTTP,
    };
    ClientLine {
        line,
        wires,
        needs: Needs::Nothing,
        judge: Judge::Cases(cases),
    }
}

pub(super) const LINES: &[ClientLine] = &[
    line(
        "C1",
        Level::Should,
        "gRPC codes that are retryable, such as UNAVAILABLE, are retried",
        "OTLP/gRPC Response, Failures",
        retryable,
    ),
    line(
        "C2",
        Level::Must,
        "gRPC codes that are not retryable are not retried",
        "OTLP/gRPC Response, Failures",
        permanent,
    ),
    line(
        "C3",
        Level::Should,
        "RESOURCE_EXHAUSTED is retried with a RetryInfo, and only then",
        "OTLP/gRPC Response, Failures",
        exhausted,
    ),
    line(
        "C4",
        Level::Should,
        "the delay of a RetryInfo in grpc-status-details-bin is waited",
        "OTLP/gRPC Throttling",
        retry_info,
    ),
    line(
        "C5a",
        Level::Should,
        "HTTP 429, 502, 503, 504 are retried",
        "OTLP/HTTP Response, Retryable Response Codes",
        retryable_statuses,
    ),
    line(
        "C5b",
        Level::Must,
        "no other 4xx or 5xx is retried",
        "OTLP/HTTP Response, Retryable Response Codes",
        permanent_statuses,
    ),
    line(
        "C6a",
        Level::Should,
        "Retry-After is waited, in seconds and as an HTTP date",
        "OTLP/HTTP Throttling; RFC 9110 10.2.3",
        retry_after,
    ),
    line(
        "C6b",
        Level::Should,
        "a Retry-After that is past, or no time at all, does not stop retries",
        "OTLP/HTTP Throttling",
        odd_retry_after,
    ),
    line(
        "C20",
        Level::Choice,
        "a redirect does not turn the POST into a GET",
        "RFC 9110 15.4",
        redirects,
    ),
];

fn retryable(wire: Wire) -> Vec<Case> {
    let codes = GrpcCode::ALL.into_iter().filter(|code| code.is_retryable());
    codes
        .map(|code| {
            let answers = [Answer::grpc(code), Answer::Taken];
            Case::new(wire, code.name(), answers, Expect::Again)
        })
        .collect()
}

fn permanent(wire: Wire) -> Vec<Case> {
    let codes = GrpcCode::ALL.into_iter().filter(|code| {
        !code.is_retryable() && !matches!(code, GrpcCode::Ok | GrpcCode::ResourceExhausted)
    });
    codes
        .map(|code| Case::new(wire, code.name(), [Answer::grpc(code)], Expect::Once))
        .collect()
}

fn with_retry_info(code: GrpcCode, millis: u64) -> Answer {
    let retry = Some(Duration::from_millis(millis));
    Answer::Grpc { code, retry }
}

fn exhausted(wire: Wire) -> Vec<Case> {
    let code = GrpcCode::ResourceExhausted;
    vec![
        Case::new(wire, "bare", [Answer::grpc(code)], Expect::Once),
        Case::new(
            wire,
            "with a RetryInfo of 500 ms",
            [with_retry_info(code, 500), Answer::Taken],
            Expect::Again,
        ),
    ]
}

fn retry_info(wire: Wire) -> Vec<Case> {
    [
        (GrpcCode::Unavailable, "UNAVAILABLE"),
        (GrpcCode::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    ]
    .map(|(code, name)| {
        Case::new(
            wire,
            format!("{name} with a RetryInfo of 2 s"),
            [with_retry_info(code, 2000), Answer::Taken],
            Expect::NotBefore(Duration::from_secs(2)),
        )
    })
    .into()
}

fn retryable_statuses(wire: Wire) -> Vec<Case> {
    [429, 502, 503, 504]
        .map(|status| {
            let answers = [Answer::http(status), Answer::Taken];
            Case::new(wire, status.to_string(), answers, Expect::Again)
        })
        .into()
}

fn permanent_statuses(wire: Wire) -> Vec<Case> {
    [
        400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 500, 501, 505,
    ]
    .map(|status| {
        Case::new(
            wire,
            status.to_string(),
            [Answer::http(status)],
            Expect::Once,
        )
    })
    .into()
}

fn unavailable(retry_after: Field) -> [Answer; 2] {
    let refusal = Answer::http_with(503, "retry-after", retry_after);
    [refusal, Answer::Taken]
}

fn retry_after(wire: Wire) -> Vec<Case> {
    // A date has whole seconds: one that is 3 s away may be 2 s and a little.
    let wait = Expect::NotBefore(Duration::from_secs(2));
    vec![
        Case::new(wire, "503, 2 seconds", unavailable(Field::Text("2")), wait),
        Case::new(
            wire,
            "503, a date 3 seconds away",
            unavailable(Field::DateIn(3)),
            wait,
        ),
    ]
}

fn odd_retry_after(wire: Wire) -> Vec<Case> {
    [
        ("a date that is past", Field::DateIn(-60)),
        ("`soon`", Field::Text("soon")),
        ("-1", Field::Text("-1")),
    ]
    .map(|(what, field)| {
        Case::new(
            wire,
            format!("503, {what}"),
            unavailable(field),
            Expect::Again,
        )
    })
    .into()
}

fn redirects(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "not followed, or followed by a POST of the same items";
    [
        (301, "/elsewhere/301"),
        (302, "/elsewhere/302"),
        (303, "/elsewhere/303"),
        (307, "/elsewhere/307"),
        (308, "/elsewhere/308"),
    ]
    .map(|(status, path)| {
        let away = Answer::http_with(status, "location", Field::Text(path));
        let expect = Expect::Finding(WORDS, followed);
        Case::new(wire, status.to_string(), [away], expect)
    })
    .into()
}

fn followed(seen: &Seen) -> Result<String, String> {
    let mut all = seen.others.iter().chain(seen.arrivals.iter().skip(1));
    let place = format!("/elsewhere/{}", seen.case.what);
    match all.find(|arrival| arrival.path == place) {
        None if seen.arrivals.len() > 1 => Ok("sent again to the same path".to_owned()),
        None => Ok("not followed".to_owned()),
        Some(next) if next.method == http::Method::POST => Ok("followed by a POST".to_owned()),
        Some(next) => Err(format!(
            "followed by a {}, which carries no data and would be taken for a success",
            next.method
        )),
    }
}
