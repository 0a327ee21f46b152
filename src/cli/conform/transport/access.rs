//! T6 to T8: who is let in, and by which address.

use std::sync::Arc;

use super::expect_alive;
use crate::cli::conform::data::{self, answer};
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, pass, skip, skipped,
};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::http1::Answer;

pub(super) const LINES: &[Check] = &[
    check!(Must "T6", "wrong or missing credentials are answered 401 or 403",
        "RFC 9110 sections 15.5.2, 15.5.4", refused),
    check!(Must "T6b", "a 401 has a WWW-Authenticate header", "RFC 9110 section 15.5.2", challenge),
    check!(Must "T6c", "the body of that answer is a Status",
        "OTLP 1.11 \"OTLP/HTTP Response, Failures\"", status),
    check!(Choice "T7", "a port that is in use is an error at the start, which names it",
        "otlpd's choice", skip "seen only when the server is started"),
    check!(Choice "T8", "IPv6 addresses are listened on", "otlpd's choice", ipv6),
];

/// What is answered without credentials, and with wrong ones.
async fn denied(probe: &Probe) -> Result<Vec<(&'static str, Answer)>, Verdict> {
    if !probe.has_header("authorization") {
        let reason = "no credentials were given (--bearer, or --header 'authorization: ...')";
        return Err(skipped(reason));
    }
    let signal = probe.any_signal();
    let mut answers = Vec::new();
    for (what, value) in [("no", None), ("wrong", Some("Bearer otlpd-conform-wrong"))] {
        let stranger = probe.with_header("authorization", value);
        let ask = Ask::protobuf(signal, data::request(signal, 1));
        answers.push((what, stranger.ask(&ask).await?));
    }
    Ok(answers)
}

async fn refused(probe: Arc<Probe>) -> Checked {
    for (what, answer) in denied(&probe).await? {
        let got = format!("{} with {what} credentials", answer.told());
        expect(matches!(answer.code, 401 | 403), "401, or 403", got)?;
    }
    expect_alive(&probe, "refusals, with the right credentials").await?;
    pass()
}

async fn challenge(probe: Arc<Probe>) -> Checked {
    let denied = denied(&probe).await?;
    let mut challenged = denied
        .iter()
        .filter(|(_, answer)| answer.code == 401)
        .peekable();
    if challenged.peek().is_none() {
        return skip("no answer was 401");
    }
    for (what, answer) in challenged {
        let found = answer.header("www-authenticate");
        let got = format!("no such header with {what} credentials");
        expect(found.is_some(), "WWW-Authenticate", got)?;
    }
    pass()
}

async fn status(probe: Arc<Probe>) -> Checked {
    for (what, answer) in denied(&probe).await? {
        let got = |problem| format!("{problem} ({} with {what} credentials)", answer.code);
        let read = answer::status(&answer);
        read.map_err(|problem| failed("a google.rpc.Status", got(problem)))?;
    }
    pass()
}

async fn ipv6(probe: Arc<Probe>) -> Checked {
    let given = [&probe.grpc, &probe.http];
    let mut given = given.into_iter().flatten();
    if !given.any(|endpoint| endpoint.host.contains(':')) {
        return skip("no endpoint is an IPv6 address, such as [::1]:4317");
    }
    expect_alive(&probe, "connecting to it").await?;
    pass()
}
