//! Who is let in: tokens and passwords, over both protocols, decided before anything of a body is
//! read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use otlpd::otlp::status::GrpcCode;
use serde_json::Value;

#[path = "support/door.rs"]
mod door;

use door::{
    Answer, DISCARD, Daemon, Frames, H2, PROTOBUF, Raw, Setup, TRACES, call_headers, framed,
    header, post_head, until,
};

/// A daemon whose receiver has this table `auth`, and no other peculiarities.
fn start(auth: &str) -> Daemon {
    Daemon::start(&Setup {
        sections: &format!("{DISCARD}\n[receivers.apps.auth]\n{auth}"),
        ..Setup::default()
    })
}

/// The status of an empty request for traces over HTTP/1.1 with this header line.
fn post(daemon: &Daemon, authorization: &str) -> Answer {
    let headers = match authorization {
        "" => PROTOBUF.to_owned(),
        value => format!("{PROTOBUF}authorization: {value}\r\n"),
    };
    Raw::connect(daemon.http).post("/v1/traces", &headers, b"")
}

/// The same over gRPC: the code, and what was said.
async fn call(daemon: &Daemon, authorization: &str) -> (GrpcCode, String) {
    let mut h2 = H2::connect(daemon.grpc).await;
    let headers = [("authorization", authorization)];
    let headers = match authorization {
        "" => &[][..],
        _ => &headers[..],
    };
    let called = h2.call(TRACES, headers, framed(0, b"")).await;
    assert_eq!(called.http, 200);
    (called.status.code, called.status.message)
}

fn denied(daemon: &Daemon, transport: &str, reason: &str) -> u64 {
    daemon.metric(&format!(
        "otlpd_receiver_denied_requests_total{{receiver=\"apps\",transport=\"{transport}\",\
         reason=\"{reason}\"}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_known_lets_in_and_nothing_else_does() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\", \"shop token-of-the-shop\"]");
    for good in [
        "Bearer open-sesame",
        "bearer  token-of-the-shop",
        "BEARER open-sesame",
    ] {
        assert_eq!(post(&daemon, good).code, 200, "{good}");
        assert_eq!(call(&daemon, good).await.0, GrpcCode::Ok, "{good}");
    }
    for (bad, reason, challenge) in [
        ("", "missing", "bearer realm=\"otlpd\""),
        (
            "Bearer open-sesam",
            "invalid",
            "bearer realm=\"otlpd\", error=\"invalid_token\"",
        ),
        (
            "Bearer shop",
            "invalid",
            "bearer realm=\"otlpd\", error=\"invalid_token\"",
        ),
        (
            "open-sesame",
            "malformed",
            "bearer realm=\"otlpd\", error=\"invalid_request\"",
        ),
        (
            "Bearer",
            "malformed",
            "bearer realm=\"otlpd\", error=\"invalid_request\"",
        ),
        (
            "Basic b3Blbi1zZXNhbWU=",
            "malformed",
            "bearer realm=\"otlpd\", error=\"invalid_request\"",
        ),
    ] {
        let before = (
            denied(&daemon, "http", reason),
            denied(&daemon, "grpc", reason),
        );
        let answer = post(&daemon, bad);
        assert_eq!(answer.code, 401, "{bad}");
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{bad}");
        assert_eq!(answer.status().code, GrpcCode::Unauthenticated, "{bad}");
        let (code, said) = call(&daemon, bad).await;
        assert_eq!(code, GrpcCode::Unauthenticated, "{bad}");
        assert_eq!(said, answer.status().message);
        let after = (
            denied(&daemon, "http", reason),
            denied(&daemon, "grpc", reason),
        );
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{bad} {reason}");
    }
    let failures = "otelcol_receiver_requests_total{receiver=\"apps\",transport=\"http\",\
                    outcome=\"failure\"}";
    assert_eq!(daemon.metric(failures), 6);
}

#[test]
fn two_tokens_in_one_request_are_none() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\"]");
    let twice = "authorization: Bearer open-sesame\r\n".repeat(2);
    let answer = Raw::connect(daemon.http).post("/v1/traces", &format!("{PROTOBUF}{twice}"), b"");
    assert_eq!(answer.code, 401);
}

