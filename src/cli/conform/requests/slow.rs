//! H48: clients that are slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::conform::data;
use crate::cli::conform::line::{Check, Checked, Verdict, check, failed, noted};
use crate::cli::conform::probe::{Ask, Probe};

pub(super) const LINES: &[Check] = &[
    check!(Choice "H48", "a client that sends its head byte by byte is given up", "otlpd's choice",
        waits slow_head),
    check!(Choice "H48b", "a client that sends its body byte by byte is given up", "otlpd's choice",
        waits slow_body),
];

async fn slow_head(probe: Arc<Probe>) -> Checked {
    let ask = ask(&probe);
    let head = probe.head(probe.http()?, &ask);
    // Headers without an end.
    let endless = b"x-otlpd-conform: x\r\n".repeat(200);
    let head = head.strip_suffix(b"\r\n").unwrap_or(&head);
    given_up(&probe, b"", &[head, &endless].concat()).await
}

async fn slow_body(probe: Arc<Probe>) -> Checked {
    let ask = ask(&probe);
    let head = probe.head(probe.http()?, &ask);
    given_up(&probe, &head, &ask.body).await
}

fn ask(probe: &Probe) -> Ask {
    let signal = probe.any_signal();
    Ask::protobuf(signal, data::request(signal, 100))
}

/// Sends the first bytes at once and the others one a second, until the server answers or closes.
async fn given_up(probe: &Probe, at_once: &[u8], slowly: &[u8]) -> Checked {
    const BETWEEN: Duration = Duration::from_secs(1);
    let began = Instant::now();
    let mut connection = probe.http1().await?;
    let seconds = || format!("after {} s", began.elapsed().as_secs());
    if connection.send(at_once).await.is_err() {
        return noted(seconds());
    }
    for byte in slowly {
        if began.elapsed() > probe.known.slow {
            return Err(still_waiting(probe));
        }
        if connection.send(&[*byte]).await.is_err() {
            return noted(seconds());
        }
        match connection.answer_within(BETWEEN).await {
            Ok(answer) => return noted(format!("{} {}", answer.code, seconds())),
            Err(problem) if problem.starts_with("no answer within") => {}
            Err(_closed) => return noted(format!("closed {}", seconds())),
        }
    }
    Err(still_waiting(probe))
}

fn still_waiting(probe: &Probe) -> Verdict {
    let slow = probe.known.slow;
    failed(
        "an answer or the end",
        format!("a server that still waits after {slow:?} (--slow)"),
    )
}
