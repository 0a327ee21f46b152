//! What the tables are made of.

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
    /// Its name in OTLP/JSON.
    pub key: Key,
    /// Whether it is a list, which scalars may then have packed.
    pub repeated: bool,
    /// When it counts as set.
    pub presence: Presence,
    /// What it holds.
    pub kind: Kind,
    /// What that means.
    pub meaning: Type,
}

/// What a field holds, as it lies on the wire.
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

/// The type of a field in its `.proto` file, with what OTLP adds to it.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A varint.
    Bool,
    /// A varint, sign-extended to 64 bits.
    Int32,
    /// A varint.
    Int64,
    /// A varint.
    Uint32,
    /// A varint.
    Uint64,
    /// A varint whose lowest bit is the sign.
    Sint32,
    /// A varint; 32 bits with a sign.
    Enum,
    /// Four bytes without a sign.
    Fixed32,
    /// Eight bytes without a sign.
    Fixed64,
    /// Eight bytes with a sign.
    Sfixed64,
    /// Eight bytes.
    Double,
    /// UTF-8.
    String,
    /// Anything.
    Bytes,
    /// Bytes that JSON has in hexadecimal, of any length to us.
    Hex,
    /// An id of this many bytes, or none.
    Id(u8),
    /// A message.
    Message(&'static Message),
    /// A message on the way down to the items.
    Level(&'static Message),
    /// A message that is counted.
    Item(&'static Message),
}

/// When a field that is no list counts as set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A number or string when it is not zero or empty; a message when it is there.
    Implicit,
    /// When it is there.
    Explicit,
    /// When it is there and no other of its kind comes after it: no message has more than one
    /// such group.
    OneOf,
}

/// A field's name in OTLP/JSON, in quotes and with a colon: `"startTimeUnixNano":`.
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; 32],
    length: u8,
}

impl Type {
    /// How it lies on the wire.
    const fn kind(self) -> Kind {
        match self {
            Self::Bool
            | Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Enum => Kind::Varint,
            Self::Fixed32 => Kind::Fixed32,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Kind::Fixed64,
            Self::String => Kind::String,
            Self::Bytes | Self::Hex => Kind::Bytes,
            Self::Id(length) => Kind::Id(length),
            Self::Message(message) => Kind::Message(message),
            Self::Level(message) => Kind::Level(message),
            Self::Item(message) => Kind::Item(message),
        }
    }
}

impl Key {
    /// Turns `start_time_unix_nano` into lowerCamelCase.
    #[expect(
        clippy::indexing_slicing,
        reason = "runs in the compiler only, which would say so"
    )]
    const fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let mut bytes = [b'"'; 32];
        let (mut from, mut to, mut capital) = (0, 1, false);
        while from < name.len() {
            if name[from] == b'_' {
                capital = true;
            } else {
                bytes[to] = match capital {
                    true => name[from].to_ascii_uppercase(),
                    false => name[from],
                };
                capital = false;
                to += 1;
            }
            from += 1;
        }
        bytes[to + 1] = b':';
        Self {
            bytes,
            length: to as u8 + 2,
        }
    }

    /// With its quotes and its colon.
    pub fn as_bytes(&self) -> &[u8] {
        let length = usize::from(self.length);
        self.bytes.get(..length).unwrap_or_default()
    }

    /// Without them.
    #[inline(always)]
    pub fn name(&self) -> &[u8] {
        let length = usize::from(self.length);
        self.bytes.get(1..length - 2).unwrap_or_default()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl Message {
    /// The field of this number, and where it stands in the table.
    #[inline]
    pub fn field(&self, number: u32) -> Option<(usize, &'static Field)> {
        let fields = self.fields;
        // Most tables are numbered without a gap.
        let likely = (number as usize).wrapping_sub(1);
        if let Some(field) = fields.get(likely)
            && field.number == number
        {
            return Some((likely, field));
        }
        let mut rest = fields.iter().enumerate();
        rest.find(|(_, field)| field.number == number)
    }

    /// The field of this name in JSON, and where it stands in the table; it is looked for from
    /// `likely` on.
    #[inline]
    pub fn named(&self, name: &[u8], likely: usize) -> Option<(usize, &'static Field)> {
        let fields = self.fields;
        let (before, after) = fields.split_at_checked(likely).unwrap_or((fields, &[]));
        let ahead = after
            .iter()
            .enumerate()
            .map(|(n, field)| (likely + n, field));
        let mut all = ahead.chain(before.iter().enumerate());
        all.find(|(_, field)| field.key.name() == name)
    }
}

const fn field(number: u32, name: &'static str, meaning: Type) -> Field {
    Field {
        number,
        name,
        key: Key::of(name),
        repeated: false,
        presence: Presence::Implicit,
        kind: meaning.kind(),
        meaning,
    }
}

/// A field that is there once at most.
pub(super) const fn one(number: u32, name: &'static str, meaning: Type) -> Field {
    field(number, name, meaning)
}

/// A list.
pub(super) const fn many(number: u32, name: &'static str, meaning: Type) -> Field {
    Field {
        repeated: true,
        ..field(number, name, meaning)
    }
}

/// An `optional` field, whose zero is not the same as its absence.
pub(super) const fn optional(number: u32, name: &'static str, meaning: Type) -> Field {
    Field {
        presence: Presence::Explicit,
        ..field(number, name, meaning)
    }
}

/// A member of the message's `oneof`.
pub(super) const fn member(number: u32, name: &'static str, meaning: Type) -> Field {
    Field {
        presence: Presence::OneOf,
        ..field(number, name, meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_lower_camel_case() {
        for (name, key) in [
            ("key", "\"key\":"),
            ("start_time_unix_nano", "\"startTimeUnixNano\":"),
            ("string_value_strindex", "\"stringValueStrindex\":"),
            ("aggregation_temporality", "\"aggregationTemporality\":"),
        ] {
            assert_eq!(Key::of(name).as_bytes(), key.as_bytes());
        }
    }

    #[test]
    fn fields_are_found_by_their_number() {
        static GAPS: Message = Message {
            fields: &[
                one(2, "two", Type::Bool),
                one(1, "one", Type::Bool),
                one(16, "sixteen", Type::Bool),
            ],
        };
        let found = |number| GAPS.field(number).map(|(place, field)| (place, field.name));
        assert_eq!(found(1), Some((1, "one")));
        assert_eq!(found(2), Some((0, "two")));
        assert_eq!(found(16), Some((2, "sixteen")));
        assert_eq!((found(0), found(3)), (None, None));
    }
}
