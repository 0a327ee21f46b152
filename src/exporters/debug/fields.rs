//! The fields of a message, one after the other, with what the tables know of them.

use crate::otlp::schema::{self, Kind, Message};
use crate::otlp::wire::{DELIMITED, FIXED32, FIXED64, Fault, MAX_DEPTH, Reader, VARINT};

/// A message and the table of its kind.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) message: &'static Message,
    pub(super) bytes: &'a [u8],
}

/// One field as it lies on the wire.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// What the table says of it. A field whose wire type is not that of its kind counts as
    /// unknown, as in Google's parsers.
    pub(super) known: Option<&'static schema::Field>,
    pub(super) content: Content<'a>,
    /// How many bytes it takes, without its tag and its length.
    pub(super) length: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Group,
}

impl<'a> Part<'a> {
    /// The fields in their order. After a fault nothing more can be read.
    pub(super) fn fields(self) -> impl Iterator<Item = Result<Field<'a>, Fault>> {
        let mut reader = Reader::new(self.bytes);
        let mut sound = true;
        std::iter::from_fn(move || {
            if !sound || reader.is_done() {
                return None;
            }
            let field = read(&mut reader, self.message);
            sound = field.is_ok();
            Some(field)
        })
    }

    /// Whether it is a `KeyValue`.
    pub(super) fn is_key_value(self) -> bool {
        self.message
            .fields
            .first()
            .is_some_and(|field| field.name == "key")
    }

    /// Whether it is an `AnyValue`.
    pub(super) fn is_any_value(self) -> bool {
        self.message
            .fields
            .first()
            .is_some_and(|field| field.name == "string_value")
    }
}

impl<'a> Field<'a> {
    /// Its name in the `.proto` file; empty if it is unknown.
    pub(super) fn name(self) -> &'static str {
        self.known.map_or("", |known| known.name)
    }

    /// The message in it, if it is one.
    pub(super) fn part(self) -> Option<Part<'a>> {
        match (self.known?.kind, self.content) {
            (
                Kind::Message(message) | Kind::Level(message) | Kind::Item(message),
                Content::Bytes(bytes),
            ) => Some(Part { message, bytes }),
            _ => None,
        }
    }
}

fn read<'a>(reader: &mut Reader<'a>, message: &'static Message) -> Result<Field<'a>, Fault> {
    let tag = reader.tag()?;
    let number = tag >> 3;
    let start = reader.at();
    let mut inside = *reader;
    reader.skip(tag, MAX_DEPTH)?;
    let bytes = reader.since(start);
    let content = match tag & 7 {
        VARINT => Content::Varint(inside.varint_value()?),
        FIXED64 => Content::Fixed64(number_of(bytes)),
        FIXED32 => Content::Fixed32(number_of(bytes) as u32),
        DELIMITED => Content::Bytes(inside.bytes()?),
        _ => Content::Group,
    };
    let known = message.fields.iter().find(|field| field.number == number);
    Ok(Field {
        number,
        known: known.filter(|field| fits(field, content)),
        content,
        length: match content {
            Content::Bytes(content) => content.len(),
            _ => bytes.len(),
        },
    })
}

/// A little-endian number of up to eight bytes.
pub(super) fn number_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn fits(field: &schema::Field, content: Content<'_>) -> bool {
    match (field.kind, content) {
        (Kind::Varint, Content::Varint(_))
        | (Kind::Fixed32, Content::Fixed32(_))
        | (Kind::Fixed64, Content::Fixed64(_)) => true,
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, Content::Bytes(_)) => field.repeated,
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, _) => false,
        (_, Content::Bytes(_)) => true,
        _ => false,
    }
}
