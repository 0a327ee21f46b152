//! Replaces ranges of a request and copies the rest, keeping the lengths of all messages
//! around a replacement right. As long as nothing is replaced, nothing is copied.

use std::ops::Range;

use smallvec::SmallVec;

use super::wire;

/// Edits one request from front to back: positions are those in the input, and only ever grow.
#[derive(Debug)]
pub struct Editor<'a> {
    input: &'a [u8],
    out: Vec<u8>,
    /// How much of the input is in `out`, in one form or another.
    copied: usize,
    /// The messages that have been entered, outermost first.
    open: SmallVec<[Open; 8]>,
}

/// A message that has been entered.
#[derive(Debug)]
struct Open {
    /// Where its length stands in the input.
    length: Range<usize>,
    /// Where its length will stand in the output, once anything in it was replaced. As much
    /// room is kept for it as it took in the input.
    kept_at: Option<usize>,
}

impl<'a> Editor<'a> {
    /// Edits these bytes.
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            out: Vec::new(),
            copied: 0,
            open: SmallVec::new(),
        }
    }

    /// From here on a message is edited whose length stands there in the input.
    pub fn enter(&mut self, length: Range<usize>) {
        self.open.push(Open {
            length,
            kept_at: None,
        });
    }

    /// The message that was entered last ends there in the input.
    pub fn leave(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        let Some(kept_at) = open.kept_at else { return };
        self.copy_until(end);
        wire::set_length(&mut self.out, kept_at..kept_at + open.length.len());
    }

    /// Puts what `write` appends in the place of `range`, which may be empty: then it is
    /// inserted.
    pub fn replace(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.out.capacity() == 0 {
            self.out
                .reserve(self.input.len() + self.input.len() / 8 + 64);
        }
        self.make_room_for_lengths();
        self.copy_until(range.start);
        write(&mut self.out);
        self.copied = range.end;
    }

    /// The edited bytes; `None` if nothing was replaced.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        if self.out.capacity() == 0 {
            return None;
        }
        self.copy_until(self.input.len());
        self.out.shrink_to_fit();
        Some(self.out)
    }

    fn make_room_for_lengths(&mut self) {
        // Messages around one that has room have it too.
        let first = self.open.iter().rposition(|open| open.kept_at.is_some());
        for index in first.map_or(0, |first| first + 1)..self.open.len() {
            let Some(length) = self.open.get(index).map(|open| open.length.clone()) else {
                return;
            };
            self.copy_until(length.end);
            let kept_at = self.out.len() - length.len();
            if let Some(open) = self.open.get_mut(index) {
                open.kept_at = Some(kept_at);
            }
        }
    }

    fn copy_until(&mut self, end: usize) {
        self.out
            .extend_from_slice(self.input.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::wire::write_bytes;

    fn field(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_bytes(&mut out, 0x0a, content);
        out
    }

    #[test]
    fn without_a_replacement_nothing_is_copied() {
        let input = field(b"abc");
        let mut editor = Editor::new(&input);
        editor.enter(1..2);
        editor.leave(5);
        assert_eq!(editor.finish(), None);
    }

    #[test]
    fn lengths_follow_what_is_replaced_at_every_level() {
        for (old, new) in [(3, 4), (3, 0), (3, 200), (200, 3), (20_000, 1), (1, 20_000)] {
            let inner = field(&vec![b'o'; old]);
            let input = [field(b"before"), field(&inner), field(b"after")].concat();
            let end = input.len() - field(b"after").len();
            let outer_length = 9..end - inner.len();
            let inner_start = outer_length.end;
            let text = end - old..end;
            let mut editor = Editor::new(&input);
            editor.enter(1..2);
            editor.leave(8);
            editor.enter(outer_length);
            editor.enter(inner_start + 1..text.start);
            editor.replace(text, |out| out.extend(vec![b'n'; new]));
            editor.leave(end);
            editor.leave(end);
            let expected = [
                field(b"before"),
                field(&field(&vec![b'n'; new])),
                field(b"after"),
            ];
            assert_eq!(editor.finish().unwrap(), expected.concat(), "{old} {new}");
        }
    }

    #[test]
    fn several_replacements_in_one_message_add_up() {
        let input = field(b"abcdef");
        let mut editor = Editor::new(&input);
        editor.enter(1..2);
        editor.replace(2..3, |out| out.extend(b"AA"));
        editor.replace(4..4, |out| out.push(b'-'));
        editor.replace(7..8, |_| ());
        editor.leave(8);
        assert_eq!(editor.finish().unwrap(), field(b"AAb-cde"));
    }

    #[test]
    fn deleting_everything_is_a_change_too() {
        let mut editor = Editor::new(b"abc");
        editor.replace(0..3, |_| ());
        assert_eq!(editor.finish().unwrap(), b"");
    }
}
