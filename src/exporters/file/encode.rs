//! What is written of a batch: a piece for each of its requests, and around all of them, where
//! that is asked for, one gzip member or zstd frame.
//!
//! Each batch is compressed by itself, so that whatever was delivered can be read whatever came
//! after it; `zcat` and `zstdcat` read members and frames that follow each other as one text. Each
//! says at its front how long it is, in a place where those who do not know of it pass it over,
//! so that what a crash has cut short is found without inflating what is before it.

use bytes::Bytes;

use crate::batch::Batch;
use crate::component::Failure;
use crate::net::compression::{self, Encoding};
use crate::otlp::Format;
use crate::otlp::file;

/// What stands at the front of a gzip member, with its total length (RFC 1952 section 2.3.1.1):
/// a field of four bytes named OT.
pub(super) const GZIP_FRONT: usize = 20;
const GZIP_HEADER: usize = 10;
const GZIP_MAGIC: [u8; 4] = [0x1f, 0x8b, 8, FEXTRA];
const FEXTRA: u8 = 4;
const GZIP_FIELD: [u8; 6] = [8, 0, b'O', b'T', 4, 0];

/// What stands before a zstd frame (RFC 8878 section 3.1.2): a skippable frame of four bytes, the
/// length of the frame behind it.
pub(super) const ZSTD_FRONT: usize = 12;
const ZSTD_FIELD: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0];

/// Puts into `out` what is to be written of a batch; nothing, if it holds nothing.
pub(super) fn batch(
    batch: &Batch,
    format: Format,
    encoding: Option<Encoding>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    out.clear();
    // Requests are never joined: each line is a request by itself, whatever its signal.
    for request in batch.chunks.iter().filter(|request| !request.is_empty()) {
        let start = out.len();
        file::append(format, batch.signal, request, out).map_err(|problem| Failure::Permanent {
            cause: format!("the request {problem}"),
        })?;
        // It would not say what kind of request it is, and says nothing else.
        if out.get(start..) == Some(b"{}\n") {
            out.truncate(start);
        }
    }
    let Some(encoding) = encoding.filter(|_| !out.is_empty()) else {
        return Ok(());
    };
    let plain = Bytes::from(std::mem::take(out));
    let deflated = compression::deflate(encoding, &[plain]);
    let deflated = deflated.map_err(|error| Failure::Retryable {
        after: None,
        cause: error.to_string(),
    })?;
    fronted(encoding, &deflated, out);
    Ok(())
}

/// Appends a member or a frame with its length in front.
fn fronted(encoding: Encoding, deflated: &[u8], out: &mut Vec<u8>) {
    match encoding {
        Encoding::Gzip => {
            let (header, rest) = deflated.split_at_checked(GZIP_HEADER).unwrap_or_default();
            let length = saturated(GZIP_FRONT + rest.len());
            out.extend_from_slice(&GZIP_MAGIC);
            out.extend_from_slice(header.get(GZIP_MAGIC.len()..).unwrap_or_default());
            out.extend_from_slice(&GZIP_FIELD);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(rest);
        }
        Encoding::Zstd => {
            out.extend_from_slice(&ZSTD_FIELD);
            out.extend_from_slice(&saturated(deflated.len()).to_le_bytes());
            out.extend_from_slice(deflated);
        }
    }
}

/// No batch comes near 4 GiB; one that did could be read, but not be passed over.
fn saturated(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The length of the piece that begins so, front included; `None` if it is not one of ours.
pub(super) fn length(encoding: Encoding, front: &[u8]) -> Option<u64> {
    let (before, length) = front.split_last_chunk::<4>()?;
    let length = u64::from(u32::from_le_bytes(*length));
    match encoding {
        Encoding::Gzip => {
            (before.starts_with(&GZIP_MAGIC) && before.ends_with(&GZIP_FIELD)).then_some(length)
        }
        Encoding::Zstd => (before == ZSTD_FIELD).then_some(ZSTD_FRONT as u64 + length),
    }
}
