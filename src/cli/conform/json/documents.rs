//! J34: whole documents like the specification's.

use std::sync::Arc;

use super::{SPANS, takes};
use crate::cli::conform::line::{Check, Checked, check, pass};
use crate::cli::conform::probe::Probe;
use crate::otlp::Signal;

pub(super) const LINES: &[Check] = &[check!(Must "J34",
    "requests with all kinds of fields, as in the examples, are taken",
    "opentelemetry-proto examples/", documents)];

const TRACE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"otlpd-conform"}}],"droppedAttributesCount":1},
  "scopeSpans":[{"scope":{"name":"conform","version":"1.0.0","attributes":[
    {"key":"of.scope","value":{"stringValue":"a value"}}]},
   "spans":[{"traceId":"6AF7651916CD43DD8448EB211C80319C","spanId":"B7AD6B7169203331",
     "parentSpanId":"B7AD6B7169203332","traceState":"a=b","flags":257,"name":"server","kind":2,
     "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000",
     "attributes":[{"key":"text","value":{"stringValue":"x"}},{"key":"yes","value":{"boolValue":true}},
       {"key":"int","value":{"intValue":"1"}},{"key":"double","value":{"doubleValue":0.5}},
       {"key":"bytes","value":{"bytesValue":"AAEC"}},
       {"key":"list","value":{"arrayValue":{"values":[{"stringValue":"many"},{"intValue":"2"}]}}},
       {"key":"map","value":{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}}],
     "events":[{"timeUnixNano":"1544712660500000000","name":"event","attributes":[],
       "droppedAttributesCount":2}],"droppedEventsCount":1,
     "links":[{"traceId":"6af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331",
       "traceState":"","flags":1}],"droppedLinksCount":1,
     "status":{"message":"no","code":2}}],"schemaUrl":"https://example.com/1"}],
  "schemaUrl":"https://example.com/2"}]}"#;

const METRICS: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"otlpd-conform"}}]},
  "scopeMetrics":[{"scope":{"name":"conform"},"metrics":[
   {"name":"sum","unit":"1","description":"a sum","metadata":[
      {"key":"m","value":{"stringValue":"n"}}],
    "sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asDouble":5,
      "startTimeUnixNano":"1544712660300000000","timeUnixNano":"1544712660300000000",
      "attributes":[{"key":"a","value":{"stringValue":"b"}}]}]}},
   {"name":"gauge","gauge":{"dataPoints":[{"asInt":"10","timeUnixNano":"1544712660300000000",
      "flags":0,"exemplars":[{"timeUnixNano":"1544712660300000000","asDouble":1.5,
        "spanId":"b7ad6b7169203331","traceId":"6af7651916cd43dd8448eb211c80319c",
        "filteredAttributes":[{"key":"f","value":{"intValue":"1"}}]}]}]}},
   {"name":"histogram","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":"2","sum":2,
      "timeUnixNano":"1544712660300000000","bucketCounts":["1","1"],"explicitBounds":[1],
      "min":0,"max":2}]}},
   {"name":"exponential","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{
      "count":"3","sum":10,"scale":0,"zeroCount":"1","zeroThreshold":0,
      "timeUnixNano":"1544712660300000000","min":0,"max":5,
      "positive":{"offset":-1,"bucketCounts":["0","2"]},"negative":{"offset":2,"bucketCounts":[]}}]}},
   {"name":"summary","summary":{"dataPoints":[{"count":"3","sum":10,
      "timeUnixNano":"1544712660300000000","quantileValues":[{"quantile":0.99,"value":9}]}]}}]}]}]}"#;

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"otlpd-conform"}}]},
  "scopeLogs":[{"scope":{"name":"conform"},"logRecords":[
   {"timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000000",
    "severityNumber":10,"severityText":"Information","body":{"stringValue":"a log record"},
    "traceId":"6af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","flags":1,
    "attributes":[{"key":"a","value":{"intValue":"637704"}}],"droppedAttributesCount":3},
   {"timeUnixNano":"1544712660300000000","eventName":"browser.page_view","severityNumber":9,
    "body":{"kvlistValue":{"values":[{"key":"type","value":{"intValue":"0"}},
      {"key":"url","value":{"stringValue":"https://example.com"}}]}}}]}]}]}"#;

async fn documents(probe: Arc<Probe>) -> Checked {
    let documents = [
        (SPANS, "traces", TRACE),
        (Signal::Metrics, "metrics", METRICS),
        (Signal::Logs, "logs and events", LOGS),
    ];
    for (signal, what, text) in documents {
        if probe.takes(signal) {
            takes(&probe, signal, &[(what, text.to_owned())]).await?;
        }
    }
    pass()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_what_the_generated_types_read() {
        use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
        use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

        let traces: ExportTraceServiceRequest = serde_json::from_str(TRACE).unwrap();
        assert_eq!(traces.resource_spans[0].scope_spans[0].spans.len(), 1);
        let metrics: ExportMetricsServiceRequest = serde_json::from_str(METRICS).unwrap();
        assert_eq!(
            metrics.resource_metrics[0].scope_metrics[0].metrics.len(),
            5
        );
        let logs: ExportLogsServiceRequest = serde_json::from_str(LOGS).unwrap();
        assert_eq!(logs.resource_logs[0].scope_logs[0].log_records.len(), 2);
    }
}
