//! OTLP's messages as tables, for the paths that need names or that need not be fast. The
//! field numbers are those of opentelemetry-proto 1.10.

use super::Signal;

mod field;

pub use field::{Field, Key, Kind, Message, Presence, Type};
use field::{many, member, one, optional};

/// The request message of a signal.
pub const fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
        Signal::Profiles => &PROFILES,
    }
}

/// The message that answers a request.
pub const fn response(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &answers::TRACES,
        Signal::Metrics => &answers::METRICS,
        Signal::Logs => &answers::LOGS,
        Signal::Profiles => &answers::PROFILES,
    }
}

/// The number of the resource field in a message that has one.
pub fn resource(message: &Message) -> Option<u32> {
    let mut fields = message.fields.iter();
    let field = fields.find(|field| field.name == "resource")?;
    Some(field.number)
}

/// Whether a message's own ids only say what it belongs to: a log record with an invalid one
/// belongs to no trace (logs.proto), and is a log record all the same.
pub fn has_ids_of_others(message: &Message) -> bool {
    std::ptr::eq(message, &raw const LOG_RECORD)
}

/// The tag of an item's attributes; 0, which no field has, for one without.
pub fn attributes_tag(item: &Message) -> u32 {
    let mut fields = item.fields.iter();
    let field = fields.find(|field| field.name == "attributes");
    field.map_or(0, |field| field.number << 3 | super::wire::DELIMITED)
}

use Type::{
    Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int32, Int64, Item, Level, Sfixed64, Sint32,
    String, Uint32, Uint64,
};

