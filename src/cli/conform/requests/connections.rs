//! H34 to H39, H49 to H51 and H57: framing, and connections that carry more than one request.

use std::sync::Arc;

use super::expect_ok;
use crate::cli::conform::PROTOBUF;
use crate::cli::conform::data;
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, noted, pass, skip,
};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::grpc::{Http2, framed, whole};
use crate::cli::conform::wire::http1::{Answer, Http1};

const SMUGGLING: &str = "RFC 9112 section 6.3";

pub(super) const LINES: &[Check] = &[
    check!(Must "H34", "Transfer-Encoding: chunked without Content-Length is taken",
        "RFC 9112 section 7.1", chunked),
    check!(Should "H35", "1000 requests on a connection are taken, or its end is announced",
        "RFC 9112 sections 9.3, 9.6", keep_alive),
    check!(Must "H36", "pipelined requests are answered in their order", "RFC 9112 section 9.3.2", pipelined),
    check!(Choice "H37", "HTTP/2 without TLS is taken, with prior knowledge",
        "OTLP 1.11 \"OTLP/HTTP\" (MAY)", h2c),
    check!(Choice "H38", "by TLS, HTTP/2 and HTTP/1.1 are both to be had (ALPN)",
        "OTLP 1.11 \"OTLP/HTTP\" (MAY)", alpn),
    check!(Choice "H39", "gRPC and HTTP are served on one port",
        "OTLP 1.11 \"OTLP/HTTP Connection\" (MAY)", one_port),
    check!(Choice "H49", "clients that go in the middle of a body disturb nobody", "otlpd's choice", broken_off),
    check!(Must "H50", "two different Content-Length: 400, and the end of the connection", SMUGGLING, two_lengths),
    check!(Must "H50b", "Content-Length with Transfer-Encoding: the connection ends after it",
        "RFC 9112 section 6.1", length_and_coding),
    check!(Must "H51", "16 KiB in one header, and 200 headers: taken, or answered 4xx",
        "RFC 9110 section 5.4", large_headers),
    check!(Choice "H57", "HTTP on a unix socket", "otlpd's choice", unix_socket),
];

fn small(probe: &Probe) -> Ask {
    let signal = probe.any_signal();
    Ask::protobuf(signal, data::request(signal, 1))
}

async fn chunked(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let ask = Ask::protobuf(signal, data::request(signal, 20)).chunked(100);
        expect_ok(signal, &probe.ask(&ask).await?)?;
    }
    pass()
}

async fn keep_alive(probe: Arc<Probe>) -> Checked {
    const REQUESTS: usize = 1000;
    let (endpoint, mut connections) = (probe.http()?, 1);
    let mut connection = probe.http1().await?;
    for number in 1..=REQUESTS {
        let written = probe.written(endpoint, &small(&probe));
        let answer = connection.exchange(&written).await;
        let answer = answer.map_err(|problem| {
            failed(
                "200",
                format!("{problem} at request {number}, with no word of it before"),
            )
        })?;
        expect(
            answer.code == 200,
            "200",
            format!("{} at request {number}", answer.told()),
        )?;
        if answer.closes() {
            connection = probe.http1().await?;
            connections += 1;
        }
    }
    noted(match connections {
        1 => String::new(),
        many => format!("on {many} connections, as the server asked"),
    })
}

async fn pipelined(probe: Arc<Probe>) -> Checked {
    let endpoint = probe.http()?;
    let unknown = Ask::post("/otlpd-conform/no-such-path").with("content-type", PROTOBUF);
    let written = [
        probe.written(endpoint, &small(&probe)),
        probe.written(endpoint, &unknown),
        probe.written(endpoint, &small(&probe)),
    ];
    let mut connection = probe.http1().await?;
    let broke = |problem| failed("three answers in order", problem);
    let first = connection
        .exchange(&written.concat())
        .await
        .map_err(broke)?;
    expect(first.code == 200, "200 to the first", first.told())?;
    if first.closes() {
        return noted("it closes after the first, and says so");
    }
    let second = connection.answer().await.map_err(broke)?;
    expect(second.code >= 400, "404 to the second", second.told())?;
    if second.closes() {
        return noted("it closes after the second, and says so");
    }
    let third = connection.answer().await.map_err(broke)?;
    expect(third.code == 200, "200 to the third", third.told())?;
    pass()
}

/// A request over HTTP/2.
async fn post_by_http2(probe: &Probe) -> Checked {
    let (endpoint, signal) = (probe.http()?, probe.any_signal());
    let connection = Http2::connect(endpoint, probe.known.timeout).await;
    let connection = connection.map_err(|problem| failed("200 over HTTP/2", problem))?;
    let extra = probe.known.headers.iter().cloned();
    let own = [("content-type".to_owned(), PROTOBUF.to_owned())];
    let headers: Vec<_> = own.into_iter().chain(extra).collect();
    let path = format!("{}{}", endpoint.base, signal.http_path());
    let body = whole(data::request(signal, 3));
    let called = connection.send("POST", &path, &headers, body).await;
    let called = called.map_err(|problem| failed("200 over HTTP/2", problem))?;
    expect(
        called.http == 200,
        "200 over HTTP/2",
        called.http.to_string(),
    )?;
    pass()
}

