//! T9 to T11: attacks, bounded in time and number. What is seen from outside is that others are
//! served meanwhile and afterwards, and that what has no end is ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{expect_alive, needs_floods};
use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, Verdict, check, expect, failed, noted, pass};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::frames::{
    self, CONTINUATION, END_HEADERS, Frames, HEADERS, RESET, SETTINGS, frame,
};

const DENIAL: &str = "RFC 9113 section 10.5";

pub(super) const LINES: &[Check] = &[
    check!(Should "T9", "20000 streams, opened and reset at once, do not stop others", DENIAL, rapid_reset),
    check!(Should "T9b", "headers that do not end (CONTINUATION) are ended", DENIAL, endless_headers),
    check!(Should "T9c", "100000 SETTINGS, none of whose answers is read, do not stop others", DENIAL, settings),
    check!(Choice "T9d", "1000 idle connections do not stop others", "otlpd's choice", idle),
    check!(Choice "T10", "16 requests at once that inflate 1000 to 1 do not stop others",
        "otlpd's choice", inflating),
    check!(Choice "T11", "zstd, snappy and lz4 that declare 8 GiB are answered 4xx",
        "otlpd's choice", declared),
];

/// How long a flood lasts at most.
const FLOOD: Duration = Duration::from_secs(5);

/// Floods the gRPC server while others ask it. Whether the server ended the connection.
async fn flood(probe: &Probe, bytes: Vec<Vec<u8>>) -> Result<bool, Verdict> {
    let mut frames = Frames::connect(probe.grpc()?, FLOOD).await?;
    let flooding = async move {
        for bytes in bytes {
            if frames.send(&bytes).await.is_err() {
                return true;
            }
        }
        frames.ends_within(Duration::from_secs(1)).await
    };
    let mut flooding = tokio::spawn(timeout(FLOOD, flooding));
    let ended = loop {
        tokio::select! {
            ended = &mut flooding => break ended,
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                expect_alive(probe, "the beginning of it").await?;
            }
        }
    };
    expect_alive(probe, "it").await?;
    Ok(matches!(ended, Ok(Ok(true))))
}

async fn rapid_reset(probe: Arc<Probe>) -> Checked {
    needs_floods(&probe)?;
    let endpoint = probe.grpc()?;
    let headers = frames::call_headers(&endpoint.authority(), probe.any_signal().grpc_path());
    let pair = |stream: u32| {
        let opened = frame(HEADERS, END_HEADERS, stream, &headers);
        [opened, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let streams: Vec<u32> = (0..20_000_u32).map(|number| 2 * number + 1).collect();
    let pieces = streams.chunks(100);
    let pieces = pieces.map(|piece| piece.iter().flat_map(|stream| pair(*stream)).collect());
    let ended = flood(&probe, pieces.collect()).await?;
    noted(if ended {
        "the connection is ended"
    } else {
        "the connection is kept"
    })
}

async fn endless_headers(probe: Arc<Probe>) -> Checked {
    needs_floods(&probe)?;
    let endpoint = probe.grpc()?;
    let headers = frames::call_headers(&endpoint.authority(), probe.any_signal().grpc_path());
    let one = frames::header("x-otlpd-conform", &"x".repeat(100));
    let more = frame(CONTINUATION, 0, 1, &one.repeat(120));
    // 64 MiB of them.
    let mut pieces = vec![frame(HEADERS, 0, 1, &headers)];
    pieces.extend(std::iter::repeat_n(more.repeat(10), 470));
    let ended = flood(&probe, pieces).await?;
    expect(
        ended,
        "the end of the connection",
        "64 MiB of headers, taken",
    )?;
    pass()
}

async fn settings(probe: Arc<Probe>) -> Checked {
    needs_floods(&probe)?;
    probe.grpc()?;
    let pieces = vec![frame(SETTINGS, 0, 0, b"").repeat(1000); 100];
    let ended = flood(&probe, pieces).await?;
    noted(if ended {
        "the connection is ended"
    } else {
        "the connection is kept"
    })
}

async fn idle(probe: Arc<Probe>) -> Checked {
    const CONNECTIONS: usize = 1000;
    needs_floods(&probe)?;
    let mut held = Vec::new();
    let mut problem = None;
    for endpoint in [&probe.grpc, &probe.http].into_iter().flatten() {
        for _ in 0..CONNECTIONS / 2 {
            match endpoint.connect_plain().await {
                Ok(stream) => held.push(stream),
                Err(why) => problem = Some(why),
            }
        }
    }
    expect_alive(&probe, &format!("{} idle connections", held.len())).await?;
    noted(problem.unwrap_or_default())
}

async fn inflating(probe: Arc<Probe>) -> Checked {
    const AT_ONCE: usize = 16;
    needs_floods(&probe)?;
    let (signal, endpoint) = (probe.any_signal(), probe.http()?.clone());
    let body = data::sized_gzip(signal, probe.http_limit().saturating_sub(4 << 10));
    let ask = Ask::protobuf(signal, body).with("content-encoding", "gzip");
    let mut asking = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (probe, endpoint, ask) = (probe.patient(), endpoint.clone(), ask.clone());
        asking.spawn(async move { probe.ask_at(&endpoint, &ask).await });
    }
    let mut codes = std::collections::BTreeMap::new();
    while let Some(answer) = asking.join_next().await {
        let answer = answer.map_err(|error| failed("an answer", error.to_string()))??;
        *codes.entry(answer.code).or_insert(0) += 1;
    }
    expect_alive(&probe, "it").await?;
    let told = codes
        .iter()
        .map(|(code, count)| format!("{count} times {code}"));
    noted(told.collect::<Vec<_>>().join(", "))
}

/// The beginnings of compressed bodies that declare 8 GiB, or as much as their format can.
fn liars() -> [(&'static str, Vec<u8>); 3] {
    let size = (8_u64 << 30).to_le_bytes();
    let zstd = [&b"\x28\xb5\x2f\xfd\xe0"[..], &size, b"\x09\0\0x"].concat();
    let snappy = b"\xff\xff\xff\xff\x0f\x00x".to_vec();
    let lz4 = [
        &b"\x04\x22\x4d\x18\x68\x70"[..],
        &size,
        b"\0\x01\0\0\x80x\0\0\0\0",
    ]
    .concat();
    [("zstd", zstd), ("snappy", snappy), ("lz4", lz4)]
}

async fn declared(probe: Arc<Probe>) -> Checked {
    let mut codes = Vec::new();
    for (coding, body) in liars() {
        let ask = Ask::protobuf(probe.any_signal(), body).with("content-encoding", coding);
        let began = Instant::now();
        let answer = probe.ask(&ask).await?;
        let refused = (400..500).contains(&answer.code);
        let got = format!("{} to {coding} after {:?}", answer.told(), began.elapsed());
        expect(refused, "4xx", got)?;
        codes.push(format!("{} to {coding}", answer.code));
    }
    expect_alive(&probe, "it").await?;
    noted(codes.join(", "))
}
