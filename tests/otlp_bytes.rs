//! The walk, the cut and the split against prost, on requests of every shape.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use otlpd::otlp::Signal;
use otlpd::otlp::schema;
use otlpd::otlp::split::{SplitLimit, split};
use otlpd::otlp::walk::{Validation, walk, without_rejected};
use proptest::prelude::*;

mod support {
    pub(crate) mod oracle;
    pub(crate) mod requests;
    use otlpd::otlp::schema;
}
use support::oracle::{self, decode};
use support::requests::{self, Spice};

const PLAIN: Spice = Spice {
    odd: false,
    bad_values: false,
};
const ODD: Spice = Spice {
    odd: true,
    bad_values: false,
};
const BAD: Spice = Spice {
    odd: true,
    bad_values: true,
};

fn signals() -> impl Strategy<Value = Signal> {
    proptest::sample::select(Signal::ALL.to_vec())
}

fn splittable() -> impl Strategy<Value = Signal> {
    proptest::sample::select(vec![Signal::Traces, Signal::Metrics, Signal::Logs])
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..3000)
}

fn request(signal: Signal, choices: &[u8], spice: Spice) -> Vec<u8> {
    requests::request(schema::request(signal), choices, spice)
}

/// prost refuses a known field of another wire type, which Google's parsers and the walk take
/// for an unknown one; and it allows nothing at all in the deepest level.
fn is_only_prosts_opinion(error: &prost::DecodeError) -> bool {
    let error = error.to_string();
    error.contains("invalid wire type") || error.contains("recursion limit")
}

proptest! {
    #[test]
    fn prost_knows_every_field_of_the_tables(signal in signals(), choices in choices()) {
        let body = request(signal, &choices, PLAIN);
        let decoded = decode(signal, &body).unwrap();
        prop_assert_eq!(decoded.encoded().len(), body.len());
    }

    #[test]
    fn what_is_valid_is_accepted_and_its_items_are_counted(
        signal in signals(),
        choices in choices(),
    ) {
        let body = request(signal, &choices, ODD);
        let items = decode(signal, &body).unwrap().items().len() as u64;
        for validation in [Validation::Full, Validation::Items] {
            let walked = walk(signal, &body, validation).unwrap();
            prop_assert_eq!(walked.items, items);
            prop_assert_eq!(walked.rejected, None);
        }
    }

    #[test]
    fn what_is_accepted_after_damage_can_be_decoded(
        signal in signals(),
        choices in choices(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0..8_u8), 1..4),
        length in any::<proptest::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut body = request(signal, &choices, ODD);
        prop_assume!(!body.is_empty());
        for (place, bit) in flips {
            let place = place.index(body.len());
            body[place] ^= 1 << bit;
        }
        if cut {
            body.truncate(length.index(body.len()));
        }
        drop(walk(signal, &body, Validation::Items));
        if let Ok(walked) = walk(signal, &body, Validation::Full) {
            let accepted = match walked.rejected {
                Some(_) => without_rejected(signal, &body, Validation::Full),
                None => body,
            };
            if let Err(error) = decode(signal, &accepted) {
                prop_assert!(is_only_prosts_opinion(&error), "{}", error);
            }
        }
    }

    #[test]
    fn anything_at_all_is_walked_and_split_without_a_panic(
        signal in signals(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        max_bytes in 0..100_usize,
        max_items in 0..3_u64,
    ) {
        drop(walk(signal, &body, Validation::Full));
        drop(walk(signal, &body, Validation::Items));
        without_rejected(signal, &body, Validation::Full);
        let parts = split(signal, &Bytes::from(body), SplitLimit { max_bytes, max_items });
        prop_assert!(parts.count() <= 200);
    }

    #[test]
    fn without_its_bad_items_a_request_is_good(signal in splittable(), choices in choices()) {
        let body = request(signal, &choices, BAD);
        let Ok(walked) = walk(signal, &body, Validation::Full) else {
            return Ok(());
        };
        let counted = walk(signal, &body, Validation::Items).unwrap();
        let total = counted.items + counted.rejected.map_or(0, |rejected| rejected.items);
        let Some(rejected) = walked.rejected else {
            prop_assert_eq!(walked.items, total);
            return Ok(());
        };
        prop_assert_eq!(walked.items + rejected.items, total);
        let left = without_rejected(signal, &body, Validation::Full);
        let again = walk(signal, &left, Validation::Full).unwrap();
        prop_assert_eq!((again.items, again.rejected), (walked.items, None));
        let decoded = decode(signal, &left).unwrap();
        prop_assert_eq!(decoded.items().len() as u64, walked.items);
    }

    #[test]
    fn parts_hold_every_item_once_and_in_order_and_fit(
        signal in splittable(),
        choices in choices(),
        share in 1..30_usize,
        max_items in 0..4_u64,
    ) {
        let body = request(signal, &choices, ODD);
        let limit = SplitLimit { max_bytes: body.len() / share + 20, max_items };
        let parts: Vec<_> = split(signal, &Bytes::from(body.clone()), limit).collect();
        let mut items = Vec::new();
        for part in &parts {
            prop_assert_eq!(walk(signal, &part.bytes, Validation::Full).unwrap().items, part.items);
            let fits = part.bytes.len() <= limit.max_bytes
                && (max_items == 0 || part.items <= max_items);
            prop_assert_eq!(fits, !part.oversize);
            items.extend(decode(signal, &part.bytes).unwrap().items());
        }
        prop_assert_eq!(items, decode(signal, &body).unwrap().items());
    }

    #[test]
    fn parts_repeat_what_is_around_their_items(signal in splittable(), choices in choices()) {
        let body = request(signal, &choices, ODD);
        let whole = surroundings(signal, &body);
        let limit = SplitLimit { max_bytes: usize::MAX, max_items: 1 };
        let mut seen = Vec::new();
        for part in split(signal, &Bytes::from(body), limit) {
            seen.extend(surroundings(signal, &part.bytes));
        }
        prop_assert_eq!(seen, whole);
    }

    #[test]
    fn concatenation_is_merging(
        signal in splittable(),
        first in choices(),
        second in choices(),
    ) {
        let [first, second] = [&first, &second].map(|choices| request(signal, choices, ODD));
        let mut items = decode(signal, &first).unwrap().items();
        items.extend(decode(signal, &second).unwrap().items());
        let merged = [first, second].concat();
        prop_assert_eq!(walk(signal, &merged, Validation::Full).unwrap().items, items.len() as u64);
        prop_assert_eq!(decode(signal, &merged).unwrap().items(), items);
    }
}

