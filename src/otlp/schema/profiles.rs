//! The messages of profiles, which are in development. Ids are taken as any bytes: nothing is
//! ever cut out of profiles, because their tables refer to each other by index.

use super::Kind::{Bytes, Fixed64, Item, Level, String, Varint};
use super::{Kind, Message, RESOURCE, SCOPE, many, one};

pub(super) static PROFILES: Message = Message {
    fields: &[
        many(1, "resource_profiles", Level(&RESOURCE_PROFILES)),
        one(2, "dictionary", Kind::Message(&DICTIONARY)),
    ],
};
static RESOURCE_PROFILES: Message = Message {
    fields: &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scope_profiles", Level(&SCOPE_PROFILES)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_PROFILES: Message = Message {
    fields: &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "profiles", Item(&PROFILE)),
        one(3, "schema_url", String),
    ],
};
static PROFILE: Message = Message {
    fields: &[
        one(1, "sample_type", Kind::Message(&VALUE_TYPE)),
        many(2, "samples", Kind::Message(&SAMPLE)),
        one(3, "time_unix_nano", Fixed64),
        one(4, "duration_nano", Varint),
        one(5, "period_type", Kind::Message(&VALUE_TYPE)),
        one(6, "period", Varint),
        one(7, "profile_id", Bytes),
        one(8, "dropped_attributes_count", Varint),
        one(9, "original_payload_format", String),
        one(10, "original_payload", Bytes),
        many(11, "attribute_indices", Varint),
    ],
};
static VALUE_TYPE: Message = Message {
    fields: &[
        one(1, "type_strindex", Varint),
        one(2, "unit_strindex", Varint),
    ],
};
static SAMPLE: Message = Message {
    fields: &[
        one(1, "stack_index", Varint),
        many(2, "attribute_indices", Varint),
        one(3, "link_index", Varint),
        many(4, "values", Varint),
        many(5, "timestamps_unix_nano", Fixed64),
    ],
};
static DICTIONARY: Message = Message {
    fields: &[
        many(1, "mapping_table", Kind::Message(&MAPPING)),
        many(2, "location_table", Kind::Message(&LOCATION)),
        many(3, "function_table", Kind::Message(&FUNCTION)),
        many(4, "link_table", Kind::Message(&LINK)),
        many(5, "string_table", String),
        many(6, "attribute_table", Kind::Message(&KEY_VALUE_AND_UNIT)),
        many(7, "stack_table", Kind::Message(&STACK)),
    ],
};
static MAPPING: Message = Message {
    fields: &[
        one(1, "memory_start", Varint),
        one(2, "memory_limit", Varint),
        one(3, "file_offset", Varint),
        one(4, "filename_strindex", Varint),
        many(5, "attribute_indices", Varint),
    ],
};
static LOCATION: Message = Message {
    fields: &[
        one(1, "mapping_index", Varint),
        one(2, "address", Varint),
        many(3, "lines", Kind::Message(&LINE)),
        many(4, "attribute_indices", Varint),
    ],
};
static LINE: Message = Message {
    fields: &[
        one(1, "function_index", Varint),
        one(2, "line", Varint),
        one(3, "column", Varint),
    ],
};
static FUNCTION: Message = Message {
    fields: &[
        one(1, "name_strindex", Varint),
        one(2, "system_name_strindex", Varint),
        one(3, "filename_strindex", Varint),
        one(4, "start_line", Varint),
    ],
};
static LINK: Message = Message {
    fields: &[one(1, "trace_id", Bytes), one(2, "span_id", Bytes)],
};
static KEY_VALUE_AND_UNIT: Message = Message {
    fields: &[
        one(1, "key_strindex", Varint),
        one(2, "value", Kind::Message(&super::ANY_VALUE)),
        one(3, "unit_strindex", Varint),
    ],
};
static STACK: Message = Message {
    fields: &[many(1, "location_indices", Varint)],
};
