//! Finds the ids in a request by walking over its wire format, without decoding the rest.

use super::item::{BASE_KEY, ID_KEY, Run};
use super::wire::{Fields, Value, find_bytes};
use crate::otlp::Signal;

/// Consecutive ids of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) run: Run,
    pub(crate) first: u64,
    pub(crate) length: u64,
}

/// The items of a request.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) stretches: Vec<Stretch>,
    /// Items without an id of `bench load`.
    pub(crate) foreign: u64,
}

/// Reads all ids; `None` when the bytes are not a request.
pub(crate) fn scan(signal: Signal, body: &[u8]) -> Option<Seen> {
    let mut seen = Seen::default();
    each_message(body, 1, |entry| scan_resource(signal, entry, &mut seen))?;
    Some(seen)
}

fn scan_resource(signal: Signal, entry: &[u8], seen: &mut Seen) -> Option<()> {
    let base = find_bytes(entry, 1).and_then(base_of).unwrap_or(0);
    each_message(entry, 2, |scope| {
        each_message(scope, 2, |item| {
            let id = match signal {
                Signal::Traces => find_bytes(item, 1),
                Signal::Logs => find_bytes(item, 9),
                Signal::Metrics => return scan_metric(item, base, seen),
                Signal::Profiles => return Some(()),
            };
            seen.add(id.and_then(binary), base);
            Some(())
        })
    })
}

/// Gauges and sums have their data points' attributes in field 7, and so do summaries; histograms
/// have them in field 9, exponential histograms in field 1.
fn scan_metric(metric: &[u8], base: u64, seen: &mut Seen) -> Option<()> {
    let mut fields = Fields::of(metric);
    for field in fields.by_ref() {
        let (attributes, data) = match field {
            (5 | 7 | 11, Value::Bytes(data)) => (7, data),
            (9, Value::Bytes(data)) => (9, data),
            (10, Value::Bytes(data)) => (1, data),
            _ => continue,
        };
        each_message(data, 1, |point| {
            seen.add(attribute(point, attributes, ID_KEY).and_then(digits), base);
            Some(())
        })?;
    }
    (!fields.torn).then_some(())
}

/// Visits each message in this field; `None` when the bytes or one of them are torn.
fn each_message<'a>(
    message: &'a [u8],
    number: u64,
    mut visit: impl FnMut(&'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut fields = Fields::of(message);
    for field in fields.by_ref() {
        if let (found, Value::Bytes(bytes)) = field
            && found == number
        {
            visit(bytes)?;
        }
    }
    (!fields.torn).then_some(())
}

/// The text of the string attribute with this key.
fn attribute<'a>(message: &'a [u8], field: u64, key: &[u8]) -> Option<&'a [u8]> {
    Fields::of(message).find_map(|found| match found {
        (number, Value::Bytes(pair)) if number == field && find_bytes(pair, 1) == Some(key) => {
            find_bytes(find_bytes(pair, 2)?, 1)
        }
        _ => None,
    })
}

fn base_of(resource: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(attribute(resource, 1, BASE_KEY)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

fn binary(id: &[u8]) -> Option<(Run, u64)> {
    Run::of_id(id.try_into().ok()?)
}

fn digits(id: &[u8]) -> Option<(Run, u64)> {
    let text = std::str::from_utf8(id)
        .ok()
        .filter(|text| text.len() == 32)?;
    Run::of_id(u128::from_str_radix(text, 16).ok()?.to_be_bytes())
}

impl Seen {
    fn add(&mut self, id: Option<(Run, u64)>, base: u64) {
        let Some((run, sequence)) = id else {
            self.foreign += 1;
            return;
        };
        let first = sequence.saturating_add(base);
        match self.stretches.last_mut() {
            Some(last) if last.run == run && last.first + last.length == first => last.length += 1,
            _ => self.stretches.push(Stretch {
                run,
                first,
                length: 1,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{put_bytes, put_message};
    use super::*;

    fn request(ids: &[[u8; 16]]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, 1, |entry| {
            put_message(entry, 2, |scope| {
                for id in ids {
                    put_message(scope, 2, |span| put_bytes(span, 1, id));
                }
            });
        });
        out
    }

    #[test]
    fn consecutive_ids_are_one_stretch_and_a_gap_begins_another() {
        let run = Run::numbered(1);
        let body = request(&[run.id(4), run.id(5), run.id(9)]);
        let seen = scan(Signal::Traces, &body).unwrap();
        let stretch = |first, length| Stretch { run, first, length };
        assert_eq!(seen.stretches, [stretch(4, 2), stretch(9, 1)]);
    }

    #[test]
    fn items_of_others_are_foreign() {
        let seen = scan(Signal::Traces, &request(&[[1; 16], [2; 16]])).unwrap();
        assert_eq!((seen.foreign, seen.stretches.len()), (2, 0));
    }

    #[test]
    fn a_cut_request_is_not_read() {
        let body = request(&[Run::numbered(1).id(4)]);
        for length in 1..body.len() {
            assert!(scan(Signal::Traces, &body[..length]).is_none(), "{length}");
        }
    }
}
