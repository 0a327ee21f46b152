//! The attributes of one resource or item, as far as an action concerns them.

use std::borrow::Cow;
use std::ops::Range;

use super::Actions;
use crate::otlp::editor::Editor;
use crate::otlp::wire::{self, Fault, MAX_DEPTH, Reader};

const KEY: u32 = 0x0a;
const VALUE: u32 = 0x12;

/// The most attributes of a list that can be edited, all having keys that some action names. It
/// bounds the memory that a request can ask for.
const MOST: usize = 1 << 16;

/// In no message.
const NOWHERE: Range<usize> = usize::MAX..usize::MAX;

/// Attributes in order. A key may occur more than once: what is done to it is done to all.
#[derive(Debug, Default)]
pub(super) struct AttributeList<'a> {
    attributes: Vec<Attribute<'a>>,
    changed: bool,
}

#[derive(Debug)]
struct Attribute<'a> {
    /// The field that it is in the request, with tag and length; `NOWHERE` for a new one.
    place: Range<usize>,
    /// Its `KeyValue`.
    content: Cow<'a, [u8]>,
    /// Where its key lies in that.
    key: Range<usize>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Changed,
    New,
    Deleted,
}

/// A message in the request that holds attributes.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    /// Where its length stands.
    pub(super) length: Range<usize>,
    /// Its fields.
    pub(super) content: Reader<'a>,
}

impl<'a> AttributeList<'a> {
    /// Takes in the fields of this tag, where an action concerns them. `None` if they cannot
    /// be edited.
    pub(super) fn read(
        &mut self,
        mut message: Reader<'a>,
        attribute_tag: u32,
        actions: &Actions,
    ) -> Option<()> {
        while !message.is_done() {
            let start = message.at();
            let tag = message.tag().ok()?;
            if tag != attribute_tag {
                message.skip(tag, MAX_DEPTH).ok()?;
                continue;
            }
            let content = message.bytes().ok()?;
            let key = key_of(content).ok()?;
            if !actions.concern(content.get(key.clone()).unwrap_or_default()) {
                continue;
            }
            if self.attributes.len() == MOST {
                return None;
            }
            self.attributes.push(Attribute {
                place: start..message.at(),
                content: Cow::Borrowed(content),
                key,
                fate: Fate::Kept,
            });
        }
        Some(())
    }

    /// Makes it ready for the next resource or item.
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        self.changed = false;
    }

    /// Whether anything was done to it.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether there is such an attribute.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.attributes.iter().any(|one| one.is(key))
    }

    /// The `AnyValue` of the first attribute of this key.
    pub(super) fn value(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.attributes.iter().find(|one| one.is(key))?;
        Some(value_of(&found.content).to_vec())
    }

    /// Adds an attribute at the end.
    pub(super) fn push(&mut self, key: &str, value: &[u8]) {
        let mut content = Vec::with_capacity(key.len() + value.len() + 12);
        wire::write_bytes(&mut content, KEY, key.as_bytes());
        let end = content.len();
        wire::write_bytes(&mut content, VALUE, value);
        self.changed = true;
        self.attributes.push(Attribute {
            place: NOWHERE,
            content: Cow::Owned(content),
            key: end - key.len()..end,
            fate: Fate::New,
        });
    }

    /// Gives every attribute of this key the `AnyValue` that `value` makes of its present one.
    /// Returns whether there were any.
    pub(super) fn update<'v>(&mut self, key: &str, value: impl Fn(&[u8]) -> Cow<'v, [u8]>) -> bool {
        self.each(key, |one| {
            let value = value(value_of(&one.content));
            one.replace(VALUE, &value);
        })
    }

    /// Deletes every attribute of this key.
    pub(super) fn delete(&mut self, key: &str) -> bool {
        self.each(key, |one| one.fate = Fate::Deleted)
    }

    /// Gives every attribute of this key another key.
    pub(super) fn rename(&mut self, key: &str, new_key: &str) -> bool {
        self.each(key, |one| one.replace(KEY, new_key.as_bytes()))
    }

    fn each(&mut self, key: &str, mut change: impl FnMut(&mut Attribute<'a>)) -> bool {
        let mut any = false;
        for one in self.attributes.iter_mut().filter(|one| one.is(key)) {
            change(one);
            any = true;
        }
        self.changed |= any;
        any
    }

    /// Writes what was changed in this place, and what is new at its end. What is new is
    /// written once, in the first place that comes.
    pub(super) fn write(&mut self, place: &Place<'_>, tag: u32, editor: &mut Editor<'_>) {
        let end = place.content.end();
        let inside = place.content.at()..end;
        editor.enter(place.length.clone());
        for one in &self.attributes {
            if !inside.contains(&one.place.start) {
                continue;
            }
            match one.fate {
                Fate::Changed => editor.replace(one.place.clone(), |out| one.write(tag, out)),
                Fate::Deleted => editor.replace(one.place.clone(), |_| ()),
                Fate::Kept | Fate::New => {}
            }
        }
        if self.has_new() {
            editor.replace(end..end, |out| self.write_new(tag, out));
        }
        editor.leave(end);
    }

    /// Whether there are attributes that no place of the request has.
    pub(super) fn has_new(&self) -> bool {
        self.attributes.iter().any(|one| one.fate == Fate::New)
    }

    /// Writes the new attributes as fields of this tag; they are new no more.
    pub(super) fn write_new(&mut self, tag: u32, out: &mut Vec<u8>) {
        for one in self
            .attributes
            .iter_mut()
            .filter(|one| one.fate == Fate::New)
        {
            one.write(tag, out);
            one.fate = Fate::Kept;
        }
    }
}

