//! One action on an attribute, as an operator writes it.

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;

use crate::otlp::attributes::{Action, Source, Verb};
use crate::otlp::wire::write_bytes;

/// `{ action = "insert", key = "...", value = ... }`, as in the Collector's attributes and
/// resource processors; `rename` is ours.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Written")]
pub struct ActionConfig(pub Action);

/// The keys that an action may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    action: Word,
    key: String,
    value: Option<Value>,
    from_attribute: Option<String>,
    new_key: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Word {
    Insert,
    Update,
    Upsert,
    Delete,
    Rename,
    Hash,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::Hash => "hash",
        })
    }
}

/// What is wrong is said without the key: it may have come from the environment, and what did is
/// never printed.
impl TryFrom<Written> for ActionConfig {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        if written.key.is_empty() {
            return Err(format!("`{}` has an empty `key`", written.action));
        }
        let verb = match written.action {
            Word::Insert => Verb::Insert(written.take_source()?),
            Word::Update => Verb::Update(written.take_source()?),
            Word::Upsert => Verb::Upsert(written.take_source()?),
            Word::Rename => Verb::Rename(written.take_new_key()?),
            Word::Delete => Verb::Delete,
            Word::Hash => Verb::Hash,
        };
        written.refuse_leftovers()?;
        Ok(Self(Action {
            key: written.key,
            verb,
        }))
    }
}

impl Written {
    fn take_source(&mut self) -> Result<Source, String> {
        let action = self.action;
        match (self.value.take(), self.from_attribute.take()) {
            (Some(value), None) => Ok(Source::Value(value.0)),
            (None, Some(other)) => Ok(Source::Attribute(other)),
            (None, None) => Err(format!("`{action}` needs `value` or `from_attribute`")),
            (Some(_), Some(_)) => Err(format!(
                "`{action}` takes `value` or `from_attribute`, not both"
            )),
        }
    }

    fn take_new_key(&mut self) -> Result<String, String> {
        let new_key = self.new_key.take().filter(|new_key| !new_key.is_empty());
        new_key.ok_or_else(|| "`rename` needs `new_key`".to_owned())
    }

    fn refuse_leftovers(&self) -> Result<(), String> {
        let leftover = if self.value.is_some() {
            "value"
        } else if self.from_attribute.is_some() {
            "from_attribute"
        } else if self.new_key.is_some() {
            "new_key"
        } else {
            return Ok(());
        };
        Err(format!("`{}` takes no `{leftover}`", self.action))
    }
}

/// A value as an encoded `AnyValue`.
struct Value(Vec<u8>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor { in_array: false })
    }
}

/// A value in an array, which is no array itself.
struct Element(Vec<u8>);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(ValueVisitor { in_array: true })?;
        Ok(Self(value.0))
    }
}

struct ValueVisitor {
    in_array: bool,
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer, a float, a boolean")?;
        if self.in_array {
            Ok(())
        } else {
            f.write_str(", or an array of them")
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        let mut out = Vec::new();
        write_bytes(&mut out, 0x0a, text.as_bytes());
        Ok(Value(out))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value(vec![0x10, u8::from(value)]))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        let mut out = vec![0x18];
        crate::otlp::wire::write_varint(&mut out, number as u64);
        Ok(Value(out))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        let number = i64::try_from(number);
        self.visit_i64(number.map_err(|_| E::custom("the integer does not fit into 64 bits"))?)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value([&[0x21][..], &number.to_le_bytes()].concat()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        if self.in_array {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut list = Vec::new();
        while let Some(Element(element)) = elements.next_element()? {
            write_bytes(&mut list, 0x0a, &element);
        }
        let mut out = Vec::new();
        write_bytes(&mut out, 0x2a, &list);
        Ok(Value(out))
    }
}
