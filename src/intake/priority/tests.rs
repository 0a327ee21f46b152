use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::otlp::requests::{self, Spice};
use crate::otlp::schema;

const RULES: &str = r#"
rules = [
    { signal = "logs", min_severity = "error", priority = "high" },
    { signal = "traces", span_status = "error", priority = "high" },
    { signal = "logs", max_severity = "debug", priority = "low" },
    { resource = { "service.name" = "batch", "env" = "test" }, priority = "low" },
]
"#;

fn classifier(toml: &str) -> Classifier {
    Classifier::new(&toml::from_str(toml).unwrap())
}

fn resource(attributes: &[(&str, &str)]) -> Option<Resource> {
    let attributes = attributes.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue((*value).to_owned())),
        }),
        ..KeyValue::default()
    });
    Some(Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    })
}

/// The attributes of a resource, and the severities of its log records.
type Logs<'a> = (&'a [(&'a str, &'a str)], &'a [i32]);

fn logs(resources: &[Logs<'_>]) -> Vec<u8> {
    let resource_logs = resources.iter().map(|(attributes, severities)| {
        let record = |severity: &i32| LogRecord {
            severity_number: *severity,
            ..LogRecord::default()
        };
        ResourceLogs {
            resource: resource(attributes),
            scope_logs: vec![ScopeLogs {
                log_records: severities.iter().map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }
    });
    ExportLogsServiceRequest {
        resource_logs: resource_logs.collect(),
    }
    .encode_to_vec()
}

fn spans(codes: &[i32]) -> Vec<u8> {
    let span = |code: &i32| Span {
        name: "GET".to_owned(),
        status: Some(Status {
            code: *code,
            message: "why".to_owned(),
        }),
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(&[("service.name", "checkout")]),
            scope_spans: vec![ScopeSpans {
                spans: codes.iter().map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

const BATCH: &[(&str, &str)] = &[("service.name", "batch"), ("host", "h"), ("env", "test")];

#[test]
fn one_grave_log_record_makes_the_request_high_and_all_must_be_light_for_low() {
    let classifier = classifier(RULES);
    for (severities, expected) in [
        (&[][..], Priority::Normal),
        (&[0], Priority::Normal),
        (&[1, 5, 8], Priority::Low),
        (&[1, 5, 9], Priority::Normal),
        (&[8, 0], Priority::Normal),
        (&[9, 16], Priority::Normal),
        (&[1, 17], Priority::High),
        (&[24], Priority::High),
        (&[25, -1], Priority::Normal),
    ] {
        let class = classifier.classify(Signal::Logs, &logs(&[(&[], severities)]));
        assert_eq!(class.priority, expected, "{severities:?}");
    }
}

#[test]
fn one_failed_span_makes_the_request_high() {
    let classifier = classifier(RULES);
    let class = |codes| classifier.classify(Signal::Traces, &spans(codes)).priority;
    assert_eq!(class(&[0, 1, 2, 1]), Priority::High);
    assert_eq!(class(&[0, 1, 1]), Priority::Normal);
}

#[test]
fn a_resource_is_told_by_all_the_attributes_that_a_rule_names() {
    let classifier = classifier(RULES);
    let class =
        |resources: &[Logs<'_>]| classifier.classify(Signal::Logs, &logs(resources)).priority;
    assert_eq!(class(&[(BATCH, &[9])]), Priority::Low);
    assert_eq!(class(&[(&BATCH[..2], &[9])]), Priority::Normal);
    assert_eq!(class(&[(BATCH, &[9]), (&[], &[9])]), Priority::Normal);
    assert_eq!(class(&[(BATCH, &[9]), (&[], &[5])]), Priority::Low);
    assert_eq!(
        class(&[(BATCH, &[9]), (&[], &[])]),
        Priority::Low,
        "it has no items"
    );
    assert_eq!(
        class(&[(BATCH, &[9, 17])]),
        Priority::High,
        "the first rule that fits"
    );
}

#[test]
fn what_a_resource_says_of_itself_goes_before_the_rules() {
    let classifier = classifier(RULES);
    let class = |said: &str, severity| {
        let attributes = [("otlpd.priority", said)];
        classifier.classify(Signal::Logs, &logs(&[(&attributes, &[severity])]))
    };
    for (said, severity, priority, ignored) in [
        ("low", 17, Priority::Low, 0),
        ("high", 5, Priority::High, 0),
        ("normal", 5, Priority::Normal, 0),
        ("urgent", 5, Priority::Low, 1),
        ("", 17, Priority::High, 1),
    ] {
        assert_eq!(class(said, severity), Class { priority, ignored }, "{said}");
    }
}

#[test]
fn the_first_rule_that_fits_an_item_decides() {
    let classifier = classifier(
        r#"
        resource_attribute = "class"
        rules = [
            { resource = { "service.name" = "noisy" }, min_severity = "fatal", priority = "normal" },
            { resource = { "service.name" = "noisy" }, priority = "low" },
            { min_severity = "warn", max_severity = "warn", priority = "high" },
            { signal = "traces", priority = "low" },
        ]
        "#,
    );
    let noisy: &[(&str, &str)] = &[("service.name", "noisy")];
    let class = |attributes, severities| {
        classifier
            .classify(Signal::Logs, &logs(&[(attributes, severities)]))
            .priority
    };
    assert_eq!(class(noisy, &[13, 17]), Priority::Low);
    assert_eq!(class(noisy, &[13, 21]), Priority::Normal);
    assert_eq!(class(&[], &[12, 17]), Priority::Normal);
    assert_eq!(class(&[], &[12, 13]), Priority::High);
    let traces = classifier.classify(Signal::Traces, &spans(&[2]));
    assert_eq!(traces.priority, Priority::Low);
}

#[test]
fn fields_in_any_order_and_more_than_once_count_as_parsers_count_them() {
    let classifier = classifier(RULES);
    // A record with severity 17 and then 5, in a scope that stands before the resource.
    let record = [0x10, 17, 0x10, 5];
    let mut scope = Vec::new();
    crate::otlp::wire::write_bytes(&mut scope, 0x12, &record);
    let with_resource = ResourceLogs {
        resource: resource(BATCH),
        ..ResourceLogs::default()
    };
    let mut group = Vec::new();
    crate::otlp::wire::write_bytes(&mut group, 0x12, &scope);
    group.extend(with_resource.encode_to_vec());
    let mut body = Vec::new();
    crate::otlp::wire::write_bytes(&mut body, 0x0a, &group);
    let class = classifier.classify(Signal::Logs, &body);
    assert_eq!(class.priority, Priority::Low);
    let decoded = ExportLogsServiceRequest::decode(&body[..]).unwrap();
    let record = &decoded.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.severity_number, 5);
}

/// The same by the plainest means: decoded, and item by item.
fn plainly(request: &ExportLogsServiceRequest) -> Priority {
    let classes = request.resource_logs.iter().flat_map(|group| {
        let records = group.scope_logs.iter().flat_map(|scope| &scope.log_records);
        records.map(|record| match record.severity_number {
            17..=24 => Priority::High,
            1..=8 => Priority::Low,
            _ => Priority::Normal,
        })
    });
    classes.max().unwrap_or_default()
}

proptest! {
    #[test]
    fn requests_of_every_shape_are_classed_as_what_they_decode_to(
        choices in prop::collection::vec(any::<u8>(), 0..2000),
        odd in any::<bool>(),
    ) {
        let spice = Spice { odd, bad_values: false };
        let body = requests::request(schema::request(Signal::Logs), &choices, spice);
        let decoded = ExportLogsServiceRequest::decode(&body[..]);
        prop_assume!(decoded.is_ok());
        let class = classifier(RULES).classify(Signal::Logs, &body);
        prop_assert_eq!(class.priority, plainly(&decoded.unwrap()));
    }

    #[test]
    fn bytes_of_any_kind_are_classed_somehow(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for signal in Signal::ALL {
            let class = classifier(RULES).classify(signal, &body);
            prop_assert!(class.ignored <= body.len() as u64);
        }
    }
}
