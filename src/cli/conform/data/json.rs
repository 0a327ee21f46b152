//! The same telemetry in OTLP/JSON, as text.

use super::{SERVICE, id, now};
use crate::otlp::Signal;

/// A valid request with so many items.
pub(crate) fn request(signal: Signal, items: usize) -> String {
    let items: Vec<String> = (0..items).map(|number| item(signal, number)).collect();
    of_items(signal, &items)
}

/// A request of these items, each as it stands in its scope.
pub(crate) fn of_items(signal: Signal, items: &[String]) -> String {
    let (resources, scopes, list) = keys(signal);
    let items = items.join(",");
    let attribute = text_attribute("service.name", SERVICE);
    let dictionary = match signal {
        Signal::Profiles => {
            ",\"dictionary\":{\"stringTable\":[\"\",\"cpu\",\"nanoseconds\"],\
             \"mappingTable\":[{}],\"locationTable\":[{}],\"functionTable\":[{}],\
             \"linkTable\":[{}],\"attributeTable\":[{}],\"stackTable\":[{}]}"
        }
        _ => "",
    };
    format!(
        "{{\"{resources}\":[{{\"resource\":{{\"attributes\":[{attribute}]}},\
         \"{scopes}\":[{{\"scope\":{{\"name\":\"otlpd.conform\"}},\
         \"{list}\":[{items}]}}]}}]{dictionary}}}"
    )
}

/// The keys of the lists on the way to the items.
pub(crate) const fn keys(signal: Signal) -> (&'static str, &'static str, &'static str) {
    match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
        Signal::Profiles => ("resourceProfiles", "scopeProfiles", "profiles"),
    }
}

/// A valid item.
pub(crate) fn item(signal: Signal, number: usize) -> String {
    let attribute = text_attribute("conform.number", &number.to_string());
    let now = now();
    match signal {
        Signal::Traces => format!(
            "{{\"traceId\":\"{}\",\"spanId\":\"{}\",\"name\":\"conform\",\"kind\":2,\
             \"startTimeUnixNano\":\"{now}\",\"endTimeUnixNano\":\"{now}\",\
             \"attributes\":[{attribute}]}}",
            hex(&id::<16>()),
            hex(&id::<8>())
        ),
        Signal::Metrics => format!(
            "{{\"name\":\"otlpd.conform.gauge\",\"unit\":\"1\",\"gauge\":{{\"dataPoints\":[{{\
             \"timeUnixNano\":\"{now}\",\"asInt\":\"{number}\",\
             \"attributes\":[{attribute}]}}]}}}}"
        ),
        Signal::Logs => format!(
            "{{\"timeUnixNano\":\"{now}\",\"observedTimeUnixNano\":\"{now}\",\
             \"severityNumber\":9,\"severityText\":\"INFO\",\
             \"body\":{{\"stringValue\":\"a line of otlpd conform\"}},\
             \"attributes\":[{attribute}]}}"
        ),
        Signal::Profiles => format!(
            "{{\"sampleType\":{{\"typeStrindex\":1,\"unitStrindex\":2}},\
             \"timeUnixNano\":\"{now}\",\"durationNano\":\"1000000000\"}}"
        ),
    }
}

/// A string attribute.
pub(crate) fn text_attribute(key: &str, value: &str) -> String {
    format!("{{\"key\":\"{key}\",\"value\":{{\"stringValue\":\"{value}\"}}}}")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_json() {
        for signal in Signal::ALL {
            let text = request(signal, 2);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let (resources, scopes, list) = keys(signal);
            let items = &value[resources][0][scopes][0][list];
            assert_eq!(items.as_array().unwrap().len(), 2, "{text}");
        }
    }
}