async fn h2c(probe: Arc<Probe>) -> Checked {
    if probe.http()?.tls.is_some() {
        return skip("the HTTP endpoint is https");
    }
    post_by_http2(&probe).await
}

async fn alpn(probe: Arc<Probe>) -> Checked {
    if probe.http()?.tls.is_none() {
        return skip("the HTTP endpoint is not https");
    }
    // HTTP/1.1 alone is what all other lines ask for.
    expect_ok(probe.any_signal(), &probe.ask(&small(&probe)).await?)?;
    post_by_http2(&probe).await
}

async fn one_port(probe: Arc<Probe>) -> Checked {
    let (grpc, http) = (probe.grpc()?, probe.http()?);
    if grpc.authority() != http.authority() {
        return skip("--grpc and --http are two ports");
    }
    let signal = probe.any_signal();
    let body = whole(framed(false, &data::request(signal, 1)));
    let called = probe.call(signal.grpc_path(), &[], body).await?;
    expect(called.is_ok(), "OK to gRPC", called.told())?;
    expect_ok(signal, &probe.ask(&small(&probe)).await?)?;
    pass()
}

async fn broken_off(probe: Arc<Probe>) -> Checked {
    let signal = probe.any_signal();
    let ask = Ask::protobuf(signal, data::request(signal, 100));
    let written = probe.written(probe.http()?, &ask);
    let half = written.get(..written.len() / 2).unwrap_or_default();
    for _ in 0..20 {
        let mut connection = probe.http1().await?;
        let sent = connection.send(half).await;
        sent.map_err(|problem| failed("a connection", problem))?;
    }
    expect_ok(signal, &probe.ask(&small(&probe)).await?)?;
    pass()
}

/// An answer to this, and whether the connection ended after it.
async fn answer_and_end(probe: &Probe, written: &[u8]) -> Result<(Answer, bool), Verdict> {
    let mut connection = probe.http1().await?;
    let answer = connection.exchange(written).await;
    let answer = answer.map_err(|problem| failed("an answer", problem))?;
    let ended = connection.ends().await;
    Ok((answer, ended))
}

async fn two_lengths(probe: Arc<Probe>) -> Checked {
    let mut ask = small(&probe);
    ask.has_length = false;
    let length = ask.body.len();
    let ask = ask
        .with("content-length", length.to_string())
        .with("content-length", (length - 1).to_string());
    let written = probe.written(probe.http()?, &ask);
    let (answer, ended) = answer_and_end(&probe, &written).await?;
    expect(answer.code == 400, "400", answer.told())?;
    expect(
        ended,
        "the end of the connection after it",
        "a connection that stays open",
    )?;
    pass()
}

async fn length_and_coding(probe: Arc<Probe>) -> Checked {
    let ask = small(&probe).chunked(1000);
    let length = ask.body.len();
    let ask = ask.with("content-length", (length - 7).to_string());
    let written = probe.written(probe.http()?, &ask);
    let (answer, ended) = answer_and_end(&probe, &written).await?;
    // It may be refused, or read as its Transfer-Encoding says.
    let fits = answer.code == 200 || (400..500).contains(&answer.code);
    expect(fits, "400, or 200", answer.told())?;
    let got = format!("a connection that stays open after {}", answer.code);
    expect(ended, "the end of the connection after it", got)?;
    noted(answer.code.to_string())
}

async fn large_headers(probe: Arc<Probe>) -> Checked {
    let one = small(&probe).with("x-otlpd-conform", "x".repeat(16 << 10));
    let mut many = small(&probe);
    for _ in 0..200 {
        many = many.with("x-otlpd-conform", "x".repeat(8));
    }
    let mut codes = Vec::new();
    for (what, ask) in [("16 KiB in one header", one), ("200 headers", many)] {
        let answer = probe.ask(&ask).await?;
        let fits = answer.is_success() || (400..500).contains(&answer.code);
        expect(
            fits,
            "200, 431 or another 4xx",
            format!("{} to {what}", answer.told()),
        )?;
        codes.push(format!("{} to {what}", answer.code));
    }
    expect_ok(probe.any_signal(), &probe.ask(&small(&probe)).await?)?;
    noted(codes.join(", "))
}

async fn unix_socket(probe: Arc<Probe>) -> Checked {
    let Some(path) = probe.known.unix.clone() else {
        return skip("no unix socket was given (--unix)");
    };
    let stream = tokio::net::UnixStream::connect(&path).await;
    let stream = stream.map_err(|error| failed("a connection", format!("{path}: {error}")))?;
    let mut connection = Http1::new(Box::new(stream), probe.known.timeout);
    let ask = small(&probe);
    let mut written = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {PROTOBUF}\r\n\
         content-length: {}\r\n\r\n",
        ask.path,
        ask.body.len()
    )
    .into_bytes();
    written.extend_from_slice(&ask.body);
    let answer = connection.exchange(&written).await;
    let answer = answer.map_err(|problem| failed("an answer", problem))?;
    expect(answer.code == 200, "200", answer.told())?;
    pass()
}
