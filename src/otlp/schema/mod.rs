//! OTLP's messages as tables, for the paths that need names or that need not be fast. The
//! field numbers are those of opentelemetry-proto 1.10.

use super::Signal;

/// One type of message.
#[derive(Debug)]
pub struct Message {
    /// The fields that we know.
    pub fields: &'static [Field],
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in the `.proto` file.
    pub name: &'static str,
    /// Whether it is a list, which scalars may then have packed.
    pub repeated: bool,
    /// What it holds.
    pub kind: Kind,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any number that is written as a varint.
    Varint,
    /// Four bytes.
    Fixed32,
    /// Eight bytes.
    Fixed64,
    /// UTF-8.
    String,
    /// Anything.
    Bytes,
    /// This many bytes, or none.
    Id(u8),
    /// A message.
    Message(&'static Message),
    /// A message on the way down to the items.
    Level(&'static Message),
    /// A message that is counted.
    Item(&'static Message),
}

/// The request message of a signal.
pub const fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
        Signal::Profiles => &PROFILES,
    }
}

/// The number of the resource field in a message that has one.
pub fn resource(message: &Message) -> Option<u32> {
    let mut fields = message.fields.iter();
    let field = fields.find(|field| field.name == "resource")?;
    Some(field.number)
}

/// The tag of an item's attributes; 0, which no field has, for one without.
pub fn attributes_tag(item: &Message) -> u32 {
    let mut fields = item.fields.iter();
    let field = fields.find(|field| field.name == "attributes");
    field.map_or(0, |field| field.number << 3 | super::wire::DELIMITED)
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        repeated: false,
        kind,
    }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        repeated: true,
        kind,
    }
}

use Kind::{Bytes, Fixed32, Fixed64, Id, Item, Level, String, Varint};

static ANY_VALUE: Message = Message {
    fields: &[
        one(1, "string_value", String),
        one(2, "bool_value", Varint),
        one(3, "int_value", Varint),
        one(4, "double_value", Fixed64),
        one(5, "array_value", Kind::Message(&ARRAY_VALUE)),
        one(6, "kvlist_value", Kind::Message(&KEY_VALUE_LIST)),
        one(7, "bytes_value", Bytes),
        one(8, "string_value_strindex", Varint),
    ],
};
static ARRAY_VALUE: Message = Message {
    fields: &[many(1, "values", Kind::Message(&ANY_VALUE))],
};
static KEY_VALUE_LIST: Message = Message {
    fields: &[many(1, "values", Kind::Message(&KEY_VALUE))],
};
static KEY_VALUE: Message = Message {
    fields: &[
        one(1, "key", String),
        one(2, "value", Kind::Message(&ANY_VALUE)),
        one(3, "key_strindex", Varint),
    ],
};
static SCOPE: Message = Message {
    fields: &[
        one(1, "name", String),
        one(2, "version", String),
        many(3, "attributes", Kind::Message(&KEY_VALUE)),
        one(4, "dropped_attributes_count", Varint),
    ],
};
static RESOURCE: Message = Message {
    fields: &[
        many(1, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "dropped_attributes_count", Varint),
        many(3, "entity_refs", Kind::Message(&ENTITY_REF)),
    ],
};
static ENTITY_REF: Message = Message {
    fields: &[
        one(1, "schema_url", String),
        one(2, "type", String),
        many(3, "id_keys", String),
        many(4, "description_keys", String),
    ],
};

static TRACES: Message = Message {
    fields: &[many(1, "resource_spans", Level(&RESOURCE_SPANS))],
};
static RESOURCE_SPANS: Message = Message {
    fields: &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scope_spans", Level(&SCOPE_SPANS)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_SPANS: Message = Message {
    fields: &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "spans", Item(&SPAN)),
        one(3, "schema_url", String),
    ],
};
static SPAN: Message = Message {
    fields: &[
        one(1, "trace_id", Id(16)),
        one(2, "span_id", Id(8)),
        one(3, "trace_state", String),
        one(4, "parent_span_id", Id(8)),
        one(5, "name", String),
        one(6, "kind", Varint),
        one(7, "start_time_unix_nano", Fixed64),
        one(8, "end_time_unix_nano", Fixed64),
        many(9, "attributes", Kind::Message(&KEY_VALUE)),
        one(10, "dropped_attributes_count", Varint),
        many(11, "events", Kind::Message(&EVENT)),
        one(12, "dropped_events_count", Varint),
        many(13, "links", Kind::Message(&LINK)),
        one(14, "dropped_links_count", Varint),
        one(15, "status", Kind::Message(&STATUS)),
        one(16, "flags", Fixed32),
    ],
};
static EVENT: Message = Message {
    fields: &[
        one(1, "time_unix_nano", Fixed64),
        one(2, "name", String),
        many(3, "attributes", Kind::Message(&KEY_VALUE)),
        one(4, "dropped_attributes_count", Varint),
    ],
};
static LINK: Message = Message {
    fields: &[
        one(1, "trace_id", Id(16)),
        one(2, "span_id", Id(8)),
        one(3, "trace_state", String),
        many(4, "attributes", Kind::Message(&KEY_VALUE)),
        one(5, "dropped_attributes_count", Varint),
        one(6, "flags", Fixed32),
    ],
};
static STATUS: Message = Message {
    fields: &[one(2, "message", String), one(3, "code", Varint)],
};

