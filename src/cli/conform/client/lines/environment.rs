//! The variables `OTEL_EXPORTER_OTLP_*`, as far as a command shows what it makes of them.

use std::time::Duration;

use super::retries::patience;
use crate::cli::conform::client::answer::Answer;
use crate::cli::conform::client::arrival::{Arrival, Wire};
use crate::cli::conform::client::case::{Case, Expect, Seen, seconds};
use crate::cli::conform::client::line::{ALL, ClientLine, GRPC, HTTP, Judge, Needs};
use crate::cli::conform::line::{Level, Line};

/// These are read at the start, so each is shown by a command of its own.
const fn line(line: Line, wires: &'static [Wire], cases: fn(Wire) -> Vec<Case>) -> ClientLine {
    ClientLine {
        line,
        wires,
        needs: Needs::Command,
        judge: Judge::Cases(cases),
    }
}

const fn unseen(
    id: &'static str,
    level: Level,
    what: &'static str,
    why: &'static str,
) -> ClientLine {
    ClientLine {
        line: Line {
            id,
            level,
            what,
            source: "Protocol Exporter",
        },
        wires: ALL,
        needs: Needs::Command,
        judge: Judge::Unseen(why),
    }
}

pub(super) const LINES: &[ClientLine] = &[
    line(
        Line {
            id: "E1",
            level: Level::Must,
            what: "v1/traces and so on are added to the path of OTEL_EXPORTER_OTLP_ENDPOINT",
            source: "Protocol Exporter, Endpoint URLs for OTLP/HTTP",
        },
        HTTP,
        base_path,
    ),
    line(
        Line {
            id: "E2",
            level: Level::Must,
            what: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and its like are taken as they are",
            source: "Protocol Exporter, Endpoint URLs for OTLP/HTTP",
        },
        HTTP,
        as_is,
    ),
    unseen(
        "E3",
        Level::Must,
        "an endpoint without a port means the port of its scheme",
        "it takes a server on port 80 or 443",
    ),
    unseen(
        "E4",
        Level::Must,
        "without an endpoint it is localhost:4318, over gRPC localhost:4317",
        "it takes a server on these ports",
    ),
    line(
        Line {
            id: "E5",
            level: Level::Must,
            what: "the scheme of a gRPC endpoint is stronger than OTEL_EXPORTER_OTLP_INSECURE",
            source: "Protocol Exporter, Configuration Options",
        },
        GRPC,
        scheme,
    ),
    line(
        Line {
            id: "E6",
            level: Level::Should,
            what: "OTEL_EXPORTER_OTLP_PROTOCOL chooses the protocol, http/protobuf without it",
            source: "Protocol Exporter, Specify Protocol",
        },
        ALL,
        protocol,
    ),
    line(
        Line {
            id: "E7",
            level: Level::Must,
            what: "OTEL_EXPORTER_OTLP_HEADERS is a list like W3C Baggage, percent-decoded",
            source: "Protocol Exporter, Specifying headers via environment variables",
        },
        ALL,
        headers,
    ),
    line(
        Line {
            id: "E8",
            level: Level::Must,
            what: "OTEL_EXPORTER_OTLP_COMPRESSION=gzip compresses",
            source: "Protocol Exporter, Configuration Options",
        },
        ALL,
        compression,
    ),
    line(
        Line {
            id: "E9",
            level: Level::Must,
            what: "OTEL_EXPORTER_OTLP_TIMEOUT is in milliseconds",
            source: "Common Configuration, Timeout; Protocol Exporter",
        },
        ALL,
        timeout,
    ),
    unseen(
        "E10",
        Level::Must,
        "certificates and keys are read from PEM files",
        "the scripted server speaks plaintext",
    ),
    line(
        Line {
            id: "E11",
            level: Level::Must,
            what: "a signal's own variable is stronger than the general one",
            source: "Protocol Exporter, Configuration Options",
        },
        ALL,
        signals_own,
    ),
    unseen(
        "E12",
        Level::Should,
        "the limits of requests and answers are options",
        "an option is not seen from outside",
    ),
];

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The names of the variables of each signal's own; they must be static, as all names are.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
];
const HEADERS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
];

fn first(seen: &Seen) -> Result<&Arrival, String> {
    seen.arrivals
        .first()
        .ok_or_else(|| "nothing came".to_owned())
}

