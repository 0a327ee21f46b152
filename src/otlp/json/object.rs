//! A message as a JSON object.

use super::gather::{self, Content, Found, Run};
use super::value;
use crate::otlp::schema::{Field, Kind, Message, Presence};
use crate::otlp::wire::Fault;

/// Appends the message that these pieces make up, in which `depth` more levels are allowed.
pub(super) fn write(
    schema: &Message,
    pieces: &[&[u8]],
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let all = gather::gather(schema, pieces, depth)?;
    out.push(b'{');
    for (field, found) in schema.fields.iter().zip(&all) {
        match found {
            Found::Nothing => {}
            Found::One(content) if is_unset(field, *content) => {}
            Found::One(content) => {
                name(field, out);
                scalar(field, *content, out);
            }
            Found::Message(pieces) => {
                name(field, out);
                message(field, pieces, depth, out)?;
            }
            Found::List(run) => list(field, (pieces, *run), depth, out)?,
        }
    }
    out.push(b'}');
    Ok(())
}

fn is_unset(field: &Field, content: Content<'_>) -> bool {
    field.presence == Presence::Implicit
        && match content {
            Content::Number(raw) => value::is_zero(field.meaning, raw),
            Content::Bytes(bytes) => bytes.is_empty(),
        }
}

/// No value ends in `{` or `[`, so the last byte tells whether something stands before this one.
fn name(field: &Field, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(field.key.as_bytes());
}

fn scalar(field: &Field, content: Content<'_>, out: &mut Vec<u8>) {
    match content {
        Content::Number(raw) => value::number(field.meaning, raw, out),
        Content::Bytes(bytes) => value::bytes(field.meaning, bytes, out),
    }
}

fn message(field: &Field, pieces: &[&[u8]], depth: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner)) = field.kind else {
        return Ok(());
    };
    let depth = depth.checked_sub(1).ok_or(Fault::Nesting)?;
    write(inner, pieces, depth, out)
}

fn list(field: &Field, list: (&[&[u8]], Run), depth: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    let before = out.len();
    name(field, out);
    out.push(b'[');
    let empty = out.len();
    gather::elements(field, list, depth, |content| match (field.kind, content) {
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, Content::Bytes(packed)) => {
            gather::unpack(field.kind, packed, |raw| {
                next(out);
                value::number(field.meaning, raw, out);
            })
        }
        (Kind::Message(_) | Kind::Level(_) | Kind::Item(_), Content::Bytes(bytes)) => {
            next(out);
            message(field, &[bytes], depth, out)
        }
        (_, content) => {
            next(out);
            scalar(field, content, out);
            Ok(())
        }
    })?;
    if out.len() == empty {
        out.truncate(before);
    } else {
        out.push(b']');
    }
    Ok(())
}

fn next(out: &mut Vec<u8>) {
    if out.last() != Some(&b'[') {
        out.push(b',');
    }
}
