//! Numbers, text and bytes as JSON values.

use serde::Serialize;

use super::plain::plain;
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
        Type::Bool => bare(raw != 0, out),
        Type::Int32 | Type::Enum => bare(raw as i32, out),
        Type::Uint32 | Type::Fixed32 => bare(raw as u32, out),
        Type::Sint32 => bare(unzigzag(raw as u32), out),
        Type::Int64 | Type::Sfixed64 => quoted(raw as i64, out),
        Type::Double => double(f64::from_bits(raw), out),
        // Text and messages are no numbers.
        _ => quoted(raw, out),
    }
}

/// Text or bytes, in quotes.
pub(super) fn bytes(meaning: Type, bytes: &[u8], out: &mut Vec<u8>) {
    match meaning {
        Type::String => match simdutf8::basic::from_utf8(bytes) {
            Ok(_) => text(bytes, out),
            Err(_) => text(String::from_utf8_lossy(bytes).as_bytes(), out),
        },
        Type::Id(_) | Type::Hex => {
            let digits = |byte: &u8| [byte >> 4, byte & 15].map(hex_digit);
            out.push(b'"');
            out.extend(bytes.iter().flat_map(digits));
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

/// UTF-8 in quotes.
fn text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (as_it_is, more) = rest.split_at_checked(plain(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(as_it_is);
        let Some((byte, more)) = more.split_first() else {
            break;
        };
        escape(*byte, out);
        rest = more;
    }
    out.push(b'"');
}

/// A character that does not stand in a string as it is.
fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\x08' => b'b',
        b'\x0c' => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].map(hex_digit));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
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
        bare(number, out);
    }
}

fn quoted(number: impl Serialize, out: &mut Vec<u8>) {
    out.push(b'"');
    bare(number, out);
    out.push(b'"');
}

fn bare(value: impl Serialize, out: &mut Vec<u8>) {
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
