use super::*;
use crate::otlp::wire::write_bytes;

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, number << 3 | 2, content);
    out
}

fn parts(signal: Signal, body: &[u8], max_bytes: usize, max_items: u64) -> Vec<Part> {
    let limit = SplitLimit {
        max_bytes,
        max_items,
    };
    split(signal, &Bytes::copy_from_slice(body), limit).collect()
}

fn part(bytes: &[u8], items: u64) -> Part {
    Part {
        bytes: Bytes::copy_from_slice(bytes),
        items,
        oversize: false,
    }
}

fn span(name: &str) -> Vec<u8> {
    field(2, &field(5, name.as_bytes()))
}

fn resource(spans: &[&str]) -> Vec<u8> {
    let spans: Vec<u8> = spans.iter().flat_map(|name| span(name)).collect();
    field(1, &field(2, &spans))
}

#[test]
fn what_fits_comes_back_as_the_same_bytes() {
    let body = Bytes::from([resource(&["a"]), resource(&["b", "c"])].concat());
    let limit = SplitLimit {
        max_bytes: body.len(),
        max_items: 3,
    };
    let parts: Vec<Part> = split(Signal::Traces, &body, limit).collect();
    assert_eq!(parts, [part(&body, 3)]);
    assert_eq!(parts[0].bytes.as_ptr(), body.as_ptr());
    assert_eq!(super::tests::parts(Signal::Traces, &[], 10, 0), []);
}

#[test]
fn cuts_between_resources_are_slices() {
    let [a, b, c] = [resource(&["a", "a"]), resource(&["b"]), resource(&["c"])];
    let body = Bytes::from([&a[..], &b, &c].concat());
    let limit = SplitLimit {
        max_bytes: b.len() + c.len(),
        max_items: 0,
    };
    let parts: Vec<Part> = split(Signal::Traces, &body, limit).collect();
    assert_eq!(parts, [part(&a, 2), part(&[b, c].concat(), 2)]);
    assert_eq!(parts[1].bytes.as_ptr(), body[a.len()..].as_ptr());
}

#[test]
fn every_part_repeats_resource_scope_urls_and_unknown_fields() {
    let resource_part = |spans: &[u8]| {
        let scope = [
            &field(1, b"\x0a\x01s")[..],
            &field(3, b"url"),
            &field(9, b"?"),
            spans,
        ];
        let scopes = field(2, &scope.concat());
        field(
            1,
            &[
                field(1, b"\x10\x01"),
                field(3, b"URL"),
                field(8, b"!"),
                scopes,
            ]
            .concat(),
        )
    };
    let all = [span("a"), span("b"), span("c")].concat();
    let body = resource_part(&all);
    let expected = [
        part(&resource_part(&[span("a"), span("b")].concat()), 2),
        part(&resource_part(&span("c")), 1),
    ];
    assert_eq!(parts(Signal::Traces, &body, body.len() - 1, 0), expected);
    assert_eq!(parts(Signal::Traces, &body, usize::MAX, 2), expected);
}

#[test]
fn what_is_left_of_a_resource_shares_a_part_with_the_next() {
    let body = [resource(&["a", "b", "c"]), resource(&["d"])].concat();
    let expected = [
        part(&resource(&["a", "b"]), 2),
        part(&[resource(&["c"]), resource(&["d"])].concat(), 2),
    ];
    assert_eq!(parts(Signal::Traces, &body, 1000, 2), expected);
}

#[test]
fn points_of_one_metric_are_split_with_its_name_and_kind() {
    let metric = |points: &[&[u8]]| {
        let points: Vec<u8> = points.iter().flat_map(|point| field(1, point)).collect();
        let sum = [&points[..], &[0x10, 2, 0x18, 1]].concat();
        let metric = [field(1, b"name"), field(12, b"\x0a\x01k"), field(7, &sum)].concat();
        field(1, &field(2, &field(2, &metric)))
    };
    let [a, b] = [&[0x40, 1][..], &[0x40, 2]];
    let count = |part: &Part| {
        let reader = Reader::new(&part.bytes);
        count(reader, schema::request(Signal::Metrics))
    };
    let parts = parts(Signal::Metrics, &metric(&[a, b]), 1000, 1);
    assert_eq!(parts.iter().map(count).collect::<Vec<_>>(), [1, 1]);
    let lengths: Vec<_> = parts.iter().map(|part| part.bytes.len()).collect();
    assert_eq!(lengths, [metric(&[a]).len(), metric(&[b]).len()]);
    assert!(
        parts[1]
            .bytes
            .ends_with(&[0x10, 2, 0x18, 1, 0x0a, 2, 0x40, 2])
    );
}

#[test]
fn one_item_that_is_too_large_comes_apart_and_the_others_are_delivered() {
    let large = "x".repeat(100);
    let body = [resource(&["a", &large, "b"]), resource(&["c"])].concat();
    let oversize = Part {
        oversize: true,
        ..part(&resource(&[&large]), 1)
    };
    let expected = [
        part(&resource(&["a"]), 1),
        oversize,
        part(&[resource(&["b"]), resource(&["c"])].concat(), 2),
    ];
    assert_eq!(parts(Signal::Traces, &body, 40, 0), expected);
}

#[test]
fn a_resource_that_leaves_no_room_is_too_large_with_all_its_items() {
    let large = field(1, &[0x10; 100]);
    let spans = field(2, &[span("a"), span("b")].concat());
    let body = field(1, &[large, spans].concat());
    let expected = [Part {
        oversize: true,
        ..part(&body, 2)
    }];
    assert_eq!(parts(Signal::Traces, &body, 80, 0), expected);
}

#[test]
fn profiles_are_never_split() {
    let body = field(1, &field(2, &[field(2, &[]), field(2, &[])].concat()));
    assert_eq!(parts(Signal::Profiles, &body, 1000, 0), [part(&body, 2)]);
    let expected = [Part {
        oversize: true,
        ..part(&body, 2)
    }];
    assert_eq!(parts(Signal::Profiles, &body, 3, 0), expected);
}
