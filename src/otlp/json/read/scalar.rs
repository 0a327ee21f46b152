//! Numbers, text and bytes out of JSON values.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::cursor::{Cursor, Piece};
use super::error::{Read, Stop};
use crate::otlp::schema::Type;

const INTEGER: &str = "must be a whole number that its type can hold, or a string of one";
const RANGE: &str = "is beyond the largest number of its type";
const DOUBLE: &str = "must be a number, or a string of one, \"NaN\", \"Infinity\" or \"-Infinity\"";
const BOOL: &str = "must be true or false";
pub(super) const STRING: &str = "must be a string";
const SURROGATE: &str = "has half of a surrogate pair without the other";

/// Longer strings than that are not copied, in bytes.
const LONGEST_COPY: usize = 1024;

/// A whole number: whether it is negative, and how large it is.
type Integer = (bool, u64);

/// A number or a truth value, as it is on the wire.
pub(super) fn number(cursor: &mut Cursor<'_>, meaning: Type) -> Read<u64> {
    let at = cursor.at();
    let raw = match meaning {
        Type::Double => return double(cursor).map(f64::to_bits),
        Type::Bool => return truth(cursor).map(u64::from),
        Type::Uint64 | Type::Fixed64 => unsigned(integer(cursor)?),
        Type::Uint32 | Type::Fixed32 => {
            unsigned(integer(cursor)?).filter(|raw| u32::try_from(*raw).is_ok())
        }
        Type::Sint32 => {
            let value = signed(integer(cursor)?).and_then(|value| i32::try_from(value).ok());
            value.map(|value| u64::from((value << 1 ^ value >> 31).cast_unsigned()))
        }
        // Negative ones have ten bytes, whatever their type.
        Type::Int32 => int32(integer(cursor)?),
        Type::Enum => int32(enumerator(cursor)?),
        _ => signed(integer(cursor)?).map(i64::cast_unsigned),
    };
    raw.ok_or_else(|| Stop::text(at, INTEGER))
}

fn unsigned((negative, magnitude): Integer) -> Option<u64> {
    (!negative || magnitude == 0).then_some(magnitude)
}

fn signed((negative, magnitude): Integer) -> Option<i64> {
    if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

fn int32(value: Integer) -> Option<u64> {
    let value = signed(value).filter(|value| i32::try_from(*value).is_ok());
    value.map(i64::cast_unsigned)
}

/// A string is digits alone: anything else in it would be a name.
fn enumerator(cursor: &mut Cursor<'_>) -> Read<Integer> {
    let start = *cursor;
    let value = integer(cursor)?;
    let mut again = start;
    if start.peek() == b'"'
        && short(&mut again, INTEGER)?
            .iter()
            .any(|byte| b".eE".contains(byte))
    {
        return Err(start.stop(INTEGER));
    }
    Ok(value)
}

fn truth(cursor: &mut Cursor<'_>) -> Read<bool> {
    if cursor.take(b"true") {
        Ok(true)
    } else if cursor.take(b"false") {
        Ok(false)
    } else {
        Err(cursor.stop(BOOL))
    }
}

/// A number or a string, with a fraction of zeros or an exponent perhaps.
fn integer(cursor: &mut Cursor<'_>) -> Read<Integer> {
    let start = *cursor;
    match cursor.peek() {
        b'"' => {
            cursor.step();
            if let Some(value) = digits(cursor)
                && cursor.peek() == b'"'
            {
                cursor.step();
                return Ok(value);
            }
            *cursor = start;
            let text = short(cursor, INTEGER)?;
            quoted_integer(&text).ok_or_else(|| start.stop(INTEGER))
        }
        b'-' | b'0'..=b'9' => {
            if let Some(value) = digits(cursor)
                && !matches!(cursor.peek(), b'.' | b'e' | b'E' | b'0'..=b'9')
            {
                return Ok(value);
            }
            *cursor = start;
            let text = cursor.number()?;
            float(text)
                .and_then(whole)
                .ok_or_else(|| start.stop(INTEGER))
        }
        _ => Err(start.stop(INTEGER)),
    }
}

/// Digits with no sign but a minus; no more of them than a number of 64 bits can have, and no
/// zero in front. `None` is for what is to be looked at more closely.
#[inline(always)]
fn digits(cursor: &mut Cursor<'_>) -> Option<Integer> {
    let negative = cursor.peek() == b'-';
    if negative {
        cursor.step();
    }
    let start = cursor.at();
    let first = cursor.peek();
    let mut value = 0_u64;
    while let Some(eight) = cursor.rest().first_chunk().copied().and_then(eight_digits) {
        value = value.checked_mul(100_000_000)?.checked_add(eight)?;
        (0..8).for_each(|_| cursor.step());
    }
    while let digit @ b'0'..=b'9' = cursor.peek() {
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        cursor.step();
    }
    match (first, cursor.at() - start) {
        (_, 0) | (b'0', 2..) => None,
        _ => Some((negative, value)),
    }
}

/// The value of eight digits: pairs are made of digits, fours of pairs, and all of the fours.
#[inline(always)]
fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let word = u64::from_le_bytes(bytes);
    let is_digits =
        word & HIGH == ZEROS && word.wrapping_add(0x0606_0606_0606_0606) & HIGH == ZEROS;
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(10) + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let eight = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
    is_digits.then_some(eight)
}

