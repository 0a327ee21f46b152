//! Takes the bad items out of a request.

use super::{BadValue, ItemPolicy, Rules, Validation, survey};
use crate::otlp::Signal;
use crate::otlp::schema::{self, Kind, Message};
use crate::otlp::wire::{self, DELIMITED, MAX_DEPTH, Reader};

/// The request without the items and levels that [`walk`](super::walk) rejected by these rules.
/// Which those are is found once more: a list of them could be many times larger than what is
/// left. Levels that held items and hold none any more are left out, and so are ids of log
/// records that have a wrong length; everything else is copied as it is.
///
/// To be called only with a body that `walk` has accepted.
pub fn without_rejected(signal: Signal, body: &[u8], rules: impl Into<Rules>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let request = schema::request(signal);
    copy_level(Reader::new(body), request, rules.into(), &mut out);
    out
}

/// What a level lost and what it still has.
#[derive(Clone, Copy, Default)]
struct Tally {
    kept: u64,
    cut: u64,
    /// Whether an item was left without a part of it.
    changed: bool,
}

fn copy_level(
    mut reader: Reader<'_>,
    schema: &'static Message,
    rules: Rules,
    out: &mut Vec<u8>,
) -> Tally {
    let mut tally = Tally::default();
    while !reader.is_done() {
        let start = reader.at();
        let Ok(tag) = reader.tag() else { break };
        let mut inside = reader;
        if reader.skip(tag, MAX_DEPTH).is_err() {
            break;
        }
        let field = schema.fields.iter().find(|field| field.number == tag >> 3);
        let kind = field.map(|field| field.kind);
        match (kind, tag & 7, inside.message()) {
            (Some(Kind::Item(item)), DELIMITED, Ok(content)) => {
                if rules.validation == Validation::Full
                    && !survey::has_good_values(content, item, rules)
                {
                    tally.cut += 1;
                    continue;
                }
                tally.kept += 1;
                if let Some(record) = without_bad_ids(content, item, rules) {
                    wire::write_bytes(out, tag, &record);
                    tally.changed = true;
                    continue;
                }
            }
            (Some(Kind::Level(level)), DELIMITED, Ok(content)) => {
                if !survey::has_good_values(content, level, rules) {
                    tally.cut += 1;
                    continue;
                }
                let before = out.len();
                let mut inner = Tally::default();
                wire::write_message(out, tag, content.rest().len(), |out| {
                    inner = copy_level(content, level, rules, out);
                });
                tally.kept += inner.kept;
                tally.cut += inner.cut;
                tally.changed |= inner.changed;
                if inner.cut > 0 || inner.changed {
                    if inner.kept == 0 {
                        out.truncate(before);
                    }
                    continue;
                }
                out.truncate(before);
            }
            _ => {}
        }
        out.extend_from_slice(reader.since(start));
    }
    tally
}

/// An item without those of its own ids that have a wrong length, where it can do without them;
/// `None` if nothing is to be left out.
fn without_bad_ids(
    mut item: Reader<'_>,
    schema: &'static Message,
    rules: Rules,
) -> Option<Vec<u8>> {
    let leaves_out = schema::has_ids_of_others(schema)
        && rules.validation == Validation::Full
        && rules.policy(BadValue::Id) == ItemPolicy::RejectItem;
    if !leaves_out {
        return None;
    }
    let whole = item.rest().len();
    let mut out = Vec::new();
    while !item.is_done() {
        let start = item.at();
        let tag = item.tag().ok()?;
        let mut inside = item;
        item.skip(tag, MAX_DEPTH).ok()?;
        let field = schema.fields.iter().find(|field| field.number == tag >> 3);
        let is_bad = match (field.map(|field| field.kind), tag & 7, inside.bytes()) {
            (Some(Kind::Id(expected)), DELIMITED, Ok(id)) => !survey::is_id(id, expected),
            _ => false,
        };
        if !is_bad {
            out.extend_from_slice(item.since(start));
        }
    }
    (out.len() < whole).then_some(out)
}
