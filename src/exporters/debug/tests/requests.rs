//! One request a signal, with something of everything in it.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::profiles::v1development::{
    Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use crate::otlp::Signal;
use crate::otlp::wire::write_bytes;

const TIME: u64 = 1_763_632_800_000_000_000;

/// The request, and how many items it has.
pub(super) fn request(signal: Signal) -> (Vec<u8>, u64) {
    match signal {
        Signal::Traces => (traces(), 2),
        Signal::Metrics => (metrics(), 7),
        Signal::Logs => (logs(), 3),
        Signal::Profiles => (profiles(), 1),
    }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![
            attribute("service.name", text("checkout")),
            attribute("host.cpus", Value::IntValue(4)),
        ],
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "shop/cart".to_owned(),
        version: "1.2.0".to_owned(),
        ..InstrumentationScope::default()
    })
}

fn every_value() -> Vec<KeyValue> {
    let list = vec![
        any(text("a")),
        any(Value::IntValue(-1)),
        AnyValue::default(),
    ];
    let map = KeyValueList {
        values: vec![attribute("inner key", Value::BoolValue(false))],
    };
    vec![
        attribute("http.request.method", text("GET")),
        attribute("bool", Value::BoolValue(true)),
        attribute("int", Value::IntValue(-7)),
        attribute("double", Value::DoubleValue(0.5)),
        attribute("array", Value::ArrayValue(ArrayValue { values: list })),
        attribute("map", Value::KvlistValue(map)),
        attribute("bytes", Value::BytesValue(vec![0, 1, 0xff])),
        KeyValue {
            key: "nothing".to_owned(),
            ..KeyValue::default()
        },
    ]
}

fn traces() -> Vec<u8> {
    let root = Span {
        trace_id: (0..16).collect(),
        span_id: (16..24).collect(),
        trace_state: "vendor=1".to_owned(),
        name: "GET /cart".to_owned(),
        kind: 2,
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME + 12_500_000,
        attributes: every_value(),
        events: vec![Event {
            time_unix_nano: TIME + 1,
            name: "cache miss".to_owned(),
            attributes: vec![attribute("key", text("cart:7"))],
            ..Event::default()
        }],
        links: vec![Link {
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            flags: 0x100,
            ..Link::default()
        }],
        status: Some(Status {
            message: "out of stock".to_owned(),
            code: 2,
        }),
        flags: 0x101,
        dropped_attributes_count: 3,
        ..Span::default()
    };
    let child = Span {
        trace_id: (0..16).collect(),
        span_id: (32..40).collect(),
        parent_span_id: (16..24).collect(),
        name: "SELECT".to_owned(),
        start_time_unix_nano: TIME + 2,
        end_time_unix_nano: TIME + 1,
        ..Span::default()
    };
    let mut body = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans {
                scope: scope(),
                spans: vec![root, child],
                schema_url: "https://opentelemetry.io/schemas/1.38.0".to_owned(),
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec();
    write_bytes(&mut body, 1000 << 3 | 2, b"from 1.20 on");
    body
}

fn logs() -> Vec<u8> {
    let plain = LogRecord {
        time_unix_nano: TIME + 123_456_789,
        observed_time_unix_nano: TIME + 200_000_000,
        severity_number: 9,
        severity_text: "Information".to_owned(),
        body: Some(any(text(
            "order 7 was \"paid\"\n\u{1b}[31mred\u{1b}[0m, 10 €",
        ))),
        attributes: vec![attribute("n", Value::IntValue(0))],
        trace_id: (0..16).collect(),
        span_id: (16..24).collect(),
        flags: 1,
        ..LogRecord::default()
    };
    let structured = LogRecord {
        observed_time_unix_nano: TIME,
        severity_number: 18,
        event_name: "cart.emptied".to_owned(),
        body: Some(any(Value::KvlistValue(KeyValueList {
            values: vec![attribute("reason", text("timeout"))],
        }))),
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                scope: None,
                log_records: vec![plain, structured, LogRecord::default()],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec()
}

fn number(n: i64, value: number_data_point::Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![attribute("n", Value::IntValue(n))],
        start_time_unix_nano: TIME,
        time_unix_nano: TIME + 10_000_000_000,
        exemplars: vec![Exemplar {
            time_unix_nano: TIME + 1,
            span_id: vec![1; 8],
            trace_id: vec![2; 16],
            value: Some(exemplar::Value::AsInt(-1)),
            ..Exemplar::default()
        }],
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn metric(name: &str, unit: &str, data: Option<Data>) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data,
        ..Metric::default()
    }
}

fn distributions() -> Vec<Metric> {
    let explicit = HistogramDataPoint {
        attributes: vec![attribute("route", text("/cart"))],
        time_unix_nano: TIME,
        count: 3,
        sum: Some(7.25),
        bucket_counts: vec![1, 0, 2],
        explicit_bounds: vec![0.5, 1.0],
        min: Some(0.25),
        max: Some(5.0),
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: TIME,
        count: 5,
        sum: Some(9.5),
        scale: -1,
        zero_count: 1,
        positive: Some(Buckets {
            offset: -2,
            bucket_counts: vec![1, 0, 300],
        }),
        negative: Some(Buckets {
            offset: 0,
            bucket_counts: vec![],
        }),
        zero_threshold: 1e-9,
        ..ExponentialHistogramDataPoint::default()
    };
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let summary = SummaryDataPoint {
        time_unix_nano: TIME,
        count: 10,
        sum: 20.0,
        quantile_values: vec![quantile(0.5, 1.5), quantile(0.99, f64::INFINITY)],
        ..SummaryDataPoint::default()
    };
    let explicit = Data::Histogram(Histogram {
        data_points: vec![explicit],
        aggregation_temporality: 1,
    });
    let exponential = Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![exponential],
        aggregation_temporality: 2,
    });
    let summary = Data::Summary(Summary {
        data_points: vec![summary],
    });
    vec![
        metric("http.server.duration", "s", Some(explicit)),
        metric("queue.wait", "ms", Some(exponential)),
        metric("gc.pause", "", Some(summary)),
    ]
}