fn base_path(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "the path /conform/v1/SIGNAL";
    let expect = Expect::Finding(WORDS, |seen| {
        let arrival = first(seen)?;
        match arrival.path.strip_prefix("/conform") {
            Some(path) if path == arrival.content.signal.http_path() => Ok(String::new()),
            _ => Err(arrival.path.clone()),
        }
    });
    ["/conform", "/conform/"]
        .map(|path| {
            let what = format!("the endpoint ends in {path}");
            let endpoint = format!("{{endpoint}}{path}");
            Case::new(wire, what, [Answer::Taken], expect).with(ENDPOINT, &endpoint)
        })
        .into()
}

fn as_is(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "the path of the endpoint, or / where it has none";
    let at = |what: &str, path: &str, expect| {
        let case = Case::new(wire, what, [Answer::Taken], expect).without(&[ENDPOINT]);
        ENDPOINTS.iter().fold(case, |case, name| {
            case.with(name, &format!("{{endpoint}}{path}"))
        })
    };
    let root = Expect::Finding(WORDS, |seen| came_to(seen, "/"));
    let path = Expect::Finding(WORDS, |seen| came_to(seen, "/in/here"));
    vec![
        at("an endpoint without a path", "", root),
        at("an endpoint with the path /in/here", "/in/here", path),
    ]
}

fn came_to(seen: &Seen, path: &str) -> Result<String, String> {
    match &first(seen)?.path {
        came if came == path => Ok(String::new()),
        came => Err(came.clone()),
    }
}

fn scheme(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "a request in plaintext, as http:// says";
    let expect = Expect::Finding(WORDS, |seen| first(seen).map(|_| String::new()));
    let case = Case::new(wire, "http:// and INSECURE=false", [Answer::Taken], expect);
    vec![case.with("OTEL_EXPORTER_OTLP_INSECURE", "false")]
}

fn protocol(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "a request over that protocol";
    let expect = Expect::Finding(WORDS, |seen| first(seen).map(|_| String::new()));
    let named = Case::new(wire, wire.name(), [Answer::Taken], expect);
    if wire != Wire::HttpProtobuf {
        return vec![named];
    }
    let unset = Case::new(wire, "not set", [Answer::Taken], expect);
    vec![named, unset.without(&["OTEL_EXPORTER_OTLP_PROTOCOL"])]
}

fn headers(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "x-conform-a: one and x-conform-b: two words, percent-decoded";
    let expect = Expect::Finding(WORDS, |seen| {
        let arrival = first(seen)?;
        let (a, b) = (arrival.header("x-conform-a"), arrival.header("x-conform-b"));
        if (a, b) == (Some("one"), Some("two words")) {
            return Ok(String::new());
        }
        let told = |value: Option<&str>| value.map_or("no header".to_owned(), str::to_owned);
        Err(format!(
            "x-conform-a: {}, x-conform-b: {}",
            told(a),
            told(b)
        ))
    });
    let value = "x-conform-a=one, x-conform-b=two%20words";
    let case = Case::new(wire, value, [Answer::Taken], expect);
    vec![case.with("OTEL_EXPORTER_OTLP_HEADERS", value)]
}

fn compression(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "a body in gzip, and a header that says so";
    let expect = Expect::Finding(WORDS, |seen| {
        let arrival = first(seen)?;
        match arrival.content.is_compressed && arrival.content.faults.is_empty() {
            true => Ok(String::new()),
            false => Err("a body that is not compressed".to_owned()),
        }
    });
    let case = Case::new(wire, "gzip", [Answer::Taken], expect);
    vec![case.with("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]
}

fn timeout(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "a request that is not answered is given up after 1.5 s";
    // A budget that is shared with retries, or a slow machine, makes some difference.
    const RIGHT: std::ops::Range<Duration> = Duration::from_millis(1000)..Duration::from_secs(5);
    let expect = Expect::Finding(WORDS, |seen| match patience(seen) {
        Some(time) if RIGHT.contains(&time) => Ok(format!("after {}", seconds(time))),
        Some(time) => Err(format!("it is given up after {}", seconds(time))),
        None => Err("it is not given up".to_owned()),
    });
    let answers = [Answer::Never, Answer::Taken];
    let case = Case::new(wire, "1500", answers, expect);
    vec![case.with("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")]
}

fn signals_own(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "x-conform: own";
    let expect = Expect::Finding(WORDS, |seen| match first(seen)?.header("x-conform") {
        Some("own") => Ok(String::new()),
        Some(other) => Err(format!("x-conform: {other}")),
        None => Err("no header x-conform".to_owned()),
    });
    let case = Case::new(wire, "headers", [Answer::Taken], expect);
    let case = case.with("OTEL_EXPORTER_OTLP_HEADERS", "x-conform=general");
    vec![
        HEADERS
            .iter()
            .fold(case, |case, name| case.with(name, "x-conform=own")),
    ]
}
