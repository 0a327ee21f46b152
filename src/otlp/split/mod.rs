//! Splits a request into parts that each fit a limit. (Merging needs no code: the concatenation
//! of two requests is the request of both.)
//!
//! A cut between resources costs nothing: the part is a slice of the request. A cut within a
//! resource repeats what the resource says about its items: all fields of it that hold no
//! items, known or not. The same holds for scopes, and for metrics, whose points are the items.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Signal;
use super::schema::{self, Kind, Message};
use super::wire::{self, DELIMITED, MAX_DEPTH, Reader};

/// How large a part may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitLimit {
    /// Uncompressed bytes.
    pub max_bytes: usize,
    /// Items; 0 is no limit.
    pub max_items: u64,
}

/// A piece of a request that is a whole request by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its items.
    pub items: u64,
    /// It is larger than the limit, and cannot be made smaller: one item, or items whose
    /// resource, scope or metric leaves no room for any.
    pub oversize: bool,
}

/// Splits a valid request into parts, in order. A part is made when it is asked for, so that
/// what is repeated in each of them need not all be in memory at once. Levels are cut as high
/// up as can be: one that fits into a part of its own is never cut.
///
/// Not for profiles, which cannot be split: they come back as one part.
pub fn split(signal: Signal, chunk: &Bytes, limit: SplitLimit) -> Parts {
    let root = Level::open(0, Reader::new(chunk), schema::request(signal));
    Parts {
        signal,
        chunk: chunk.clone(),
        limit,
        levels: SmallVec::from_iter([root]),
    }
}

/// The parts of a request that have not been made yet.
#[derive(Debug)]
pub struct Parts {
    signal: Signal,
    chunk: Bytes,
    limit: SplitLimit,
    /// From the request down to the innermost level that has been cut into.
    levels: SmallVec<[Level; 5]>,
}

/// A message on the way down to the items, some of whose children have gone into parts.
#[derive(Debug)]
struct Level {
    tag: u32,
    schema: &'static Message,
    /// What of it is left, as positions in the chunk.
    left: Range<usize>,
    /// What every part of it repeats. Empty for the request itself, whose unknown fields stay
    /// with their neighbours.
    envelope: Vec<u8>,
    /// In the part being made: the end of a child that had been cut into, ...
    tail: Vec<u8>,
    /// ... and whole children after it, ...
    whole: SmallVec<[Range<usize>; 1]>,
    /// ... which are so many bytes. (Fields between them can make the list long.)
    whole_bytes: usize,
}

/// A child of a level, where it lies with its tag and length.
struct Child<'a> {
    tag: u32,
    range: Range<usize>,
    content: Option<(Reader<'a>, &'static Message)>,
    items: u64,
}

impl Level {
    fn open(tag: u32, content: Reader<'_>, schema: &'static Message) -> Self {
        let mut level = Self {
            tag,
            schema,
            left: content.at()..content.end(),
            envelope: Vec::new(),
            tail: Vec::new(),
            whole: SmallVec::new(),
            whole_bytes: 0,
        };
        // Only the request has the tag 0.
        if tag != 0 {
            let mut reader = content;
            while !reader.is_done() {
                let start = reader.at();
                let Ok(tag) = reader.tag() else { break };
                if reader.skip(tag, MAX_DEPTH).is_err() {
                    break;
                }
                if !holds_items(schema, tag) {
                    level.envelope.extend_from_slice(reader.since(start));
                }
            }
        }
        level
    }

    /// The next child, which stays where it is.
    fn next<'a>(&mut self, chunk: &'a [u8]) -> Option<Child<'a>> {
        let mut reader = Reader::within(chunk, self.left.clone());
        while !reader.is_done() {
            let start = reader.at();
            let tag = reader.tag().ok()?;
            let mut inside = reader;
            reader.skip(tag, MAX_DEPTH).ok()?;
            if self.tag != 0 && !holds_items(self.schema, tag) {
                self.left.start = reader.at();
                continue;
            }
            let range = start..reader.at();
            let field = self
                .schema
                .fields
                .iter()
                .find(|field| field.number == tag >> 3);
            let (content, items) = match field.map(|field| field.kind) {
                Some(Kind::Item(_)) if tag & 7 == DELIMITED => (None, 1),
                Some(Kind::Level(schema)) if tag & 7 == DELIMITED => {
                    let content = inside.message().ok()?;
                    (Some((content, schema)), count(content, schema))
                }
                _ => (None, 0),
            };
            return Some(Child {
                tag,
                range,
                content,
                items,
            });
        }
        None
    }

    /// Puts a child into the part, whole.
    fn take(&mut self, child: Range<usize>) {
        self.left.start = child.end;
        self.whole_bytes += child.len();
        match self.whole.last_mut() {
            Some(last) if last.end == child.start => last.end = child.end,
            _ => self.whole.push(child),
        }
    }

    /// The bytes that it has in the part, without its own tag and length.
    fn len(&self) -> usize {
        self.envelope.len() + self.tail.len() + self.whole_bytes
    }

    /// Writes its part, and is empty again.
    fn write(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.envelope);
        out.append(&mut self.tail);
        self.whole_bytes = 0;
        for range in self.whole.drain(..) {
            out.extend_from_slice(chunk.get(range).unwrap_or_default());
        }
    }
}

/// Whether a field of this tag is a level or an item.
fn holds_items(schema: &Message, tag: u32) -> bool {
    let field = schema.fields.iter().find(|field| field.number == tag >> 3);
    tag & 7 == DELIMITED
        && field.is_some_and(|field| matches!(field.kind, Kind::Level(_) | Kind::Item(_)))
}

