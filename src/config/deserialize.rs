//! A serde deserializer over the tree. Unlike toml's own, it tells unknown keys by the list of
//! those that are known, and says what is wrong as a [`Fault`], with the way to it.

use serde::Deserializer;
use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, FaultKind};
use super::tree::{Entry, Node, Step, Table, Value};

/// Reads one node; `beside` are keys that stand in the same table but are read elsewhere, and
/// are only named when another is unknown.
#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'a> {
    node: &'a Node,
    beside: &'a [&'a str],
}

impl<'a> NodeDeserializer<'a> {
    pub(super) fn new(node: &'a Node, beside: &'a [&'a str]) -> Self {
        Self { node, beside }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Datetime => Err(Fault::invalid_type(Unexpected::Other("date"), &visitor)),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
            }),
            Value::Table(table) => visitor.visit_map(Entries::new(table, None, &[])),
            Value::StandIn => visitor.visit_str(""),
        }
    }

    /// Keeps the text of a secret out of what is said about it.
    fn guard(self, fault: Fault) -> Fault {
        match &self.node.value {
            Value::String(text) if self.node.secret => fault.about_secret(text),
            _ => fault,
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor).map_err(|fault| self.guard(fault))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Table(table) => {
                visitor.visit_map(Entries::new(table, Some(fields), self.beside))
            }
            other => Err(Fault::new(FaultKind::WrongType {
                found: other.type_name().to_owned(),
                wanted: "a table".to_owned(),
            })),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => {
                let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(text).map_err(|fault| self.guard(fault))
            }
            Value::StandIn => {
                let text = variants.first().copied().unwrap_or_default();
                let text: StrDeserializer<'_, Fault> = text.into_deserializer();
                visitor.visit_enum(text)
            }
            other => Err(Fault::new(FaultKind::WrongType {
                found: other.type_name().to_owned(),
                wanted: super::suggest::choices(variants),
            })),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(NodeDeserializer::new(node, &[]))
            .map(Some)
            .map_err(|fault| fault.under(Step::Index(index)))
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Entry>,
    /// The keys that a struct takes; a map takes any.
    fields: Option<&'static [&'static str]>,
    beside: &'a [&'a str],
    current: Option<(&'a String, &'a Node)>,
}

impl<'a> Entries<'a> {
    fn new(
        table: &'a Table,
        fields: Option<&'static [&'static str]>,
        beside: &'a [&'a str],
    ) -> Self {
        Self {
            entries: table.entries.iter(),
            fields,
            beside,
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, entry)) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some((key, &entry.node));
        if let Some(fields) = self.fields
            && !fields.contains(&key.as_str())
        {
            let allowed = fields.iter().chain(self.beside);
            let fault = Fault::new(FaultKind::UnknownKey {
                key: key.clone(),
                allowed: allowed.map(|&key| key.to_owned()).collect(),
            });
            return Err(fault.under(Step::Key(key.clone())));
        }
        let text: StringDeserializer<Fault> = key.clone().into_deserializer();
        seed.deserialize(text)
            .map(Some)
            .map_err(|fault| fault.under(Step::Key(key.clone())))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, node)) = self.current.take() else {
            return Err(Fault::custom("was asked for its value before its key"));
        };
        seed.deserialize(NodeDeserializer::new(node, &[]))
            .map_err(|fault| fault.under(Step::Key(key.clone())))
    }
}