impl Attribute<'_> {
    fn is(&self, key: &str) -> bool {
        self.fate != Fate::Deleted && self.content.get(self.key.clone()) == Some(key.as_bytes())
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        wire::write_bytes(out, tag, &self.content);
    }

    /// Puts another key or value into it; its other fields stay.
    fn replace(&mut self, replaced: u32, with: &[u8]) {
        let mut content = Vec::with_capacity(self.content.len() + with.len() + 4);
        if replaced == KEY {
            wire::write_bytes(&mut content, KEY, with);
        }
        let mut reader = Reader::new(&self.content);
        while !reader.is_done() {
            let start = reader.at();
            let Ok(tag) = reader.tag() else { break };
            if reader.skip(tag, MAX_DEPTH).is_err() {
                break;
            }
            if tag != replaced {
                content.extend_from_slice(reader.since(start));
            }
        }
        if replaced == VALUE {
            wire::write_bytes(&mut content, VALUE, with);
        }
        // It has been read before, so the key is found again.
        self.key = key_of(&content).unwrap_or_default();
        self.content = Cow::Owned(content);
        if self.fate == Fate::Kept {
            self.fate = Fate::Changed;
        }
    }
}

/// Where the key of a `KeyValue` lies. An error if that is not framed rightly to its end.
fn key_of(content: &[u8]) -> Result<Range<usize>, Fault> {
    // As most are written: a short key, a short value, and nothing else.
    if let [0x0a, key @ ..0x80, after @ ..] = content
        && let Some([0x12, value @ ..0x80, rest @ ..]) = after.get(usize::from(*key)..)
        && rest.len() == usize::from(*value)
    {
        return Ok(2..2 + usize::from(*key));
    }
    let mut reader = Reader::new(content);
    let mut key = 0..0;
    while !reader.is_done() {
        match reader.tag()? {
            KEY => {
                let length = reader.bytes()?.len();
                key = reader.at() - length..reader.at();
            }
            VALUE => drop(reader.bytes()?),
            tag => reader.skip(tag, MAX_DEPTH)?,
        }
    }
    Ok(key)
}

/// The `AnyValue` of a `KeyValue`.
fn value_of(content: &[u8]) -> &[u8] {
    let mut reader = Reader::new(content);
    let mut value: &[u8] = &[];
    while !reader.is_done() {
        let Ok(tag) = reader.tag() else { break };
        let found = match tag {
            VALUE => reader.bytes().map(|found| value = found),
            _ => reader.skip(tag, MAX_DEPTH),
        };
        if found.is_err() {
            break;
        }
    }
    value
}
