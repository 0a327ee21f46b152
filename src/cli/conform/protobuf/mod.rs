//! Family P: how protobuf is decoded, and the rules of the data in it.

mod decoding;
mod kept;
mod rules;

use super::data::{self, id};
use super::line::Check;
use super::sent::Case;
use crate::cli::bench::wire::{put_bytes, put_message};
use crate::otlp::Signal;

/// Its lines.
pub(super) const TABLES: &[&[Check]] = &[decoding::LINES, rules::LINES, kept::LINES];

const ENCODING: &str = "Protocol Buffers, Encoding";
const FUTURE: &str = "OTLP 1.11 \"Future Versions and Interoperability\"";
const FAILURES: &str = "OTLP 1.11 \"Bad Data\"";

/// The signal of most of these lines.
const SPANS: Signal = Signal::Traces;

/// A request for one span with these bytes after its own fields.
fn span_and(more: &[u8]) -> Vec<u8> {
    let mut span = data::span(&id::<16>(), 1);
    span.extend_from_slice(more);
    data::of_items(SPANS, &[span])
}

/// A request for one span with an attribute `k` of this AnyValue.
fn attribute(value: &[u8]) -> Vec<u8> {
    let mut pair = Vec::new();
    put_message(&mut pair, 9, |pair| {
        put_bytes(pair, 1, b"k");
        put_bytes(pair, 2, value);
    });
    span_and(&pair)
}

/// A field of this number, written by `write`, as bytes.
fn fields(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// The request of one metric, whose `data` stands in this field.
fn metric(number: u64, data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let metric = fields(|metric| {
        put_bytes(metric, 1, b"otlpd.conform.metric");
        put_message(metric, number, data);
    });
    data::of_items(Signal::Metrics, &[metric])
}

/// One case of a table.
const fn case(what: &'static str, body: Vec<u8>) -> Case {
    (what, body)
}
