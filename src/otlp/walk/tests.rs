use super::*;
use crate::otlp::wire::{Fault, write_bytes, write_varint};

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, number << 3 | 2, content);
    out
}

fn in_scope(content: &[u8]) -> Vec<u8> {
    field(1, &field(2, content))
}

/// A request of these spans, in one scope.
fn traces(spans: &[&[u8]]) -> Vec<u8> {
    in_scope(
        &spans
            .iter()
            .flat_map(|span| field(2, span))
            .collect::<Vec<_>>(),
    )
}

fn full(signal: Signal, body: &[u8]) -> Result<Walked, Malformed> {
    walk(signal, body, Validation::Full)
}

fn refusal(body: &[u8]) -> (String, usize, Fault) {
    let malformed = full(Signal::Traces, body).unwrap_err();
    (malformed.field, malformed.offset, malformed.what)
}

fn accepts(signal: Signal, body: &[u8]) -> u64 {
    let walked = full(signal, body).unwrap();
    assert_eq!(walked.rejected, None);
    let thorough = survey::survey(signal, body, Rules::default()).unwrap();
    assert_eq!(thorough, walked);
    walked.items
}

#[test]
fn the_empty_request_and_empty_envelopes_have_no_items() {
    for signal in Signal::ALL {
        assert_eq!(accepts(signal, &[]), 0);
        assert_eq!(accepts(signal, &field(1, &[])), 0);
        assert_eq!(accepts(signal, &in_scope(&[])), 0);
    }
}

#[test]
fn spans_records_points_and_profiles_are_counted() {
    let two = in_scope(&[field(2, &[]), field(2, &[])].concat());
    for signal in [Signal::Traces, Signal::Logs, Signal::Profiles] {
        assert_eq!(accepts(signal, &two), 2);
    }
    for kind in [5, 7, 9, 10, 11] {
        let points = field(
            kind,
            &[field(1, &[]), field(1, &[]), field(1, &[])].concat(),
        );
        let metric = field(2, &[field(1, b"name"), points].concat());
        assert_eq!(accepts(Signal::Metrics, &in_scope(&metric)), 3);
    }
    assert_eq!(accepts(Signal::Metrics, &two), 0);
}

#[test]
fn a_cut_request_is_refused_at_every_length() {
    let span = [field(1, &[7; 16]), field(5, b"name")].concat();
    let body = traces(&[&span]);
    assert_eq!(accepts(Signal::Traces, &body), 1);
    for length in 1..body.len() {
        let (_, _, what) = refusal(&body[..length]);
        assert_eq!(what, Fault::Truncated, "{length}");
    }
}

#[test]
fn a_refusal_names_the_field_and_where_it_lies() {
    let good = field(5, b"good");
    let good: &[u8] = &good;
    let bad_framing = [good, &[0x2a, 9, b'x']].concat();
    let body = [traces(&[good]), traces(&[good, &bad_framing])].concat();
    let offset = body.len() - 3;
    let malformed = full(Signal::Traces, &body).unwrap_err();
    assert_eq!(
        malformed.to_string(),
        format!(
            "resource_spans[1].scope_spans[0].spans[1].name goes on after the end of its \
             message (at byte {offset})"
        )
    );
    assert_eq!(refusal(&[0x80]), (String::new(), 0, Fault::Truncated));
}

#[test]
fn unknown_fields_of_every_wire_type_are_accepted_at_every_level() {
    let mut unknown = Vec::new();
    for wire_type in [0, 1, 2, 5, 3] {
        write_varint(&mut unknown, 1000 << 3 | wire_type);
        unknown.extend_from_slice(match wire_type {
            0 => &[0x96, 1],
            1 => &[1; 8],
            2 => &[2, 0xff, 0xff],
            5 => &[0; 4],
            // A group with a group inside.
            _ => &[0x08, 1, 0x13, 0x14, 0xc4, 0x3e],
        });
        let span = field(2, &unknown);
        let scope = field(2, &[&unknown[..], &span].concat());
        let resource = field(1, &[&unknown[..], &scope].concat());
        assert_eq!(
            accepts(Signal::Traces, &[&unknown[..], &resource].concat()),
            1
        );
    }
}

