//! P1, P3, P17 to P19 and P21 to P24: the wire format, well and badly written.

use std::sync::Arc;

use super::{ENCODING, FAILURES, FUTURE, SPANS, attribute, case, fields, metric, span_and};
use crate::cli::bench::wire::{put_bytes, put_fixed64, put_message, put_number, put_varint};
use crate::cli::conform::data::{self, id, now};
use crate::cli::conform::line::{Check, Checked, check, pass};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::sent::Case;
use crate::otlp::Signal;

pub(super) const LINES: &[Check] = &[
    check!(Must "P1", "fields that are not known are taken, at every level", FUTURE, unknown),
    check!(Choice "P1b", "so are groups, a wire type that no field of OTLP has", ENCODING, groups),
    check!(Must "P3", "field 1000 of a resource's entry, which was used before 1.0, does no harm", FUTURE, old_field),
    check!(Must "P17", "fields in any order, and repeated ones that are not lists, are taken", ENCODING, any_order),
    check!(Must "P18", "lists of numbers are taken packed and not packed", ENCODING, packed),
    check!(Must "P19", "numbers in more bytes than needed are taken", ENCODING, long_numbers),
    check!(Must "P19b", "a varint of 11 bytes is refused", ENCODING, too_long),
    check!(Must "P21", "what is cut off, has field 0 or a wrong wire type is refused", FAILURES, broken),
    check!(Must "P22", "a length of 2 GiB in front of ten bytes is refused", FAILURES, promised),
    check!(Choice "P23", "a server survives 4 MiB of empty messages", "none: hardening", empty_messages),
    check!(Choice "P24", "a server survives values nested 10,000 deep", "none: hardening", deep),
    check!(Choice "P24b", "and refuses them, as most decoders do at a depth of 100", ENCODING, deep_refused),
];

const NUMBER: u64 = 15_000;

/// The field 15000 in the wire types that a field can have: varint, fixed64, bytes, fixed32.
fn strange() -> Vec<u8> {
    fields(|out| {
        put_number(out, NUMBER, 7);
        put_fixed64(out, NUMBER, 7);
        put_bytes(out, NUMBER, b"not known");
        put_varint(out, NUMBER << 3 | 5);
        out.extend([7, 0, 0, 0]);
    })
}

async fn groups(probe: Arc<Probe>) -> Checked {
    let group = fields(|out| {
        put_varint(out, NUMBER << 3 | 3);
        put_number(out, 1, 7);
        put_varint(out, NUMBER << 3 | 4);
    });
    let cases = [case("a group in a span", span_and(&group))];
    probe.takes_all(SPANS, &cases).await
}

async fn unknown(probe: Arc<Probe>) -> Checked {
    let strange = strange();
    let span = data::span(&id::<16>(), 1);
    let request = |at: usize| {
        let put = |out: &mut Vec<u8>, level: usize| {
            if level == at {
                out.extend_from_slice(&strange);
            }
        };
        fields(|request| {
            put(request, 0);
            put_message(request, 1, |entry| {
                put(entry, 1);
                put_message(entry, 1, |resource| put(resource, 2));
                put_message(entry, 2, |scope| {
                    put(scope, 3);
                    put_message(scope, 1, |name| put(name, 4));
                    put_bytes(scope, 2, &span);
                });
            });
        })
    };
    let in_value = attribute(&strange);
    let cases = [
        case("at the top", request(0)),
        case("in the entry of a resource", request(1)),
        case("in a resource", request(2)),
        case("in the entry of a scope", request(3)),
        case("in a scope", request(4)),
        case("in a span", span_and(&strange)),
        case("in an attribute's value", in_value),
    ];
    probe.takes_all(SPANS, &cases).await
}

async fn old_field(probe: Arc<Probe>) -> Checked {
    let span = data::span(&id::<16>(), 1);
    let body = fields(|request| {
        put_message(request, 1, |entry| {
            put_message(entry, 1000, |library| put_bytes(library, 2, &span));
        });
    });
    probe.takes_all(SPANS, &[case("field 1000", body)]).await
}

