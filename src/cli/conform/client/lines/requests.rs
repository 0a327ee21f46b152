//! How requests are framed, in whichever scenario they came; and what cannot be seen.

use std::collections::BTreeSet;

use crate::cli::conform::client::arrival::Arrival;
use crate::cli::conform::client::line::{ALL, ClientLine, Finding, Judge, Needs};
use crate::cli::conform::line::{Level, Line};

/// What no request may be larger than before compression, in bytes.
const MAX_REQUEST_BYTES: usize = 64 << 20;

const fn line(line: Line, judge: Judge) -> ClientLine {
    ClientLine {
        line,
        wires: ALL,
        needs: Needs::Nothing,
        judge,
    }
}

pub(super) const LINES: &[ClientLine] = &[
    line(
        Line {
            id: "C16",
            level: Level::Must,
            what: "no request is above 64 MiB before compression",
            source: "OTLP 1.11, OTLP/gRPC and OTLP/HTTP Request",
        },
        Judge::Arrivals(size),
    ),
    line(
        Line {
            id: "C17",
            level: Level::Must,
            what: "Content-Type and the encoding say what the body is",
            source: "OTLP/HTTP, Binary and JSON Protobuf Encoding, Request",
        },
        Judge::Arrivals(framing),
    ),
    line(
        Line {
            id: "C18",
            level: Level::Should,
            what: "User-Agent names the exporter and its version",
            source: "Protocol Exporter, User Agent",
        },
        Judge::Arrivals(user_agent),
    ),
    line(
        Line {
            id: "C23",
            level: Level::Should,
            what: "what could not be delivered is recorded",
            source: "OTLP/gRPC Concurrent Requests",
        },
        Judge::Unseen("a record inside the client is not seen from outside"),
    ),
    line(
        Line {
            id: "C26",
            level: Level::Choice,
            what: "after UNAUTHENTICATED the next request has a fresh token",
            source: "none: OTLP does not say",
        },
        Judge::Unseen("it takes a client with a token that changes"),
    ),
    line(
        Line {
            id: "C28",
            level: Level::Should,
            what: "no request is empty",
            source: "Empty Telemetry Envelopes",
        },
        Judge::Arrivals(empty),
    ),
];

fn size(arrivals: &[Arrival]) -> Finding {
    let largest = arrivals.iter().map(|one| one.content.plain_bytes).max();
    match largest.unwrap_or(0) {
        bytes if bytes > MAX_REQUEST_BYTES => {
            Finding::wrong("67108864 bytes at most", format!("{bytes} bytes"))
        }
        bytes if bytes > MAX_REQUEST_BYTES / 4 => Finding::Right(format!("the largest: {bytes}")),
        bytes => Finding::Unknown(format!(
            "the client sent nothing near the limit: the largest request had {bytes} bytes"
        )),
    }
}

fn framing(arrivals: &[Arrival]) -> Finding {
    let faults: BTreeSet<&str> = arrivals
        .iter()
        .flat_map(|arrival| &arrival.content.faults)
        .map(String::as_str)
        .collect();
    if faults.is_empty() {
        let gzip = arrivals.iter().any(|arrival| arrival.content.is_compressed);
        let told = if gzip { "gzip" } else { "not compressed" };
        return Finding::Right(told.to_owned());
    }
    let got: Vec<&str> = faults.into_iter().collect();
    Finding::wrong("headers that fit the body", got.join("; "))
}

/// `NAME/VERSION`, as a product token of HTTP; that SDKs call themselves
/// `OTel-OTLP-Exporter-LANGUAGE` is for SDKs.
fn user_agent(arrivals: &[Arrival]) -> Finding {
    const EXPECTED: &str = "NAME/VERSION, of SDKs OTel-OTLP-Exporter-LANGUAGE/VERSION";
    let mut agents = BTreeSet::new();
    for arrival in arrivals {
        match arrival.header("user-agent") {
            Some(agent) => agents.insert(agent.to_owned()),
            None => return Finding::wrong(EXPECTED, "no User-Agent"),
        };
    }
    let named = |agent: &String| {
        let words = agent.split(' ').filter_map(|word| word.split_once('/'));
        let digit = |version: &str| version.contains(|c: char| c.is_ascii_digit());
        // gRPC libraries add themselves; that alone does not name the exporter.
        words
            .filter(|(name, version)| !name.starts_with("grpc-") && !version.is_empty())
            .any(|(name, version)| !name.is_empty() && digit(version))
    };
    let told = agents.iter().cloned().collect::<Vec<_>>().join("; ");
    if agents.iter().all(named) {
        Finding::Right(told)
    } else {
        Finding::wrong(EXPECTED, told)
    }
}

fn empty(arrivals: &[Arrival]) -> Finding {
    let is_empty = |arrival: &&Arrival| {
        arrival.content.items.is_empty()
            && arrival.content.faults.is_empty()
            && arrival.method == http::Method::POST
    };
    match arrivals.iter().filter(is_empty).count() {
        0 => Finding::Right(String::new()),
        count => Finding::wrong("at least one item", format!("{count} requests without any")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::cli::conform::client::arrival::{Contents, Wire};

    fn arrival(agent: &str) -> Arrival {
        let request = http::Request::post("/v1/traces")
            .header("content-type", "application/x-protobuf")
            .header("user-agent", agent)
            .body(())
            .unwrap();
        let (head, ()) = request.into_parts();
        let content = Contents::read(&head, b"");
        assert_eq!(content.wire, Wire::HttpProtobuf);
        Arrival {
            at: Instant::now(),
            answered: None,
            left: None,
            case: None,
            connection: 1,
            version: head.version,
            method: head.method,
            path: "/v1/traces".to_owned(),
            headers: head.headers,
            content,
        }
    }

    #[test]
    fn a_user_agent_names_the_exporter_not_only_its_library() {
        for (agent, right) in [
            ("OTel-OTLP-Exporter-Python/1.45.2", true),
            ("otlpd/0.1.0", true),
            ("OTel-OTLP-Exporter-Python/1.45.2 grpc-python/1.85.1", true),
            ("grpc-go/1.70.0", false),
            ("python-requests", false),
        ] {
            let found = user_agent(&[arrival(agent)]);
            assert_eq!(matches!(found, Finding::Right(_)), right, "{agent}");
        }
    }

    #[test]
    fn a_request_without_items_is_empty() {
        assert!(matches!(empty(&[arrival("x/1")]), Finding::Wrong { .. }));
        assert!(matches!(empty(&[]), Finding::Right(_)));
    }
}
