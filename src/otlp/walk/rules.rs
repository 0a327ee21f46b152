//! By what a walk judges.

use serde::Deserialize;

use crate::otlp::wire::Fault;

/// How far a walk goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// Every byte is checked.
    #[default]
    Full,
    /// The items are counted, their insides taken on trust.
    Items,
}

/// What a walk looks at, and what becomes of the bad values that it finds. Damaged framing is
/// refused whatever they say: nobody could tell where such a request ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How far it goes.
    pub validation: Validation,
    /// Strings that are not UTF-8.
    pub invalid_utf8: ItemPolicy,
    /// Ids of the wrong length.
    pub invalid_ids: ItemPolicy,
}

/// What becomes of an item with a bad value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemPolicy {
    /// It is cut out and counted, and the client is told.
    #[default]
    RejectItem,
    /// It goes on as it is.
    Pass,
}

/// What makes a value bad, and an item with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// A string that is not UTF-8.
    Utf8,
    /// An id that has neither the right length nor none.
    Id,
}

impl BadValue {
    /// Both; `as usize` is the index into it.
    pub const ALL: [Self; 2] = [Self::Utf8, Self::Id];

    /// The word for it in metric labels, as in the keys of the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "invalid_utf8",
            Self::Id => "invalid_id",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Utf8 => "a string that is not UTF-8",
            Self::Id => "an id of the wrong length",
        }
    }

    /// `None` where not only a value is bad.
    pub(super) const fn of(fault: Fault) -> Option<Self> {
        match fault {
            Fault::Utf8 => Some(Self::Utf8),
            Fault::IdLength { .. } => Some(Self::Id),
            _ => None,
        }
    }
}

impl Rules {
    /// What is to become of items with such a value.
    pub(super) const fn policy(&self, bad: BadValue) -> ItemPolicy {
        match bad {
            BadValue::Utf8 => self.invalid_utf8,
            BadValue::Id => self.invalid_ids,
        }
    }
}

impl From<Validation> for Rules {
    fn from(validation: Validation) -> Self {
        Self {
            validation,
            ..Self::default()
        }
    }
}
