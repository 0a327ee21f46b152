//! G11, G18 to G22 and G27 to G29: what no proper client sends.

use std::sync::Arc;

use super::expect_ok;
use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, failed, noted, pass};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::wire::grpc::{Called, framed, whole};
use crate::cli::conform::wire::http1::Http1;
use crate::otlp::Signal;
use crate::otlp::status::GrpcCode;

const FAILURES: &str = "OTLP 1.11 \"OTLP/gRPC Response, Failures\"";
const CODES: &str = "gRPC statuscodes.md (method not found)";
const CARDINALITY: &str = "gRPC statuscodes.md (request cardinality violation)";

pub(super) const UNDECODABLE: &[Check] = &[
    check!(Must "G11", "undecodable protobuf: an error that is not to be retried", FAILURES, undecodable),
    check!(Choice "G11b", "its code is INVALID_ARGUMENT, which OTLP recommends", FAILURES, invalid),
];

pub(super) const LINES: &[Check] = &[
    check!(Must "G18", "an unknown grpc-encoding: UNIMPLEMENTED", "gRPC compression.md, test case 4", encoding),
    check!(Should "G18b", "with grpc-accept-encoding, in which gzip stands",
        "gRPC compression.md \"Compression Method Asymmetry\"", accept_encoding),
    check!(Must "G19", "a compressed message without grpc-encoding: INTERNAL", "gRPC compression.md, test case 6", no_encoding),
    check!(Must "G20", "an unknown service: UNIMPLEMENTED", CODES, service),
    check!(Must "G21", "an unknown method of a known service: UNIMPLEMENTED", CODES, method),
    check!(Should "G22", "150 calls at once on a connection are all answered OK",
        "OTLP 1.11 \"OTLP/gRPC Concurrent Requests\"", concurrent),
    check!(Must "G27", "HTTP/1.1 and noise on the gRPC port: ended cleanly, others go on",
        "RFC 9113 section 3.4", noise),
    check!(Should "G28", "a call without a message: an error", CARDINALITY, no_message),
    check!(Should "G29", "a call with two messages: an error", CARDINALITY, two_messages),
];

/// Bytes that no request of this signal is.
fn damaged(signal: Signal) -> [(&'static str, Vec<u8>); 3] {
    let mut torn = data::request(signal, 3);
    torn.truncate(torn.len() - 3);
    [
        ("a request that is cut off", torn),
        (
            "the wire type 7, which there is not",
            b"\x0f\x01\x02".to_vec(),
        ),
        (
            "a varint of 11 bytes",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        ),
    ]
}

async fn undecodable(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        for (what, message) in damaged(signal) {
            let called = probe.export(signal, &message).await?;
            let fits = called.code().is_some() && !called.is_ok() && !called.is_retryable();
            let got = format!("{} for {what} ({})", called.told(), signal.name());
            expect(fits, "an error that is not to be retried", got)?;
        }
    }
    pass()
}

async fn invalid(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    for (what, message) in damaged(signal) {
        let called = probe.export(signal, &message).await?;
        let fits = called.code() == Some(GrpcCode::InvalidArgument);
        expect(
            fits,
            "INVALID_ARGUMENT",
            format!("{} for {what}", called.told()),
        )?;
    }
    pass()
}

fn expect_code(code: GrpcCode, called: &Called) -> Checked {
    expect(called.code() == Some(code), code.name(), called.told())?;
    pass()
}

/// A call with a compression that no server knows.
async fn unknown_encoding(probe: &Probe) -> Result<Called, Verdict> {
    let signal = probe.any_signal();
    let body = whole(framed(true, &data::request(signal, 1)));
    let own = [("grpc-encoding", "otlpd-conform")];
    probe.call(signal.grpc_path(), &own, body).await
}

async fn encoding(probe: Arc<Probe>) -> Checked {
    expect_code(GrpcCode::Unimplemented, &unknown_encoding(&probe).await?)
}

async fn accept_encoding(probe: Arc<Probe>) -> Checked {
    let called = unknown_encoding(&probe).await?;
    let listed = called
        .said("grpc-accept-encoding")
        .unwrap_or("no such header");
    let has_gzip = listed.split(',').any(|name| name.trim() == "gzip");
    expect(has_gzip, "grpc-accept-encoding with gzip", listed)?;
    noted(listed)
}

async fn no_encoding(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let body = whole(framed(true, &data::gzip(&data::request(signal, 1))));
    let called = probe.call(signal.grpc_path(), &[], body).await?;
    expect_code(GrpcCode::Internal, &called)
}

async fn service(probe: Arc<Probe>) -> Checked {
    let body = whole(framed(false, b""));
    let path = "/otlpd.conform.v1.NoSuchService/Export";
    expect_code(GrpcCode::Unimplemented, &probe.call(path, &[], body).await?)
}

async fn method(probe: Arc<Probe>) -> Checked {
    let body = whole(framed(false, b""));
    let path = probe
        .any_signal()
        .grpc_path()
        .replace("/Export", "/NoSuchMethod");
    expect_code(
        GrpcCode::Unimplemented,
        &probe.call(&path, &[], body).await?,
    )
}

async fn concurrent(probe: Arc<Probe>) -> Checked {
    const CALLS: usize = 150;
    let signal = probe.any_signal();
    let connection = probe.http2().await?;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let (connection, headers) = (connection.clone(), probe.call_headers(&[]));
        let body = whole(framed(false, &data::request(signal, 5)));
        calls.spawn(async move {
            connection
                .send("POST", signal.grpc_path(), &headers, body)
                .await
        });
    }
    while let Some(called) = calls.join_next().await {
        let called = called.map_err(|error| failed("an answer", error.to_string()))?;
        let called = called.map_err(|problem| failed("an answer to every call", problem))?;
        expect_ok(signal, &called)?;
    }
    pass()
}

async fn noise(probe: Arc<Probe>) -> Checked {
    let endpoint = probe.grpc()?;
    let http1 = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", endpoint.authority());
    let noises: [(&str, &[u8]); 3] = [
        ("a GET over HTTP/1.1", http1.as_bytes()),
        (
            "an HTTP/2 preface with a wrong end",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ),
        ("noise", &[0xa5; 4096]),
    ];
    for (what, bytes) in noises {
        // By TLS the handshake may be what ends it.
        let Ok(stream) = endpoint.connect(&[]).await else {
            continue;
        };
        let mut connection = Http1::new(stream, probe.known.timeout);
        let ended = match connection.exchange(bytes).await {
            Ok(_answer) => true,
            Err(_) => connection.ends().await,
        };
        let got = format!("a connection that stays open after {what}");
        expect(ended, "an answer or the end of the connection", got)?;
    }
    let signal = probe.any_signal();
    let called = probe.export(signal, &data::request(signal, 1)).await?;
    expect(called.is_ok(), "OK for a call after it", called.told())?;
    pass()
}

async fn no_message(probe: Arc<Probe>) -> Checked {
    let path = probe.any_signal().grpc_path();
    let called = probe.call(path, &[], whole("")).await?;
    expect_error(&called)
}

async fn two_messages(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let message = framed(false, &data::request(signal, 1));
    let body = whole([&message[..], &message].concat());
    let called = probe.call(signal.grpc_path(), &[], body).await?;
    expect_error(&called)
}

fn expect_error(called: &Called) -> Checked {
    let is_error = called.code().is_some() && !called.is_ok();
    expect(is_error, "an error, such as UNIMPLEMENTED", called.told())?;
    noted(called.told())
}