#[test]
fn who_asked_in_json_is_told_in_json() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\"]");
    let mut raw = Raw::connect(daemon.http);
    let answer = raw.post("/v1/logs", "content-type: application/json\r\n", b"{}");
    assert_eq!(answer.code, 401);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(status["code"], 16);
}

/// Nobody is told which paths there are before it is known who asks.
#[test]
fn what_is_not_served_is_not_told_to_strangers() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\"]");
    let mut raw = Raw::connect(daemon.http);
    assert_eq!(raw.post("/v1/nothing", PROTOBUF, b"").code, 401);
    let known = format!("{PROTOBUF}authorization: Bearer open-sesame\r\n");
    let mut raw = Raw::connect(daemon.http);
    assert_eq!(raw.post("/v1/nothing", &known, b"").code, 404);
}

#[test]
fn tokens_of_a_file_are_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "# ours\nshop first-token\n").unwrap();
    let daemon = start(&format!(
        "type = \"bearer\"\ntokens = [\"always\"]\ntokens_file = \"{}\"\n\
         reload_interval = \"50ms\"",
        file.display()
    ));
    let code = |token: &str| post(&daemon, &format!("Bearer {token}")).code;
    assert_eq!([code("first-token"), code("second-token")], [200, 401]);
    fs::write(&file, "second-token\n").unwrap();
    until("the new token is taken", || code("second-token") == 200);
    assert_eq!([code("first-token"), code("always")], [401, 200]);
    // What can not be used changes nothing.
    fs::write(&file, "a b c\n").unwrap();
    until("it is said", || daemon.log().contains("can not be used"));
    assert_eq!(code("second-token"), 200);
    fs::remove_file(&file).unwrap();
    until("it is said", || daemon.log().contains("no such file"));
    assert_eq!(code("second-token"), 200);
    // An empty file holds no token.
    fs::write(&file, "").unwrap();
    until("the token is withdrawn", || code("second-token") == 401);
    assert_eq!(code("always"), 200);
    assert!(!daemon.log().contains("second-token"), "{}", daemon.log());
}

/// `NAME:PASSWORD` in base64, by a program that is not ours.
fn basic(pair: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {text}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_its_password_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    // sha256("abc"), as FIPS 180 has it.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    fs::write(&file, format!("bob:{{SHA256}}{hash}\ncarol:pass:word\n")).unwrap();
    let daemon = start(&format!(
        "type = \"basic\"\nusers_file = \"{}\"\nusers = {{ ann = \"secret\" }}",
        file.display()
    ));
    for good in ["ann:secret", "bob:abc", "carol:pass:word"] {
        assert_eq!(post(&daemon, &basic(good)).code, 200, "{good}");
        assert_eq!(call(&daemon, &basic(good)).await.0, GrpcCode::Ok, "{good}");
    }
    for bad in [
        "ann:abc",
        "bob:secret",
        &format!("bob:{hash}"),
        "dave:x",
        "ann:",
        ":",
    ] {
        let answer = post(&daemon, &basic(bad));
        assert_eq!(answer.code, 401, "{bad}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("basic realm=\"otlpd\", charset=\"utf-8\""));
        let (code, _) = call(&daemon, &basic(bad)).await;
        assert_eq!(code, GrpcCode::Unauthenticated, "{bad}");
    }
    assert_eq!(denied(&daemon, "http", "invalid"), 6);
    for malformed in ["Basic ???", "Basic YWJj", "Bearer secret"] {
        assert_eq!(post(&daemon, malformed).code, 401);
    }
    assert_eq!(denied(&daemon, "http", "malformed"), 3);
}

