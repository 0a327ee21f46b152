//! What a client makes of the body of an answer.

use std::io::Write;

use bytes::Bytes;

use crate::cli::conform::client::answer::{Answer, Content, Field};
use crate::cli::conform::client::arrival::Wire;
use crate::cli::conform::client::case::{Case, Expect, Seen};
use crate::cli::conform::client::line::{ALL, ClientLine, HTTP, Judge, Needs};
use crate::cli::conform::line::{Level, Line};
use crate::otlp::response;
use crate::otlp::status::{GrpcCode, Status};

/// What an answer has that is larger than a client may read, in bytes.
const TOO_LARGE: usize = 5 << 20;
/// Stands in the message of a failure, so that it is found in what a client writes.
const MESSAGE: &str = "conformance-suite-says-no";

const fn line(line: Line, wires: &'static [Wire], cases: fn(Wire) -> Vec<Case>) -> ClientLine {
    ClientLine {
        line,
        wires,
        needs: Needs::Nothing,
        judge: Judge::Cases(cases),
    }
}

pub(super) const LINES: &[ClientLine] = &[
    line(
        Line {
            id: "C9",
            level: Level::Must,
            what: "a request is not retried after a partial success",
            source: "OTLP/gRPC and OTLP/HTTP Response, Partial Success",
        },
        ALL,
        partial_success,
    ),
    line(
        Line {
            id: "C10",
            level: Level::Should,
            what: "a partial success of nothing, with no message, is a full success",
            source: "the comment on partial_success in the .proto files",
        },
        ALL,
        empty_partial_success,
    ),
    line(
        Line {
            id: "C11",
            level: Level::Must,
            what: "a request is not retried after a partial success that is only a warning",
            source: "OTLP/gRPC and OTLP/HTTP Response, Partial Success",
        },
        ALL,
        warning,
    ),
    line(
        Line {
            id: "C12",
            level: Level::Should,
            what: "any 2xx is a success, whatever its body",
            source: "OTLP/HTTP Response; RFC 9110 15.3",
        },
        HTTP,
        odd_successes,
    ),
    ClientLine {
        line: Line {
            id: "C13",
            level: Level::Choice,
            what: "the message of a Status is told, in the encoding that Content-Type names",
            source: "OTLP/HTTP Response, Failures",
        },
        wires: HTTP,
        needs: Needs::Command,
        judge: Judge::Cases(messages),
    },
    line(
        Line {
            id: "C14",
            level: Level::Must,
            what: "an answer above 4 MiB is not read on, and not retried",
            source: "OTLP 1.11, OTLP/gRPC and OTLP/HTTP Response",
        },
        ALL,
        too_large,
    ),
    line(
        Line {
            id: "C15",
            level: Level::Must,
            what: "a gzip answer is read by who sends Accept-Encoding: gzip",
            source: "OTLP/HTTP Request; OTLP/HTTP Response",
        },
        HTTP,
        compressed,
    ),
];

fn partial(rejected: u64, message: &'static str) -> Answer {
    Answer::Partial { rejected, message }
}

fn partial_success(wire: Wire) -> Vec<Case> {
    let answers = [partial(1, "one item is not taken")];
    vec![Case::new(wire, "one item rejected", answers, Expect::Once)]
}

fn empty_partial_success(wire: Wire) -> Vec<Case> {
    let answers = [partial(0, "")];
    vec![Case::new(wire, "partial_success {}", answers, Expect::Once)]
}

fn warning(wire: Wire) -> Vec<Case> {
    let answers = [partial(0, "taken, but please use a newer version")];
    vec![Case::new(
        wire,
        "nothing rejected, a message",
        answers,
        Expect::Once,
    )]
}

fn odd_successes(wire: Wire) -> Vec<Case> {
    let accepted = |status| Answer::Http {
        status,
        headers: Vec::new(),
        body: Content::Raw(None, Bytes::new()),
    };
    [
        ("200 without body or type", Answer::raw(None, "")),
        (
            "200 with HTML",
            Answer::raw(Some("text/html"), "<p>thanks</p>"),
        ),
        ("200 with `OK`", Answer::raw(Some("text/plain"), "OK")),
        (
            "200 with bytes that are no message",
            Answer::raw(Some(wire.content_type()), &b"\x0a\x63\x08"[..]),
        ),
        ("202", accepted(202)),
        ("204", accepted(204)),
    ]
    .map(|(what, answer)| Case::new(wire, what, [answer], Expect::Once))
    .into()
}

