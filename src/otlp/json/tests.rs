//! Texts that were checked by hand, and by Google's parser: what opentelemetry-proto gets wrong
//! above all. `tests/otlp_json.rs` compares the rest with it.

use super::*;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
    exemplar, exponential_histogram_data_point::Buckets, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::profiles::v1development::Profile;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use schema::{Kind, Message};

use crate::otlp::walk::{Validation, walk};
use crate::otlp::wire;

fn json(signal: Signal, body: &[u8]) -> String {
    let mut out = Vec::new();
    write(signal, body, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The JSON of a message inside of a request: the one that these fields lead to.
fn json_at(signal: Signal, path: &[&str], bytes: &[u8]) -> String {
    let message = path.iter().fold(schema::request(signal), |message, name| {
        let mut fields = message.fields.iter();
        inner(fields.find(|field| field.name == *name).unwrap().kind)
    });
    let mut out = Vec::new();
    object::write(message, &[bytes], MAX_DEPTH, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn inner(kind: Kind) -> &'static Message {
    match kind {
        Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner) => inner,
        _ => panic!("no message"),
    }
}

const SPAN: [&str; 3] = ["resource_spans", "scope_spans", "spans"];
const RECORD: [&str; 3] = ["resource_logs", "scope_logs", "log_records"];
const VALUE: [&str; 4] = ["resource_logs", "scope_logs", "log_records", "body"];

fn point(kind: &'static str) -> [&'static str; 5] {
    [
        "resource_metrics",
        "scope_metrics",
        "metrics",
        kind,
        "data_points",
    ]
}

fn value(value: Value) -> String {
    let any = AnyValue { value: Some(value) };
    json_at(Signal::Logs, &VALUE, &any.encode_to_vec())
}

fn attribute(key: &str, value: Option<Value>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.map(|value| AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[test]
fn a_whole_request_is_one_line_of_json() {
    let span = Span {
        trace_id: (0xf0..=0xff).collect(),
        span_id: (1..=8).collect(),
        parent_span_id: vec![0xab; 8],
        trace_state: "a=b".to_owned(),
        flags: 0x101,
        name: "GET \"/\\\n".to_owned(),
        kind: 2,
        start_time_unix_nano: u64::MAX,
        attributes: vec![attribute("n", Some(Value::IntValue(-1)))],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![0x10; 16],
            ..Link::default()
        }],
        status: Some(Status::default()),
        ..Span::default()
    };
    let request = ResourceSpans {
        resource: Some(Resource::default()),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "lib".to_owned(),
                ..InstrumentationScope::default()
            }),
            spans: vec![span, Span::default()],
            schema_url: "u".to_owned(),
        }],
        schema_url: String::new(),
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![request],
    };
    assert_eq!(
        json(Signal::Traces, &request.encode_to_vec()),
        concat!(
            r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{"name":"lib"},"spans":["#,
            r#"{"traceId":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","spanId":"0102030405060708","#,
            r#""traceState":"a=b","parentSpanId":"abababababababab","name":"GET \"/\\\n","kind":2,"#,
            r#""startTimeUnixNano":"18446744073709551615","#,
            r#""attributes":[{"key":"n","value":{"intValue":"-1"}}],"droppedEventsCount":3,"#,
            r#""links":[{"traceId":"10101010101010101010101010101010"}],"status":{},"flags":257},{}"#,
            r#"],"schemaUrl":"u"}]}]}"#
        )
    );
}

#[test]
fn an_empty_request_is_an_empty_object() {
    for signal in Signal::ALL {
        assert_eq!(json(signal, &[]), "{}");
    }
}

