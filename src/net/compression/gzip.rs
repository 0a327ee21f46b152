//! gzip. A body says at its end how long the (last) member is, so nearly every one is inflated
//! by libdeflate in one go into memory of exactly its size. Where that is not so (several
//! members, a false length) zlib-rs goes on in steps.

use std::cell::RefCell;
use std::ptr::NonNull;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use libdeflate_sys as sys;

use super::{DeflateError, InflateError, Output};

/// Deflate cannot do better: 258 bytes from 2 bits.
const MAX_RATIO: usize = 1032;
/// A call to the compressor costs as much as compressing about 400 bytes: chunks smaller than
/// this are joined first, up to so many bytes.
const SMALL_BYTES: usize = 4 << 10;
const JOINED_BYTES: usize = 32 << 10;
/// What a member starts with (RFC 1952 section 2.3: magic, and the one method there is).
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

const CUT: InflateError = InflateError::Damaged("the gzip stream is cut short");
const BAD: InflateError = InflateError::Damaged("the gzip stream is damaged");
const DAMAGED: InflateError = InflateError::Damaged("the compressed stream is damaged");
const TRAILED: InflateError = InflateError::Damaged("bytes that are not gzip follow a gzip member");

/// Inflates all members of the body.
pub(super) fn inflate(body: &[u8], output: &mut Output<'_>) -> Result<(), InflateError> {
    if !body.starts_with(&MAGIC) {
        return Err(InflateError::Damaged("the body is not gzip"));
    }
    let declared = declared_size(body).ok_or(CUT)?;
    if declared > body.len().saturating_mul(MAX_RATIO) {
        return Err(BAD);
    }
    if declared > output.limit {
        return Err(why_too_large(body, output.limit));
    }
    output.reserve(declared)?;
    let mut rest = body;
    loop {
        let consumed = match whole_member(rest, &mut output.bytes) {
            Whole::Consumed(consumed) => consumed,
            Whole::Damaged => return Err(BAD),
            Whole::NoRoom => in_steps(Decompress::new_gzip(15), rest, output)?.ok_or(CUT)?,
        };
        rest = rest.get(consumed..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        if !rest.starts_with(&MAGIC) {
            return Err(TRAILED);
        }
        if output.spare() < Output::STEP {
            output.reserve_for(rest.len())?;
        }
    }
}

/// ISIZE of the last member: its length modulo 2^32, if all is as it should be.
pub(super) fn declared_size(body: &[u8]) -> Option<usize> {
    let isize = u32::from_le_bytes(*body.last_chunk()?);
    usize::try_from(isize).ok()
}

/// A body that says it is larger than the limit can only be refused. What is left to find out
/// is the reason, and that takes no memory.
fn why_too_large(body: &[u8], limit: usize) -> InflateError {
    let mut inflater = Decompress::new_gzip(15);
    let mut scratch = vec![0; Output::STEP];
    loop {
        let (taken, given) = (inflater.total_in(), inflater.total_out());
        let rest = unread(body, &inflater);
        match inflater.decompress(rest, &mut scratch, FlushDecompress::None) {
            _ if inflater.total_out() > limit as u64 => return InflateError::TooLarge,
            Err(_) => return BAD,
            Ok(Status::StreamEnd) => {
                let rest = unread(body, &inflater);
                return match rest.starts_with(&MAGIC) {
                    true => InflateError::TooLarge,
                    false if rest.is_empty() => BAD,
                    false => TRAILED,
                };
            }
            Ok(_) if (taken, given) == (inflater.total_in(), inflater.total_out()) => return CUT,
            Ok(_) => {}
        }
    }
}

fn unread<'a>(body: &'a [u8], inflater: &Decompress) -> &'a [u8] {
    usize::try_from(inflater.total_in())
        .ok()
        .and_then(|taken| body.get(taken..))
        .unwrap_or_default()
}

/// Inflates the member or stream at the start of `body`, growing the output as it comes. How many
/// bytes it has; `None` if it is cut short.
pub(super) fn in_steps(
    mut inflater: Decompress,
    body: &[u8],
    output: &mut Output<'_>,
) -> Result<Option<usize>, InflateError> {
    loop {
        let (taken, given) = (inflater.total_in(), inflater.total_out());
        let rest = unread(body, &inflater);
        let status = if output.is_at_limit() {
            // The member may end just here, but must not give another byte.
            let status = inflater.decompress(rest, &mut [0], FlushDecompress::None);
            if inflater.total_out() > given {
                return Err(InflateError::TooLarge);
            }
            status
        } else {
            if output.spare() == 0 {
                output.reserve_for(rest.len())?;
            }
            inflater.decompress_vec(rest, &mut output.bytes, FlushDecompress::None)
        };
        match status {
            Err(_) => return Err(DAMAGED),
            Ok(Status::StreamEnd) => return Ok(usize::try_from(inflater.total_in()).ok()),
            Ok(_) if (taken, given) == (inflater.total_in(), inflater.total_out()) => {
                return Ok(None);
            }
            Ok(_) => {}
        }
    }
}

