//! Web pages may send where they are allowed to, as browsers ask for it (lines H52 to H55 of the
//! conformance list), over raw sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support {
    pub(crate) mod door;
    pub(crate) mod payloads;
}

use support::door::{Answer, Daemon, PROTOBUF, Raw, Setup, post_head};
use support::payloads;

fn start(cors: &str) -> (Daemon, Raw) {
    let http = match cors {
        "" => String::new(),
        cors => format!(", max_request_body_size = \"100KiB\", cors = {{ {cors} }}"),
    };
    let daemon = Daemon::start(&Setup {
        http: &http,
        ..Setup::default()
    });
    let raw = Raw::connect(daemon.http);
    (daemon, raw)
}

const PAGE: &str = "https://shop.example.com";
const WITH_CREDENTIALS: &str = "allowed_origins = [\"https://*.example.com\", \"http://localhost:*\"], \
     allowed_headers = [\"X-Page\"], allow_credentials = true, max_age = \"90s\"";

/// A preflight as browsers send it.
fn preflight(raw: &mut Raw, path: &str, origin: &str, more: &str) -> Answer {
    raw.write(format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: otlpd\r\norigin: {origin}\r\n\
         access-control-request-method: POST\r\n{more}\r\n"
    ));
    raw.answer()
}

/// The headers of CORS that an answer has, but for `Vary`.
fn granted(answer: &Answer) -> Vec<&str> {
    let lines = answer.head.lines();
    lines
        .filter(|line| line.starts_with("access-control-"))
        .collect()
}

fn post(raw: &mut Raw, origin: &str, body: &[u8]) -> Answer {
    let headers = format!("{PROTOBUF}origin: {origin}\r\n");
    raw.post("/v1/traces", &headers, body)
}

#[test]
fn h52_it_is_off_unless_it_is_asked_for() {
    let (_daemon, mut raw) = start("");
    let answer = preflight(&mut raw, "/v1/traces", PAGE, "");
    assert_eq!((answer.code, answer.header("allow")), (405, Some("post")));
    assert!(granted(&answer).is_empty());
    let answer = post(&mut raw, PAGE, &payloads::traces(1));
    assert_eq!((answer.code, answer.header("vary")), (200, None));
    assert!(granted(&answer).is_empty());
}

#[test]
fn h52_a_preflight_is_204_without_a_body_and_says_what_is_allowed() {
    let (daemon, mut raw) = start(WITH_CREDENTIALS);
    let asks = "access-control-request-headers: content-encoding,content-type, x-page\r\n";
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs", "/v1/nothing"] {
        let answer = preflight(&mut raw, path, PAGE, asks);
        assert_eq!((answer.code, answer.body.len()), (204, 0));
        let mut said = granted(&answer);
        said.sort_unstable();
        assert_eq!(
            said,
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: content-encoding",
                "access-control-allow-headers: content-type",
                "access-control-allow-headers: x-page",
                "access-control-allow-methods: post",
                "access-control-allow-origin: https://shop.example.com",
                "access-control-max-age: 90",
            ]
        );
        assert!(answer.header("vary").unwrap().starts_with("origin, "));
        assert_eq!(answer.header("content-length"), None);
    }
    // It is no request of ours, and none that failed.
    assert_eq!(daemon.metric("otelcol_receiver_requests_total"), 0);
}

