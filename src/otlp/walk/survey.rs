//! The thorough walk, by the tables of [`schema`](crate::otlp::schema).

use super::malformed::Malformed;
use super::{Rejected, Validation, Walked};
use crate::otlp::Signal;
use crate::otlp::schema::{self, Field, Kind, Message};
use crate::otlp::wire::{self, DELIMITED, FIXED32, FIXED64, Fault, MAX_DEPTH, Reader, VARINT};

/// A fault, and the position of the field that has it.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: usize,
    fault: Fault,
}

/// What has been seen so far.
struct Survey {
    validation: Validation,
    /// Whether single items can be cut out.
    cuts: bool,
    items: u64,
    rejected: u64,
    first: Option<Found>,
    in_item: bool,
    /// What is wrong with a value in the item that is being walked.
    of_item: Option<Found>,
}

/// Walks over the whole request, however much of it is bad.
pub(super) fn survey(
    signal: Signal,
    body: &[u8],
    validation: Validation,
) -> Result<Walked, Malformed> {
    let mut survey = Survey {
        validation,
        cuts: signal != Signal::Profiles,
        items: 0,
        rejected: 0,
        first: None,
        in_item: false,
        of_item: None,
    };
    let located = |found: Found| Malformed::locate(signal, body, found.at, found.fault);
    survey
        .message(Reader::new(body), schema::request(signal), MAX_DEPTH)
        .map_err(located)?;
    let Some(first) = survey.first.map(located) else {
        return Ok(Walked {
            items: survey.items,
            rejected: None,
        });
    };
    if survey.rejected == survey.items {
        return Err(first);
    }
    Ok(Walked {
        items: survey.items - survey.rejected,
        rejected: Some(Rejected {
            items: survey.rejected,
            first,
        }),
    })
}

/// Whether an item whose framing is in order has only good values.
pub(super) fn has_good_values(item: Reader<'_>, schema: &'static Message) -> bool {
    let mut survey = Survey {
        validation: Validation::Full,
        cuts: false,
        items: 0,
        rejected: 0,
        first: None,
        in_item: true,
        of_item: None,
    };
    survey.message(item, schema, MAX_DEPTH).is_ok() && survey.of_item.is_none()
}

impl Survey {
    /// Walks over a message in which `depth` more levels are allowed.
    fn message(
        &mut self,
        mut reader: Reader<'_>,
        schema: &'static Message,
        depth: u32,
    ) -> Result<(), Found> {
        while !reader.is_done() {
            let at = reader.at();
            let found = |fault| Found { at, fault };
            let tag = reader.tag().map_err(found)?;
            let number = tag >> 3;
            let Some(field) = schema.fields.iter().find(|field| field.number == number) else {
                reader.skip(tag, depth).map_err(found)?;
                continue;
            };
            match field.kind {
                Kind::Message(inner) | Kind::Level(inner) if tag & 7 == DELIMITED => {
                    let content = reader.message().map_err(found)?;
                    let depth = depth.checked_sub(1).ok_or(found(Fault::Nesting))?;
                    self.message(content, inner, depth)?;
                }
                Kind::Item(inner) if tag & 7 == DELIMITED => {
                    let content = reader.message().map_err(found)?;
                    let depth = depth.checked_sub(1).ok_or(found(Fault::Nesting))?;
                    self.item(content, inner, depth)?;
                }
                _ => self
                    .scalar(&mut reader, tag, field, depth)
                    .or_else(|fault| self.judge(found(fault)))?,
            }
        }
        Ok(())
    }

    fn item(
        &mut self,
        content: Reader<'_>,
        schema: &'static Message,
        depth: u32,
    ) -> Result<(), Found> {
        self.items += 1;
        if self.validation == Validation::Items {
            return Ok(());
        }
        self.in_item = self.cuts;
        self.message(content, schema, depth)?;
        self.in_item = false;
        if let Some(found) = self.of_item.take() {
            self.rejected += 1;
            self.first.get_or_insert(found);
        }
        Ok(())
    }

    /// A field that is no message. One whose wire type is not that of its kind counts as
    /// unknown, as in Google's parsers.
    fn scalar(
        &mut self,
        reader: &mut Reader<'_>,
        tag: u32,
        field: &Field,
        depth: u32,
    ) -> Result<(), Fault> {
        match (field.kind, tag & 7) {
            (Kind::String, DELIMITED) => {
                let text = reader.bytes()?;
                if wire::is_utf8(text) {
                    Ok(())
                } else {
                    Err(Fault::Utf8)
                }
            }
            (Kind::Id(expected), DELIMITED) => {
                let length = reader.bytes()?.len();
                if length == 0 || length == usize::from(expected) {
                    Ok(())
                } else {
                    Err(Fault::IdLength { expected })
                }
            }
            (Kind::Varint | Kind::Fixed32 | Kind::Fixed64, DELIMITED) if field.repeated => {
                packed(reader.message()?, field.kind)
            }
            _ => reader.skip(tag, depth),
        }
    }

    /// A bad value in an item is that item's; any other fault is the whole request's.
    fn judge(&mut self, found: Found) -> Result<(), Found> {
        if !(found.fault.is_of_value() && self.in_item) {
            return Err(found);
        }
        self.of_item.get_or_insert(found);
        Ok(())
    }
}

/// A list of numbers without tags between them.
fn packed(mut numbers: Reader<'_>, kind: Kind) -> Result<(), Fault> {
    let (width, wire_type) = match kind {
        Kind::Fixed64 => (8, FIXED64),
        Kind::Fixed32 => (4, FIXED32),
        _ => (1, VARINT),
    };
    if !numbers.rest().len().is_multiple_of(width) {
        return Err(Fault::Packed);
    }
    while wire_type == VARINT && !numbers.is_done() {
        numbers.varint()?;
    }
    Ok(())
}