static ANY_VALUE: Message = Message {
    fields: &[
        member(1, "string_value", String),
        member(2, "bool_value", Bool),
        member(3, "int_value", Int64),
        member(4, "double_value", Double),
        member(5, "array_value", Type::Message(&ARRAY_VALUE)),
        member(6, "kvlist_value", Type::Message(&KEY_VALUE_LIST)),
        member(7, "bytes_value", Bytes),
        member(8, "string_value_strindex", Int32),
    ],
};
static ARRAY_VALUE: Message = Message {
    fields: &[many(1, "values", Type::Message(&ANY_VALUE))],
};
static KEY_VALUE_LIST: Message = Message {
    fields: &[many(1, "values", Type::Message(&KEY_VALUE))],
};
static KEY_VALUE: Message = Message {
    fields: &[
        one(1, "key", String),
        one(2, "value", Type::Message(&ANY_VALUE)),
        one(3, "key_strindex", Int32),
    ],
};
static SCOPE: Message = Message {
    fields: &[
        one(1, "name", String),
        one(2, "version", String),
        many(3, "attributes", Type::Message(&KEY_VALUE)),
        one(4, "dropped_attributes_count", Uint32),
    ],
};
static RESOURCE: Message = Message {
    fields: &[
        many(1, "attributes", Type::Message(&KEY_VALUE)),
        one(2, "dropped_attributes_count", Uint32),
        many(3, "entity_refs", Type::Message(&ENTITY_REF)),
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
        one(1, "resource", Type::Message(&RESOURCE)),
        many(2, "scope_spans", Level(&SCOPE_SPANS)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_SPANS: Message = Message {
    fields: &[
        one(1, "scope", Type::Message(&SCOPE)),
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
        one(6, "kind", Enum),
        one(7, "start_time_unix_nano", Fixed64),
        one(8, "end_time_unix_nano", Fixed64),
        many(9, "attributes", Type::Message(&KEY_VALUE)),
        one(10, "dropped_attributes_count", Uint32),
        many(11, "events", Type::Message(&EVENT)),
        one(12, "dropped_events_count", Uint32),
        many(13, "links", Type::Message(&LINK)),
        one(14, "dropped_links_count", Uint32),
        one(15, "status", Type::Message(&STATUS)),
        one(16, "flags", Fixed32),
    ],
};
static EVENT: Message = Message {
    fields: &[
        one(1, "time_unix_nano", Fixed64),
        one(2, "name", String),
        many(3, "attributes", Type::Message(&KEY_VALUE)),
        one(4, "dropped_attributes_count", Uint32),
    ],
};
static LINK: Message = Message {
    fields: &[
        one(1, "trace_id", Id(16)),
        one(2, "span_id", Id(8)),
        one(3, "trace_state", String),
        many(4, "attributes", Type::Message(&KEY_VALUE)),
        one(5, "dropped_attributes_count", Uint32),
        one(6, "flags", Fixed32),
    ],
};
static STATUS: Message = Message {
    fields: &[one(2, "message", String), one(3, "code", Enum)],
};

static LOGS: Message = Message {
    fields: &[many(1, "resource_logs", Level(&RESOURCE_LOGS))],
};
static RESOURCE_LOGS: Message = Message {
    fields: &[
        one(1, "resource", Type::Message(&RESOURCE)),
        many(2, "scope_logs", Level(&SCOPE_LOGS)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_LOGS: Message = Message {
    fields: &[
        one(1, "scope", Type::Message(&SCOPE)),
        many(2, "log_records", Item(&LOG_RECORD)),
        one(3, "schema_url", String),
    ],
};
static LOG_RECORD: Message = Message {
    fields: &[
        one(1, "time_unix_nano", Fixed64),
        one(2, "severity_number", Enum),
        one(3, "severity_text", String),
        one(5, "body", Type::Message(&ANY_VALUE)),
        many(6, "attributes", Type::Message(&KEY_VALUE)),
        one(7, "dropped_attributes_count", Uint32),
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
        one(1, "resource", Type::Message(&RESOURCE)),
        many(2, "scope_metrics", Level(&SCOPE_METRICS)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_METRICS: Message = Message {
    fields: &[
        one(1, "scope", Type::Message(&SCOPE)),
        many(2, "metrics", Level(&METRIC)),
        one(3, "schema_url", String),
    ],
};
static METRIC: Message = Message {
    fields: &[
        one(1, "name", String),
        one(2, "description", String),
        one(3, "unit", String),
        member(5, "gauge", Level(&GAUGE)),
        member(7, "sum", Level(&SUM)),
        member(9, "histogram", Level(&HISTOGRAM)),
        member(10, "exponential_histogram", Level(&EXPONENTIAL)),
        member(11, "summary", Level(&SUMMARY)),
        many(12, "metadata", Type::Message(&KEY_VALUE)),
    ],
};
static GAUGE: Message = Message {
    fields: &[many(1, "data_points", Item(&NUMBER_POINT))],
};
static SUM: Message = Message {
    fields: &[
        many(1, "data_points", Item(&NUMBER_POINT)),
        one(2, "aggregation_temporality", Enum),
        one(3, "is_monotonic", Bool),
    ],
};
static HISTOGRAM: Message = Message {
    fields: &[
        many(1, "data_points", Item(&HISTOGRAM_POINT)),
        one(2, "aggregation_temporality", Enum),
    ],
};
static EXPONENTIAL: Message = Message {
    fields: &[
        many(1, "data_points", Item(&EXPONENTIAL_POINT)),
        one(2, "aggregation_temporality", Enum),
    ],
};
static SUMMARY: Message = Message {
    fields: &[many(1, "data_points", Item(&SUMMARY_POINT))],
};
static NUMBER_POINT: Message = Message {
    fields: &[
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        member(4, "as_double", Double),
        many(5, "exemplars", Type::Message(&EXEMPLAR)),
        member(6, "as_int", Sfixed64),
        many(7, "attributes", Type::Message(&KEY_VALUE)),
        one(8, "flags", Uint32),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "count", Fixed64),
        optional(5, "sum", Double),
        many(6, "bucket_counts", Fixed64),
        many(7, "explicit_bounds", Double),
        many(8, "exemplars", Type::Message(&EXEMPLAR)),
        many(9, "attributes", Type::Message(&KEY_VALUE)),
        one(10, "flags", Uint32),
        optional(11, "min", Double),
        optional(12, "max", Double),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        many(1, "attributes", Type::Message(&KEY_VALUE)),
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "count", Fixed64),
        optional(5, "sum", Double),
        one(6, "scale", Sint32),
        one(7, "zero_count", Fixed64),
        one(8, "positive", Type::Message(&BUCKETS)),
        one(9, "negative", Type::Message(&BUCKETS)),
        one(10, "flags", Uint32),
        many(11, "exemplars", Type::Message(&EXEMPLAR)),
        optional(12, "min", Double),
        optional(13, "max", Double),
        one(14, "zero_threshold", Double),
    ],
};
static BUCKETS: Message = Message {
    fields: &[one(1, "offset", Sint32), many(2, "bucket_counts", Uint64)],
};
static SUMMARY_POINT: Message = Message {
    fields: &[
        one(2, "start_time_unix_nano", Fixed64),
        one(3, "time_unix_nano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "quantile_values", Type::Message(&QUANTILE)),
        many(7, "attributes", Type::Message(&KEY_VALUE)),
        one(8, "flags", Uint32),
    ],
};
static QUANTILE: Message = Message {
    fields: &[one(1, "quantile", Double), one(2, "value", Double)],
};
static EXEMPLAR: Message = Message {
    fields: &[
        one(2, "time_unix_nano", Fixed64),
        member(3, "as_double", Double),
        one(4, "span_id", Id(8)),
        one(5, "trace_id", Id(16)),
        member(6, "as_int", Sfixed64),
        many(7, "filtered_attributes", Type::Message(&KEY_VALUE)),
    ],
};

mod answers;
mod profiles;
pub(super) use answers::STATUS as RPC_STATUS;
use profiles::PROFILES;