/// What became of a member that was to be inflated in one go.
enum Whole {
    /// It is appended to the output, and took this many bytes of the input.
    Consumed(usize),
    /// The output has too little room for it, and is as it was.
    NoRoom,
    /// It is not a whole gzip member.
    Damaged,
}

/// Inflates the member at the start of `body` into the spare capacity of `output`.
fn whole_member(body: &[u8], output: &mut Vec<u8>) -> Whole {
    thread_local! {
        static INFLATER: RefCell<Option<Libdeflate>> = const { RefCell::new(None) };
    }
    INFLATER.with_borrow_mut(|inflater| {
        if inflater.is_none() {
            *inflater = Libdeflate::new();
        }
        match inflater {
            Some(inflater) => inflater.member(body, output),
            // Out of memory: zlib-rs has its own way to say so.
            None => Whole::NoRoom,
        }
    })
}

/// A libdeflate decompressor. The crate libdeflater wraps it too, but does not tell how much of
/// the input was consumed, without which a second member would be lost in silence.
struct Libdeflate(NonNull<sys::libdeflate_decompressor>);

#[expect(
    unsafe_code,
    reason = "2.6 times as fast as the safe way, and gzip is most of what a request costs"
)]
impl Libdeflate {
    fn new() -> Option<Self> {
        // SAFETY: takes nothing, and gives null or a decompressor that is ours to free.
        NonNull::new(unsafe { sys::libdeflate_alloc_decompressor() }).map(Self)
    }

    fn member(&mut self, body: &[u8], output: &mut Vec<u8>) -> Whole {
        let room = output.spare_capacity_mut();
        let (mut consumed, mut written) = (0, 0);
        // SAFETY: the decompressor is alive and borrowed by us alone; it reads at most
        // `body.len()` bytes from `body` and writes at most `room.len()` bytes into `room`,
        // which do not overlap; the two counters outlive the call.
        let result = unsafe {
            sys::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                body.as_ptr().cast(),
                body.len(),
                room.as_mut_ptr().cast(),
                room.len(),
                &raw mut consumed,
                &raw mut written,
            )
        };
        match result {
            sys::libdeflate_result_LIBDEFLATE_SUCCESS => {
                // SAFETY: on success the first `written` bytes of the spare capacity are set.
                unsafe { output.set_len(output.len() + written) };
                Whole::Consumed(consumed)
            }
            sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => Whole::NoRoom,
            _ => Whole::Damaged,
        }
    }
}

#[expect(unsafe_code, reason = "frees what `new` allocated")]
impl Drop for Libdeflate {
    fn drop(&mut self) {
        // SAFETY: it came from `libdeflate_alloc_decompressor`, and nobody else frees it.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}

/// Compresses the chunks into one member.
pub(super) fn deflate(chunks: &[Bytes]) -> Result<Vec<u8>, DeflateError> {
    thread_local! {
        static DEFLATER: RefCell<Compress> =
            RefCell::new(Compress::new_gzip(Compression::new(1), 15));
    }
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        let plain: usize = chunks.iter().map(Bytes::len).sum();
        // Telemetry shrinks to less than a quarter, nearly always.
        let mut output = Vec::with_capacity(plain / 4 + 64);
        let mut joined = Vec::new();
        for chunk in chunks {
            if joined.len() + chunk.len() > JOINED_BYTES {
                feed(deflater, &joined, &mut output)?;
                joined.clear();
            }
            if chunk.len() < SMALL_BYTES {
                joined.extend_from_slice(chunk);
            } else {
                feed(deflater, &joined, &mut output)?;
                joined.clear();
                feed(deflater, chunk, &mut output)?;
            }
        }
        feed(deflater, &joined, &mut output)?;
        while step(deflater, &[], &mut output, FlushCompress::Finish)? != Status::StreamEnd {}
        Ok(output)
    })
}

/// Compresses all of the input, without ending the member.
fn feed(deflater: &mut Compress, input: &[u8], output: &mut Vec<u8>) -> Result<(), DeflateError> {
    let before = deflater.total_in();
    loop {
        let taken = usize::try_from(deflater.total_in() - before).unwrap_or(usize::MAX);
        match input.get(taken..) {
            None | Some([]) => return Ok(()),
            Some(rest) => step(deflater, rest, output, FlushCompress::None)?,
        };
    }
}

/// One call to the compressor, with room for what it has to say.
fn step(
    deflater: &mut Compress,
    input: &[u8],
    output: &mut Vec<u8>,
    flush: FlushCompress,
) -> Result<Status, DeflateError> {
    if output.len() == output.capacity() {
        output.reserve(output.len() / 2 + 64);
    }
    deflater
        .compress_vec(input, output, flush)
        .map_err(|_| DeflateError)
}