#[test]
fn values_of_every_kind_are_written_though_they_are_zero() {
    let list = |values| ArrayValue { values };
    let map = |values| KeyValueList { values };
    for (of, expected) in [
        (Value::StringValue(String::new()), r#"{"stringValue":""}"#),
        (Value::BoolValue(false), r#"{"boolValue":false}"#),
        (Value::BoolValue(true), r#"{"boolValue":true}"#),
        (Value::IntValue(0), r#"{"intValue":"0"}"#),
        (
            Value::IntValue(i64::MIN),
            r#"{"intValue":"-9223372036854775808"}"#,
        ),
        (Value::DoubleValue(0.0), r#"{"doubleValue":0.0}"#),
        (Value::ArrayValue(list(vec![])), r#"{"arrayValue":{}}"#),
        (
            Value::ArrayValue(list(vec![AnyValue::default()])),
            r#"{"arrayValue":{"values":[{}]}}"#,
        ),
        (Value::KvlistValue(map(vec![])), r#"{"kvlistValue":{}}"#),
        (
            Value::KvlistValue(map(vec![attribute("k", None), attribute("", None)])),
            r#"{"kvlistValue":{"values":[{"key":"k"},{}]}}"#,
        ),
        (Value::BytesValue(vec![]), r#"{"bytesValue":""}"#),
        (Value::BytesValue(vec![0xfb]), r#"{"bytesValue":"+w=="}"#),
        (Value::BytesValue(vec![0xff; 2]), r#"{"bytesValue":"//8="}"#),
        (Value::BytesValue(vec![0xff; 3]), r#"{"bytesValue":"////"}"#),
        (
            Value::StringValueStrindex(0),
            r#"{"stringValueStrindex":0}"#,
        ),
    ] {
        assert_eq!(value(of), expected);
    }
}

#[test]
fn doubles_are_read_back_as_they_were() {
    let text = |number| value(Value::DoubleValue(number));
    for (number, expected) in [
        (f64::NAN, r#"{"doubleValue":"NaN"}"#),
        (-f64::NAN, r#"{"doubleValue":"NaN"}"#),
        (f64::INFINITY, r#"{"doubleValue":"Infinity"}"#),
        (f64::NEG_INFINITY, r#"{"doubleValue":"-Infinity"}"#),
        (0.1 + 0.2, r#"{"doubleValue":0.30000000000000004}"#),
    ] {
        assert_eq!(text(number), expected);
    }
    let mut bits = 1_u64;
    for _ in 0..10_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = f64::from_bits(bits);
        for number in [number, -0.0, f64::MIN_POSITIVE / 4.0, f64::MAX, 1e22, 3.0] {
            let read: serde_json::Value = serde_json::from_str(&text(number)).unwrap();
            let read = read["doubleValue"].as_f64();
            assert_eq!(
                read.map(f64::to_bits),
                number.is_finite().then_some(number.to_bits())
            );
        }
    }
}

#[test]
fn text_is_escaped_and_what_is_not_utf_8_is_replaced() {
    let text = |text: &str| value(Value::StringValue(text.to_owned()));
    assert_eq!(
        text("\0\u{8}\t\u{1f}\u{7f}\"\\/"),
        "{\"stringValue\":\"\\u0000\\b\\t\\u001f\u{7f}\\\"\\\\/\"}"
    );
    assert_eq!(
        text("\u{e4}\u{2028}\u{1f600}"),
        "{\"stringValue\":\"\u{e4}\u{2028}\u{1f600}\"}"
    );
    let damaged = json_at(Signal::Logs, &VALUE, b"\x0a\x04a\xffb\xe4");
    assert_eq!(damaged, "{\"stringValue\":\"a\u{fffd}b\u{fffd}\"}");
}

#[test]
fn points_keep_what_is_there_though_it_is_zero() {
    let number = NumberDataPoint {
        value: Some(number_data_point::Value::AsInt(0)),
        exemplars: vec![Exemplar {
            value: Some(exemplar::Value::AsDouble(f64::NAN)),
            span_id: vec![1; 8],
            trace_id: vec![2; 16],
            filtered_attributes: vec![attribute("f", None)],
            time_unix_nano: 7,
        }],
        flags: 1,
        ..NumberDataPoint::default()
    };
    assert_eq!(
        json_at(Signal::Metrics, &point("gauge"), &number.encode_to_vec()),
        concat!(
            r#"{"asInt":"0","#,
            r#""exemplars":[{"timeUnixNano":"7","asDouble":"NaN","spanId":"0101010101010101","#,
            r#""traceId":"02020202020202020202020202020202","filteredAttributes":[{"key":"f"}]}],"#,
            r#""flags":1}"#
        )
    );
    let histogram = HistogramDataPoint {
        count: 3,
        sum: Some(0.0),
        bucket_counts: vec![0, 3],
        explicit_bounds: vec![0.0, f64::INFINITY],
        max: Some(-1.5),
        ..HistogramDataPoint::default()
    };
    assert_eq!(
        json_at(
            Signal::Metrics,
            &point("histogram"),
            &histogram.encode_to_vec()
        ),
        concat!(
            r#"{"count":"3","sum":0.0,"bucketCounts":["0","3"],"#,
            r#""explicitBounds":[0.0,"Infinity"],"max":-1.5}"#
        )
    );
}

#[test]
fn points_without_presence_lose_their_zeros() {
    let exponential = ExponentialHistogramDataPoint {
        scale: -3,
        zero_count: 2,
        positive: Some(Buckets {
            offset: i32::MIN,
            bucket_counts: vec![1, u64::MAX],
        }),
        negative: Some(Buckets::default()),
        min: Some(0.0),
        ..ExponentialHistogramDataPoint::default()
    };
    assert_eq!(
        json_at(
            Signal::Metrics,
            &point("exponential_histogram"),
            // To prost a negative zero is the default, to Google's parsers it is not.
            &[
                &exponential.encode_to_vec()[..],
                &[14 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0x80]
            ]
            .concat()
        ),
        concat!(
            r#"{"scale":-3,"zeroCount":"2","positive":{"offset":-2147483648,"#,
            r#""bucketCounts":["1","18446744073709551615"]},"negative":{},"min":0.0,"#,
            r#""zeroThreshold":-0.0}"#
        )
    );
    let summary = SummaryDataPoint {
        sum: 0.0,
        quantile_values: vec![ValueAtQuantile::default()],
        ..SummaryDataPoint::default()
    };
    assert_eq!(
        json_at(Signal::Metrics, &point("summary"), &summary.encode_to_vec()),
        r#"{"quantileValues":[{}]}"#
    );
}

#[test]
fn enums_of_any_number_are_numbers() {
    let record = |number| {
        let record = LogRecord {
            severity_number: number,
            ..LogRecord::default()
        };
        json_at(Signal::Logs, &RECORD, &record.encode_to_vec())
    };
    assert_eq!(record(17), r#"{"severityNumber":17}"#);
    assert_eq!(record(99), r#"{"severityNumber":99}"#);
    assert_eq!(record(-1), r#"{"severityNumber":-1}"#);
    assert_eq!(record(0), "{}");
}

#[test]
fn profiles_have_their_ids_in_hexadecimal_and_other_bytes_in_base64() {
    let profile = Profile {
        profile_id: vec![0xab; 16],
        original_payload: vec![0xff, 0xfe],
        period: -5,
        duration_nano: 9,
        attribute_indices: vec![0, 1],
        ..Profile::default()
    };
    assert_eq!(
        json_at(
            Signal::Profiles,
            &["resource_profiles", "scope_profiles", "profiles"],
            &profile.encode_to_vec()
        ),
        concat!(
            r#"{"durationNano":"9","period":"-5","profileId":"abababababababababababababababab","#,
            r#""originalPayload":"//4=","attributeIndices":[0,1]}"#
        )
    );
}

#[test]
fn lists_may_be_packed_or_not_and_in_several_places() {
    // bucket_counts unpacked, count, bucket_counts packed, and once more packed but empty.
    let bytes = [
        &[6 << 3 | 1, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[4 << 3 | 1, 9, 0, 0, 0, 0, 0, 0, 0],
        &[
            6 << 3 | 2,
            16,
            2,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            3,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ],
        &[6 << 3 | 2, 0],
    ];
    let text = |bytes: &[u8]| json_at(Signal::Metrics, &point("histogram"), bytes);
    assert_eq!(
        text(&bytes.concat()),
        r#"{"count":"9","bucketCounts":["1","2","3"]}"#
    );
    assert_eq!(text(&[6 << 3 | 2, 0]), "{}");
}

#[test]
fn the_last_number_counts_and_messages_are_merged() {
    let status = |code: u8| [15 << 3 | 2, 2, 3 << 3, code];
    let message = [15 << 3 | 2, 3, 2 << 3 | 2, 1, b'm'];
    let bytes = [
        &[6 << 3, 1][..],
        &status(1),
        &message,
        &status(2),
        &[6 << 3, 3],
    ]
    .concat();
    assert_eq!(
        json_at(Signal::Traces, &SPAN, &bytes),
        r#"{"kind":3,"status":{"message":"m","code":2}}"#
    );
}

#[test]
fn of_a_oneof_the_last_member_counts() {
    let text = |bytes: &[u8]| json_at(Signal::Logs, &VALUE, bytes);
    assert_eq!(text(&[2 << 3, 1, 3 << 3, 5]), r#"{"intValue":"5"}"#);
    assert_eq!(text(&[3 << 3, 5, 2 << 3, 0]), r#"{"boolValue":false}"#);
    // Two lists are merged, unless there is another member between them.
    let list = |number: u8| [5 << 3 | 2, 4, 1 << 3 | 2, 2, 3 << 3, number];
    assert_eq!(
        text(&[list(1), list(2)].concat()),
        r#"{"arrayValue":{"values":[{"intValue":"1"},{"intValue":"2"}]}}"#
    );
    assert_eq!(
        text(&[&list(1)[..], &[2 << 3, 1], &list(2)].concat()),
        r#"{"arrayValue":{"values":[{"intValue":"2"}]}}"#
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let unknown = [0xba, 0x3e, 2, 0xff, 0xfe, 0xc3, 0x3e, 8, 1, 0xc4, 0x3e];
    // The name as a number, the kind as eight bytes: of other types than the table has.
    let mistyped = [&[5 << 3, 1, 6 << 3 | 1][..], &[1; 8]].concat();
    let bytes = [&unknown[..], &mistyped, &[5 << 3 | 2, 1, b'n'], &unknown].concat();
    assert_eq!(json_at(Signal::Traces, &SPAN, &bytes), r#"{"name":"n"}"#);
}

#[test]
fn damage_is_a_fault_and_appends_nothing() {
    let mut out = b"before".to_vec();
    let mut fault = |signal, bytes: &[u8]| {
        let fault = write(signal, bytes, &mut out).unwrap_err();
        assert_eq!(out, b"before");
        fault
    };
    assert_eq!(fault(Signal::Traces, &[10, 5, 1]), Fault::Truncated);
    assert_eq!(fault(Signal::Traces, &[0]), Fault::FieldNumber);
    assert_eq!(fault(Signal::Traces, &[0x0c]), Fault::Group);
    // resource_metrics, scope_metrics, metrics, histogram, data_points, bucket_counts.
    let packed = [10, 13, 18, 11, 18, 9, 74, 7, 10, 5, 50, 3, 1, 2, 3];
    assert_eq!(fault(Signal::Metrics, &packed), Fault::Packed);
}

/// A record whose body is lists in lists, so many of them.
fn nested(levels: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let array = [10, 42].repeat(levels);
    for tag in array.into_iter().chain([5 << 3 | 2, 18, 18, 10]) {
        let inside = std::mem::take(&mut body);
        wire::write_bytes(&mut body, tag, &inside);
    }
    body
}

#[test]
fn nesting_ends_where_the_walk_ends_it() {
    let mut refused = 0;
    for levels in 40..60 {
        let body = nested(levels);
        let written = write(Signal::Logs, &body, &mut Vec::new());
        let walked = walk(Signal::Logs, &body, Validation::Full);
        assert_eq!(written.is_ok(), walked.is_ok(), "{levels}");
        if let Err(fault) = written {
            assert_eq!(fault, Fault::Nesting);
            refused += 1;
        }
    }
    assert_eq!(refused, 11);
}
