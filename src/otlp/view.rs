//! Looking into a request without copying anything of it. It has been walked before, so what
//! can not be read here is rare (items taken on trust), and ends the look where it stands.

use smallvec::SmallVec;

use super::wire::{MAX_DEPTH, Reader, VARINT};

/// The tag of the first field of a request, of a resource's group, and of a resource; and of the
/// second of a group and of a scope: all signals have them alike.
const FIRST: u32 = 0x0a;
const SECOND: u32 = 0x12;

/// All that a request holds of one resource (`ResourceSpans`, `ResourceMetrics`, ...).
#[derive(Clone, Copy, Debug)]
pub struct Group<'a>(Reader<'a>);

/// The groups of a request of any signal.
pub fn groups(body: &[u8]) -> impl Iterator<Item = Group<'_>> {
    Messages::new(Reader::new(body), FIRST).map(Group)
}

/// The attributes of a resource that are strings.
pub type Strings<'a> = SmallVec<[(&'a [u8], &'a [u8]); 16]>;

impl<'a> Group<'a> {
    /// The attributes of its resource that are strings, in their order.
    pub fn resource_strings(self) -> Strings<'a> {
        // Parsers merge a field that stands twice, so the attributes of all of them count.
        Messages::new(self.0, FIRST)
            .flat_map(|resource| Messages::new(resource, FIRST))
            .filter_map(string_attribute)
            .collect()
    }

    /// Its spans, log records, metrics or profiles.
    pub fn items(self) -> impl Iterator<Item = Reader<'a>> {
        Messages::new(self.0, SECOND).flat_map(|scope| Messages::new(scope, SECOND))
    }
}

/// The first attribute of this key.
pub fn find<'a>(strings: &Strings<'a>, key: &str) -> Option<&'a [u8]> {
    let mut strings = strings.iter();
    let found = strings.find(|(name, _)| *name == key.as_bytes());
    found.map(|(_, value)| *value)
}

/// The value of a varint field; where it stands more than once the last counts.
#[inline]
pub fn varint(mut message: Reader<'_>, number: u32) -> Option<u64> {
    let mut value = None;
    while !message.is_done() {
        let tag = message.tag().ok()?;
        if tag == number << 3 | VARINT {
            value = Some(message.varint_value().ok()?);
        } else {
            message.skip(tag, MAX_DEPTH).ok()?;
        }
    }
    value
}

/// The same of a field of the message with this tag in another; of several the last counts that
/// names it, as parsers merge them.
#[inline]
pub fn varint_within(message: Reader<'_>, tag: u32, number: u32) -> Option<u64> {
    Messages::new(message, tag)
        .filter_map(|inner| varint(inner, number))
        .last()
}

/// The key and the value of a `KeyValue` that holds a string.
fn string_attribute<'a>(mut attribute: Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let (mut key, mut value) = (&[][..], None);
    while !attribute.is_done() {
        match attribute.tag().ok()? {
            FIRST => key = attribute.bytes().ok()?,
            SECOND => value = Messages::new(attribute.message().ok()?, FIRST).last(),
            tag => attribute.skip(tag, MAX_DEPTH).ok()?,
        }
    }
    value.map(|value| (key, value.rest()))
}

/// The fields of one tag of a message that are messages or strings themselves.
#[derive(Clone, Copy, Debug)]
struct Messages<'a> {
    message: Reader<'a>,
    tag: u32,
}

impl<'a> Messages<'a> {
    fn new(message: Reader<'a>, tag: u32) -> Self {
        Self { message, tag }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Reader<'a>;

    #[inline]
    fn next(&mut self) -> Option<Reader<'a>> {
        while !self.message.is_done() {
            let tag = self.message.tag().ok()?;
            if tag == self.tag {
                return self.message.message().ok();
            }
            self.message.skip(tag, MAX_DEPTH).ok()?;
        }
        None
    }
}