/// The number of items in a level.
fn count(mut reader: Reader<'_>, schema: &'static Message) -> u64 {
    let mut items = 0;
    while !reader.is_done() {
        let Ok(tag) = reader.tag() else { break };
        let mut inside = reader;
        if reader.skip(tag, MAX_DEPTH).is_err() {
            break;
        }
        let field = schema.fields.iter().find(|field| field.number == tag >> 3);
        items += match (field.map(|field| field.kind), inside.message()) {
            (Some(Kind::Item(_)), Ok(_)) if tag & 7 == DELIMITED => 1,
            (Some(Kind::Level(schema)), Ok(inner)) if tag & 7 == DELIMITED => count(inner, schema),
            _ => 0,
        };
    }
    items
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        if self.signal == Signal::Profiles {
            return self.all_of_it();
        }
        let chunk = self.chunk.clone();
        self.leave_finished_levels(&chunk);
        let mut items = 0;
        let mut begun = false;
        while let Some(child) = self.next_child(&chunk) {
            if self.fits(child.range.len(), items + child.items) {
                items += child.items;
                begun = true;
                self.take(child.range);
            } else if begun {
                break;
            } else if !self.cut_into(&child) {
                self.take(child.range);
                return Some(Part {
                    bytes: self.write(),
                    items: child.items,
                    oversize: true,
                });
            }
        }
        begun.then(|| Part {
            bytes: self.write(),
            items,
            oversize: false,
        })
    }
}

impl Parts {
    /// Profiles: everything, once.
    fn all_of_it(&mut self) -> Option<Part> {
        let root = self.levels.pop()?;
        let bytes = self.chunk.clone();
        let items = count(Reader::new(&bytes), root.schema);
        let too_many = self.limit.max_items != 0 && items > self.limit.max_items;
        let oversize = bytes.len() > self.limit.max_bytes || too_many;
        (!bytes.is_empty()).then_some(Part {
            bytes,
            items,
            oversize,
        })
    }

    /// Leaves the levels of which the part before took the last child.
    fn leave_finished_levels(&mut self, chunk: &[u8]) {
        while self.levels.len() > 1 {
            if self
                .levels
                .last_mut()
                .and_then(|level| level.next(chunk))
                .is_some()
            {
                return;
            }
            self.levels.pop();
        }
    }

    /// The next child of the innermost level. A level that has no more is closed: what the part
    /// has of it is then the tail in the level around it.
    fn next_child<'a>(&mut self, chunk: &'a [u8]) -> Option<Child<'a>> {
        loop {
            if let Some(child) = self.levels.last_mut()?.next(chunk) {
                return Some(child);
            }
            if self.levels.len() == 1 {
                return None;
            }
            let mut closed = self.levels.pop()?;
            let around = self.levels.last_mut()?;
            wire::write_message(&mut around.tail, closed.tag, closed.len(), |out| {
                closed.write(chunk, out);
            });
        }
    }

    /// Opens a child that is too large for a part; false where that is of no use.
    fn cut_into(&mut self, child: &Child<'_>) -> bool {
        let Some((content, schema)) = child.content.filter(|_| child.items > 0) else {
            return false;
        };
        self.levels.push(Level::open(child.tag, content, schema));
        if !self.fits(0, 0) {
            self.levels.pop();
            return false;
        }
        let around = self.levels.iter_mut().nth_back(1);
        if let Some(around) = around {
            around.left.start = child.range.end;
        }
        true
    }

    /// Puts a child of the innermost level into the part.
    fn take(&mut self, child: Range<usize>) {
        if let Some(level) = self.levels.last_mut() {
            level.take(child);
        }
    }

    /// Whether the part fits with so many bytes more in the innermost level.
    fn fits(&self, more_bytes: usize, items: u64) -> bool {
        let length = content_len(&self.levels, more_bytes);
        length <= self.limit.max_bytes
            && (self.limit.max_items == 0 || items <= self.limit.max_items)
    }

    /// Writes the part, open levels as if they ended here, and is ready for the next one.
    fn write(&mut self) -> Bytes {
        if let [root] = self.levels.as_mut_slice()
            && root.tail.is_empty()
        {
            let range = root.whole.pop().unwrap_or_default();
            root.whole_bytes = 0;
            return self.chunk.slice(range);
        }
        let mut out = Vec::with_capacity(content_len(&self.levels, 0));
        write_content(&mut self.levels, &self.chunk, &mut out);
        Bytes::from(out)
    }
}

/// The length of the first level's content with the other levels in it, and with so many bytes
/// more in the last.
fn content_len(levels: &[Level], more_bytes: usize) -> usize {
    let mut length = more_bytes;
    let mut inner: Option<&Level> = None;
    for level in levels.iter().rev() {
        if let Some(inner) = inner {
            length += wire::varint_len(length as u64) + wire::varint_len(u64::from(inner.tag));
        }
        length += level.len();
        inner = Some(level);
    }
    length
}

/// Writes the first level's content with the other levels in it. Only the last of them has
/// children in the part: a level is cut into only while the part is empty.
fn write_content(levels: &mut [Level], chunk: &[u8], out: &mut Vec<u8>) {
    let Some((level, inner)) = levels.split_first_mut() else {
        return;
    };
    level.write(chunk, out);
    if let Some(tag) = inner.first().map(|inner| inner.tag) {
        let expected = content_len(inner, 0);
        wire::write_message(out, tag, expected, |out| write_content(inner, chunk, out));
    }
}

#[cfg(test)]
mod tests;
