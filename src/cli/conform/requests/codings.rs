//! H24 to H33: compression, of requests and of answers.

use std::io::{Read, Write};
use std::sync::Arc;

use super::{expect_ok, failures};
use crate::cli::conform::data;
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, noted, pass, skip,
};
use crate::cli::conform::probe::{Ask, Probe};
use crate::cli::conform::wire::http1::Answer;

const COMPRESSION: &str = "OTLP 1.11 \"Protocol Details\" (server components)";
const BAD_DATA: &str = "OTLP 1.11 \"Bad Data\"";
const CODINGS: &str = "RFC 9110 section 8.4.1";

pub(super) const LINES: &[Check] = &[
    check!(Must "H24", "Content-Encoding: gzip is taken", COMPRESSION, gzip),
    check!(Choice "H25", "Content-Encoding: identity, or empty, means none", "RFC 9110 section 8.4", identity),
    check!(Must "H26", "the name of a coding is read without regard to case (GZIP)", CODINGS, upper_case),
    check!(Should "H26b", "x-gzip means gzip", "RFC 9110 section 8.4.1.3", x_gzip),
    check!(Must "H27", "an unknown coding is refused for good, never taken for none", BAD_DATA, unknown),
    check!(Choice "H27b", "that is 415, with Accept-Encoding in which gzip stands",
        "RFC 9110 section 15.5.16", unsupported),
    check!(Choice "H28", "zstd, where it is taken, has a bounded window", "RFC 8878 section 3.1.1.1.2", zstd_window),
    check!(Must "H29", "gzip that is none is answered 400", BAD_DATA, not_gzip),
    check!(Must "H30", "gzip that is cut off, or whose checksum is wrong, is answered 400", BAD_DATA, damaged),
    check!(Must "H31", "all members of a gzip are read, not only the first", "RFC 1952 section 2.2", members),
    check!(Choice "H32", "what follows the last member is answered 400", "otlpd's choice", trailing),
    check!(Must "H33", "an answer that says Content-Encoding: gzip is gzip",
        "OTLP 1.11 \"OTLP/HTTP Response\"", answers),
    check!(Choice "H33b", "answers are not compressed for who did not ask for it",
        "OTLP 1.11 \"OTLP/HTTP Response\"", unasked),
];

/// A request with this coding, of bytes that are coded already.
async fn coded(probe: &Probe, coding: &str, body: Vec<u8>) -> Result<Answer, Verdict> {
    let ask = Ask::protobuf(probe.any_signal(), body).with("content-encoding", coding);
    probe.ask(&ask).await
}

fn plain(probe: &Probe) -> Vec<u8> {
    data::request(probe.any_signal(), 20)
}

async fn gzip(probe: Arc<Probe>) -> Checked {
    for signal in probe.known.signals.clone() {
        let body = data::gzip(&data::request(signal, 20));
        let ask = Ask::protobuf(signal, body).with("content-encoding", "gzip");
        expect_ok(signal, &probe.ask(&ask).await?)?;
    }
    pass()
}

async fn identity(probe: Arc<Probe>) -> Checked {
    for coding in ["identity", ""] {
        let answer = coded(&probe, coding, plain(&probe)).await?;
        expect(
            answer.code == 200,
            "200",
            format!("{} to {coding:?}", answer.told()),
        )?;
    }
    pass()
}

async fn taken_as_gzip(probe: &Probe, coding: &str) -> Checked {
    let answer = coded(probe, coding, data::gzip(&plain(probe))).await?;
    expect(answer.code == 200, "200", answer.told())?;
    pass()
}

async fn upper_case(probe: Arc<Probe>) -> Checked {
    taken_as_gzip(&probe, "GZIP").await
}

async fn x_gzip(probe: Arc<Probe>) -> Checked {
    taken_as_gzip(&probe, "x-gzip").await
}

async fn unknown(probe: Arc<Probe>) -> Checked {
    let answer = coded(&probe, "otlpd-conform", plain(&probe)).await?;
    let for_good = (400..500).contains(&answer.code) && answer.code != 429;
    expect(for_good, "415, or 400", answer.told())?;
    noted(answer.code.to_string())
}