static LOGS: Message = Message {
    fields: &[many(1, "resource_logs", Level(&RESOURCE_LOGS))],
};
static RESOURCE_LOGS: Message = Message {
    fields: &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scope_logs", Level(&SCOPE_LOGS)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_LOGS: Message = Message {
    fields: &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "log_records", Item(&LOG_RECORD)),
        one(3, "schema_url", String),
    ],
};
static LOG_RECORD: Message = Message {
    fields: &[
        one(1, "time_unix_nano", Fixed64),
        one(2, "severity_number", Varint),
        one(3, "severity_text", String),
        one(5, "body", Kind::Message(&ANY_VALUE)),
        many(6, "attributes", Kind::Message(&KEY_VALUE)),
        one(7, "dropped_attributes_count", Varint),
        one(8, "flags", Fixed32),
        one(9, "trace_id", Id(16)),
        one(10, "span_id", Id(8)),
        one(11, "observed_time_unix_nano", Fixed64),
        one(12, "event_name", String),
    ],
};

static METRICS: Message = Message {
    fields: &[many(1, "resource_metrics", Level(&RESOURCE_METRICS))],
};
static RESOURCE_METRICS: Message = Message {
    fields: &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scope_metrics", Level(&SCOPE_METRICS)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_METRICS: Message = Message {
    fields: &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "metrics", Level(&METRIC)),
        one(3, "schema_url", String),
    ],
};
static METRIC: Message = Message {
    fields: &[
        one(1, "name", String),
        one(2, "description", String),
        one(3, "unit", String),
        one(5, "gauge", Level(&GAUGE)),
        one(7, "sum", Level(&SUM)),
        one(9, "histogram", Level(&HISTOGRAM)),
        one(10, "exponential_histogram", Level(&EXPONENTIAL)),
        one(11, "summary", Level(&SUMMARY)),
        many(12, "metadata", Kind::Message(&KEY_VALUE)),
    ],
};
static GAUGE: Message = Message {
    fields: &[many(1, "data_points", Item(&NUMBER_POINT))],
};
static SUM: Message = Message {
    fields: &[
        many(1, "data_points", Item(&NUMBER_POINT)),
        one(2, "aggregation_temporality", Varint),
        one(3, "is_monotonic", Varint),
    ],
};
static HISTOGRAM: Message = Message {
    fields: &[
        many(1, "data_points", Item(&HISTOGRAM_POINT)),
        one(2, "aggregation_temporality", Varint),
    ],
};
static EXPONENTIAL: Message = Message {
    fields: &[
        many(1, "data_points", Item(&EXPONENTIAL_POINT)),
        one(2, "aggregation_temporality", Varint),
    ],
};
static SUMMARY: Message = Message {
    fields: &[many(1, "data_points", Item(&SUMMARY_POINT))],
};
static NUMBER_POINT: Message = Message {
    fields: &[
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "as_double", Fixed64),
        many(5, "exemplars", Kind::Message(&EXEMPLAR)),
        one(6, "as_int", Fixed64),
        many(7, "attributes", Kind::Message(&KEY_VALUE)),
        one(8, "flags", Varint),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Fixed64),
        many(6, "bucket_counts", Fixed64),
        many(7, "explicit_bounds", Fixed64),
        many(8, "exemplars", Kind::Message(&EXEMPLAR)),
        many(9, "attributes", Kind::Message(&KEY_VALUE)),
        one(10, "flags", Varint),
        one(11, "min", Fixed64),
        one(12, "max", Fixed64),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        many(1, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Fixed64),
        one(6, "scale", Varint),
        one(7, "zero_count", Fixed64),
        one(8, "positive", Kind::Message(&BUCKETS)),
        one(9, "negative", Kind::Message(&BUCKETS)),
        one(10, "flags", Varint),
        many(11, "exemplars", Kind::Message(&EXEMPLAR)),
        one(12, "min", Fixed64),
        one(13, "max", Fixed64),
        one(14, "zero_threshold", Fixed64),
    ],
};
static BUCKETS: Message = Message {
    fields: &[one(1, "offset", Varint), many(2, "bucket_counts", Varint)],
};
static SUMMARY_POINT: Message = Message {
    fields: &[
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Fixed64),
        many(6, "quantile_values", Kind::Message(&QUANTILE)),
        many(7, "attributes", Kind::Message(&KEY_VALUE)),
        one(8, "flags", Varint),
    ],
};
static QUANTILE: Message = Message {
    fields: &[one(1, "quantile", Fixed64), one(2, "value", Fixed64)],
};
static EXEMPLAR: Message = Message {
    fields: &[
        one(2, "time_unix_nano", Fixed64),
        one(3, "as_double", Fixed64),
        one(4, "span_id", Id(8)),
        one(5, "trace_id", Id(16)),
        one(6, "as_int", Fixed64),
        many(7, "filtered_attributes", Kind::Message(&KEY_VALUE)),
    ],
};

mod profiles;
use profiles::PROFILES;