/// For each item the fields around it that hold no items, as raw bytes, outermost first.
fn surroundings(signal: Signal, body: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    around(body, schema::request(signal), &mut Vec::new(), &mut found);
    found
}

fn around(
    message: &[u8],
    schema: &'static schema::Message,
    outer: &mut Vec<Vec<u8>>,
    found: &mut Vec<Vec<Vec<u8>>>,
) {
    use otlpd::otlp::wire::Reader;
    let mut own = Vec::new();
    let mut levels = Vec::new();
    let mut reader = Reader::new(message);
    while !reader.is_done() {
        let start = reader.at();
        let tag = reader.tag().unwrap();
        let mut content = reader;
        reader.skip(tag, 100).unwrap();
        let field = schema
            .fields
            .iter()
            .find(|field| field.number << 3 | 2 == tag);
        match field.map(|field| field.kind) {
            Some(schema::Kind::Level(inner)) => {
                levels.push((content.bytes().unwrap(), Some(inner)))
            }
            Some(schema::Kind::Item(_)) => levels.push((content.bytes().unwrap(), None)),
            _ => own.extend_from_slice(reader.since(start)),
        }
    }
    // What stands beside the resources belongs to the request, not to an item.
    let is_request = outer.is_empty()
        && schema.fields.len() == 1
        && schema.fields[0].name.starts_with("resource_");
    outer.push(if is_request { Vec::new() } else { own });
    for (content, inner) in levels {
        match inner {
            Some(inner) => around(content, inner, outer, found),
            None => found.push(outer.iter().cloned().chain([content.to_vec()]).collect()),
        }
    }
    outer.pop();
}

#[test]
fn the_oracle_sees_items_at_all() {
    let choices: Vec<u8> = (0..3000_u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    for signal in Signal::ALL {
        let body = request(signal, &choices, ODD);
        assert!(
            oracle::decode(signal, &body).unwrap().items().len() > 1,
            "{signal:?}"
        );
    }
}
