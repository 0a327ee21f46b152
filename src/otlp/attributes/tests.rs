use super::*;
use crate::otlp::Signal;
use crate::otlp::wire::write_bytes;

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, number << 3 | 2, content);
    out
}

fn string(text: &str) -> Vec<u8> {
    field(1, text.as_bytes())
}

fn key_value(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &string(value))].concat()
}

/// Key and value pairs as fields of this number.
fn attributes(number: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let each = pairs
        .iter()
        .map(|(key, value)| field(number, &key_value(key, value)));
    each.collect::<Vec<_>>().concat()
}

fn actions<const N: usize>(all: [(&str, Verb); N]) -> Actions {
    let action = |(key, verb): (&str, Verb)| Action {
        key: key.to_owned(),
        verb,
    };
    all.into_iter().map(action).collect()
}

fn to(value: &str) -> Source {
    Source::Value(string(value))
}

fn from(key: &str) -> Source {
    Source::Attribute(key.to_owned())
}

/// A request of one span, with a name before its attributes.
fn span(pairs: &[(&str, &str)]) -> Vec<u8> {
    let span = [field(5, b"name"), attributes(9, pairs)].concat();
    field(1, &field(2, &field(2, &span)))
}

fn edited<const N: usize>(pairs: &[(&str, &str)], all: [(&str, Verb); N]) -> Option<Vec<u8>> {
    edit(
        Signal::Traces,
        &span(pairs),
        &Actions::default(),
        &actions(all),
    )
}

const PAIRS: [(&str, &str); 3] = [("a", "1"), ("b", "2"), ("a", "3")];

#[test]
fn what_changes_nothing_copies_nothing() {
    assert_eq!(edited(&PAIRS, [("a", Verb::Insert(to("9")))]), None);
    assert_eq!(edited(&PAIRS, [("c", Verb::Update(to("9")))]), None);
    assert_eq!(edited(&PAIRS, [("c", Verb::Delete)]), None);
    assert_eq!(edited(&PAIRS, [("c", Verb::Hash)]), None);
    assert_eq!(edited(&PAIRS, [("c", Verb::Upsert(from("d")))]), None);
    assert_eq!(edited(&PAIRS, [("a", Verb::Rename("b".to_owned()))]), None);
}

#[test]
fn each_verb_does_its_work_on_every_occurrence_of_the_key() {
    let check = |verb, expected: &[(&str, &str)], key| {
        assert_eq!(edited(&PAIRS, [(key, verb)]), Some(span(expected)));
    };
    check(
        Verb::Insert(to("9")),
        &[("a", "1"), ("b", "2"), ("a", "3"), ("c", "9")],
        "c",
    );
    check(
        Verb::Update(to("longer")),
        &[("a", "longer"), ("b", "2"), ("a", "longer")],
        "a",
    );
    check(
        Verb::Update(from("b")),
        &[("a", "2"), ("b", "2"), ("a", "2")],
        "a",
    );
    check(
        Verb::Upsert(to("9")),
        &[("a", "1"), ("b", "9"), ("a", "3")],
        "b",
    );
    check(
        Verb::Upsert(from("a")),
        &[("a", "1"), ("b", "2"), ("a", "3"), ("c", "1")],
        "c",
    );
    check(Verb::Delete, &[("b", "2")], "a");
    check(
        Verb::Rename("z".to_owned()),
        &[("z", "1"), ("b", "2"), ("z", "3")],
        "a",
    );
    let two = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";
    check(Verb::Hash, &[("a", "1"), ("b", two), ("a", "3")], "b");
}

#[test]
fn an_action_sees_what_those_before_it_did() {
    let moved = [
        ("c", Verb::Insert(from("b"))),
        ("b", Verb::Delete),
        ("c", Verb::Rename("d".to_owned())),
        ("b", Verb::Insert(to("new"))),
    ];
    let expected = span(&[("a", "1"), ("a", "3"), ("d", "2"), ("b", "new")]);
    assert_eq!(edited(&PAIRS, moved), Some(expected));
    let undone = [("c", Verb::Insert(to("9"))), ("c", Verb::Delete)];
    assert_eq!(edited(&PAIRS, undone), None);
}

fn in_resource<const N: usize>(body: &[u8], all: [(&str, Verb); N]) -> Option<Vec<u8>> {
    edit(Signal::Logs, body, &actions(all), &Actions::default())
}

