//! A message as a JSON object.

use super::gather::{self, Content, Found};
use super::value;
use crate::otlp::schema::{Field, Kind, Message, Presence};
use crate::otlp::wire::{Fault, Reader};

/// Appends the message that these pieces make up, in which `depth` more levels are allowed.
pub(super) fn write(
    schema: &Message,
    pieces: &[&[u8]],
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match pieces {
        [bytes] if is_plain(schema, bytes, depth)? => write_plain(schema, bytes, depth, out),
        pieces => write_gathered(schema, pieces, depth, out),
    }
}

/// Whether each field is there once, and the elements of each list are together: as every writer
/// has it, and all that is needed to write one field after the other.
fn is_plain(schema: &Message, bytes: &[u8], depth: u32) -> Result<bool, Fault> {
    let (mut seen, mut last, mut member) = (0_u32, None, false);
    let mut reader = Reader::new(bytes);
    while !reader.is_done() {
        let tag = reader.tag()?;
        let known = schema.field(tag >> 3);
        reader.skip(tag, depth)?;
        let Some((place, field)) = known else {
            continue;
        };
        if field.repeated && last == Some(place) {
            continue;
        }
        let is_member = field.presence == Presence::OneOf;
        if seen >> place & 1 == 1 || (is_member && member) {
            return Ok(false);
        }
        seen |= 1 << place;
        member |= is_member;
        last = Some(place);
    }
    Ok(true)
}

fn write_plain(schema: &Message, bytes: &[u8], depth: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut list: Option<OpenList> = None;
    let mut reader = Reader::new(bytes);
    out.push(b'{');
    while !reader.is_done() {
        let tag = reader.tag()?;
        let Some((place, field)) = schema.field(tag >> 3) else {
            reader.skip(tag, depth)?;
            continue;
        };
        let Some(content) = gather::read(&mut reader, field, tag, depth)? else {
            continue;
        };
        if list.as_ref().is_some_and(|list| list.place != place) {
            list.take().into_iter().for_each(|list| list.close(out));
        }
        match content {
            _ if field.repeated => {
                list.get_or_insert_with(|| OpenList::new(place, field, out));
                element(field, content, depth, out)?;
            }
            content if is_unset(field, content) => {}
            content => {
                name(field, out);
                single(field, content, depth, out)?;
            }
        }
    }
    list.into_iter().for_each(|list| list.close(out));
    out.push(b'}');
    Ok(())
}

/// A list whose elements are being written.
struct OpenList {
    place: usize,
    /// Where its name begins.
    before: usize,
    /// Where its first element begins.
    first: usize,
}

impl OpenList {
    fn new(place: usize, field: &Field, out: &mut Vec<u8>) -> Self {
        let before = out.len();
        name(field, out);
        out.push(b'[');
        let first = out.len();
        Self {
            place,
            before,
            first,
        }
    }

    /// One that is empty is the default, and left out.
    fn close(self, out: &mut Vec<u8>) {
        if out.len() == self.first {
            out.truncate(self.before);
        } else {
            out.push(b']');
        }
    }
}

fn write_gathered(
    schema: &Message,
    pieces: &[&[u8]],
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let all = gather::gather(schema, pieces, depth)?;
    out.push(b'{');
    for (place, (field, found)) in schema.fields.iter().zip(&all).enumerate() {
        match found {
            Found::Nothing => {}
            Found::One(content) if is_unset(field, *content) => {}
            Found::One(content) => {
                name(field, out);
                single(field, *content, depth, out)?;
            }
            Found::Message(pieces) => {
                name(field, out);
                message(field, pieces, depth, out)?;
            }
            Found::List(run) => {
                let list = OpenList::new(place, field, out);
                gather::elements(field, (pieces, *run), depth, |content| {
                    element(field, content, depth, out)
                })?;
                list.close(out);
            }
        }
    }
    out.push(b'}');
    Ok(())
}

fn is_unset(field: &Field, content: Content<'_>) -> bool {
    field.presence == Presence::Implicit
        && match (field.kind, content) {
            (Kind::Message(_) | Kind::Level(_) | Kind::Item(_), _) => false,
            (_, Content::Number(raw)) => value::is_zero(field.meaning, raw),
            (_, Content::Bytes(bytes)) => bytes.is_empty(),
        }
}

/// No value ends in `{` or `[`, so the last byte tells whether something stands before this one.
fn name(field: &Field, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(field.key.as_bytes());
}

fn single(field: &Field, content: Content<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    match (field.kind, content) {
        (Kind::Message(_) | Kind::Level(_) | Kind::Item(_), Content::Bytes(bytes)) => {
            return message(field, &[bytes], depth, out);
        }
        (_, Content::Number(raw)) => value::number(field.meaning, raw, out),
        (_, Content::Bytes(bytes)) => value::bytes(field.meaning, bytes, out),
    }
    Ok(())
}

fn message(field: &Field, pieces: &[&[u8]], depth: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner)) = field.kind else {
        return Ok(());
    };
    let depth = depth.checked_sub(1).ok_or(Fault::Nesting)?;
    write(inner, pieces, depth, out)
}

/// An element of a list, or several that are packed.
fn element(
    field: &Field,
    content: Content<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match (field.kind, content) {
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, Content::Bytes(packed)) => {
            gather::unpack(field.kind, packed, |raw| {
                next(out);
                value::number(field.meaning, raw, out);
            })
        }
        (_, content) => {
            next(out);
            single(field, content, depth, out)
        }
    }
}

fn next(out: &mut Vec<u8>) {
    if out.last() != Some(&b'[') {
        out.push(b',');
    }
}