/// What may stand in a string is a little more: a plus, and zeros in front.
fn quoted_integer(text: &[u8]) -> Option<Integer> {
    let is_plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    if !text.iter().all(is_plain) {
        return None;
    }
    let (negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if !magnitude.is_empty() && magnitude.iter().all(u8::is_ascii_digit) {
        let magnitude = std::str::from_utf8(magnitude).ok()?.parse();
        return magnitude.ok().map(|magnitude| (negative, magnitude));
    }
    float(text).and_then(whole)
}

fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `None` where it is not whole, or beyond 64 bits.
fn whole(value: f64) -> Option<Integer> {
    // 2 to the power of 64 is the first that does not fit.
    let fits = value.fract() == 0.0 && value.abs() < 18_446_744_073_709_551_616.0;
    fits.then_some((value < 0.0, value.abs() as u64))
}

fn double(cursor: &mut Cursor<'_>) -> Read<f64> {
    let start = *cursor;
    match cursor.peek() {
        b'"' => {
            let text = short(cursor, DOUBLE)?;
            quoted_double(&text).ok_or_else(|| start.stop(DOUBLE))
        }
        b'-' | b'0'..=b'9' => {
            let value = float(cursor.number()?).filter(|value| value.is_finite());
            value.ok_or_else(|| start.stop(RANGE))
        }
        _ => Err(start.stop(DOUBLE)),
    }
}

/// As Google's parsers have it: other spellings of infinity and white space around it are taken,
/// and one spelling of NaN is not.
fn quoted_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if text == "nan" {
        return None;
    }
    let value: f64 = text.trim().parse().ok()?;
    Some(if value.is_nan() { f64::NAN } else { value })
}

/// A string with its escapes undone. One that has any is copied, and only if it is short: nobody
/// pays for the copy, and a number or a name is never long.
pub(super) fn short<'a>(cursor: &mut Cursor<'a>, otherwise: &'static str) -> Read<Cow<'a, [u8]>> {
    let start = *cursor;
    open(cursor, otherwise)?;
    match cursor.piece()? {
        Piece::Whole(text) => Ok(Cow::Borrowed(text)),
        Piece::Escaped(first) => {
            let mut text = SmallVec::<[u8; 64]>::new();
            let mut add = |piece: &[u8]| {
                if text.len() + piece.len() > LONGEST_COPY {
                    return Err(start.stop(otherwise));
                }
                text.extend_from_slice(piece);
                Ok(())
            };
            add(first)?;
            unescape(cursor, &mut add)?;
            Ok(Cow::Owned(text.into_vec()))
        }
    }
}