/// Neither is anything read of it nor anything reserved for it.
#[test]
fn the_answer_to_a_stranger_does_not_wait_for_its_body() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\"]");
    let idle = daemon.used_bytes();
    // One that asks whether it may send is not told to go on.
    let mut asking = Raw::connect(daemon.http);
    let expect = format!("{PROTOBUF}expect: 100-continue\r\n");
    asking.write(post_head("/v1/traces", &expect, 10 << 20));
    assert_eq!(asking.answer().code, 401);
    // One that announces more than anybody would take is told who it is not, and not how much.
    let mut large = Raw::connect(daemon.http);
    large.write(post_head("/v1/traces", PROTOBUF, 1 << 40));
    assert_eq!(large.answer().code, 401);
    let mut chunked = Raw::connect(daemon.http);
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\n{PROTOBUF}transfer-encoding: chunked\r\n\r\n"
    );
    chunked.write(head);
    assert_eq!(chunked.answer().code, 401);
    // A call whose message has not begun.
    let mut frames = Frames::connect(daemon.grpc);
    frames.send(
        Frames::HEADERS,
        Frames::END_HEADERS,
        1,
        &call_headers(TRACES),
    );
    let answer = frames.next_of(Frames::HEADERS).unwrap();
    assert_eq!(answer.flags & Frames::END_STREAM, Frames::END_STREAM);
    assert_eq!(denied(&daemon, "grpc", "missing"), 1);
    assert_eq!(denied(&daemon, "http", "missing"), 3);
    drop((asking, large, chunked, frames));
    until("nothing is reserved any more", || {
        daemon.used_bytes() <= idle
    });
    // Whoever is let in is told to go on.
    let mut known = Raw::connect(daemon.http);
    let expect = format!("{expect}authorization: Bearer open-sesame\r\n");
    known.write(post_head("/v1/traces", &expect, 2));
    assert_eq!(known.answer().code, 100);
    known.write(b"\x0a\0");
    assert_eq!(known.answer().code, 200);
    let mut frames = Frames::connect(daemon.grpc);
    let headers = [
        call_headers(TRACES),
        header("authorization", "Bearer open-sesame"),
    ]
    .concat();
    frames.send(Frames::HEADERS, Frames::END_HEADERS, 1, &headers);
    frames.send(Frames::DATA, Frames::END_STREAM, 1, &[0; 5]);
    let answer = frames.next_of(Frames::HEADERS).unwrap();
    assert_eq!(answer.flags & Frames::END_STREAM, 0);
}

/// How long a stranger is listened to, so that it comes to read its answer.
const PATIENCE_WITH_STRANGERS: Duration = Duration::from_secs(2);

/// A client that sends its whole body before it reads has its answer all the same.
#[test]
fn a_stranger_that_has_sent_everything_already_reads_its_answer() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\"]");
    let mut request = post_head("/v1/traces", PROTOBUF, 2 << 20).into_bytes();
    request.resize(request.len() + (2 << 20), 0);
    let mut answered = 0;
    until("some are answered", || {
        let begun = SystemTime::now();
        let mut raw = Raw::connect(daemon.http);
        let sent = raw.stream.write_all(&request);
        // It need not be, if the machine stood still meanwhile.
        if begun.elapsed().unwrap() < PATIENCE_WITH_STRANGERS / 2 {
            sent.unwrap();
            assert_eq!(raw.answer().code, 401);
            answered += 1;
        }
        answered == 5
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_was_not_let_in_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "hunter2-file\n").unwrap();
    let (auth, sections) = secretive(&file);
    let daemon = Daemon::start(&Setup {
        sections: &format!("{DISCARD}\n[receivers.apps.auth]\n{auth}\n{sections}"),
        ..Setup::default()
    });
    for token in ["hunter2-config", "hunter2-file", "hunter2-wrong"] {
        post(&daemon, &format!("Bearer {token}"));
        post(&daemon, &basic(&format!("ann:{token}")));
        call(&daemon, &format!("Bearer {token}")).await;
        Raw::connect(daemon.http).post("/v1/traces?t=hunter2-query", PROTOBUF, b"");
    }
    until("it is said", || daemon.log().contains("was not let in"));
    let log = daemon.log();
    assert!(
        log.contains("receivers.apps") && log.contains("127.0.0.1:"),
        "{log}"
    );
    assert!(log.contains("invalid"), "{log}");
    let status = daemon.status().to_string();
    let (_, metrics) = daemon.ask("/metrics");
    for said in [log, status, metrics] {
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!said.contains("aHVudGVyMi"), "{said}");
    }
}

