//! The thorough walk, by the tables of [`schema`](crate::otlp::schema).

use super::malformed::Malformed;
use super::{BadValue, ItemPolicy, Rejected, Rules, Validation, Walked};
use crate::otlp::Signal;
use crate::otlp::schema::{self, Field, Kind, Message};
use crate::otlp::wire::{self, DELIMITED, FIXED32, FIXED64, Fault, MAX_DEPTH, Reader, VARINT};

/// A fault, and the position of the field that has it.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: usize,
    fault: Fault,
}

/// A value that makes what holds it bad.
#[derive(Clone, Copy, Debug)]
struct Bad {
    why: BadValue,
    found: Found,
}

/// What has been seen so far.
struct Survey {
    rules: Rules,
    /// Whether a part can be cut out.
    cuts: bool,
    /// Whether levels and items below the message that is walked are passed over.
    own_only: bool,
    items: u64,
    rejected: [u64; BadValue::ALL.len()],
    first: Option<Found>,
    /// The first bad value of the item, or else of the level, that is being walked.
    bad: Option<Bad>,
}

/// Walks over the whole request, however much of it is bad.
pub(super) fn survey(signal: Signal, body: &[u8], rules: Rules) -> Result<Walked, Malformed> {
    let mut survey = Survey::new(rules);
    survey.cuts = signal != Signal::Profiles;
    let located = |found: Found| Malformed::locate(signal, body, found.at, found.fault);
    survey
        .message(Reader::new(body), schema::request(signal), MAX_DEPTH)
        .map_err(located)?;
    let items = survey.rejected.iter().sum();
    Ok(Walked {
        items: survey.items - items,
        rejected: survey.first.map(|first| Rejected {
            items,
            by: survey.rejected,
            first: located(first),
        }),
    })
}

/// Whether an item or a level whose framing is in order has only good values, apart from those
/// of the levels and items below it.
pub(super) fn has_good_values(message: Reader<'_>, schema: &'static Message, rules: Rules) -> bool {
    let mut survey = Survey::new(rules);
    survey.own_only = true;
    survey.message(message, schema, MAX_DEPTH).is_ok() && survey.bad.is_none()
}

/// Whether an id has the right length, or is the empty one, which is none.
pub(super) fn is_id(id: &[u8], expected: u8) -> bool {
    id.is_empty() || id.len() == usize::from(expected)
}

impl Survey {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            cuts: true,
            own_only: false,
            items: 0,
            rejected: [0; BadValue::ALL.len()],
            first: None,
            bad: None,
        }
    }

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
                Kind::Level(_) | Kind::Item(_) if self.own_only => {
                    reader.skip(tag, depth).map_err(found)?;
                }
                Kind::Message(inner) if tag & 7 == DELIMITED => {
                    let content = reader.message().map_err(found)?;
                    let depth = depth.checked_sub(1).ok_or(found(Fault::Nesting))?;
                    self.message(content, inner, depth)?;
                }
                Kind::Level(inner) if tag & 7 == DELIMITED => {
                    let content = reader.message().map_err(found)?;
                    let depth = depth.checked_sub(1).ok_or(found(Fault::Nesting))?;
                    self.level(content, inner, depth)?;
                }
                Kind::Item(inner) if tag & 7 == DELIMITED => {
                    let content = reader.message().map_err(found)?;
                    let depth = depth.checked_sub(1).ok_or(found(Fault::Nesting))?;
                    self.item(content, inner, depth)?;
                }
                _ => match self.scalar(&mut reader, tag, field, depth) {
                    Err(fault @ Fault::IdLength { .. }) if schema::has_ids_of_others(schema) => {
                        self.leave_out(found(fault));
                    }
                    Err(fault) => self.judge(found(fault))?,
                    Ok(()) => {}
                },
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
        if self.rules.validation == Validation::Items {
            return Ok(());
        }
        let outer = self.bad.take();
        self.message(content, schema, depth)?;
        if let Some(bad) = self.bad.take() {
            self.reject(bad, 1);
        }
        self.bad = outer;
        Ok(())
    }

    /// A level with a bad value goes with all that is below it: whoever reads its items needs
    /// what it says of them.
    fn level(
        &mut self,
        content: Reader<'_>,
        schema: &'static Message,
        depth: u32,
    ) -> Result<(), Found> {
        let outer = self.bad.take();
        let (items, rejected, first) = (self.items, self.rejected, self.first);
        self.message(content, schema, depth)?;
        if let Some(bad) = self.bad.take() {
            // Whatever else is wrong below it does not matter any more.
            (self.rejected, self.first) = (rejected, first);
            self.reject(bad, self.items - items);
        }
        self.bad = outer;
        Ok(())
    }

    fn reject(&mut self, bad: Bad, items: u64) {
        if let Some(rejected) = self.rejected.get_mut(bad.why as usize) {
            *rejected += items;
        }
        self.first.get_or_insert(bad.found);
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
                if is_id(reader.bytes()?, expected) {
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

    /// A field that is left out, and harms nothing else.
    fn leave_out(&mut self, found: Found) {
        if self.rules.policy(BadValue::Id) == ItemPolicy::RejectItem {
            self.first.get_or_insert(found);
        }
    }

    /// A bad value is the fault of the item or level that holds it; any other fault is the whole
    /// request's.
    fn judge(&mut self, found: Found) -> Result<(), Found> {
        let Some(why) = BadValue::of(found.fault) else {
            return Err(found);
        };
        if self.rules.policy(why) == ItemPolicy::Pass {
            return Ok(());
        }
        if !self.cuts {
            return Err(found);
        }
        self.bad.get_or_insert(Bad { why, found });
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