async fn any_order(probe: Arc<Probe>) -> Checked {
    let (trace, span) = (id::<16>(), id::<8>());
    let backwards = fields(|out| {
        put_fixed64(out, 8, now());
        put_fixed64(out, 7, now());
        put_bytes(out, 5, b"conform");
        put_bytes(out, 2, &span);
        put_bytes(out, 1, &trace);
    });
    let merged = fields(|out| {
        put_message(out, 15, |status| put_bytes(status, 2, b"a message"));
        put_message(out, 15, |status| put_number(status, 3, 2));
    });
    let again = fields(|out| {
        put_bytes(out, 5, b"another name");
        put_number(out, 6, 3);
    });
    let cases = [
        case("fields backwards", data::of_items(SPANS, &[backwards])),
        case("a status in two parts", span_and(&merged)),
        case("a name that stands twice", span_and(&again)),
    ];
    probe.takes_all(SPANS, &cases).await
}

async fn packed(probe: Arc<Probe>) -> Checked {
    let histogram = |is_packed: bool| {
        metric(9, |histogram| {
            put_message(histogram, 1, |point| {
                put_fixed64(point, 3, now());
                put_fixed64(point, 4, 3);
                if is_packed {
                    let counts = [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat();
                    put_bytes(point, 6, &counts);
                    put_bytes(point, 7, &5_f64.to_le_bytes());
                } else {
                    put_fixed64(point, 6, 1);
                    put_fixed64(point, 6, 2);
                    put_fixed64(point, 7, 5_f64.to_bits());
                }
            });
            put_number(histogram, 2, 2);
        })
    };
    let cases = [
        case("packed", histogram(true)),
        case("not packed", histogram(false)),
    ];
    probe.takes_all(Signal::Metrics, &cases).await
}

async fn long_numbers(probe: Arc<Probe>) -> Checked {
    let cases = [
        case(
            "kind 2 in ten bytes",
            span_and(b"\x30\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
        ),
        case("a tag in two bytes", span_and(b"\xb0\x00\x02")),
        case("a length in three bytes", span_and(b"\x1a\x81\x80\x00x")),
    ];
    probe.takes_all(SPANS, &cases).await
}

async fn too_long(probe: Arc<Probe>) -> Checked {
    let long = span_and(b"\x30\x82\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00");
    probe
        .refuses_all(SPANS, &[case("a varint of 11 bytes", long)])
        .await
}

async fn broken(probe: Arc<Probe>) -> Checked {
    let whole = data::request(SPANS, 2);
    let cut = whole.get(..whole.len() - 1).unwrap_or_default().to_vec();
    // The lengths around it are right, so that only the span itself is wrong.
    let cases: [Case; 6] = [
        case("a request without its last byte", cut),
        case("a length beyond its message", span_and(b"\x1a\x05x")),
        case("field 0", span_and(b"\x00\x01")),
        case("wire type 6", span_and(b"\x36\x01")),
        case("wire type 7", span_and(b"\x37\x01")),
        case(
            "the end of a group that did not begin",
            span_and(b"\xc4\xa9\x07"),
        ),
    ];
    probe.refuses_all(SPANS, &cases).await
}

async fn promised(probe: Arc<Probe>) -> Checked {
    let cases = [
        case("2 GiB", b"\x0a\xff\xff\xff\xff\x07xxxxx".to_vec()),
        case("4 GiB", b"\x0a\xff\xff\xff\xff\x0fxxxxx".to_vec()),
        case("2^63", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()),
    ];
    probe.refuses_all(SPANS, &cases).await
}

/// Each of the empty messages has two bytes, and a decoder makes a hundred and more of it.
async fn empty_messages(probe: Arc<Probe>) -> Checked {
    const BYTES: usize = 4 << 20;
    let room = probe.limit().min(BYTES);
    let resources = b"\x0a\x00".repeat(room / 2 - 64);
    let spans = fields(|request| {
        put_message(request, 1, |entry| {
            put_bytes(entry, 2, &b"\x12\x00".repeat(room / 2 - 64));
        });
    });
    let probe = probe.patient();
    let cases = [case("resources", resources), case("spans", spans)];
    probe.survives_all(SPANS, &cases).await
}

fn abyss() -> Case {
    let deep = (0..10_000).fold(b"\x0a\x01x".to_vec(), |inner, _| {
        fields(|value| put_message(value, 5, |list| put_bytes(list, 1, &inner)))
    });
    case("lists in lists", attribute(&deep))
}

async fn deep(probe: Arc<Probe>) -> Checked {
    probe.survives_all(SPANS, &[abyss()]).await?;
    pass()
}

async fn deep_refused(probe: Arc<Probe>) -> Checked {
    probe.refuses_all(SPANS, &[abyss()]).await
}
