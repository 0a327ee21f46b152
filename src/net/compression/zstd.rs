//! zstd. A frame that says how large it is, is inflated in one go into memory of that size;
//! another one in steps, through a window of at most 8 MiB.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_frame_content_size,
};

use super::{DeflateError, InflateError, Output};

/// 8 MiB, what RFC 8878 section 3.1.1.1.2 asks every decoder to support, and no more.
const WINDOW_LOG_MAX: u32 = 23;
/// zstd's own bound: a block is 128 KiB at most, and takes 4 bytes at least.
const MAX_RATIO: u64 = (128 << 10) / 4;
/// A thread keeps a decompressor up to this size; one with a larger window is given back.
const KEPT_BYTES: usize = 1 << 20;

const CUT: InflateError = InflateError::Damaged("the zstd stream is cut short");
const BAD: InflateError =
    InflateError::Damaged("the zstd stream is damaged, or asks for a window of more than 8 MiB");

/// Inflates all frames of the body.
pub(super) fn inflate(body: &[u8], output: &mut Output<'_>) -> Result<(), InflateError> {
    thread_local! {
        static INFLATER: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    }
    if body.is_empty() {
        return Err(InflateError::Damaged("the body is not zstd"));
    }
    INFLATER.with_borrow_mut(|kept| {
        let mut inflater = match kept.take() {
            Some(inflater) => inflater,
            None => new_inflater()?,
        };
        let result = all_frames(&mut inflater, body, output);
        if inflater.sizeof() <= KEPT_BYTES && inflater.reset(ResetDirective::SessionOnly).is_ok() {
            *kept = Some(inflater);
        }
        result
    })
}

/// The content size of the first frame, if it says.
pub(super) fn declared_size(body: &[u8]) -> Option<usize> {
    usize::try_from(get_frame_content_size(body).ok()??).ok()
}

fn new_inflater() -> Result<DCtx<'static>, InflateError> {
    let mut inflater = DCtx::try_create().ok_or(InflateError::NoBudget)?;
    inflater
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .map_err(|_| InflateError::NoBudget)?;
    Ok(inflater)
}

fn all_frames(
    inflater: &mut DCtx<'_>,
    body: &[u8],
    output: &mut Output<'_>,
) -> Result<(), InflateError> {
    let mut input = InBuffer::around(body);
    while let Some(rest @ [_, ..]) = body.get(input.pos()..) {
        match get_frame_content_size(rest).map_err(|_| BAD)? {
            Some(declared) if declared > MAX_RATIO.saturating_mul(rest.len() as u64) => {
                return Err(BAD);
            }
            Some(declared) => output.reserve(usize::try_from(declared).unwrap_or(usize::MAX))?,
            None => {}
        }
        frame(inflater, &mut input, output)?;
    }
    Ok(())
}

/// Inflates the frame at which the input stands.
fn frame(
    inflater: &mut DCtx<'_>,
    input: &mut InBuffer<'_>,
    output: &mut Output<'_>,
) -> Result<(), InflateError> {
    loop {
        let (taken, given) = (input.pos(), output.bytes.len());
        let done = {
            let mut room = OutBuffer::around_pos(&mut output.bytes, given);
            inflater
                .decompress_stream(&mut room, input)
                .map_err(|_| BAD)?
                == 0
        };
        if done {
            return Ok(());
        }
        if (taken, given) != (input.pos(), output.bytes.len()) {
            continue;
        }
        // It stands still for want of input or of room.
        if output.spare() > 0 {
            return Err(CUT);
        }
        if output.is_at_limit() {
            return Err(InflateError::TooLarge);
        }
        output.reserve_for(input.src.len().saturating_sub(taken))?;
    }
}

/// Compresses the chunks into one frame, which says how large it is.
pub(super) fn deflate(chunks: &[Bytes]) -> Result<Vec<u8>, DeflateError> {
    thread_local! {
        static DEFLATER: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    }
    DEFLATER.with_borrow_mut(|kept| {
        let mut deflater = match kept.take() {
            Some(deflater) => deflater,
            None => new_deflater().ok_or(DeflateError)?,
        };
        let output = one_frame(&mut deflater, chunks)?;
        *kept = Some(deflater);
        Ok(output)
    })
}

fn new_deflater() -> Option<CCtx<'static>> {
    let mut deflater = CCtx::try_create()?;
    deflater
        .set_parameter(CParameter::CompressionLevel(1))
        .ok()?;
    Some(deflater)
}

fn one_frame(deflater: &mut CCtx<'_>, chunks: &[Bytes]) -> Result<Vec<u8>, DeflateError> {
    let plain: usize = chunks.iter().map(Bytes::len).sum();
    deflater
        .reset(ResetDirective::SessionOnly)
        .and_then(|_| deflater.set_pledged_src_size(Some(plain as u64)))
        .map_err(|_| DeflateError)?;
    // Telemetry shrinks to less than a quarter, nearly always.
    let mut output = Vec::with_capacity(plain / 4 + 64);
    let mut feed = |chunk: &[u8], directive| {
        let mut input = InBuffer::around(chunk);
        loop {
            if output.len() == output.capacity() {
                output.reserve(output.len() / 2 + 64);
            }
            let written = output.len();
            let mut room = OutBuffer::around_pos(&mut output, written);
            let left = deflater
                .compress_stream2(&mut room, &mut input, directive)
                .map_err(|_| DeflateError)?;
            let done = match directive {
                ZSTD_EndDirective::ZSTD_e_end => left == 0,
                _ => input.pos() == chunk.len(),
            };
            if done {
                return Ok(());
            }
        }
    };
    let (end, rest) = match chunks.split_last() {
        Some((end, rest)) => (&end[..], rest),
        None => (&[][..], chunks),
    };
    for chunk in rest {
        feed(chunk, ZSTD_EndDirective::ZSTD_e_continue)?;
    }
    feed(end, ZSTD_EndDirective::ZSTD_e_end)?;
    Ok(output)
}