fn messages(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "the message stands in the command's output";
    let status = Status::new(GrpcCode::InvalidArgument, MESSAGE);
    [
        ("application/x-protobuf", status.encode()),
        ("application/json", status.encode_json()),
    ]
    .map(|(kind, body)| {
        let refusal = Answer::Http {
            status: 400,
            headers: Vec::new(),
            body: Content::Raw(Some(kind), body),
        };
        Case::new(
            wire,
            kind,
            [refusal],
            Expect::Finding(WORDS, tells_the_message),
        )
    })
    .into()
}

fn tells_the_message(seen: &Seen) -> Result<String, String> {
    let output = seen.end.as_ref().map_or("", |end| end.output.as_str());
    match output.contains(MESSAGE) {
        true => Ok(String::new()),
        false => Err("output without it".to_owned()),
    }
}

fn too_large(wire: Wire) -> Vec<Case> {
    let mut large = response::partial_success(1, "").to_vec();
    if wire == Wire::HttpJson {
        let padding = " ".repeat(TOO_LARGE);
        large = format!("{{{padding}}}").into_bytes();
    } else {
        // A field that no message has, and that is skipped by who reads this far.
        let length = TOO_LARGE as u32;
        large.extend([0xfa, 0x7f]);
        large.extend([0, 7, 14, 21].map(|shift| (length >> shift) as u8 & 0x7f | 0x80));
        if let Some(last) = large.last_mut() {
            *last &= 0x7f;
        }
        large.resize(large.len() + TOO_LARGE, 0);
    }
    let large = Bytes::from(large);
    if wire == Wire::Grpc {
        let answers = [Answer::Message(large)];
        return vec![Case::new(wire, "a message of 5 MiB", answers, Expect::Once)];
    }
    let success = Answer::raw(Some(wire.content_type()), large.clone());
    let failure = Answer::Http {
        status: 503,
        headers: Vec::new(),
        body: Content::Raw(Some(wire.content_type()), large.clone()),
    };
    let packed = Answer::Http {
        status: 200,
        headers: vec![("content-encoding", Field::Text("gzip"))],
        body: Content::Raw(Some(wire.content_type()), gzip(&large)),
    };
    vec![
        Case::new(wire, "200 with 5 MiB", [success], Expect::Once),
        Case::new(wire, "503 with 5 MiB", [failure], Expect::Once),
        Case::new(wire, "200 with 5 MiB in gzip", [packed], Expect::Once),
    ]
}

fn compressed(wire: Wire) -> Vec<Case> {
    const WORDS: &str = "they do not come again";
    let body = match wire {
        Wire::HttpJson => Bytes::from_static(b"{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}"),
        _ => response::partial_success(1, "one item is not taken"),
    };
    let answer = Answer::Http {
        status: 200,
        headers: vec![("content-encoding", Field::Text("gzip"))],
        body: Content::Raw(Some(wire.content_type()), gzip(&body)),
    };
    let expect = Expect::Finding(WORDS, reads_gzip);
    vec![Case::new(
        wire,
        "a partial success in gzip",
        [answer],
        expect,
    )]
}

fn reads_gzip(seen: &Seen) -> Result<String, String> {
    let accepts = seen
        .arrivals
        .first()
        .and_then(|first| first.header("accept-encoding"));
    if !accepts.is_some_and(|accepts| accepts.contains("gzip")) {
        return Ok("the client does not ask for gzip".to_owned());
    }
    match seen.arrivals.len() {
        1 => Ok(String::new()),
        _ => Err("they came again, though the client asks for gzip".to_owned()),
    }
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Memory takes all that is written.
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(packed) => packed.into(),
        Err(_) => Bytes::new(),
    }
}