fn metrics() -> Vec<u8> {
    let without = NumberDataPoint {
        flags: 1,
        ..NumberDataPoint::default()
    };
    let sum = Sum {
        data_points: vec![
            number(0, number_data_point::Value::AsInt(-5)),
            number(1, number_data_point::Value::AsDouble(1.0)),
        ],
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let gauge = Gauge {
        data_points: vec![
            number(2, number_data_point::Value::AsDouble(f64::NAN)),
            without,
        ],
    };
    let mut metrics = vec![
        metric("requests", "{request}", Some(Data::Sum(sum))),
        metric("temperature of the room", "Cel", Some(Data::Gauge(gauge))),
        metric("planned", "1", None),
    ];
    metrics.extend(distributions());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics {
                scope: scope(),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
    .encode_to_vec()
}

fn profiles() -> Vec<u8> {
    let profile = Profile {
        time_unix_nano: TIME,
        duration_nano: 1_500_000_000,
        profile_id: (0..16).collect(),
        period: 10_000_000,
        samples: vec![Sample {
            stack_index: 1,
            values: vec![3, -4],
            timestamps_unix_nano: vec![TIME, TIME + 1],
            ..Sample::default()
        }],
        ..Profile::default()
    };
    ExportProfilesServiceRequest {
        resource_profiles: vec![ResourceProfiles {
            resource: resource(),
            scope_profiles: vec![ScopeProfiles {
                scope: scope(),
                profiles: vec![profile],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        }],
        dictionary: Some(ProfilesDictionary {
            string_table: vec![String::new(), "cpu".to_owned()],
            ..ProfilesDictionary::default()
        }),
    }
    .encode_to_vec()
}
