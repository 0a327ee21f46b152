//! The messages of profiles, which are in development. Ids are taken as any bytes: nothing is
//! ever cut out of profiles, because their tables refer to each other by index.

use super::Type::{Bytes, Fixed64, Hex, Int32, Int64, Item, Level, String, Uint32, Uint64};
use super::{Message, RESOURCE, SCOPE, Type, many, one};

pub(super) static PROFILES: Message = Message {
    fields: &[
        many(1, "resource_profiles", Level(&RESOURCE_PROFILES)),
        one(2, "dictionary", Type::Message(&DICTIONARY)),
    ],
};
static RESOURCE_PROFILES: Message = Message {
    fields: &[
        one(1, "resource", Type::Message(&RESOURCE)),
        many(2, "scope_profiles", Level(&SCOPE_PROFILES)),
        one(3, "schema_url", String),
    ],
};
static SCOPE_PROFILES: Message = Message {
    fields: &[
        one(1, "scope", Type::Message(&SCOPE)),
        many(2, "profiles", Item(&PROFILE)),
        one(3, "schema_url", String),
    ],
};
static PROFILE: Message = Message {
    fields: &[
        one(1, "sample_type", Type::Message(&VALUE_TYPE)),
        many(2, "samples", Type::Message(&SAMPLE)),
        one(3, "time_unix_nano", Fixed64),
        one(4, "duration_nano", Uint64),
        one(5, "period_type", Type::Message(&VALUE_TYPE)),
        one(6, "period", Int64),
        one(7, "profile_id", Hex),
        one(8, "dropped_attributes_count", Uint32),
        one(9, "original_payload_format", String),
        one(10, "original_payload", Bytes),
        many(11, "attribute_indices", Int32),
    ],
};
static VALUE_TYPE: Message = Message {
    fields: &[
        one(1, "type_strindex", Int32),
        one(2, "unit_strindex", Int32),
    ],
};
static SAMPLE: Message = Message {
    fields: &[
        one(1, "stack_index", Int32),
        many(2, "attribute_indices", Int32),
        one(3, "link_index", Int32),
        many(4, "values", Int64),
        many(5, "timestamps_unix_nano", Fixed64),
    ],
};
static DICTIONARY: Message = Message {
    fields: &[
        many(1, "mapping_table", Type::Message(&MAPPING)),
        many(2, "location_table", Type::Message(&LOCATION)),
        many(3, "function_table", Type::Message(&FUNCTION)),
        many(4, "link_table", Type::Message(&LINK)),
        many(5, "string_table", String),
        many(6, "attribute_table", Type::Message(&KEY_VALUE_AND_UNIT)),
        many(7, "stack_table", Type::Message(&STACK)),
    ],
};
static MAPPING: Message = Message {
    fields: &[
        one(1, "memory_start", Uint64),
        one(2, "memory_limit", Uint64),
        one(3, "file_offset", Uint64),
        one(4, "filename_strindex", Int32),
        many(5, "attribute_indices", Int32),
    ],
};
static LOCATION: Message = Message {
    fields: &[
        one(1, "mapping_index", Int32),
        one(2, "address", Uint64),
        many(3, "lines", Type::Message(&LINE)),
        many(4, "attribute_indices", Int32),
    ],
};
static LINE: Message = Message {
    fields: &[
        one(1, "function_index", Int32),
        one(2, "line", Int64),
        one(3, "column", Int64),
    ],
};
static FUNCTION: Message = Message {
    fields: &[
        one(1, "name_strindex", Int32),
        one(2, "system_name_strindex", Int32),
        one(3, "filename_strindex", Int32),
        one(4, "start_line", Int64),
    ],
};
static LINK: Message = Message {
    fields: &[one(1, "trace_id", Hex), one(2, "span_id", Hex)],
};
static KEY_VALUE_AND_UNIT: Message = Message {
    fields: &[
        one(1, "key_strindex", Int32),
        one(2, "value", Type::Message(&super::ANY_VALUE)),
        one(3, "unit_strindex", Int32),
    ],
};
static STACK: Message = Message {
    fields: &[many(1, "location_indices", Int32)],
};
