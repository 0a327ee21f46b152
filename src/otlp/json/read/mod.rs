//! The bytes of a request out of OTLP/JSON, written as it is read.
//!
//! It takes what Google's parsers of protobuf's JSON mapping take, with OTLP's exceptions (OTLP
//! 1.11, "JSON Protobuf Encoding"). Fields that we do not know are passed over, `null` is the same
//! as absence, numbers may stand in strings, and a whole number may have a fraction of zeros or an
//! exponent. Ids are in hexadecimal, enums are numbers, and names in snake_case are names that we
//! do not know. Where a key stands more than once in an object, its last value counts. Two members
//! of a `oneof` are an error, as is what Python alone would take: an object in the shape of a
//! list, say, or `true` for 1.
//!
//! What it takes and what it refuses is compared with Google's parser in `tests/json_oracle.rs`.

use self::cursor::Cursor;
use self::error::Stop;
use self::message::Reader;
use self::output::Output;
use super::super::Signal;
use super::super::schema::{self, Message};
use super::super::wire::MAX_DEPTH;

mod cursor;
mod error;
mod message;
mod output;
mod scalar;
#[cfg(test)]
mod tests;

pub use error::{JsonError, Problem};

/// Appends to `out` what the text, one JSON object, is in binary protobuf.
///
/// # Errors
/// See [`JsonError`]; then nothing is appended.
pub fn read(signal: Signal, text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    read_within(signal, text, out, &mut |_| true)
}

/// The same, for those who pay for `out`: `room` is asked before it grows to a capacity of so many
/// bytes, and says whether it may.
///
/// # Errors
/// As for [`read`], and [`Problem::NoRoom`].
pub fn read_within(
    signal: Signal,
    text: &[u8],
    out: &mut Vec<u8>,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<(), JsonError> {
    read_message(schema::request(signal), text, out, room)
}

/// How many bytes a text of this length becomes, or a little more, as a rule: the usual requests
/// become half as long. Lists of small numbers can become four times as long.
pub const fn expected(text: usize) -> usize {
    text / 8 * 5 + 64
}

/// Reads any of the messages that we know.
pub(in crate::otlp) fn read_message(
    schema: &'static Message,
    text: &[u8],
    out: &mut Vec<u8>,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<(), JsonError> {
    let start = out.len();
    try_read(schema, text, out, room).map_err(|stop| {
        out.truncate(start);
        stop.told(text)
    })
}

fn try_read(
    schema: &'static Message,
    text: &[u8],
    out: &mut Vec<u8>,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<(), Box<Stop>> {
    // Once for all strings, known or not.
    simdutf8::compat::from_utf8(text)
        .map_err(|error| Stop::text(error.valid_up_to(), "is not JSON: it is not UTF-8"))?;
    let mut reader = Reader {
        cursor: Cursor::new(text),
        out: Output { bytes: out, room },
    };
    reader.out.reserve(expected(text.len()))?;
    if reader.cursor.space() != b'{' {
        return Err(reader.cursor.stop("must be a JSON object"));
    }
    reader.object(schema, MAX_DEPTH)?;
    reader.cursor.space();
    if !reader.cursor.rest().is_empty() {
        return Err(reader.cursor.stop("is followed by something else"));
    }
    Ok(())
}