#[test]
fn a_known_field_of_another_wire_type_counts_as_unknown() {
    // name as a varint, kind as bytes, trace_id as a group.
    let span = [0x28, 1, 0x32, 1, 0xff, 0x0b, 0x0c];
    assert_eq!(accepts(Signal::Traces, &traces(&[&span])), 1);
}

#[test]
fn what_no_parser_reads_is_refused() {
    let cases: [(&[u8], Fault); 9] = [
        (&[0x00, 1], Fault::FieldNumber),
        (&[0x02, 0], Fault::FieldNumber),
        (&[0x36, 0], Fault::WireType),
        (&[0x37, 0], Fault::WireType),
        (&[0x2c], Fault::Group),
        (&[0x2b], Fault::Group),
        (&[0x2b, 0x34], Fault::Group),
        (&[0x2b, 0x00, 1, 0x2c], Fault::FieldNumber),
        (
            &[
                0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            Fault::Varint,
        ),
    ];
    for (span, fault) in cases {
        assert_eq!(refusal(&traces(&[span])).2, fault, "{span:x?}");
    }
}

#[test]
fn messages_and_groups_may_lie_a_hundred_levels_deep_and_no_deeper() {
    // ResourceSpans, ScopeSpans, Span, KeyValue and AnyValue are five levels.
    let nested = |levels: u32, inner: &[u8]| {
        let value = (0..levels).fold(inner.to_vec(), |value, level| {
            let is_array = (levels - level) % 2 == 1;
            field(if is_array { 5 } else { 1 }, &value)
        });
        traces(&[&field(9, &field(2, &value))])
    };
    assert_eq!(accepts(Signal::Traces, &nested(95, &[])), 1);
    assert_eq!(refusal(&nested(96, &[])).2, Fault::Nesting);
    let group = [0xa3, 6, 0xa4, 6];
    assert_eq!(accepts(Signal::Traces, &nested(94, &group)), 1);
    assert_eq!(refusal(&nested(95, &group)).2, Fault::Nesting);
    let groups = |count: usize| [[0xa3, 6].repeat(count), [0xa4, 6].repeat(count)].concat();
    assert_eq!(accepts(Signal::Traces, &groups(100)), 0);
    assert_eq!(refusal(&groups(101)).2, Fault::Nesting);
}

#[test]
fn lists_of_numbers_may_be_packed_or_not() {
    let in_point = |content: &[u8]| {
        let metric = field(2, &field(9, &field(1, content)));
        in_scope(&metric)
    };
    let fault = |content: &[u8]| full(Signal::Metrics, &in_point(content)).unwrap_err().what;
    assert_eq!(accepts(Signal::Metrics, &in_point(&field(6, &[0; 16]))), 1);
    assert_eq!(
        accepts(Signal::Metrics, &in_point(&[0x31, 0, 0, 0, 0, 0, 0, 0, 0])),
        1
    );
    assert_eq!(fault(&field(6, &[0; 15])), Fault::Packed);
    assert_eq!(fault(&field(7, &[0; 9])), Fault::Packed);
    let in_buckets =
        |content: &[u8]| in_scope(&field(2, &field(10, &field(1, &field(8, content)))));
    let fault = |content| {
        full(Signal::Metrics, &in_buckets(content))
            .unwrap_err()
            .what
    };
    assert_eq!(
        accepts(Signal::Metrics, &in_buckets(&[0x12, 2, 1, 1, 0x10, 1])),
        1
    );
    assert_eq!(fault(&[0x12, 1, 0x80, 0x10, 1]), Fault::Truncated);
}

#[test]
fn bad_spans_are_cut_out_and_the_rest_is_accepted() {
    let good = [field(1, &[7; 16]), field(5, "n\u{e4}me".as_bytes())].concat();
    let bad_id = field(1, &[7; 15]);
    let bad_name = [field(2, &[1; 8]), field(5, &[0xff])].concat();
    let bad_link = field(13, &field(2, &[1; 3]));
    let body = [
        traces(&[&good, &bad_id]),
        traces(&[&bad_name]),
        field(
            1,
            &[field(3, b"url"), field(2, &field(2, &bad_link))].concat(),
        ),
        traces(&[&good, &good, &bad_link]),
    ]
    .concat();
    let walked = full(Signal::Traces, &body).unwrap();
    let rejected = walked.rejected.unwrap();
    assert_eq!((walked.items, rejected.items), (3, 4));
    assert_eq!(
        rejected.first.field,
        "resource_spans[0].scope_spans[0].spans[1].trace_id"
    );
    assert_eq!(rejected.first.what, Fault::IdLength { expected: 16 });
    let left = [traces(&[&good]), traces(&[&good, &good])].concat();
    assert_eq!(
        without_rejected(Signal::Traces, &body, Validation::Full),
        left
    );
}

#[test]
fn bad_points_are_cut_out_of_their_metric() {
    let point = |name: &[u8]| field(1, &field(7, &field(1, name)));
    let metric = |points: &[u8]| field(2, &[field(1, b"m"), field(7, points)].concat());
    let rest = [0x10, 2, 0x18, 1];
    let body = in_scope(
        &[
            metric(&[&point(b"a")[..], &point(&[0xff]), &rest].concat()),
            metric(&point(&[0xff])),
        ]
        .concat(),
    );
    let walked = full(Signal::Metrics, &body).unwrap();
    assert_eq!((walked.items, walked.rejected.unwrap().items), (1, 2));
    let left = in_scope(&metric(&[&point(b"a")[..], &rest].concat()));
    assert_eq!(
        without_rejected(Signal::Metrics, &body, Validation::Full),
        left
    );
}

#[test]
fn of_a_request_of_bad_items_only_nothing_is_left() {
    let (bad_id, bad_name) = (field(1, &[7; 15]), field(5, &[0xff]));
    let body = traces(&[&bad_id, &bad_name, &bad_id]);
    let walked = full(Signal::Traces, &body).unwrap();
    let rejected = walked.rejected.unwrap();
    assert_eq!((walked.items, rejected.items), (0, 3));
    assert_eq!(rejected.by, [1, 2]);
    assert_eq!(
        rejected.sentence(Signal::Traces, 0),
        "3 of 3 spans were rejected, 1 for a string that is not UTF-8, 2 for an id of the wrong \
         length; the first: resource_spans[0].scope_spans[0].spans[0].trace_id is an id of \
         neither 16 nor 0 bytes (at byte 6)"
    );
    assert_eq!(
        without_rejected(Signal::Traces, &body, Validation::Full),
        b""
    );
}

#[test]
fn a_bad_resource_scope_or_metric_goes_with_all_its_items_and_no_others() {
    let good = field(5, b"good");
    let bad = field(1, &[7; 15]);
    let bad_key = field(1, &[0xff]);
    let scope = |name: &[u8], spans: &[&[u8]]| {
        let spans: Vec<u8> = spans.iter().flat_map(|span| field(2, span)).collect();
        // What is bad may stand behind what it is said of.
        field(2, &[spans, field(1, &field(1, name))].concat())
    };
    let resource = |key: &[u8], scopes: &[Vec<u8>]| {
        let resource = field(1, &field(1, key));
        field(1, &[resource, scopes.concat()].concat())
    };
    let body = [
        resource(&bad_key, &[scope(b"a", &[&good, &bad, &good])]),
        resource(
            b"",
            &[scope(&[0xff], &[&good]), scope(b"b", &[&good, &bad])],
        ),
        resource(b"", &[scope(&[0xff], &[&good, &good])]),
        // A field that nobody knows may hold anything.
        field(15, &[0xff]),
    ]
    .concat();
    let walked = full(Signal::Traces, &body).unwrap();
    let rejected = walked.rejected.unwrap();
    assert_eq!((walked.items, rejected.items), (1, 7));
    assert_eq!(rejected.by, [6, 1]);
    assert_eq!(
        rejected.first.field,
        "resource_spans[0].resource.attributes[0].key"
    );
    let left = [resource(b"", &[scope(b"b", &[&good])]), field(15, &[0xff])].concat();
    assert_eq!(
        without_rejected(Signal::Traces, &body, Validation::Full),
        left
    );

    let metric = |name: &[u8]| field(2, &[field(7, &field(1, &[])), field(1, name)].concat());
    let body = in_scope(&[metric(b"good"), metric(&[0xff])].concat());
    let walked = full(Signal::Metrics, &body).unwrap();
    assert_eq!((walked.items, walked.rejected.unwrap().items), (1, 1));
    let left = in_scope(&metric(b"good"));
    assert_eq!(
        without_rejected(Signal::Metrics, &body, Validation::Full),
        left
    );
}

#[test]
fn a_bad_envelope_without_items_is_left_out_and_nothing_is_rejected() {
    let body = [traces(&[&field(5, b"good")]), field(1, &field(3, &[0xff]))].concat();
    for rules in [Validation::Full, Validation::Items] {
        let walked = walk(Signal::Traces, &body, rules).unwrap();
        let rejected = walked.rejected.unwrap();
        assert_eq!((walked.items, rejected.items), (1, 0));
        let sentence = rejected.sentence(Signal::Traces, 1);
        assert!(
            sentence.contains("resource_spans[1].schema_url is not UTF-8"),
            "{sentence}"
        );
        let left = without_rejected(Signal::Traces, &body, rules);
        assert_eq!(left, traces(&[&field(5, b"good")]));
    }
}

#[test]
fn what_is_to_pass_is_neither_rejected_nor_cut_out() {
    let bad_id = field(1, &[7; 15]);
    let bad_name = field(5, &[0xff]);
    let bad_url = field(3, &[0xff]);
    let scope = [field(2, &bad_id), field(2, &bad_name), bad_url].concat();
    let body = field(1, &field(2, &scope));
    let rules = |invalid_utf8, invalid_ids| Rules {
        invalid_utf8,
        invalid_ids,
        ..Rules::default()
    };
    use ItemPolicy::{Pass, RejectItem};
    let walked = |rules| walk(Signal::Traces, &body, rules).unwrap();
    let all = walked(rules(Pass, Pass));
    assert_eq!((all.items, all.rejected), (2, None));
    let without_url = in_scope(&[field(2, &bad_id), field(2, &bad_name)].concat());
    for (rules, by, body, left) in [
        (
            rules(Pass, RejectItem),
            [0, 1],
            &without_url,
            in_scope(&field(2, &bad_name)),
        ),
        (
            rules(RejectItem, Pass),
            [1, 0],
            &without_url,
            in_scope(&field(2, &bad_id)),
        ),
        (rules(RejectItem, Pass), [2, 0], &body, Vec::new()),
    ] {
        let walked = walk(Signal::Traces, body, rules).unwrap();
        assert_eq!(walked.rejected.unwrap().by, by);
        assert_eq!(without_rejected(Signal::Traces, body, rules), left);
    }
    // Damage is damage.
    let cut = &body[..body.len() - 1];
    assert!(walk(Signal::Traces, cut, rules(Pass, Pass)).is_err());
    // What cannot be cut may pass.
    let profile = in_scope(&field(2, &field(7, &[1])));
    let dictionary = field(2, &field(5, &[0xff]));
    let profiles = [profile, dictionary].concat();
    let walked = walk(Signal::Profiles, &profiles, rules(Pass, Pass)).unwrap();
    assert_eq!(walked.items, 1);
}

#[test]
fn damage_after_a_bad_item_refuses_the_whole_request() {
    let bad = field(1, &[7; 15]);
    let good = field(1, &[7; 16]);
    assert_eq!(refusal(&traces(&[&bad, &good, &[0]])).2, Fault::FieldNumber);
}

#[test]
fn a_log_record_with_an_invalid_id_belongs_to_no_trace() {
    let record = |content: &[u8]| in_scope(&[field(2, &[]), field(2, content)].concat());
    let good = [field(3, b"INFO"), field(9, &[7; 16]), field(10, &[7; 8])].concat();
    for bad in [field(9, &[1]), field(10, &[1; 9])] {
        let body = record(&[&bad, &good[..], &bad].concat());
        let walked = full(Signal::Logs, &body).unwrap();
        assert_eq!(walked.items, 2);
        let rejected = walked.rejected.unwrap();
        assert_eq!((rejected.items, rejected.by), (0, [0, 0]));
        let sentence = rejected.sentence(Signal::Logs, 2);
        assert!(
            sentence.starts_with("no log records were rejected"),
            "{sentence}"
        );
        let left = without_rejected(Signal::Logs, &body, Validation::Full);
        assert_eq!(left, record(&good));
        let passing = Rules {
            invalid_ids: ItemPolicy::Pass,
            ..Rules::default()
        };
        assert!(
            walk(Signal::Logs, &body, passing)
                .unwrap()
                .rejected
                .is_none()
        );
    }
    // Text that nobody can read costs the record all the same.
    let both = [field(9, &[1]), field(12, &[0xff])].concat();
    let walked = full(Signal::Logs, &record(&both)).unwrap();
    assert_eq!((walked.items, walked.rejected.unwrap().items), (1, 1));
}

#[test]
fn exemplars_have_ids_too() {
    let exemplar = field(1, &field(5, &field(4, &[1, 2])));
    let body = in_scope(&field(2, &field(5, &[exemplar, field(1, &[])].concat())));
    let rejected = full(Signal::Metrics, &body).unwrap().rejected.unwrap();
    assert_eq!(
        rejected.first.field,
        "resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].exemplars[0].span_id"
    );
}

#[test]
fn nothing_is_cut_out_of_profiles() {
    let dictionary = |text: &[u8]| field(2, &field(5, text));
    let body = [in_scope(&field(2, &field(7, &[1]))), dictionary(b"ok")].concat();
    assert_eq!(accepts(Signal::Profiles, &body), 1);
    let body = [body, dictionary(&[0xff])].concat();
    let malformed = full(Signal::Profiles, &body).unwrap_err();
    assert_eq!(malformed.field, "dictionary.string_table[0]");
    let format = [field(2, &[]), field(2, &field(9, &[0xff]))].concat();
    assert_eq!(
        full(Signal::Profiles, &in_scope(&format)).unwrap_err().what,
        Fault::Utf8
    );
}

#[test]
fn validation_of_items_counts_and_leaves_their_insides_alone() {
    let body = traces(&[&[0, 0xff], &[]]);
    let walked = walk(Signal::Traces, &body, Validation::Items).unwrap();
    assert_eq!(
        walked,
        Walked {
            items: 2,
            rejected: None
        }
    );
    assert!(walk(Signal::Traces, &body[..body.len() - 1], Validation::Items).is_err());
    let points = in_scope(&field(2, &field(5, &field(1, &[0, 0xff]))));
    let walked = walk(Signal::Metrics, &points, Validation::Items).unwrap();
    assert_eq!(
        walked,
        Walked {
            items: 1,
            rejected: None
        }
    );
}

mod agreement {
    use proptest::prelude::*;

    use super::*;
    use crate::otlp::requests::{self, Spice};
    use crate::otlp::schema;

    proptest! {
        /// Where the fast walk gives up on a good request, only time is lost; where it counts
        /// a bad one, the request gets in.
        #[test]
        fn the_fast_walk_agrees_with_the_tables(
            signal in proptest::sample::select(vec![Signal::Traces, Signal::Metrics, Signal::Logs]),
            choices in proptest::collection::vec(any::<u8>(), 0..3000),
            odd in any::<bool>(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            full in any::<bool>(),
        ) {
            let spice = Spice { odd, bad_values: odd };
            let mut body = requests::request(schema::request(signal), &choices, spice);
            let damaged = !flips.is_empty();
            if !body.is_empty() {
                for (place, byte) in flips {
                    let place = place.index(body.len());
                    body[place] = byte;
                }
            }
            let validation = if full { Validation::Full } else { Validation::Items };
            let fast = clean::count(signal, &body, validation);
            let by_tables = survey::survey(signal, &body, validation.into()).ok();
            let by_tables = by_tables.filter(|walked| walked.rejected.is_none());
            // Groups, which damage may make too, are left to the tables.
            if fast.is_some() || !(odd || damaged) {
                prop_assert_eq!(fast, by_tables.map(|walked| walked.items));
            }
        }
    }
}