#[test]
fn h52_what_is_not_allowed_is_not_granted() {
    let (_daemon, mut raw) = start(WITH_CREDENTIALS);
    for (origin, more) in [
        ("https://example.com", ""),
        ("https://shop.example.com.evil.net", ""),
        ("http://shop.example.com", ""),
        ("null", ""),
        (PAGE, "access-control-request-headers: x-other\r\n"),
        (
            PAGE,
            "access-control-request-headers: content-type, not a name\r\n",
        ),
    ] {
        let answer = preflight(&mut raw, "/v1/traces", origin, more);
        assert_eq!(answer.code, 204, "{origin}");
        assert!(granted(&answer).is_empty(), "{origin} {more}");
        assert!(answer.header("vary").is_some());
    }
    raw.write(format!(
        "OPTIONS /v1/traces HTTP/1.1\r\nhost: otlpd\r\norigin: {PAGE}\r\n\
         access-control-request-method: PUT\r\n\r\n"
    ));
    assert!(granted(&raw.answer()).is_empty());
    // An OPTIONS that asks for nothing is a method like others.
    raw.write("OPTIONS /v1/traces HTTP/1.1\r\nhost: otlpd\r\n\r\n");
    assert_eq!(raw.answer().code, 405);
}

#[test]
fn h53_answers_and_failures_are_marked_so_that_scripts_may_read_them() {
    let (_daemon, mut raw) = start(WITH_CREDENTIALS);
    let expected = [
        "access-control-allow-origin: https://shop.example.com",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: retry-after",
    ];
    let body = payloads::traces(1);
    let good = post(&mut raw, PAGE, &body);
    let bad = post(&mut raw, PAGE, &body[1..]);
    let page = format!("origin: {PAGE}\r\n");
    let unknown = raw.post("/v1/nothing", &format!("{PROTOBUF}{page}"), &body);
    let text = raw.post(
        "/v1/traces",
        &format!("content-type: text/plain\r\n{page}"),
        &body,
    );
    raw.write(format!("GET /v1/traces HTTP/1.1\r\nhost: x\r\n{page}\r\n"));
    let method = raw.answer();
    raw.write(post_head(
        "/v1/traces",
        &format!("{PROTOBUF}{page}"),
        1 << 20,
    ));
    let large = raw.answer();
    for (answer, code) in [
        (good, 200),
        (bad, 400),
        (unknown, 404),
        (method, 405),
        (large, 413),
        (text, 415),
    ] {
        assert_eq!(answer.code, code);
        assert_eq!(granted(&answer), expected, "{code}");
        let varies = answer.head.lines().any(|line| line == "vary: origin");
        assert!(varies, "{code}");
    }
}

#[test]
fn h54_a_star_is_literal_only_without_credentials() {
    let (_daemon, mut raw) = start("allowed_origins = [\"*\"], allowed_headers = [\"*\"]");
    let asks = "access-control-request-headers: x-anything\r\n";
    let answer = preflight(&mut raw, "/v1/traces", PAGE, asks);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("x-anything")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("access-control-max-age"), Some("7200"));
    let answer = post(&mut raw, "null", &payloads::traces(1));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let (_daemon, mut raw) = start("allowed_origins = [\"*\"], allow_credentials = true");
    for answer in [
        preflight(&mut raw, "/v1/traces", PAGE, ""),
        post(&mut raw, PAGE, &payloads::traces(1)),
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        let credentials = answer.header("access-control-allow-credentials");
        assert_eq!(credentials, Some("true"));
    }
    let (_daemon, mut raw) = start(WITH_CREDENTIALS);
    let answer = post(&mut raw, "http://localhost:3000", &payloads::traces(1));
    let origin = answer.header("access-control-allow-origin");
    assert_eq!(origin, Some("http://localhost:3000"));
}

#[test]
fn h55_a_page_that_is_not_allowed_is_served_and_told_nothing() {
    let (daemon, mut raw) = start(WITH_CREDENTIALS);
    let answer = post(&mut raw, "https://elsewhere.org", &payloads::traces(3));
    assert_eq!((answer.code, answer.header("vary")), (200, Some("origin")));
    assert!(granted(&answer).is_empty());
    // Nor is who says no origin: no browser, or a page of our own.
    let answer = raw.post("/v1/traces", PROTOBUF, &payloads::traces(3));
    assert_eq!((answer.code, answer.header("vary")), (200, Some("origin")));
    assert!(granted(&answer).is_empty());
    assert_eq!(daemon.metric("otelcol_receiver_accepted_spans_total"), 6);
}
