//! What is wrong with a request, for the one who sent it.

use std::fmt;

use crate::otlp::Signal;
use crate::otlp::schema::{self, Kind, Message};
use crate::otlp::wire::{DELIMITED, Fault, MAX_DEPTH, Reader};

/// A fault and its place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The way to the field, such as `resource_spans[0].scope_spans[2].spans[17].name`; empty
    /// where the request's own framing is damaged.
    pub field: String,
    /// Where the field begins, in bytes from the start of the uncompressed request.
    pub offset: usize,
    /// What is wrong with it.
    pub what: Fault,
}

impl Malformed {
    /// Finds the way to the field that begins at `offset`, by walking down to it once more.
    pub(super) fn locate(signal: Signal, body: &[u8], offset: usize, what: Fault) -> Self {
        let mut field = String::new();
        descend(
            Reader::new(body),
            schema::request(signal),
            offset,
            &mut field,
        );
        Self {
            field,
            offset,
            what,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() {
            "the request"
        } else {
            &self.field
        };
        write!(f, "{field} {} (at byte {})", self.what, self.offset)
    }
}

impl std::error::Error for Malformed {}

/// Appends the names from `reader`'s message down to the field at `offset`. What lies before
/// it has been walked over already, so nothing there can fail.
fn descend(mut reader: Reader<'_>, schema: &Message, offset: usize, path: &mut String) {
    let mut seen = vec![0_u64; schema.fields.len()];
    while reader.at() <= offset {
        let start = reader.at();
        let Ok(tag) = reader.tag() else { return };
        let known = schema.fields.iter().zip(&mut seen);
        let known = known
            .into_iter()
            .find(|(field, _)| field.number == tag >> 3);
        let Some((field, count)) = known else {
            if start == offset && tag >> 3 != 0 {
                push(path, &format!("(field {})", tag >> 3), None);
                return;
            }
            if reader.skip(tag, MAX_DEPTH).is_err() {
                return;
            }
            continue;
        };
        let index = field.repeated.then_some(*count);
        *count += 1;
        if start == offset {
            return push(path, field.name, index);
        }
        let mut whole = reader;
        if reader.skip(tag, MAX_DEPTH).is_err() {
            return;
        }
        let (Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner)) = field.kind else {
            continue;
        };
        if let (DELIMITED, true, Ok(content)) = (tag & 7, offset < reader.at(), whole.message()) {
            push(path, field.name, index);
            return descend(content, inner, offset, path);
        }
    }
}

fn push(path: &mut String, name: &str, index: Option<u64>) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
    if let Some(index) = index {
        path.push_str(&format!("[{index}]"));
    }
}
