//! Numbers, text and bytes as JSON values.

use serde::Serialize;

use crate::otlp::schema::Type;
use crate::otlp::status::base64;

/// Whether it is what a field without presence is when it is absent. The zero of doubles is the
/// positive one alone.
pub(super) const fn is_zero(meaning: Type, raw: u64) -> bool {
    match meaning {
        Type::Int32 | Type::Uint32 | Type::Sint32 | Type::Enum => raw as u32 == 0,
        _ => raw == 0,
    }
}

/// A number, as it was on the wire. What is wider than its type loses its upper bits, as in
/// every parser.
pub(super) fn number(meaning: Type, raw: u64, out: &mut Vec<u8>) {
    match meaning {
        Type::Bool => plain(raw != 0, out),
        Type::Int32 | Type::Enum => plain(raw as i32, out),
        Type::Uint32 | Type::Fixed32 => plain(raw as u32, out),
        Type::Sint32 => plain(unzigzag(raw as u32), out),
        Type::Int64 | Type::Sfixed64 => quoted(raw as i64, out),
        Type::Double => double(f64::from_bits(raw), out),
        // Text and messages are no numbers.
        _ => quoted(raw, out),
    }
}

/// Text or bytes, in quotes.
pub(super) fn bytes(meaning: Type, bytes: &[u8], out: &mut Vec<u8>) {
    match meaning {
        Type::String => plain(String::from_utf8_lossy(bytes), out),
        Type::Id(_) | Type::Hex => {
            out.push(b'"');
            for byte in bytes {
                out.extend([byte >> 4, byte & 15].map(hex_digit));
            }
            out.push(b'"');
        }
        _ => {
            let text = base64::encode(bytes);
            let padding = text.len().next_multiple_of(4) - text.len();
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.extend(std::iter::repeat_n(b'=', padding));
            out.push(b'"');
        }
    }
}

/// In the fewest digits that are read back as the same number.
fn double(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if number.is_infinite() {
        let text: &[u8] = match number > 0.0 {
            true => b"\"Infinity\"",
            false => b"\"-Infinity\"",
        };
        out.extend_from_slice(text);
    } else {
        plain(number, out);
    }
}

fn quoted(number: impl Serialize, out: &mut Vec<u8>) {
    out.push(b'"');
    plain(number, out);
    out.push(b'"');
}

fn plain(value: impl Serialize, out: &mut Vec<u8>) {
    // Writing to memory does not fail, and these types have no error of their own.
    serde_json::to_writer(out, &value).ok();
}

const fn hex_digit(half: u8) -> u8 {
    match half {
        0..10 => b'0' + half,
        _ => b'a' + half - 10,
    }
}

const fn unzigzag(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}
