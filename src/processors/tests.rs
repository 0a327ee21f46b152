use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::batch::{Batch, Context};
use crate::otlp::Signal;
use crate::otlp::wire::write_bytes;

fn read(kind: &str, text: &str) -> Result<ProcessorConfig, String> {
    let table = toml::Deserializer::parse(text).unwrap();
    let config = ProcessorConfig::read(kind, table).unwrap();
    config.map_err(|error| error.message().to_owned())
}

fn attributes(actions: &str) -> Result<ProcessorConfig, String> {
    read("attributes", &format!("actions = [{actions}]"))
}

fn mistake(action: &str) -> String {
    attributes(action).unwrap_err()
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, number << 3 | 2, content);
    out
}

/// A request of one span with these attributes, and the resource's.
fn request(resource: &[(&str, &[u8])], span: &[(&str, &[u8])]) -> Bytes {
    let attributes = |number, pairs: &[(&str, &[u8])]| {
        let pairs = pairs.iter().map(|(key, value)| {
            let pair = [field(1, key.as_bytes()), field(2, value)];
            field(number, &pair.concat())
        });
        pairs.collect::<Vec<_>>().concat()
    };
    let span = field(2, &field(2, &attributes(9, span)));
    field(1, &[field(1, &attributes(1, resource)), span].concat()).into()
}

fn batch(chunk: Bytes) -> Batch {
    Batch {
        signal: Signal::Traces,
        chunks: [chunk].into_iter().collect(),
        items: 1,
        received: Instant::now(),
        context: Context::default(),
        deadline: None,
        encoded: None,
        reservations: smallvec::SmallVec::new(),
    }
}

fn processed(configs: &[ProcessorConfig], chunk: Bytes) -> Bytes {
    let chain = build_chain(configs);
    assert_eq!(chain.len(), 1, "neighbours become one");
    let batch = chain[0].process(batch(chunk));
    batch.chunks[0].clone()
}

#[test]
fn every_type_is_read_and_no_other() {
    for (kind, _) in ProcessorConfig::TYPES {
        let table = toml::Deserializer::parse("").unwrap();
        assert!(ProcessorConfig::read(kind, table).is_some(), "{kind}");
    }
    let table = toml::Deserializer::parse("").unwrap();
    assert!(ProcessorConfig::read("sampling", table).is_none());
}

#[test]
fn values_of_every_type_are_written() {
    let actions = r#"
        { action = "insert", key = "s", value = "text" },
        { action = "insert", key = "i", value = -1 },
        { action = "insert", key = "f", value = 1.5 },
        { action = "insert", key = "b", value = true },
        { action = "insert", key = "l", value = ["x", 1] },
        { action = "insert", key = "c", from_attribute = "s" },
    "#;
    let config = attributes(actions).unwrap();
    let minus_one = [&[0x18][..], &[0xff; 9], &[1]].concat();
    let float = [&[0x21][..], &1.5_f64.to_le_bytes()].concat();
    let text: &[u8] = b"\x0a\x04text";
    let expected = request(
        &[],
        &[
            ("s", text),
            ("i", &minus_one),
            ("f", &float),
            ("b", &[0x10, 1]),
            ("l", b"\x2a\x09\x0a\x03\x0a\x01x\x0a\x02\x18\x01"),
            ("c", text),
        ],
    );
    assert_eq!(processed(&[config], request(&[], &[])), expected);
}

#[test]
fn processors_in_a_row_act_in_their_order_each_on_its_own() {
    let resource = |list: &str| read("resource", &format!("attributes = [{list}]")).unwrap();
    let configs = [
        resource(r#"{ action = "rename", key = "a", new_key = "b" }"#),
        attributes(r#"{ action = "delete", key = "a" }"#).unwrap(),
        resource(r#"{ action = "update", key = "b", value = true }"#),
        attributes(r#"{ action = "upsert", key = "a", value = false }"#).unwrap(),
    ];
    let one: &[u8] = &[0x18, 1];
    let edited = processed(&configs, request(&[("a", one)], &[("a", one)]));
    assert_eq!(edited, request(&[("b", &[0x10, 1])], &[("a", &[0x10, 0])]));
}

#[test]
fn a_batch_that_nothing_is_done_to_keeps_its_bytes() {
    let config = attributes(r#"{ action = "delete", key = "absent" }"#).unwrap();
    let chunk = request(&[], &[("a", &[0x18, 1])]);
    let same = processed(&[config], chunk.clone());
    assert_eq!(same.as_ptr(), chunk.as_ptr());
}

#[test]
fn without_actions_there_is_no_processor() {
    assert!(build_chain(&[]).is_empty());
    assert!(build_chain(&[attributes("").unwrap()]).is_empty());
}

#[test]
fn mistakes_are_named() {
    assert_eq!(
        mistake(r#"{ action = "insert", key = "k" }"#),
        "`insert` needs `value` or `from_attribute`"
    );
    assert_eq!(
        mistake(r#"{ action = "update", key = "k", value = 1, from_attribute = "a" }"#),
        "`update` takes `value` or `from_attribute`, not both"
    );
    assert_eq!(
        mistake(r#"{ action = "delete", key = "k", value = 1 }"#),
        "`delete` takes no `value`"
    );
    assert_eq!(
        mistake(r#"{ action = "hash", key = "k", from_attribute = "a" }"#),
        "`hash` takes no `from_attribute`"
    );
    assert_eq!(
        mistake(r#"{ action = "upsert", key = "k", value = 1, new_key = "a" }"#),
        "`upsert` takes no `new_key`"
    );
    assert_eq!(
        mistake(r#"{ action = "rename", key = "k" }"#),
        "`rename` needs `new_key`"
    );
    assert_eq!(
        mistake(r#"{ action = "insert", key = "", value = 1 }"#),
        "`insert` has an empty `key`"
    );
    assert!(mistake(r#"{ action = "remove", key = "k" }"#).contains("unknown variant `remove`"));
    assert!(mistake(r#"{ action = "delete", kye = "k" }"#).contains("unknown field `kye`"));
    assert!(read("attributes", "attributes = []").is_err());
    assert!(read("resource", "actions = []").is_err());
}

#[test]
fn values_are_scalars_or_arrays_of_them() {
    let scalar = "expected a string, an integer, a float, a boolean";
    let table = mistake(r#"{ action = "insert", key = "k", value = { a = 1 } }"#);
    assert!(
        table.contains(&format!("{scalar}, or an array of them")),
        "{table}"
    );
    let nested = mistake(r#"{ action = "insert", key = "k", value = [[1]] }"#);
    assert!(nested.contains(scalar), "{nested}");
}
