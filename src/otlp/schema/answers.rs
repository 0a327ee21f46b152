//! What comes back: the responses of the four services, and `google.rpc.Status`.

use super::Type::{Int32, Int64, String};
use super::{Message, Type, one};

pub(super) static TRACES: Message = Message {
    fields: &[one(1, "partial_success", Type::Message(&SPANS))],
};
static SPANS: Message = Message {
    fields: &[
        one(1, "rejected_spans", Int64),
        one(2, "error_message", String),
    ],
};
pub(super) static METRICS: Message = Message {
    fields: &[one(1, "partial_success", Type::Message(&DATA_POINTS))],
};
static DATA_POINTS: Message = Message {
    fields: &[
        one(1, "rejected_data_points", Int64),
        one(2, "error_message", String),
    ],
};
pub(super) static LOGS: Message = Message {
    fields: &[one(1, "partial_success", Type::Message(&LOG_RECORDS))],
};
static LOG_RECORDS: Message = Message {
    fields: &[
        one(1, "rejected_log_records", Int64),
        one(2, "error_message", String),
    ],
};
pub(super) static PROFILES: Message = Message {
    fields: &[one(1, "partial_success", Type::Message(&REJECTED_PROFILES))],
};
static REJECTED_PROFILES: Message = Message {
    fields: &[
        one(1, "rejected_profiles", Int64),
        one(2, "error_message", String),
    ],
};

/// Without its details, whose types are not told by a table.
pub(in crate::otlp) static STATUS: Message = Message {
    fields: &[one(1, "code", Int32), one(2, "message", String)],
};
