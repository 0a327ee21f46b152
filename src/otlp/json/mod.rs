//! OTLP/JSON out of the bytes of a request, and back, without decoding it.
//!
//! It is protobuf's JSON mapping with OTLP's exceptions (OTLP 1.11, "JSON Protobuf Encoding"):
//! names in lowerCamelCase, ids in lower-case hexadecimal, enums as numbers; 64-bit integers as
//! strings, other bytes in base64, `"NaN"` and `"Infinity"` as strings. Left out are fields that
//! we do not know and those that have their default; a member of a `oneof` and an `optional`
//! field are written whenever they are there. A field that lies on the wire more than once means
//! what it means to every parser: the last number counts, messages are merged, lists are joined.

use super::Signal;
use super::schema::{self, Message};
use super::wire::{Fault, MAX_DEPTH};

mod gather;
mod object;
mod plain;
mod read;
mod value;

pub(in crate::otlp) use read::read_message;
pub use read::{JsonError, Problem, expected, read, read_within};

/// Appends the request as one JSON object in one line, without a line feed.
///
/// Text that is not UTF-8, which full validation lets nobody send, is written with U+FFFD in
/// place of what cannot be read. Profile ids are in hexadecimal like the ids that the
/// specification names, since that is what the OpenTelemetry Collector writes and reads.
///
/// # Errors
/// The framing of the request is damaged, which [`walk`](super::walk::walk) finds as well; then
/// nothing is appended.
pub fn write(signal: Signal, request: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    write_merged(signal, &[request], out)
}

/// The same for requests that are one if their bytes stand one after the other.
///
/// # Errors
/// As for [`write()`].
pub fn write_merged(signal: Signal, requests: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Fault> {
    write_message(schema::request(signal), requests, out)
}

/// Writes any of the messages that we know, which may lie in pieces.
pub(in crate::otlp) fn write_message(
    schema: &Message,
    pieces: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    object::write(schema, pieces, MAX_DEPTH, out).inspect_err(|_| out.truncate(start))
}

#[cfg(test)]
mod tests;
