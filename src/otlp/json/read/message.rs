//! Messages and their fields out of JSON objects.

use smallvec::SmallVec;

use super::cursor::{COMMA_OR_BRACE, COMMA_OR_BRACKET, Cursor, KEY, Piece};
use super::error::{Read, Stop};
use super::output::{NUMBER, Output};
use super::scalar::{self, Code};
use crate::otlp::schema::{Field, Kind, Message, Presence};
use crate::otlp::wire::{DELIMITED, write_varint};

/// A text, and where the bytes go.
pub(super) struct Reader<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) out: Output<'a>,
}

/// What there has been in an object.
#[derive(Default)]
struct Seen {
    /// One bit for each field, by its place in the table.
    fields: u32,
    /// Those of them that are set members of the `oneof`.
    members: u32,
    /// Where the second member was.
    second: Option<usize>,
    /// The numbers of the fields that came again, and where their last value begins in the output.
    again: Vec<(u32, usize)>,
}

impl Reader<'_> {
    /// Reads an object, at its brace, in which `depth` more levels are allowed.
    pub(super) fn object(&mut self, schema: &'static Message, depth: u32) -> Read {
        let start = self.out.len();
        let mut seen = Seen::default();
        self.cursor.step();
        if self.cursor.space() == b'}' {
            self.cursor.step();
            return Ok(());
        }
        let mut likely = 0;
        loop {
            match self.key(schema, likely)? {
                Some((place, field)) => {
                    likely = place + 1;
                    self.field((place, field), depth, &mut seen)
                        .map_err(|stop| stop.under(&field.key))?;
                }
                None => self.cursor.skip()?,
            }
            match self.cursor.space() {
                b',' => self.cursor.step(),
                b'}' => break,
                _ => return Err(self.cursor.stop(COMMA_OR_BRACE)),
            }
            self.cursor.space();
        }
        self.cursor.step();
        if let Some(at) = seen.second.filter(|_| seen.members.count_ones() > 1) {
            return Err(Stop::text(at, "has two values where it can have one"));
        }
        if !seen.again.is_empty() {
            self.out.keep_last(start, &seen.again);
        }
        Ok(())
    }

    /// Reads a key with its colon, at its quote: the field of that name. Writers keep to an order,
    /// so it is likely that of the table, or one of the next.
    #[inline(always)]
    fn key(
        &mut self,
        schema: &'static Message,
        likely: usize,
    ) -> Read<Option<(usize, &'static Field)>> {
        if let Some(field) = schema.fields.get(likely)
            && self.cursor.take(field.key.as_bytes())
        {
            return Ok(Some((likely, field)));
        }
        self.other_key(schema, likely)
    }

    fn other_key(
        &mut self,
        schema: &'static Message,
        likely: usize,
    ) -> Read<Option<(usize, &'static Field)>> {
        let start = self.cursor;
        scalar::open(&mut self.cursor, KEY)?;
        let field = match self.cursor.piece()? {
            Piece::Whole(name) => schema.named(name, likely),
            Piece::Escaped(_) => {
                self.cursor = start;
                self.cursor.skip_string()?;
                let mut again = start;
                let name = scalar::short(&mut again, KEY).ok();
                name.and_then(|name| schema.named(&name, likely))
            }
        };
        self.cursor.colon()?;
        Ok(field)
    }

    #[inline(always)]
    fn field(
        &mut self,
        (place, field): (usize, &'static Field),
        depth: u32,
        seen: &mut Seen,
    ) -> Read {
        let bit = 1 << place;
        if seen.fields & bit != 0 {
            seen.comes_again(field.number, self.out.len());
        }
        seen.fields |= bit;
        let first = self.cursor.space();
        if first == b'n' && self.cursor.take(b"null") {
            seen.members &= !bit;
            return Ok(());
        }
        if field.presence == Presence::OneOf {
            if seen.members & !bit != 0 {
                seen.second = Some(self.cursor.at());
            }
            seen.members |= bit;
        }
        if field.repeated {
            self.list(field, depth)
        } else {
            self.single(field, depth)
        }
    }

    #[inline(always)]
    fn single(&mut self, field: &'static Field, depth: u32) -> Read {
        let is_implicit = field.presence == Presence::Implicit;
        match field.kind {
            Kind::Varint | Kind::Fixed32 | Kind::Fixed64 => {
                let raw = scalar::number(&mut self.cursor, field.meaning)?;
                if raw != 0 || !is_implicit {
                    self.out.reserve(NUMBER)?;
                    self.out.tag(field);
                    self.out.number(field.kind, raw);
                }
                Ok(())
            }
            Kind::String => self.text(field, is_implicit),
            Kind::Bytes | Kind::Id(_) => self.bytes(field, is_implicit),
            Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner) => {
                self.message(field, inner, depth)
            }
        }
    }

    /// Reads a message and writes it with its tag and its length.
    #[inline(always)]
    fn message(&mut self, field: &'static Field, inner: &'static Message, depth: u32) -> Read {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| self.cursor.stop("is nested more than 100 levels deep"))?;
        if self.cursor.peek() != b'{' {
            return Err(self.cursor.stop("must be an object"));
        }
        // How wide its length will likely be.
        let width = match field.kind {
            Kind::Level(_) => 3,
            Kind::Item(_) => 2,
            _ => 1,
        };
        self.out.reserve(NUMBER)?;
        self.out.tag(field);
        let start = self.out.len();
        self.out.bytes.extend(std::iter::repeat_n(0, width));
        self.object(inner, depth)?;
        self.out.close(start, width)
    }

    fn list(&mut self, field: &'static Field, depth: u32) -> Read {
        if self.cursor.peek() != b'[' {
            return Err(self.cursor.stop("must be a list"));
        }
        match field.kind {
            Kind::Varint | Kind::Fixed32 | Kind::Fixed64 => self.packed(field),
            Kind::String => self.each(|reader| reader.text(field, false)),
            Kind::Bytes | Kind::Id(_) => self.each(|reader| reader.bytes(field, false)),
            Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner) => {
                self.each(|reader| reader.message(field, inner, depth))
            }
        }
    }

    /// Numbers, all in one field.
    fn packed(&mut self, field: &'static Field) -> Read {
        self.out.reserve(NUMBER)?;
        let before = self.out.len();
        self.out.tag_of(field, DELIMITED);
        let start = self.out.len();
        self.out.bytes.push(0);
        self.each(|reader| {
            let raw = scalar::number(&mut reader.cursor, field.meaning)?;
            reader.out.reserve(NUMBER)?;
            reader.out.number(field.kind, raw);
            Ok(())
        })?;
        if self.out.len() == start + 1 {
            self.out.bytes.truncate(before);
            return Ok(());
        }
        self.out.close(start, 1)
    }

    /// Reads each element of a list, at its bracket.
    #[inline(always)]
    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Read) -> Read {
        self.cursor.step();
        if self.cursor.space() == b']' {
            self.cursor.step();
            return Ok(());
        }
        let mut index = 0;
        loop {
            element(self).map_err(|stop| stop.at_index(index))?;
            index += 1;
            match self.cursor.space() {
                b',' => self.cursor.step(),
                b']' => break,
                _ => return Err(self.cursor.stop(COMMA_OR_BRACKET)),
            }
            self.cursor.space();
        }
        self.cursor.step();
        Ok(())
    }

    #[inline(always)]
    fn text(&mut self, field: &'static Field, is_implicit: bool) -> Read {
        scalar::open(&mut self.cursor, scalar::STRING)?;
        match self.cursor.piece()? {
            Piece::Whole([]) if is_implicit => Ok(()),
            Piece::Whole(text) => {
                self.out.reserve(NUMBER + text.len())?;
                self.out.tag(field);
                write_varint(self.out.bytes, text.len() as u64);
                self.out.bytes.extend_from_slice(text);
                Ok(())
            }
            Piece::Escaped(text) => self.escaped(field, text),
        }
    }

    #[cold]
    fn escaped(&mut self, field: &'static Field, first: &[u8]) -> Read {
        let start = self.unescape(field, first)?;
        self.out.close(start, 1)
    }

    /// Writes a tag, one byte for a length, and the text of a string from its start `first` on.
    /// Where the length stands.
    fn unescape(&mut self, field: &'static Field, first: &[u8]) -> Read<usize> {
        self.out.reserve(NUMBER + first.len())?;
        self.out.tag(field);
        let start = self.out.len();
        self.out.bytes.push(0);
        self.out.bytes.extend_from_slice(first);
        let mut cursor = self.cursor;
        scalar::unescape(&mut cursor, &mut |piece| {
            self.out.reserve(piece.len())?;
            self.out.bytes.extend_from_slice(piece);
            Ok(())
        })?;
        self.cursor = cursor;
        Ok(start)
    }

    #[inline(always)]
    fn bytes(&mut self, field: &'static Field, is_implicit: bool) -> Read {
        let code = Code::of(field.meaning);
        let start = self.cursor;
        scalar::open(&mut self.cursor, code.problem())?;
        let text = match self.cursor.piece()? {
            Piece::Whole(text) => text,
            Piece::Escaped(first) => return self.escaped_bytes(field, code, (start, first)),
        };
        let digits = code.digits(text);
        let digits = digits.ok_or_else(|| start.stop(code.problem()))?;
        if digits.is_empty() && is_implicit {
            return Ok(());
        }
        let length = code.bytes(digits.len());
        self.out.reserve(NUMBER + length)?;
        self.out.tag(field);
        write_varint(self.out.bytes, length as u64);
        match code {
            Code::Hex => {
                let (pairs, _) = digits.as_chunks::<2>();
                self.out
                    .bytes
                    .extend(pairs.iter().map(|pair| scalar::byte(*pair)));
            }
            Code::Base64 => self
                .out
                .bytes
                .extend(digits.chunks(4).flat_map(|four| code.decode(four))),
        }
        Ok(())
    }

    /// Digits with escapes among them, which some writers make of every slash: they are undone
    /// in the output, and decoded there.
    #[cold]
    fn escaped_bytes(
        &mut self,
        field: &'static Field,
        code: Code,
        (value, first): (Cursor<'_>, &[u8]),
    ) -> Read {
        let start = self.unescape(field, first)?;
        let text = self.out.bytes.get(start + 1..).unwrap_or_default();
        let digits = code.digits(text).map(<[u8]>::len);
        let end = start + 1 + digits.ok_or_else(|| value.stop(code.problem()))?;
        let mut to = start + 1;
        for from in (to..end).step_by(4) {
            let four = self.out.bytes.get(from..end.min(from + 4));
            let four: SmallVec<[u8; 4]> = SmallVec::from_slice(four.unwrap_or_default());
            for byte in code.decode(&four) {
                self.out
                    .bytes
                    .get_mut(to)
                    .into_iter()
                    .for_each(|place| *place = byte);
                to += 1;
            }
        }
        self.out.bytes.truncate(to);
        self.out.close(start, 1)
    }
}

impl Seen {
    #[cold]
    fn comes_again(&mut self, number: u32, at: usize) {
        match self.again.iter_mut().find(|(known, _)| *known == number) {
            Some((_, last)) => *last = at,
            None => self.again.push((number, at)),
        }
    }
}
