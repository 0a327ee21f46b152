//! `verbosity = "detailed"`: every field of every item, by the tables of
//! [`schema`](crate::otlp::schema).

use std::fmt::{self, Display, Write};

use super::basic;
use super::fields::{Content, Field, Part};
use super::numbers::Number;
use super::page::Page;
use super::values::{Hex, Id, Inline, Quoted, Style, Unknown, Unreadable};
use crate::batch::Batch;
use crate::otlp::schema::Kind;
use crate::otlp::wire::{Fault, MAX_DEPTH};

/// The line of `basic`, and an outline of the request below it.
pub(super) fn write(page: &mut Page, batch: &Batch) -> fmt::Result {
    basic::write(page, batch)?;
    for request in basic::parts(batch) {
        Outline {
            page: &mut *page,
            depth: 0,
        }
        .message(request)?;
    }
    Ok(())
}

struct Outline<'p> {
    page: &'p mut Page,
    depth: u32,
}

impl Outline<'_> {
    /// A line for each field that is not a message, lines below one for each that is.
    fn message(&mut self, part: Part<'_>) -> fmt::Result {
        let mut seen = vec![0_u64; part.message.fields.len()];
        let mut before = None;
        for field in part.fields() {
            let field = match field {
                Ok(field) => field,
                Err(fault) => return self.line(Unreadable(fault)),
            };
            let at = part.message.fields.iter().zip(&mut seen);
            let at = at
                .into_iter()
                .find(|(known, _)| known.number == field.number);
            let index = at.map_or(0, |(_, seen)| std::mem::replace(seen, *seen + 1));
            self.field(field, index, before == Some(field.number))?;
            before = Some(field.number);
        }
        Ok(())
    }

    fn field(&mut self, field: Field<'_>, index: u64, goes_on: bool) -> fmt::Result {
        let Some(known) = field.known else {
            return self.line(Unknown(field));
        };
        let Some(part) = field.part() else {
            return self.scalar(field, index);
        };
        let name = known.name;
        if part.is_key_value() {
            if !goes_on {
                self.line(name)?;
            }
            return self.below(|outline| outline.line(Inline::new(part, Style::WHOLE)));
        }
        if part.is_any_value() {
            return self.line(format_args!("{name}: {}", Inline::new(part, Style::WHOLE)));
        }
        if known.repeated {
            self.line(format_args!("{name}[{index}]"))?;
        } else {
            self.line(name)?;
        }
        self.below(|outline| outline.message(part))?;
        if matches!(known.kind, Kind::Item(_)) {
            self.page.item_done();
        }
        Ok(())
    }

    fn scalar(&mut self, field: Field<'_>, index: u64) -> fmt::Result {
        let Some(known) = field.known else {
            return Ok(());
        };
        let value: &dyn Display = match (known.kind, field.content) {
            (Kind::String, Content::Bytes(text)) => &Quoted(text, Style::WHOLE),
            (Kind::Bytes, Content::Bytes(bytes)) => &Hex(bytes),
            (Kind::Id(_), Content::Bytes(id)) => &Id(id),
            // A packed list, which has no index.
            (_, Content::Bytes(_)) => {
                return self.line(format_args!("{}: {}", known.name, Number(field)));
            }
            _ => &Number(field),
        };
        if known.repeated {
            return self.line(format_args!("{}[{index}]: {value}", known.name));
        }
        self.line(format_args!("{}: {value}", known.name))
    }

    /// Writes what belongs to the line before.
    fn below(&mut self, write: impl FnOnce(&mut Outline<'_>) -> fmt::Result) -> fmt::Result {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return self.line(Unreadable(Fault::Nesting));
        }
        write(&mut Outline {
            page: &mut *self.page,
            depth,
        })
    }

    fn line(&mut self, text: impl Display) -> fmt::Result {
        let indent = 2 * self.depth as usize;
        writeln!(self.page, "{:indent$}{text}", "")
    }
}