#[test]
fn a_missing_resource_is_made_when_something_is_inserted() {
    let scopes = field(2, &field(2, &[]));
    let body = [field(1, &scopes), field(1, &[])].concat();
    let resource = field(1, &attributes(1, &[("k", "v")]));
    let expected = [
        field(1, &[&resource[..], &scopes].concat()),
        field(1, &resource),
    ]
    .concat();
    assert_eq!(
        in_resource(&body, [("k", Verb::Insert(to("v")))]),
        Some(expected)
    );
    assert_eq!(in_resource(&body, [("k", Verb::Update(to("v")))]), None);
    let undone = [("k", Verb::Insert(to("v"))), ("k", Verb::Delete)];
    assert_eq!(in_resource(&body, undone), None);
}

#[test]
fn a_resource_may_come_last_and_in_pieces() {
    let piece = |pairs| field(1, &attributes(1, pairs));
    let scopes = field(2, b"");
    let body = |first, second| field(1, &[piece(first), scopes.clone(), piece(second)].concat());
    let all = [
        ("b", Verb::Delete),
        ("a", Verb::Update(from("b"))),
        ("c", Verb::Upsert(to("3"))),
        ("d", Verb::Insert(to("4"))),
        ("d", Verb::Insert(to("5"))),
    ];
    assert_eq!(
        in_resource(
            &body(&[("a", "1"), ("b", "2")], &[("c", "0"), ("b", "2")]),
            all
        ),
        Some(body(&[("a", "1"), ("d", "4")], &[("c", "3")]))
    );
}

#[test]
fn unknown_fields_of_what_is_edited_survive() {
    let unknown = field(77, b"?");
    let with = |pair: (&str, &str)| {
        let (key, value) = (field(1, pair.0.as_bytes()), field(2, &string(pair.1)));
        let attribute = field(9, &[key, unknown.clone(), value].concat());
        let span = [unknown.clone(), attribute, unknown.clone()].concat();
        field(1, &field(2, &field(2, &span)))
    };
    let update = actions([
        ("a", Verb::Update(to("2"))),
        ("a", Verb::Rename("b".to_owned())),
    ]);
    let edited = edit(
        Signal::Traces,
        &with(("a", "1")),
        &Actions::default(),
        &update,
    );
    assert_eq!(edited, Some(with(("b", "2"))));
}

#[test]
fn items_that_are_damaged_inside_are_left_as_they_are() {
    let good = attributes(9, &[("a", "1")]);
    let body = |good: &[u8]| {
        let damaged = [attributes(9, &[("a", "1")]), vec![0x4a, 99]].concat();
        let bad_key = field(9, &[0x0a, 9]);
        let items = [&damaged[..], good, &bad_key].map(|span| field(2, span));
        field(1, &field(2, &items.concat()))
    };
    let delete = actions([("a", Verb::Delete)]);
    let edited = edit(Signal::Traces, &body(&good), &Actions::default(), &delete);
    assert_eq!(edited, Some(body(&[])));
}

#[test]
fn a_key_that_is_there_too_often_to_hold_is_left_alone() {
    let many = vec![("a", ""); (1 << 16) + 1];
    assert_eq!(edited(&many, [("a", Verb::Delete)]), None);
    assert_eq!(edited(&many[1..], [("a", Verb::Delete)]), Some(span(&[])));
}

#[test]
fn data_points_of_every_kind_are_edited() {
    for (data, number) in [(5, 7), (7, 7), (9, 9), (10, 1), (11, 7)] {
        let metrics = |pairs: &[(&str, &str)]| {
            let metric = field(data, &field(1, &attributes(number, pairs)));
            field(1, &field(2, &field(2, &metric)))
        };
        let insert = actions([("k", Verb::Insert(to("v")))]);
        let body = metrics(&[("a", "1")]);
        let edited = edit(Signal::Metrics, &body, &Actions::default(), &insert);
        assert_eq!(edited, Some(metrics(&[("a", "1"), ("k", "v")])));
    }
}

#[test]
fn profiles_are_left_alone() {
    let body = field(1, &[]);
    let insert = actions([("k", Verb::Insert(to("v")))]);
    assert_eq!(edit(Signal::Profiles, &body, &insert, &insert), None);
}