/// A browser asks by CORS before it shows anything, and must be able to read the refusal.
#[test]
fn a_browser_need_not_show_anything_to_ask_whether_it_may_send() {
    let daemon = Daemon::start(&Setup {
        http: ", cors = { allowed_origins = [\"https://shop.example\"] }",
        sections: &format!(
            "{DISCARD}\n[receivers.apps.auth]\ntype = \"bearer\"\ntokens = [\"open-sesame\"]"
        ),
        ..Setup::default()
    });
    let mut raw = Raw::connect(daemon.http);
    let origin = "origin: https://shop.example\r\n";
    raw.write(format!(
        "OPTIONS /v1/traces HTTP/1.1\r\nhost: x\r\n{origin}\
         access-control-request-method: POST\r\n\
         access-control-request-headers: authorization,content-type\r\n\r\n"
    ));
    assert_eq!(raw.answer().code, 204);
    let answer = raw.post("/v1/traces", &format!("{PROTOBUF}{origin}"), b"");
    assert_eq!(answer.code, 401);
    let granted = answer.header("access-control-allow-origin");
    assert_eq!(granted, Some("https://shop.example"));
    assert_eq!(denied(&daemon, "http", "missing"), 1);
}

/// Probes have no credentials, and what they learn is no secret.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_whether_it_is_well_is_answered() {
    let daemon = start("type = \"bearer\"\ntokens = [\"open-sesame\"]");
    let mut h2 = H2::connect(daemon.grpc).await;
    let check = h2.call("/grpc.health.v1.Health/Check", &[], framed(0, b""));
    assert_eq!(check.await.status.code, GrpcCode::Ok);
    assert_eq!(denied(&daemon, "grpc", "missing"), 0);
    let other = h2.call(
        "/grpc.reflection.v1.ServerReflection/Info",
        &[],
        framed(0, b""),
    );
    assert_eq!(other.await.status.code, GrpcCode::Unauthenticated);
}

/// Credentials everywhere; each holds the word that is looked for.
fn secretive(tokens: &Path) -> (String, String) {
    let auth = format!(
        "type = \"bearer\"\ntokens = [\"hunter2-config\"]\ntokens_file = \"{}\"",
        tokens.display()
    );
    let sections = "[log]\nlevel = \"trace\"\n\
         [exporters.token]\ntype = \"otlp_http\"\nendpoint = \"http://127.0.0.1:9\"\n\
         auth = { type = \"bearer\", token = \"hunter2-token\" }\n\
         required = false\n\
         [exporters.user]\ntype = \"otlp_grpc\"\nendpoint = \"http://127.0.0.1:9\"\n\
         auth = { type = \"basic\", user = \"ann\", password = \"hunter2-password\" }\n\
         required = false\n\
         [exporters.fetched]\ntype = \"otlp_grpc\"\nendpoint = \"http://127.0.0.1:9\"\n\
         required = false\n\
         [exporters.fetched.auth]\ntype = \"oauth2\"\n\
         token_url = \"http://127.0.0.1:9/token?key=hunter2-url\"\n\
         client_id = \"otlpd\"\nclient_secret = \"hunter2-secret\"\n\
         params = { audience = \"hunter2-params\" }\n\
         [pipelines.more]\nreceivers = [\"apps\"]\nexporters = [\"token\", \"user\", \"fetched\"]\n";
    (auth, sections.to_owned())
}
