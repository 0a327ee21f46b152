//! The attribute editor against a plain one that decodes everything.
#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlpd::otlp::Signal;
use otlpd::otlp::attributes::{Action, Actions, Source, Verb, edit};
use otlpd::otlp::schema;
use otlpd::otlp::walk::{Validation, walk};
use proptest::prelude::*;
use prost::Message;

mod support {
    pub(crate) mod oracle;
    pub(crate) mod requests;
    use otlpd::otlp::schema;
}
use support::oracle::{Decoded, decode};
use support::requests::{self, Spice};

/// Keys that the request maker makes as well, and two that it does not.
const KEYS: [&str; 5] = ["name", "k", "kk", "new", "other"];

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        any::<i64>().prop_map(|number| Source::Value(any_value(number).encode_to_vec())),
        proptest::sample::select(&KEYS[..]).prop_map(|key| Source::Attribute(key.to_owned())),
    ]
}

fn any_value(number: i64) -> AnyValue {
    AnyValue {
        value: Some(Value::IntValue(number)),
    }
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let key = || proptest::sample::select(&KEYS[..]).prop_map(str::to_owned);
    let verb = prop_oneof![
        source().prop_map(Verb::Insert),
        source().prop_map(Verb::Update),
        source().prop_map(Verb::Upsert),
        Just(Verb::Delete),
        key().prop_map(Verb::Rename),
    ];
    let action = (key(), verb).prop_map(|(key, verb)| Action { key, verb });
    proptest::collection::vec(action, 0..6)
}

fn signals() -> impl Strategy<Value = Signal> {
    proptest::sample::select(vec![Signal::Traces, Signal::Metrics, Signal::Logs])
}

/// What the actions do, on owned attributes.
fn edit_plainly(list: &mut Vec<KeyValue>, actions: &[Action]) {
    for Action { key, verb } in actions {
        let present = list.iter().any(|one| one.key == *key);
        match verb {
            Verb::Insert(source) | Verb::Update(source) | Verb::Upsert(source) => {
                let Some(value) = value(list, source) else {
                    continue;
                };
                if present && !matches!(verb, Verb::Insert(_)) {
                    let same = list.iter_mut().filter(|one| one.key == *key);
                    same.for_each(|one| one.value = Some(value.clone()));
                }
                if !present && !matches!(verb, Verb::Update(_)) {
                    list.push(KeyValue {
                        key: key.clone(),
                        value: Some(value),
                        ..KeyValue::default()
                    });
                }
            }
            Verb::Delete => list.retain(|one| one.key != *key),
            Verb::Rename(new_key) => {
                if list.iter().all(|one| one.key != *new_key) {
                    let same = list.iter_mut().filter(|one| one.key == *key);
                    same.for_each(|one| one.key.clone_from(new_key));
                }
            }
            Verb::Hash => unreachable!("not among the verbs of this test"),
        }
    }
}

fn value(list: &[KeyValue], source: &Source) -> Option<AnyValue> {
    match source {
        Source::Value(bytes) => AnyValue::decode(&bytes[..]).ok(),
        Source::Attribute(key) => {
            let found = list.iter().find(|one| one.key == *key)?;
            Some(found.value.clone().unwrap_or_default())
        }
    }
}

fn edit_resource(resource: &mut Option<Resource>, actions: &[Action]) {
    let was_there = resource.is_some();
    let edited = resource.get_or_insert_default();
    edit_plainly(&mut edited.attributes, actions);
    if !was_there && edited.attributes.is_empty() {
        *resource = None;
    }
}

