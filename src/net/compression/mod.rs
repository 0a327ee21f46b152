//! gzip and zstd, and deflate where it comes in; bounded while inflating: the output never grows
//! past a limit, nor ahead of what the memory budget granted.
//!
//! What was chosen, and on what (443 kB of OTLP spans, ratio 8.4; MB/s of plain bytes per CPU
//! second on one core of the machine that measured; ranks, not promises):
//!
//! | task | chosen | instead of |
//! |---|---|---|
//! | inflate gzip | libdeflate 4,430 | zlib-rs through flate2's reader 1,700 |
//! | deflate gzip, level 1 | zlib-rs 725, takes chunks | libdeflate 676, 11 % smaller, one slice |
//! | inflate deflate, which is rare | zlib-rs, which is there anyway | |
//! | inflate zstd | libzstd 4,500 | |
//! | deflate zstd, level 1 | libzstd 1,550 | |
//!
//! State is kept per thread: with bodies of 9 kB that saves zstd two thirds of its time, and
//! gzip a fifth to a third.

use std::fmt;

use bytes::Bytes;

mod gzip;
mod zlib;
mod zstd;

/// How we compress a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
}

impl Encoding {
    /// The word for it in `Content-Encoding` and `grpc-encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How a body that comes is compressed: as we do it ourselves, or as some clients choose to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
    /// RFC 1950, one stream: what HTTP and gRPC call deflate (RFC 9110 section 8.4.1.2).
    Deflate,
}

impl Coding {
    /// The same, where we compress so ourselves.
    pub const fn encoding(self) -> Option<Encoding> {
        match self {
            Self::Gzip => Some(Encoding::Gzip),
            Self::Zstd => Some(Encoding::Zstd),
            Self::Deflate => None,
        }
    }
}

impl From<Encoding> for Coding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Gzip => Self::Gzip,
            Encoding::Zstd => Self::Zstd,
        }
    }
}

/// A coding that otlpd does not know; the answer is 415 or UNIMPLEMENTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

/// Reads the value of `Content-Encoding` or `grpc-encoding`: `None` is plain bytes. Codings are
/// compared without case, and `x-gzip` is gzip (RFC 9110 section 8.4.1.3).
///
/// # Errors
/// Any other coding, and a list of them.
pub fn parse_coding(value: &str) -> Result<Option<Coding>, Unsupported> {
    let value = value.trim_matches([' ', '\t']);
    let is = |name: &str| value.eq_ignore_ascii_case(name);
    if value.is_empty() || is("identity") {
        Ok(None)
    } else if is("gzip") || is("x-gzip") {
        Ok(Some(Coding::Gzip))
    } else if is("zstd") {
        Ok(Some(Coding::Zstd))
    } else if is("deflate") {
        Ok(Some(Coding::Deflate))
    } else {
        Err(Unsupported)
    }
}

/// Why a body was not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflateError {
    /// It is larger than the limit.
    TooLarge,
    /// The budget did not grant the next step.
    NoBudget,
    /// It is not what its encoding says; the sentence is for the sender.
    Damaged(&'static str),
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is larger than the limit once it is inflated",
            Self::NoBudget => "there is no memory left to inflate the body into",
            Self::Damaged(what) => what,
        })
    }
}

impl std::error::Error for InflateError {}

/// Inflates a whole body: all members, all frames. The result is at most `limit` bytes.
///
/// `grow` is asked before the output grows to this many bytes in total, and says whether it may.
///
/// # Errors
/// See [`InflateError`]. What is not the encoding to its last byte is damaged: cut, trailed by
/// other bytes, with a false checksum, and the empty body too.
pub fn inflate(
    coding: impl Into<Coding>,
    body: &[u8],
    limit: usize,
    grow: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, InflateError> {
    let mut output = Output {
        bytes: Vec::new(),
        limit,
        grow,
    };
    match coding.into() {
        Coding::Gzip => gzip::inflate(body, &mut output)?,
        Coding::Zstd => zstd::inflate(body, &mut output)?,
        Coding::Deflate => zlib::inflate(body, &mut output)?,
    }
    let mut bytes = output.bytes;
    if bytes.len() > limit {
        // An allocation may have come out larger than was asked for.
        return Err(InflateError::TooLarge);
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// What a compressed body says that it inflates to, in bytes, where it says so and it can be true.
/// It may lie: it is good for paying ahead, and for nothing else.
pub fn declared_size(coding: Coding, body: &[u8]) -> Option<usize> {
    match coding {
        Coding::Gzip => gzip::declared_size(body),
        Coding::Zstd => zstd::declared_size(body),
        Coding::Deflate => None,
    }
    .filter(|size| *size <= body.len().saturating_mul(HIGHEST_RATIO))
}

/// Deflate cannot do better than 1032 to 1; zstd can, on bodies that are not worth a thought.
const HIGHEST_RATIO: usize = 1032;

/// The compressor failed, which on bytes in memory means that it could not allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateError;

impl fmt::Display for DeflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request could not be compressed: the compressor has no memory")
    }
}

impl std::error::Error for DeflateError {}

/// Compresses the chunks, one after the other, at level 1: into a single gzip member or a single
/// zstd frame, since peers may read only the first.
///
/// # Errors
/// See [`DeflateError`].
pub fn deflate(encoding: Encoding, chunks: &[Bytes]) -> Result<Bytes, DeflateError> {
    let mut bytes = match encoding {
        Encoding::Gzip => gzip::deflate(chunks)?,
        Encoding::Zstd => zstd::deflate(chunks)?,
    };
    bytes.shrink_to_fit();
    Ok(bytes.into())
}

/// Where inflated bytes go: memory that was granted, and no more of it than the limit.
struct Output<'a> {
    bytes: Vec<u8>,
    limit: usize,
    grow: &'a mut dyn FnMut(usize) -> bool,
}

impl Output<'_> {
    /// The smallest step by which the output grows without knowing how much is to come.
    const STEP: usize = 64 << 10;

    /// Bytes that can be written before the next step.
    fn spare(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Whether it holds all that it may hold.
    fn is_at_limit(&self) -> bool {
        self.bytes.len() >= self.limit
    }

    /// Makes room for just this many more bytes.
    fn reserve(&mut self, more: usize) -> Result<(), InflateError> {
        if more <= self.spare() {
            return Ok(());
        }
        let total = self.bytes.len().saturating_add(more);
        if total > self.limit {
            return Err(InflateError::TooLarge);
        }
        if !(self.grow)(total) {
            return Err(InflateError::NoBudget);
        }
        self.bytes.reserve_exact(more);
        Ok(())
    }

    /// Makes room where nothing says how much is needed: doubles, or guesses by the bytes that
    /// are left to inflate. At the limit it adds nothing.
    fn reserve_for(&mut self, left: usize) -> Result<(), InflateError> {
        let more = self
            .bytes
            .len()
            .max(left.saturating_mul(4))
            .max(Self::STEP)
            .min(self.limit.saturating_sub(self.bytes.len()));
        self.reserve(more)
    }
}

#[cfg(test)]
mod tests;