/// Goes over an opening quote.
#[inline(always)]
pub(super) fn open(cursor: &mut Cursor<'_>, otherwise: &'static str) -> Read {
    if cursor.peek() != b'"' {
        return Err(cursor.stop(otherwise));
    }
    cursor.step();
    Ok(())
}

/// Reads a string from an escape in it to its end.
pub(super) fn unescape(cursor: &mut Cursor<'_>, each: &mut dyn FnMut(&[u8]) -> Read) -> Read {
    loop {
        let at = cursor.at();
        let Ok(character) = cursor.escape()? else {
            return Err(Stop::text(at, SURROGATE));
        };
        each(character.encode_utf8(&mut [0; 4]).as_bytes())?;
        match cursor.piece()? {
            Piece::Whole(rest) => return each(rest),
            Piece::Escaped(piece) => each(piece)?,
        }
    }
}

/// How JSON has bytes in a string.
#[derive(Clone, Copy)]
pub(super) enum Code {
    /// Two hexadecimal digits for each byte, in upper or lower case.
    Hex,
    /// The standard alphabet or the URL-safe one, with or without padding.
    Base64,
}

impl Code {
    pub(super) const fn of(meaning: Type) -> Self {
        match meaning {
            Type::Id(_) | Type::Hex => Self::Hex,
            _ => Self::Base64,
        }
    }

    /// What is wrong with a value that is not written so.
    pub(super) const fn problem(self) -> &'static str {
        match self {
            Self::Hex => "must be an id of hexadecimal digits, two for each byte",
            Self::Base64 => "must be a string in base64",
        }
    }

    /// The digits of a text without its padding, if they are all that it is made of.
    #[inline(always)]
    pub(super) fn digits(self, text: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Hex => {
                let fits = text.len().is_multiple_of(2) && are_all(text, u8::is_ascii_hexdigit);
                fits.then_some(text)
            }
            Self::Base64 => {
                let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
                let digits = text.get(..text.len() - padding)?;
                let is_digit = |digit: &u8| sextet(*digit).is_some();
                let fits = digits.len() % 4 != 1 && are_all(digits, is_digit);
                fits.then_some(digits)
            }
        }
    }

    /// How many bytes so many digits make.
    pub(super) const fn bytes(self, digits: usize) -> usize {
        match self {
            Self::Hex => digits / 2,
            Self::Base64 => digits / 4 * 3 + digits % 4 * 3 / 4,
        }
    }

    /// The bytes that up to four digits make, all of which are good.
    #[inline(always)]
    pub(super) fn decode(self, digits: &[u8]) -> impl Iterator<Item = u8> + use<> {
        let (width, value): (usize, fn(u8) -> u8) = match self {
            Self::Hex => (4, nibble),
            Self::Base64 => (6, |digit| sextet(digit).unwrap_or(0)),
        };
        let place = |bits, digit: &u8| bits << width | u32::from(value(*digit));
        let bits: u32 = digits.iter().fold(0, place);
        let left = bits << (32 - width * digits.len().clamp(1, 4));
        left.to_be_bytes()
            .into_iter()
            .take(self.bytes(digits.len()))
    }
}

/// Looks at every byte, since all are good as a rule, and several can be looked at at once.
#[inline(always)]
fn are_all(text: &[u8], good: impl Fn(&u8) -> bool) -> bool {
    text.iter().fold(true, |all, byte| all & good(byte))
}

/// The byte that two hexadecimal digits make.
#[inline(always)]
pub(super) const fn byte([high, low]: [u8; 2]) -> u8 {
    nibble(high) << 4 | nibble(low)
}

/// Letters have the same four bits in both cases, and come nine behind their digit.
#[inline(always)]
const fn nibble(digit: u8) -> u8 {
    (digit & 0x0f) + 9 * (digit >> 6)
}

const fn sextet(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
