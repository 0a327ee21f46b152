//! How a client comes again: backoff, connections that end, time limits, shutdown.

use std::time::Duration;

use crate::cli::conform::client::answer::Answer;
use crate::cli::conform::client::arrival::Wire;
use crate::cli::conform::client::case::{Case, Expect, Seen, seconds};
use crate::cli::conform::client::line::{ALL, ClientLine, Finding, GRPC, HTTP, Judge, Needs};
use crate::cli::conform::line::{Level, Line};

/// How many requests show the backoff, and how often each is refused.
const REQUESTS: usize = 6;
const REFUSALS: usize = 4;
/// Delays that differ by less than this, as a share of their mean, have no jitter that matters.
const LEAST_JITTER: f64 = 0.03;
/// How much longer the last delay is than the first, at least.
const LEAST_GROWTH: f64 = 1.2;
/// How late an answer is that a shutdown has to wait for.
const SLOW: Duration = Duration::from_secs(2);

pub(super) const LINES: &[ClientLine] = &[
    ClientLine {
        line: Line {
            id: "C7",
            level: Level::Must,
            what: "retries back off exponentially, with jitter",
            source: "Protocol Exporter, Retry; OTLP/HTTP Connection",
        },
        wires: ALL,
        needs: Needs::Stage,
        judge: Judge::Together(refused_often, backs_off),
    },
    ClientLine {
        line: Line {
            id: "C8",
            level: Level::Should,
            what: "a connection that ends without an answer, or is refused, is tried again",
            source: "OTLP/HTTP All Other Responses; OTLP/HTTP Connection",
        },
        wires: ALL,
        needs: Needs::Stage,
        judge: Judge::Cases(broken),
    },
    ClientLine {
        line: Line {
            id: "C19",
            level: Level::Should,
            what: "the connection is kept for the next request",
            source: "OTLP/HTTP Connection",
        },
        wires: HTTP,
        needs: Needs::Stage,
        judge: Judge::Cases(kept),
    },
    ClientLine {
        line: Line {
            id: "C21",
            level: Level::Should,
            what: "a request is sent while an earlier one is not answered yet",
            source: "OTLP/gRPC Concurrent Requests",
        },
        wires: GRPC,
        needs: Needs::Stream,
        judge: Judge::Together(two_at_once, overlap),
    },
    ClientLine {
        line: Line {
            id: "C22",
            level: Level::Choice,
            what: "shutdown waits for an answer that is 2 s late",
            source: "OTLP/gRPC Concurrent Requests (an option to do so SHOULD exist)",
        },
        wires: ALL,
        needs: Needs::Command,
        judge: Judge::Cases(slow),
    },
    ClientLine {
        line: Line {
            id: "C24",
            level: Level::Choice,
            what: "a request that is never answered is given up (the default is 10 s)",
            source: "Protocol Exporter, Configuration Options",
        },
        wires: ALL,
        needs: Needs::Stage,
        judge: Judge::Cases(never_answered),
    },
    ClientLine {
        line: Line {
            id: "C25",
            level: Level::Should,
            what: "a server that speaks HTTP/1.1 only is spoken to",
            source: "OTLP/HTTP",
        },
        wires: HTTP,
        needs: Needs::Stage,
        judge: Judge::Cases(only_http1),
    },
    ClientLine {
        line: Line {
            id: "C27",
            level: Level::Should,
            what: "what a server had not answered when it went away (GOAWAY) comes again",
            source: "OTLP/HTTP All Other Responses; RFC 9113 6.8",
        },
        wires: GRPC,
        needs: Needs::Stage,
        judge: Judge::Cases(gone_away),
    },
];

fn refused_often(wire: Wire) -> Vec<Case> {
    let mut answers = vec![Answer::unavailable(wire); REFUSALS];
    answers.push(Answer::Taken);
    let case = Case::new(wire, "refused four times", answers, Expect::Nothing);
    vec![case; REQUESTS]
}

