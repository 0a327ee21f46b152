//! The fast walk: one function a message, a match on whole tags, no memory. It says only that
//! everything is in order; whatever is not, or is too rare to be fast at (groups), it leaves to
//! the thorough walk by giving up.

mod common;
mod logs;
mod metrics;
mod traces;

use common::{Clean, NotClean, resource, scope, text, unknown};

use super::Validation;
use crate::otlp::Signal;
use crate::otlp::wire::{MAX_DEPTH, Reader};

/// The number of items of a request that is in order; `None` says nothing.
pub(super) fn count(signal: Signal, body: &[u8], validation: Validation) -> Option<u64> {
    let reader = Reader::new(body);
    let counted = match (signal, validation) {
        (Signal::Traces, Validation::Full) => request(reader, |span| traces::span(span).map(one)),
        (Signal::Logs, Validation::Full) => request(reader, |log| logs::log_record(log).map(one)),
        (Signal::Metrics, Validation::Full) => request(reader, metrics::metric::<true>),
        (Signal::Traces | Signal::Logs, Validation::Items) => request(reader, |_| Ok(1)),
        (Signal::Metrics, Validation::Items) => request(reader, metrics::metric::<false>),
        // Carried whole and rare: the thorough walk is fast enough.
        (Signal::Profiles, _) => Err(NotClean),
    };
    counted.ok()
}

fn one((): ()) -> u64 {
    1
}

/// How many levels may still be entered below a span, a log record or a metric, which lie three
/// levels down.
const BELOW_ITEM: u32 = MAX_DEPTH - 3;

/// The three levels that all signals have alike. `inner` walks over what a scope holds and says
/// how many items that is.
#[inline(always)]
fn request(
    mut reader: Reader<'_>,
    inner: impl Fn(Reader<'_>) -> Result<u64, NotClean> + Copy,
) -> Result<u64, NotClean> {
    let mut items = 0;
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => items += of_resource(reader.message()?, inner)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(items)
}

#[inline(always)]
fn of_resource(
    mut reader: Reader<'_>,
    inner: impl Fn(Reader<'_>) -> Result<u64, NotClean> + Copy,
) -> Result<u64, NotClean> {
    let mut items = 0;
    while !reader.is_done() {
        match reader.tag()? {
            0x0a => resource(reader.message()?)?,
            0x12 => items += of_scope(reader.message()?, inner)?,
            0x1a => text(&mut reader)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(items)
}

#[inline(always)]
fn of_scope(
    mut reader: Reader<'_>,
    inner: impl Fn(Reader<'_>) -> Result<u64, NotClean> + Copy,
) -> Result<u64, NotClean> {
    let mut items = 0;
    while !reader.is_done() {
        match reader.tag()? {
            0x12 => items += inner(reader.message()?)?,
            0x0a => scope(reader.message()?)?,
            0x1a => text(&mut reader)?,
            tag => unknown(&mut reader, tag)?,
        }
    }
    Ok(items)
}

/// A fixed-width list that a sender has packed.
#[inline(always)]
fn packed<const N: usize>(reader: &mut Reader<'_>) -> Clean {
    if reader.bytes()?.len().is_multiple_of(N) {
        Ok(())
    } else {
        Err(NotClean)
    }
}
