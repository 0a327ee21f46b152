//! What a message holds, field by field, however it is spread over the wire.

use smallvec::{SmallVec, smallvec};

use crate::otlp::schema::{Field, Kind, Message, Presence};
use crate::otlp::wire::{DELIMITED, FIXED32, FIXED64, Fault, Reader, VARINT};

/// The bytes of one message: more than one piece where it was on the wire more than once, which
/// means all of them, one after the other. They are not joined, since a message of many levels,
/// each in two pieces, would be copied once a level.
pub(super) type Pieces<'a> = SmallVec<[&'a [u8]; 1]>;

/// What there is of a field.
#[derive(Clone, Debug)]
pub(super) enum Found<'a> {
    Nothing,
    /// The last of them.
    One(Content<'a>),
    Message(Pieces<'a>),
    /// One element at least; or an empty packed list.
    List(Run),
}

/// One value as it lies on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// Of any width.
    Number(u64),
    /// Text, bytes, a message, or numbers that are packed.
    Bytes(&'a [u8]),
}

/// Where the elements of a list are, with other fields between them perhaps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Where the first begins.
    from: Place,
    /// Where the last ends.
    to: Place,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    piece: usize,
    at: usize,
}

/// Goes over a message once. The answers stand in the order of the table.
pub(super) fn gather<'a>(
    schema: &Message,
    pieces: &[&'a [u8]],
    depth: u32,
) -> Result<SmallVec<[Found<'a>; 16]>, Fault> {
    let mut all: SmallVec<[Found<'a>; 16]> = smallvec![Found::Nothing; schema.fields.len()];
    let mut member = None;
    for (piece, bytes) in pieces.iter().enumerate() {
        let mut reader = Reader::new(bytes);
        while !reader.is_done() {
            let from = Place {
                piece,
                at: reader.at(),
            };
            let tag = reader.tag()?;
            let Some((place, field)) = schema.field(tag >> 3) else {
                reader.skip(tag, depth)?;
                continue;
            };
            let Some(content) = read(&mut reader, field, tag, depth)? else {
                continue;
            };
            if field.presence == Presence::OneOf && member != Some(place) {
                // Another member makes the one before it as if it had never been there.
                let before = member.replace(place).and_then(|place| all.get_mut(place));
                before.into_iter().for_each(|found| *found = Found::Nothing);
            }
            let to = Place {
                piece,
                at: reader.at(),
            };
            if let Some(found) = all.get_mut(place) {
                found.add(field, content, Run { from, to });
            }
        }
    }
    Ok(all)
}

impl<'a> Found<'a> {
    fn add(&mut self, field: &Field, content: Content<'a>, run: Run) {
        match (self, field.kind, content) {
            (Self::List(all), ..) => all.to = run.to,
            (found, ..) if field.repeated => *found = Self::List(run),
            (Self::Message(_), _, Content::Bytes([])) => {}
            (Self::Message(pieces), _, Content::Bytes(bytes)) => pieces.push(bytes),
            (found, Kind::Message(_) | Kind::Level(_) | Kind::Item(_), Content::Bytes(bytes)) => {
                *found = Self::Message(smallvec![bytes]);
            }
            (found, ..) => *found = Self::One(content),
        }
    }
}

/// Hands the elements of a list to `each`, one after the other; packed ones together.
pub(super) fn elements<'a>(
    field: &Field,
    (pieces, run): (&[&'a [u8]], Run),
    depth: u32,
    mut each: impl FnMut(Content<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Run { from, to } = run;
    for (piece, bytes) in pieces.iter().enumerate().skip(from.piece) {
        if piece > to.piece {
            break;
        }
        let start = if piece == from.piece { from.at } else { 0 };
        let end = if piece == to.piece {
            to.at
        } else {
            bytes.len()
        };
        let mut reader = Reader::within(bytes, start..end);
        while !reader.is_done() {
            let tag = reader.tag()?;
            if tag >> 3 != field.number {
                reader.skip(tag, depth)?;
            } else if let Some(content) = read(&mut reader, field, tag, depth)? {
                each(content)?;
            }
        }
    }
    Ok(())
}

/// Hands the numbers of a packed list to `each`.
pub(super) fn unpack(kind: Kind, packed: &[u8], mut each: impl FnMut(u64)) -> Result<(), Fault> {
    let mut reader = Reader::new(packed);
    while !reader.is_done() {
        each(match kind {
            Kind::Fixed64 => fixed::<8>(&mut reader).map_err(|_| Fault::Packed)?,
            Kind::Fixed32 => fixed::<4>(&mut reader).map_err(|_| Fault::Packed)?,
            _ => reader.varint_value()?,
        });
    }
    Ok(())
}

/// The content of a field that the table knows. One whose wire type is not that of its kind
/// counts as unknown, as in Google's parsers, and is stepped over.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    field: &Field,
    tag: u32,
    depth: u32,
) -> Result<Option<Content<'a>>, Fault> {
    let content = match (field.kind, tag & 7) {
        (Kind::Varint, VARINT) => Content::Number(reader.varint_value()?),
        (Kind::Fixed64, FIXED64) => Content::Number(fixed::<8>(reader)?),
        (Kind::Fixed32, FIXED32) => Content::Number(fixed::<4>(reader)?),
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, DELIMITED) if field.repeated => {
            Content::Bytes(reader.bytes()?)
        }
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, _) => {
            return reader.skip(tag, depth).map(|()| None);
        }
        (_, DELIMITED) => Content::Bytes(reader.bytes()?),
        _ => return reader.skip(tag, depth).map(|()| None),
    };
    Ok(Some(content))
}

/// A little-endian number of `N` bytes.
fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    let start = reader.at();
    reader.fixed::<N>()?;
    let bytes = reader.since(start).iter().rev();
    Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
