//! Requests of the sizes and shapes that real services send, always the same.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const START: u64 = 1_790_000_000_000_000_000;

/// A small generator, so that lengths differ from item to item as they do in life.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn id(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll(256) as u8).collect()
    }

    fn word(&mut self, shortest: u64, longest: u64) -> String {
        let length = shortest + self.roll(longest - shortest + 1);
        (0..length)
            .map(|_| char::from(b'a' + self.roll(26) as u8))
            .collect()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn string(key: &str, value: String) -> KeyValue {
    attribute(key, Value::StringValue(value))
}

fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(value as i64))
}

fn resource(dice: &mut Dice) -> Option<Resource> {
    Some(Resource {
        attributes: vec![
            string("service.name", "checkout".to_owned()),
            string("service.version", "1.27.3".to_owned()),
            string("service.instance.id", dice.word(36, 36)),
            string("host.name", dice.word(12, 20)),
            string("k8s.pod.name", dice.word(20, 30)),
            int("process.pid", dice.roll(30_000)),
        ],
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "io.opentelemetry.http".to_owned(),
        version: "2.11.0".to_owned(),
        ..InstrumentationScope::default()
    })
}

/// A request of so many spans of 539 bytes on average.
pub(crate) fn traces(spans: usize) -> Vec<u8> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let spans = (0..spans).map(|_| span(&mut dice)).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(&mut dice),
            scope_spans: vec![ScopeSpans {
                scope: scope(),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

fn span(dice: &mut Dice) -> Span {
    let start = START + dice.roll(1 << 40);
    let event = Event {
        time_unix_nano: start + 1000,
        name: "message".to_owned(),
        attributes: vec![
            string("message.type", "SENT".to_owned()),
            int("message.id", dice.roll(100)),
        ],
        ..Event::default()
    };
    Span {
        trace_id: dice.id(16),
        span_id: dice.id(8),
        parent_span_id: dice.id(8),
        name: format!("GET /{}/{{id}}", dice.word(5, 15)),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + dice.roll(1 << 30),
        attributes: vec![
            string("http.request.method", "GET".to_owned()),
            string(
                "url.path",
                format!("/{}/{}", dice.word(5, 15), dice.roll(1 << 20)),
            ),
            string("url.scheme", "https".to_owned()),
            string("server.address", dice.word(15, 40)),
            int("server.port", 8443),
            int("http.response.status_code", 200 + dice.roll(5)),
            string("user_agent.original", dice.word(40, 90)),
            string("client.address", dice.word(9, 15)),
            string("network.protocol.version", "1.1".to_owned()),
            int("thread.id", dice.roll(500)),
            string("thread.name", dice.word(8, 20)),
        ],
        events: vec![event],
        status: Some(Status::default()),
        flags: 0x101,
        ..Span::default()
    }
}

/// A request of so many log records of 375 bytes on average.
pub(crate) fn logs(records: usize) -> Vec<u8> {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let log_records = (0..records).map(|_| log_record(&mut dice)).collect();
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(&mut dice),
            scope_logs: vec![ScopeLogs {
                scope: scope(),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec()
}

fn log_record(dice: &mut Dice) -> LogRecord {
    let time = START + dice.roll(1 << 40);
    let body = Value::StringValue(dice.word(60, 180));
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time + 500,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(body) }),
        attributes: vec![
            string("code.function.name", dice.word(20, 40)),
            int("code.line.number", dice.roll(2000)),
            string("thread.name", dice.word(8, 20)),
            string("user.id", dice.word(10, 12)),
        ],
        flags: 1,
        trace_id: dice.id(16),
        span_id: dice.id(8),
        ..LogRecord::default()
    }
}

/// A request of so many data points of about 264 bytes, twenty a metric.
pub(crate) fn metrics(points: usize) -> Vec<u8> {
    let mut dice = Dice(0xdead_beef_cafe_f00d);
    let metrics = (0..points.div_ceil(20)).map(|_| metric(&mut dice, 20));
    let metrics = metrics.collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(&mut dice),
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

fn metric(dice: &mut Dice, points: usize) -> Metric {
    let data_points = (0..points).map(|_| data_point(dice)).collect();
    Metric {
        name: format!("http.server.{}", dice.word(5, 20)),
        description: dice.word(20, 60),
        unit: "{request}".to_owned(),
        data: Some(metric::Data::Sum(Sum {
            data_points,
            aggregation_temporality: 2,
            is_monotonic: true,
        })),
        ..Metric::default()
    }
}

fn data_point(dice: &mut Dice) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![
            string("http.request.method", "GET".to_owned()),
            string("http.route", dice.word(10, 30)),
            string("server.address", dice.word(15, 40)),
            int("http.response.status_code", 200 + dice.roll(5)),
            string("network.protocol.version", "1.1".to_owned()),
            string("url.scheme", "https".to_owned()),
        ],
        start_time_unix_nano: START,
        time_unix_nano: START + 10_000_000_000,
        value: Some(number_data_point::Value::AsInt(dice.roll(1 << 40) as i64)),
        ..NumberDataPoint::default()
    }
}
