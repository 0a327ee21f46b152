//! What stands at the end of a file that is to be written on: a crash may have cut the last piece
//! short.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::de::IgnoredAny;

use super::encode::{self, GZIP_FRONT, ZSTD_FRONT};
use crate::net::compression::Encoding;
use crate::otlp::Format;

/// What is at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It can be written on.
    Whole,
    /// A line break is missing, but for that it can.
    NoBreak,
    /// It is whole up to here, and what follows was cut short as it was written.
    Torn(u64),
    /// It is none of ours, or something else has written to it: where to go on cannot be told.
    Foreign,
}

/// What is read at a time while the last line break is sought.
const BLOCK: usize = 64 << 10;

/// The longest piece that is believed.
const LONGEST: u64 = 256 << 20;

/// What every line begins with.
const LINE: &[u8] = b"{\"resource";

/// Looks at the end of a file of this length.
pub(super) fn of(
    file: &File,
    length: u64,
    format: Format,
    encoding: Option<Encoding>,
) -> io::Result<Tail> {
    match (encoding, format) {
        (None, Format::Json) => lines(file, length),
        (None, Format::Protobuf) => pieces(file, length, 5, &message),
        (Some(Encoding::Gzip), _) => pieces(file, length, GZIP_FRONT, &|front| {
            encode::length(Encoding::Gzip, front)
        }),
        (Some(Encoding::Zstd), _) => pieces(file, length, ZSTD_FRONT, &|front| {
            encode::length(Encoding::Zstd, front)
        }),
    }
}

/// The length of the piece that begins with these four bytes and the first of a message, which is
/// of a field 1 or 2 with a length: in a file of something else they would not be.
fn message(front: &[u8]) -> Option<u64> {
    let length = front.first_chunk::<4>()?;
    let length = u64::from(u32::from_be_bytes(*length));
    let begins = matches!(front.get(4), None | Some(0x0a | 0x12)) && length > 0;
    (begins && length <= LONGEST).then_some(4 + length)
}

/// Goes from piece to piece by their lengths.
fn pieces(
    file: &File,
    length: u64,
    front: usize,
    length_of: &dyn Fn(&[u8]) -> Option<u64>,
) -> io::Result<Tail> {
    let mut at = 0;
    let mut bytes = vec![0; front];
    while at < length {
        let there = usize::try_from(length - at).unwrap_or(usize::MAX);
        if there < front {
            return Ok(Tail::Torn(at));
        }
        file.read_exact_at(&mut bytes, at)?;
        match length_of(&bytes) {
            None => return Ok(Tail::Foreign),
            Some(piece) if piece > length - at => return Ok(Tail::Torn(at)),
            Some(piece) => at += piece.max(1),
        }
    }
    Ok(Tail::Whole)
}

/// Looks for the last line break.
fn lines(file: &File, length: u64) -> io::Result<Tail> {
    let mut block = vec![0; BLOCK];
    let mut from = length;
    while from > 0 {
        let size = from.min(BLOCK as u64);
        from -= size;
        let block = block
            .get_mut(..usize::try_from(size).unwrap_or(BLOCK))
            .unwrap_or_default();
        file.read_exact_at(block, from)?;
        if let Some(at) = memchr::memrchr(b'\n', block) {
            return last_line(file, from + at as u64 + 1, length);
        }
    }
    last_line(file, 0, length)
}

/// What follows the last line break is what was cut short, if it begins as our lines do and is no
/// whole line by itself.
fn last_line(file: &File, start: u64, length: u64) -> io::Result<Tail> {
    let rest = length - start;
    if rest == 0 {
        return Ok(Tail::Whole);
    }
    let mut begin = vec![0; usize::try_from(rest).unwrap_or(usize::MAX).min(LINE.len())];
    file.read_exact_at(&mut begin, start)?;
    if !LINE.starts_with(&begin) || rest > LONGEST {
        return Ok(Tail::NoBreak);
    }
    let mut line = vec![0; usize::try_from(rest).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut line, start)?;
    Ok(match serde_json::from_slice::<IgnoredAny>(&line) {
        Ok(_) => Tail::NoBreak,
        Err(_) => Tail::Torn(start),
    })
}
