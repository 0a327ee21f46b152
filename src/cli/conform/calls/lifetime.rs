//! G9, G10, G23 to G26 and G30 to G34: overload, deadlines, authentication, and the life of
//! connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::expect_ok;
use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, check, expect, failed, noted, pass, skip};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::wire::dial::Endpoint;
use crate::cli::conform::wire::frames::Frames;
use crate::cli::conform::wire::grpc::{Called, framed, paced, whole};
use crate::otlp::status::GrpcCode;

pub(super) const OVERLOAD: &[Check] = &[
    check!(Should "G9", "overload: UNAVAILABLE, with RetryInfo or without",
        "OTLP 1.11 \"OTLP/gRPC Throttling\"", overloaded),
    check!(Should "G10", "a destination that fails for now: UNAVAILABLE",
        "OTLP 1.11 \"OTLP/gRPC Response, Failures\"", failing),
];

pub(super) const LINES: &[Check] = &[
    check!(Choice "G23", "a call whose grpc-timeout is over ends, with a code to be retried",
        "gRPC statuscodes.md (deadline expires)", waits deadline),
    check!(Must "G24", "a call that its client cancels does not disturb the connection",
        "RFC 9113 section 5.4.2", cancelled),
    check!(Choice "G25", "the client's deadline is not that of the export downstream",
        "otlpd's choice", skip "seen only where the server delivers to"),
    check!(Should "G26", "without grpc-timeout a call may take some seconds",
        "gRPC PROTOCOL-HTTP2.md \"Requests\" (Timeout)", waits no_deadline),
    check!(Must "G30", "wrong or missing credentials: UNAUTHENTICATED or PERMISSION_DENIED",
        "gRPC statuscodes.md, OTLP 1.11 \"Failures\"", unauthenticated),
    check!(Choice "G31", "a stop: GOAWAY, calls under way end, new ones are UNAVAILABLE",
        "otlpd's choice", skip "seen only when the server is stopped"),
    check!(Choice "G32", "pings every 10 s on an idle connection are answered",
        "otlpd's choice", waits pings),
    check!(Choice "G33", "a connection that is old enough is told to go (GOAWAY)",
        "otlpd's choice", skip "depends on the server's configuration"),
    check!(Choice "G34", "grpc.health.v1.Health/Check answers SERVING",
        "gRPC health-checking.md", health),
];

async fn refused(probe: &Probe, endpoint: &Endpoint) -> Checked {
    let signal = probe.any_signal();
    let body = whole(framed(false, &data::request(signal, 3)));
    let called = probe
        .call_at(endpoint, signal.grpc_path(), &[], body)
        .await?;
    let fits = called.code() == Some(GrpcCode::Unavailable);
    expect(fits, "UNAVAILABLE", called.told())?;
    let info = called.has_retry_info();
    noted(if info {
        "with RetryInfo"
    } else {
        "without RetryInfo"
    })
}

async fn overloaded(probe: Arc<Probe>) -> Checked {
    let Some(endpoint) = probe.known.overloaded.grpc.clone() else {
        return skip("needs a server that is overloaded (--overloaded-grpc)");
    };
    refused(&probe.patient(), &endpoint).await
}

async fn failing(probe: Arc<Probe>) -> Checked {
    let Some(endpoint) = probe.known.failing.grpc.clone() else {
        return skip("needs a server whose destination fails (--failing-grpc)");
    };
    refused(&probe.patient(), &endpoint).await
}

/// The first half of a message now, the second after a pause.
fn slow_message(probe: &Probe, pause: Duration) -> Vec<(Duration, Bytes)> {
    let message = Bytes::from(framed(false, &data::request(probe.any_signal(), 3)));
    let half = message.len() / 2;
    let (first, second) = (message.slice(..half), message.slice(half..));
    vec![(Duration::ZERO, first), (pause, second)]
}

async fn deadline(probe: Arc<Probe>) -> Checked {
    const DEADLINE: Duration = Duration::from_secs(1);
    let body = paced(slow_message(&probe, probe.known.timeout * 2));
    let path = probe.any_signal().grpc_path();
    let began = Instant::now();
    let called = probe.call(path, &[("grpc-timeout", "1S")], body).await;
    let called = called.map_err(|_| {
        let got = format!("no end within {:?}", probe.known.timeout);
        failed(format!("an end soon after {DEADLINE:?}"), got)
    })?;
    let retryable = called.is_retryable();
    expect(
        retryable,
        "DEADLINE_EXCEEDED, CANCELLED or UNAVAILABLE",
        called.told(),
    )?;
    noted(format!(
        "{} after {:.1} s",
        told_code(&called),
        began.elapsed().as_secs_f64()
    ))
}

fn told_code(called: &Called) -> &'static str {
    called.code().map_or("no code", GrpcCode::name)
}

async fn cancelled(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let connection = probe.http2().await?;
    let headers = probe.call_headers(&[]);
    for _ in 0..10 {
        let body = paced(slow_message(&probe, probe.known.timeout));
        let call = connection.send("POST", signal.grpc_path(), &headers, body);
        // The stream is reset as the call is let go.
        timeout(Duration::from_millis(20), call).await.ok();
    }
    let body = whole(framed(false, &data::request(signal, 1)));
    let called = connection
        .send("POST", signal.grpc_path(), &headers, body)
        .await;
    let called = called.map_err(|problem| failed("an answer to the next call", problem))?;
    expect_ok(signal, &called)?;
    pass()
}

async fn no_deadline(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let body = paced(slow_message(&probe, Duration::from_secs(3)));
    let own = [("grpc-timeout", "")];
    let called = probe.call(signal.grpc_path(), &own, body).await?;
    expect_ok(signal, &called)?;
    pass()
}

async fn unauthenticated(probe: Arc<Probe>) -> Checked {
    if !probe.has_header("authorization") {
        return skip("no credentials were given (--bearer, or --header 'authorization: ...')");
    }
    let signal = probe.any_signal();
    for (what, value) in [("no", None), ("wrong", Some("Bearer otlpd-conform-wrong"))] {
        let stranger = probe.with_header("authorization", value);
        let called = stranger.export(signal, &data::request(signal, 1)).await?;
        let code = called.code();
        let denied = [GrpcCode::Unauthenticated, GrpcCode::PermissionDenied];
        let fits = code.is_some_and(|code| denied.contains(&code));
        let got = format!("{} with {what} credentials", called.told());
        expect(fits, "UNAUTHENTICATED or PERMISSION_DENIED", got)?;
    }
    pass()
}

async fn pings(probe: Arc<Probe>) -> Checked {
    const BETWEEN: Duration = Duration::from_secs(10);
    let mut frames = Frames::connect(probe.grpc()?, probe.known.timeout).await?;
    for number in 1..=4 {
        tokio::time::sleep(BETWEEN).await;
        let answered = frames.ping().await;
        let got = |problem| {
            failed(
                "an answer to each ping",
                format!("{problem} at ping {number}"),
            )
        };
        answered.map_err(got)?;
    }
    pass()
}

async fn health(probe: Arc<Probe>) -> Checked {
    let body = whole(framed(false, b""));
    let called = probe
        .call("/grpc.health.v1.Health/Check", &[], body)
        .await?;
    // HealthCheckResponse { status: SERVING }
    let serving = called.message().is_ok_and(|message| message == b"\x08\x01");
    expect(called.is_ok() && serving, "OK with SERVING", called.told())?;
    pass()
}
