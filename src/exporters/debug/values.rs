//! Strings, ids and attributes in one line, whatever is in them.

use std::fmt::{self, Display};

use super::fields::{Content, Field, Part};
use super::numbers::Number;
use crate::otlp::schema::Kind;
use crate::otlp::wire::{Fault, MAX_DEPTH};

/// How much of what is long is shown.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// The longest string, in characters.
    pub(super) text: usize,
    /// The longest list of attributes or values.
    pub(super) list: usize,
    /// What stands between a key and its value.
    pub(super) between: &'static str,
}

impl Style {
    /// For one line an item.
    pub(super) const SHORT: Self = Self {
        text: 80,
        list: 16,
        between: "=",
    };
    /// For all there is.
    pub(super) const WHOLE: Self = Self {
        text: usize::MAX,
        list: usize::MAX,
        between: ": ",
    };
}

/// The longest bytes that are shown in hexadecimal.
const MAX_HEX: usize = 64;

/// A string in quotes, with escapes for what would change a terminal, and for what is not UTF-8.
pub(super) struct Quoted<'a>(pub(super) &'a [u8], pub(super) Style);

/// A name or key: without quotes where it needs none.
pub(super) struct Name<'a>(pub(super) &'a [u8]);

/// An id in hexadecimal.
pub(super) struct Id<'a>(pub(super) &'a [u8]);

/// Any bytes in hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

/// A value, key and value, or any other message in a line.
pub(super) struct Inline<'a> {
    pub(super) part: Part<'a>,
    pub(super) style: Style,
    depth: u32,
}

/// Attributes in a row.
pub(super) struct Attributes<'a>(pub(super) &'a [Part<'a>]);

/// What is said in the place of what cannot be read.
pub(super) struct Unreadable(pub(super) Fault);

/// `field 1000 (12 bytes)`
pub(super) struct Unknown<'a>(pub(super) Field<'a>);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        escape(f, self.0, self.1.text)?;
        f.write_str("\"")
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &[u8], limit: usize) -> fmt::Result {
    let mut left = limit;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if left == 0 {
                return f.write_str("...");
            }
            left -= 1;
            match c {
                '\'' => f.write_str("'")?,
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let simple = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/".contains(byte);
        match std::str::from_utf8(self.0) {
            Ok(name) if !name.is_empty() && self.0.iter().all(simple) => f.write_str(name),
            _ => Quoted(self.0, Style::WHOLE).fmt(f),
        }
    }
}

impl Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(empty)");
        }
        hex(f, self.0)
    }
}

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        hex(f, self.0)
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes.iter().take(MAX_HEX) {
        write!(f, "{byte:02x}")?;
    }
    if bytes.len() > MAX_HEX {
        write!(f, "... ({} bytes)", bytes.len())?;
    }
    Ok(())
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(malformed: a field {})", self.0)
    }
}

impl Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { number, length, .. } = self.0;
        write!(
            f,
            "field {number} ({length} byte{})",
            if length == 1 { "" } else { "s" }
        )
    }
}

impl<'a> Inline<'a> {
    pub(super) const fn new(part: Part<'a>, style: Style) -> Self {
        Self {
            part,
            style,
            depth: MAX_DEPTH,
        }
    }

    fn inside(&self, part: Part<'a>) -> Result<Inline<'a>, Fault> {
        let depth = self.depth.checked_sub(1).ok_or(Fault::Nesting)?;
        Ok(Inline {
            part,
            style: self.style,
            depth,
        })
    }

    /// Key and value first, whatever else is there after them.
    fn key_value(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut key, mut value, mut others) = (None, None, Vec::new());
        for field in self.part.fields() {
            match field {
                Ok(field) if field.name() == "key" && key.is_none() => key = Some(field),
                Ok(field) if field.name() == "value" && value.is_none() => value = Some(field),
                other => others.push(other),
            }
        }
        if let Some(Content::Bytes(key)) = key.map(|key| key.content) {
            write!(f, "{}", Name(key))?;
        }
        f.write_str(self.style.between)?;
        match value.and_then(Field::part) {
            Some(value) => self.nested(f, value)?,
            None => f.write_str("(no value)")?,
        }
        for other in others {
            f.write_str(", ")?;
            self.field(f, other)?;
        }
        Ok(())
    }

    /// The value that is set; with whatever else is there after it.
    fn any_value(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut empty = true;
        for field in self.part.fields() {
            if !empty {
                f.write_str(", ")?;
            }
            empty = false;
            match field {
                Ok(field) if field.name() == "array_value" => self.list(f, field, ['[', ']'])?,
                Ok(field) if field.name() == "kvlist_value" => self.list(f, field, ['{', '}'])?,
                Ok(field) if field.known.is_some() => self.content(f, field)?,
                other => self.field(f, other)?,
            }
        }
        if empty {
            f.write_str("(empty)")
        } else {
            Ok(())
        }
    }

    fn list(&self, f: &mut fmt::Formatter<'_>, field: Field<'a>, ends: [char; 2]) -> fmt::Result {
        let [open, close] = ends;
        write!(f, "{open}")?;
        let values = field.part();
        for (index, value) in values.into_iter().flat_map(Part::fields).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if index == self.style.list {
                f.write_str("...")?;
                break;
            }
            match value {
                Ok(value) if value.known.is_some() => self.content(f, value)?,
                other => self.field(f, other)?,
            }
        }
        write!(f, "{close}")
    }

    /// A field with its name.
    fn field(&self, f: &mut fmt::Formatter<'_>, field: Result<Field<'a>, Fault>) -> fmt::Result {
        match field {
            Err(fault) => Unreadable(fault).fmt(f),
            Ok(field) if field.known.is_none() => Unknown(field).fmt(f),
            Ok(field) => {
                write!(f, "{}{}", field.name(), self.style.between)?;
                self.content(f, field)
            }
        }
    }

    /// What is in a field of a known name.
    fn content(&self, f: &mut fmt::Formatter<'_>, field: Field<'a>) -> fmt::Result {
        match (
            field.part(),
            field.known.map(|known| known.kind),
            field.content,
        ) {
            (Some(part), _, _) => self.nested(f, part),
            (_, Some(Kind::String), Content::Bytes(text)) => Quoted(text, self.style).fmt(f),
            (_, Some(Kind::Bytes), Content::Bytes(bytes)) => Hex(bytes).fmt(f),
            (_, Some(Kind::Id(_)), Content::Bytes(id)) => Id(id).fmt(f),
            _ => Number(field).fmt(f),
        }
    }

    fn nested(&self, f: &mut fmt::Formatter<'_>, part: Part<'a>) -> fmt::Result {
        match self.inside(part) {
            Ok(inside) => inside.fmt(f),
            Err(fault) => Unreadable(fault).fmt(f),
        }
    }
}

impl Display for Inline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.part.is_key_value() {
            return self.key_value(f);
        }
        if self.part.is_any_value() {
            return self.any_value(f);
        }
        f.write_str("{")?;
        for (index, field) in self.part.fields().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            self.field(f, field)?;
        }
        f.write_str("}")
    }
}

impl Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = Style::SHORT;
        for (index, attribute) in self.0.iter().take(style.list).enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}{}", Inline::new(*attribute, style))?;
        }
        match self.0.len().checked_sub(style.list) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " (and {more} more)"),
        }
    }
}