fn edit_decoded(request: &mut Decoded, resources: &[Action], items: &[Action]) {
    match request {
        Decoded::Traces(request) => {
            for one in &mut request.resource_spans {
                edit_resource(&mut one.resource, resources);
                let spans = one
                    .scope_spans
                    .iter_mut()
                    .flat_map(|scope| &mut scope.spans);
                spans.for_each(|span| edit_plainly(&mut span.attributes, items));
            }
        }
        Decoded::Logs(request) => {
            for one in &mut request.resource_logs {
                edit_resource(&mut one.resource, resources);
                let scopes = one.scope_logs.iter_mut();
                let records = scopes.flat_map(|scope| &mut scope.log_records);
                records.for_each(|record| edit_plainly(&mut record.attributes, items));
            }
        }
        Decoded::Metrics(request) => {
            for one in &mut request.resource_metrics {
                edit_resource(&mut one.resource, resources);
                let metrics = one
                    .scope_metrics
                    .iter_mut()
                    .flat_map(|scope| &mut scope.metrics);
                metrics.for_each(|metric| edit_points(metric.data.as_mut(), items));
            }
        }
        Decoded::Profiles(_) => {}
    }
}

fn edit_points(data: Option<&mut Data>, items: &[Action]) {
    macro_rules! each {
        ($data:expr) => {
            for point in &mut $data.data_points {
                edit_plainly(&mut point.attributes, items);
            }
        };
    }
    match data {
        None => {}
        Some(Data::Gauge(data)) => each!(data),
        Some(Data::Sum(data)) => each!(data),
        Some(Data::Histogram(data)) => each!(data),
        Some(Data::ExponentialHistogram(data)) => each!(data),
        Some(Data::Summary(data)) => each!(data),
    }
}

fn compiled(actions: &[Action]) -> Actions {
    actions.iter().cloned().collect()
}

proptest! {
    #[test]
    fn the_editor_does_what_a_plain_one_does(
        signal in signals(),
        choices in proptest::collection::vec(any::<u8>(), 0..3000),
        odd in any::<bool>(),
        resources in actions(),
        items in actions(),
    ) {
        let spice = Spice { odd, bad_values: false };
        let body = requests::request(schema::request(signal), &choices, spice);
        let mut expected = decode(signal, &body).unwrap();
        edit_decoded(&mut expected, &resources, &items);
        let edited = edit(signal, &body, &compiled(&resources), &compiled(&items));
        let edited = edited.unwrap_or_else(|| body.clone());
        // Encoded, because NaN is not equal to itself.
        prop_assert_eq!(decode(signal, &edited).unwrap().encoded(), expected.encoded());
        let items = walk(signal, &body, Validation::Full).unwrap().items;
        prop_assert_eq!(walk(signal, &edited, Validation::Full).unwrap().items, items);
    }

    #[test]
    fn deleting_what_was_inserted_gives_the_same_bytes_back(
        signal in signals(),
        choices in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        let spice = Spice { odd: false, bad_values: false };
        let body = requests::request(schema::request(signal), &choices, spice);
        let act = |verb| compiled(&[Action { key: "new".to_owned(), verb }]);
        let insert = act(Verb::Insert(Source::Value(any_value(7).encode_to_vec())));
        let none = Actions::default();
        let Some(edited) = edit(signal, &body, &none, &insert) else {
            prop_assert_eq!(walk(signal, &body, Validation::Full).unwrap().items, 0);
            return Ok(());
        };
        prop_assert_eq!(edit(signal, &edited, &none, &act(Verb::Delete)), Some(body));
    }

    #[test]
    fn damage_is_edited_around_without_a_panic(
        signal in signals(),
        choices in proptest::collection::vec(any::<u8>(), 0..1000),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
        resources in actions(),
        items in actions(),
    ) {
        let spice = Spice { odd: true, bad_values: false };
        let mut body = requests::request(schema::request(signal), &choices, spice);
        prop_assume!(!body.is_empty());
        for (place, byte) in flips {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let before = walk(signal, &body, Validation::Items);
        let edited = edit(signal, &body, &compiled(&resources), &compiled(&items));
        if let (Ok(before), Some(edited)) = (before, edited) {
            let after = walk(signal, &edited, Validation::Items).unwrap();
            prop_assert_eq!(after.items, before.items);
        }
    }
}
