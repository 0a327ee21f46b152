//! OTLP/JSON against prost and opentelemetry-proto, where these are right.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlpd::otlp::Signal;
use otlpd::otlp::json;
use otlpd::otlp::schema::{self, Kind, Message};
use otlpd::otlp::walk::{Validation, walk};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod support {
    pub(crate) mod oracle;
    pub(crate) mod payloads;
    pub(crate) mod requests;
    use otlpd::otlp::schema;
}
use support::oracle::{Decoded, decode};
use support::payloads;
use support::requests::{self, Spice};

fn text(signal: Signal, body: &[u8]) -> String {
    let mut out = Vec::new();
    json::write(signal, body, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What opentelemetry-proto reads in JSON of ours.
fn read(signal: Signal, text: &str) -> Decoded {
    let mut value: Value = serde_json::from_str(text).unwrap();
    complete(&mut value);
    match signal {
        Signal::Traces => Decoded::Traces(from::<ExportTraceServiceRequest>(value)),
        Signal::Metrics => Decoded::Metrics(from::<ExportMetricsServiceRequest>(value)),
        Signal::Logs => Decoded::Logs(from::<ExportLogsServiceRequest>(value)),
        Signal::Profiles => panic!("opentelemetry-proto does not read them with defaults left out"),
    }
}

fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Puts in what opentelemetry-proto 0.33.1 cannot do without, though it is a default. Fails on
/// `null`, which must not be written.
fn complete(value: &mut Value) {
    match value {
        Value::Null => panic!("null"),
        Value::Array(values) => values.iter_mut().for_each(complete),
        Value::Object(fields) => {
            for (name, value) in fields {
                complete(value);
                match name.as_str() {
                    "arrayValue" => put_in(value, &[("values", Value::Array(Vec::new()))]),
                    "kvlistValue" => {
                        put_in(value, &[("values", Value::Array(Vec::new()))]);
                        each(&mut value["values"], &[("key", "".into())]);
                    }
                    "attributes" | "metadata" | "filteredAttributes" => {
                        each(value, &[("key", "".into())]);
                    }
                    "entityRefs" => {
                        let list = || Value::Array(Vec::new());
                        each(value, &[("schemaUrl", "".into()), ("type", "".into())]);
                        each(value, &[("idKeys", list()), ("descriptionKeys", list())]);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn each(list: &mut Value, defaults: &[(&str, Value)]) {
    for object in list.as_array_mut().unwrap() {
        put_in(object, defaults);
    }
}

fn put_in(object: &mut Value, defaults: &[(&str, Value)]) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in defaults {
        let entry = object.entry((*name).to_owned());
        entry.or_insert_with(|| value.clone());
    }
}

/// opentelemetry-proto reads neither NaN and infinities nor an index in place of a string.
fn is_beyond_the_oracle(text: &str) -> bool {
    ["\"NaN\"", "Infinity\"", "\"stringValueStrindex\":"]
        .iter()
        .any(|what| text.contains(what))
}

/// A message that is like two of its kind, one after the other, at one level of the request.
fn merged(signal: Signal, level: usize, choices: [&[u8]; 2]) -> Vec<u8> {
    let mut path = Vec::new();
    let mut message = schema::request(signal);
    while path.len() < level
        && let Some(field) = message
            .fields
            .iter()
            .find(|field| down(field.kind).is_some())
    {
        path.push(field.number);
        message = down(field.kind).unwrap();
    }
    let spice = Spice {
        odd: true,
        bad_values: false,
    };
    let mut body = choices
        .map(|choices| requests::request(message, choices, spice))
        .concat();
    for number in path.into_iter().rev() {
        let mut outer = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut outer);
        prost::encoding::encode_varint(body.len() as u64, &mut outer);
        outer.append(&mut body);
        body = outer;
    }
    body
}

fn down(kind: Kind) -> Option<&'static Message> {
    match kind {
        Kind::Level(message) | Kind::Item(message) => Some(message),
        _ => None,
    }
}

fn with_json() -> impl Strategy<Value = Signal> {
    proptest::sample::select(vec![Signal::Traces, Signal::Metrics, Signal::Logs])
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..300)
}

#[test]
fn the_usual_requests_come_back_from_json() {
    for (signal, body) in [
        (Signal::Traces, payloads::traces(50)),
        (Signal::Metrics, payloads::metrics(50)),
        (Signal::Logs, payloads::logs(50)),
    ] {
        let text = text(signal, &body);
        assert_eq!(read(signal, &text), decode(signal, &body).unwrap());
        assert!(!text.contains('\n'), "one line");
    }
}

proptest! {
    #[test]
    fn requests_of_every_shape_come_back_from_json(
        signal in with_json(),
        level in 0_usize..5,
        first in choices(),
        second in choices(),
    ) {
        let body = merged(signal, level, [&first, &second]);
        let text = text(signal, &body);
        if !is_beyond_the_oracle(&text) {
            prop_assert_eq!(read(signal, &text), decode(signal, &body).unwrap());
        }
    }

    #[test]
    fn what_is_written_is_read_as_what_it_was(
        signal in proptest::sample::select(Signal::ALL.to_vec()),
        level in 0_usize..5,
        first in choices(),
        second in choices(),
    ) {
        let body = merged(signal, level, [&first, &second]);
        let written = text(signal, &body);
        let read = read_by_us(signal, written.as_bytes()).unwrap();
        prop_assert_eq!(text(signal, &read), &written[..]);
        // Not-a-numbers are all the same in JSON.
        if !written.contains("\"NaN\"") {
            let (ours, body) = (decode(signal, &read).unwrap(), decode(signal, &body).unwrap());
            prop_assert_eq!(ours.encoded(), body.encoded());
        }
        let pretty = serde_json::from_str::<Value>(&written).unwrap();
        let pretty = serde_json::to_vec_pretty(&pretty).unwrap();
        let again = read_by_us(signal, &pretty).unwrap();
        // Its keys are in another order, and so are the fields.
        let (again, read) = (decode(signal, &again).unwrap(), decode(signal, &read).unwrap());
        prop_assert_eq!(again.encoded(), read.encoded());
    }

    #[test]
    fn any_text_is_read_or_refused(
        signal in proptest::sample::select(Signal::ALL.to_vec()),
        text in "[ -~\u{e9}\\n]{0,200}",
    ) {
        assert_request_or_nothing(signal, text.as_bytes());
    }

    #[test]
    fn damaged_text_is_read_or_refused(
        signal in proptest::sample::select(Signal::ALL.to_vec()),
        choices in choices(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let spice = Spice { odd: false, bad_values: false };
        let body = requests::request(schema::request(signal), &choices, spice);
        let mut text = text(signal, &body).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        assert_request_or_nothing(signal, &text);
        text.truncate(at);
        assert_request_or_nothing(signal, &text);
    }

    #[test]
    fn any_bytes_are_json_or_a_fault(
        signal in proptest::sample::select(Signal::ALL.to_vec()),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        assert_json_or_nothing(signal, &body);
    }

    #[test]
    fn damaged_requests_are_json_or_a_fault(
        signal in proptest::sample::select(Signal::ALL.to_vec()),
        choices in choices(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let spice = Spice { odd: true, bad_values: true };
        let mut body = requests::request(schema::request(signal), &choices, spice);
        assert_json_or_nothing(signal, &body);
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = byte;
            assert_json_or_nothing(signal, &body);
        }
    }
}

fn read_by_us(signal: Signal, text: &[u8]) -> Result<Vec<u8>, json::JsonError> {
    let mut out = Vec::new();
    json::read(signal, text, &mut out).map(|()| out)
}

/// What is read has the framing of a request; what is refused leaves nothing behind, and the error
/// lies within the text.
fn assert_request_or_nothing(signal: Signal, text: &[u8]) {
    let mut out = b"before".to_vec();
    match json::read(signal, text, &mut out) {
        Ok(()) => {
            let walked = walk(signal, &out[6..], Validation::Items);
            assert!(walked.is_ok(), "{walked:?}");
        }
        Err(error) => {
            assert_eq!(out, b"before");
            assert!(error.offset <= text.len() && error.line > 0 && error.column > 0);
        }
    }
}

/// What the walk accepts is JSON; what is refused leaves no half of an object behind.
fn assert_json_or_nothing(signal: Signal, body: &[u8]) {
    let mut out = b"before".to_vec();
    match json::write(signal, body, &mut out) {
        Ok(()) => {
            let value: Value = serde_json::from_slice(&out[6..]).unwrap();
            assert!(value.is_object());
        }
        Err(fault) => {
            assert_eq!(out, b"before");
            let walked = walk(signal, body, Validation::Full);
            assert!(walked.is_err(), "{fault:?}, and {walked:?}");
        }
    }
}