/// The delays of several requests that are refused alike: of all first delays, no two may be
/// bound to be the same; and the last are longer than the first.
fn backs_off(seen: &[Seen]) -> Finding {
    const EXPECTED: &str = "delays that grow, and differ from one request to the next";
    let gaps: Vec<Vec<f64>> = seen
        .iter()
        .map(|seen| seen.gaps().iter().map(Duration::as_secs_f64).collect())
        .filter(|gaps: &Vec<f64>| !gaps.is_empty())
        .collect();
    let common = gaps.iter().map(Vec::len).min().unwrap_or(0);
    if gaps.len() < 2 {
        let came = seen.iter().filter(|seen| !seen.arrivals.is_empty()).count();
        let got = format!(
            "of {came} requests that were refused, {} came again",
            gaps.len()
        );
        return Finding::wrong(EXPECTED, got);
    }
    let columns: Vec<Vec<f64>> = (0..common)
        .map(|number| {
            gaps.iter()
                .filter_map(|gaps| gaps.get(number).copied())
                .collect()
        })
        .collect();
    let means: Vec<f64> = columns.iter().map(|column| mean(column)).collect();
    let told = means.iter().map(|mean| format!("{mean:.2}"));
    let told = format!("mean delays {} s", told.collect::<Vec<_>>().join(", "));
    let jitter = columns
        .iter()
        .map(|column| spread(column))
        .fold(0.0, f64::max);
    if jitter < LEAST_JITTER {
        let got = format!(
            "{told}, the same within {:.1} % for each request",
            jitter * 100.0
        );
        return Finding::wrong(EXPECTED, got);
    }
    match (means.first(), means.last()) {
        (Some(first), Some(last)) if common > 1 && *last < first * LEAST_GROWTH => {
            Finding::wrong(EXPECTED, format!("{told}: they do not grow"))
        }
        _ if common < 2 => Finding::Right(format!("{told}; one retry only, growth not seen")),
        _ => Finding::Right(told),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The difference of the longest and the shortest, as a share of their mean.
fn spread(values: &[f64]) -> f64 {
    let longest = values.iter().copied().fold(f64::MIN, f64::max);
    let shortest = values.iter().copied().fold(f64::MAX, f64::min);
    (longest - shortest) / mean(values).max(f64::MIN_POSITIVE)
}

fn broken(wire: Wire) -> Vec<Case> {
    let refuse = Answer::Refuse(Duration::from_millis(500));
    vec![
        Case::new(
            wire,
            "closed without an answer",
            [Answer::Cut, Answer::Taken],
            Expect::Again,
        ),
        Case::new(
            wire,
            "closed, and connections refused for 500 ms",
            [refuse, Answer::Taken],
            Expect::Again,
        ),
    ]
}

fn kept(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "a second attempt by the same connection";
    let answers = [Answer::unavailable(wire), Answer::Taken];
    let expect = Expect::Finding(WORDS, by_the_same_connection);
    vec![Case::new(wire, "a 503, then taken", answers, expect)]
}

fn by_the_same_connection(seen: &Seen) -> Result<String, String> {
    match seen.arrivals.as_slice() {
        [first, second, ..] if first.connection == second.connection => Ok(String::new()),
        [_, _, ..] => Err("it came by a new connection".to_owned()),
        _ => Err(seen.not_again()),
    }
}

fn two_at_once(wire: Wire) -> Vec<Case> {
    let late = Answer::After(Duration::from_secs(3), Box::new(Answer::Taken));
    vec![
        Case::new(wire, "answered after 3 s", [late], Expect::Nothing),
        Case::new(wire, "answered at once", [Answer::Taken], Expect::Nothing),
    ]
}

fn overlap(seen: &[Seen]) -> Finding {
    const EXPECTED: &str = "a second request while the first waits for its answer";
    let first_of = |seen: &Seen| seen.arrivals.first().cloned();
    let mut firsts = seen.iter().filter_map(first_of);
    let (Some(first), Some(second)) = (firsts.next(), firsts.next()) else {
        return Finding::wrong(EXPECTED, "none came");
    };
    match first.answered {
        Some(answered) if second.at > answered => {
            let late = second.at.saturating_duration_since(answered);
            Finding::wrong(
                EXPECTED,
                format!("it came {} after the answer", seconds(late)),
            )
        }
        _ => Finding::Right(String::new()),
    }
}

fn slow(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "the command ends after the answer";
    let late = Answer::After(SLOW, Box::new(Answer::Taken));
    let expect = Expect::Finding(WORDS, waited);
    vec![Case::new(wire, "an answer after 2 s", [late], expect)]
}

fn waited(seen: &Seen) -> Result<String, String> {
    let answered = seen.arrivals.first().and_then(|first| first.answered);
    match (answered, &seen.end) {
        (Some(answered), Some(end)) if end.at >= answered => Ok("it waits".to_owned()),
        (_, Some(end)) => Ok(format!("it does not wait: the command {} before", end.how)),
        (_, None) => Err("the command did not end".to_owned()),
    }
}

fn never_answered(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "the request is given up";
    let answers = [Answer::Never, Answer::Taken];
    let expect = Expect::Finding(WORDS, given_up);
    vec![Case::new(wire, "no answer", answers, expect)]
}

/// After how long the first attempt was given up.
pub(super) fn patience(seen: &Seen) -> Option<Duration> {
    let first = seen.arrivals.first()?;
    Some(first.left?.saturating_duration_since(first.at))
}

fn given_up(seen: &Seen) -> Result<String, String> {
    match patience(seen) {
        Some(time) => Ok(format!("given up after {}", seconds(time))),
        None => Err("it is waited for until the scenario ends".to_owned()),
    }
}

fn only_http1(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "the items come over HTTP/1.1";
    let answers = [Answer::OnlyHttp1, Answer::OnlyHttp1];
    let expect = Expect::Finding(WORDS, by_http1);
    vec![Case::new(wire, "HTTP/1.1 only", answers, expect)]
}

fn by_http1(seen: &Seen) -> Result<String, String> {
    let last = seen.arrivals.last().map(|last| last.version);
    match last {
        Some(http::Version::HTTP_2) => Err("they came over HTTP/2 and not again".to_owned()),
        _ => Ok(String::new()),
    }
}

fn gone_away(wire: Wire) -> Vec<Case> {
    let answers = [Answer::GoAway, Answer::Taken];
    vec![Case::new(wire, "GOAWAY", answers, Expect::Again)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_a_share_of_the_mean() {
        assert!((spread(&[1.0, 3.0]) - 1.0).abs() < 1e-9);
        assert!(spread(&[2.0, 2.0]).abs() < 1e-9);
    }
}
