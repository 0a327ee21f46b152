//! One pass over a request, from attribute list to attribute list.

use super::Actions;
use super::list::{AttributeList, Place};
use crate::otlp::Signal;
use crate::otlp::editor::Editor;
use crate::otlp::schema::{self, Kind, Message};
use crate::otlp::wire::{self, DELIMITED, MAX_DEPTH, Reader};

/// The tag of a resource's attributes.
const RESOURCE_ATTRIBUTES: u32 = 0x0a;

/// Edits the attributes of every resource and of every item (span, log record, data point);
/// `None` if that changes nothing. A list that is not framed rightly is left as it is, and so
/// is one that has some key of the actions more than 65,536 times. So are profiles, which keep
/// keys and values in a table that all of them share.
pub fn edit(signal: Signal, body: &[u8], resources: &Actions, items: &Actions) -> Option<Vec<u8>> {
    if signal == Signal::Profiles {
        return None;
    }
    let mut pass = Pass {
        resources,
        items,
        editor: Editor::new(body),
        resource: AttributeList::default(),
        item: AttributeList::default(),
    };
    pass.level(Reader::new(body), schema::request(signal));
    pass.editor.finish()
}

struct Pass<'a> {
    resources: &'a Actions,
    items: &'a Actions,
    editor: Editor<'a>,
    /// Emptied and used again from resource to resource.
    resource: AttributeList<'a>,
    /// Emptied and used again from item to item.
    item: AttributeList<'a>,
}

impl<'a> Pass<'a> {
    fn level(&mut self, mut reader: Reader<'a>, schema: &'static Message) {
        let resource = schema::resource(schema).filter(|_| !self.resources.is_empty());
        if let Some(number) = resource {
            self.begin_resource(reader, number);
        }
        let mut item_tag = None;
        while !reader.is_done() {
            let Ok(tag) = reader.tag() else { return };
            let length_at = reader.at();
            let field = schema.fields.iter().find(|field| field.number == tag >> 3);
            let (Some(field), DELIMITED) = (field, tag & 7) else {
                if reader.skip(tag, MAX_DEPTH).is_err() {
                    return;
                }
                continue;
            };
            let Ok(content) = reader.message() else {
                return;
            };
            let place = Place {
                length: length_at..content.at(),
                content,
            };
            match field.kind {
                Kind::Level(inner) => {
                    self.editor.enter(place.length);
                    self.level(content, inner);
                    self.editor.leave(content.end());
                }
                Kind::Item(inner) if !self.items.is_empty() => {
                    // All items of a level are of one kind.
                    let tag = *item_tag.get_or_insert_with(|| schema::attributes_tag(inner));
                    self.item(&place, tag);
                }
                _ if resource == Some(field.number) && self.resource.is_changed() => {
                    let editor = &mut self.editor;
                    self.resource.write(&place, RESOURCE_ATTRIBUTES, editor);
                }
                _ => {}
            }
        }
    }

    /// Reads and edits the attributes of the resource in this message, before the message is
    /// gone through: the resource need not stand in front, and may stand there several times.
    fn begin_resource(&mut self, mut reader: Reader<'a>, number: u32) {
        self.resource.clear();
        let start = reader.at();
        let mut present = false;
        while !reader.is_done() {
            let Ok(tag) = reader.tag() else {
                return self.resource.clear();
            };
            let is_resource = tag == number << 3 | DELIMITED;
            present |= is_resource;
            let read = if is_resource {
                let (list, actions) = (&mut self.resource, self.resources);
                let content = reader.message().ok();
                content.and_then(|content| list.read(content, RESOURCE_ATTRIBUTES, actions))
            } else {
                reader.skip(tag, MAX_DEPTH).ok()
            };
            if read.is_none() {
                return self.resource.clear();
            }
        }
        self.resources.apply(&mut self.resource);
        if present {
            return;
        }
        if self.resource.has_new() {
            self.editor.replace(start..start, |out| {
                wire::write_message(out, number << 3 | DELIMITED, 0, |out| {
                    self.resource.write_new(RESOURCE_ATTRIBUTES, out);
                });
            });
        }
    }

    fn item(&mut self, place: &Place<'a>, tag: u32) {
        self.item.clear();
        if self.item.read(place.content, tag, self.items).is_none() {
            return;
        }
        self.items.apply(&mut self.item);
        if self.item.is_changed() {
            self.item.write(place, tag, &mut self.editor);
        }
    }
}