async fn unsupported(probe: Arc<Probe>) -> Checked {
    let answer = coded(&probe, "otlpd-conform", plain(&probe)).await?;
    expect(answer.code == 415, "415", answer.told())?;
    let listed = answer.list("accept-encoding");
    let has_gzip = listed.iter().any(|name| name == "gzip");
    expect(has_gzip, "Accept-Encoding with gzip", listed.join(", "))?;
    pass()
}

/// A zstd frame with a window of 2 to the power of this many bytes.
fn zstd(plain: &[u8], window_log: u32) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1)?;
    encoder.window_log(window_log)?;
    encoder.write_all(plain)?;
    encoder.finish()
}

async fn zstd_window(probe: Arc<Probe>) -> Checked {
    let broken = |error: std::io::Error| failed("a zstd frame", error.to_string());
    let usual = zstd(&plain(&probe), 20).map_err(broken)?;
    let answer = coded(&probe, "zstd", usual).await?;
    if !answer.is_success() {
        return skip(format!("zstd is not taken ({})", answer.code));
    }
    let wide = zstd(&plain(&probe), 27).map_err(broken)?;
    let answer = coded(&probe, "zstd", wide).await?;
    let refused = (400..500).contains(&answer.code);
    expect(refused, "4xx for a window of 128 MiB", answer.told())?;
    pass()
}

async fn not_gzip(probe: Arc<Probe>) -> Checked {
    let answer = coded(&probe, "gzip", plain(&probe)).await?;
    expect(answer.code == 400, "400", answer.told())?;
    pass()
}

async fn damaged(probe: Arc<Probe>) -> Checked {
    let whole = data::gzip(&plain(&probe));
    let mut cut_off = whole.clone();
    cut_off.truncate(whole.len() - 12);
    let mut wrong_sum = whole;
    let at = wrong_sum.len() - 8;
    if let Some(byte) = wrong_sum.get_mut(at) {
        *byte ^= 0xff;
    }
    for (what, body) in [("cut off", cut_off), ("with a wrong checksum", wrong_sum)] {
        let answer = coded(&probe, "gzip", body).await?;
        expect(
            answer.code == 400,
            "400",
            format!("{} to gzip {what}", answer.told()),
        )?;
    }
    pass()
}

async fn members(probe: Arc<Probe>) -> Checked {
    let plain = plain(&probe);
    // The cut is inside of a message: the first member alone is no request.
    let (first, second) = plain.split_at(plain.len() / 2);
    let body = [data::gzip(first), data::gzip(second)].concat();
    let answer = coded(&probe, "gzip", body).await?;
    expect(answer.code == 200, "200", answer.told())?;
    pass()
}

async fn trailing(probe: Arc<Probe>) -> Checked {
    let mut body = data::gzip(&plain(&probe));
    body.extend_from_slice(b"otlpd conform");
    let answer = coded(&probe, "gzip", body).await?;
    expect(answer.code == 400, "400", answer.told())?;
    pass()
}

async fn unasked(probe: Arc<Probe>) -> Checked {
    let failing = failures::sure_to_fail(probe.any_signal());
    let answer = probe.ask(&failing).await?;
    let coding = answer.header("content-encoding").unwrap_or_default();
    expect(coding.is_empty(), "no content-encoding", coding)?;
    pass()
}

async fn answers(probe: Arc<Probe>) -> Checked {
    let failing = failures::sure_to_fail(probe.any_signal());
    let answer = probe.ask(&failing.with("accept-encoding", "gzip")).await?;
    match answer.header("content-encoding") {
        None => noted("answers are not compressed"),
        Some("gzip") => {
            let mut plain = Vec::new();
            let read = flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain);
            read.map_err(|error| failed("gzip", error.to_string()))?;
            noted("answers are compressed")
        }
        Some(other) => Err(failed("gzip, or none", other)),
    }
}
