//! The text of one batch, which stops growing at a limit.

use std::fmt;

use crate::batch::Batch;
use crate::otlp::Signal;
use crate::units::ByteSize;

/// Text that takes no more than so many bytes: writing beyond fails, which ends the writing.
pub(super) struct Page {
    text: String,
    limit: usize,
    items: u64,
}

impl Page {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            items: 0,
        }
    }

    /// An item has been written to its end.
    pub(super) const fn item_done(&mut self) {
        self.items += 1;
    }

    /// The text, all of which had room.
    pub(super) fn whole(self) -> String {
        self.text
    }

    /// The text as far as it had room, and a line that says what of the batch is missing.
    pub(super) fn cut(mut self, batch: &Batch) -> String {
        if !self.text.ends_with('\n') {
            self.text.push_str("...\n");
        }
        let left_out = batch.items.saturating_sub(self.items);
        self.text += &format!(
            "(cut at {} of text; not shown, or not whole: {left_out} of {})\n",
            ByteSize(self.limit as u64),
            items(batch),
        );
        self.text
    }
}

impl fmt::Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end));
        self.text
            .push_str(end.and_then(|end| text.get(..end)).unwrap_or_default());
        Err(fmt::Error)
    }
}

/// `2 spans`, `1 data point`, `3 log records`.
pub(super) fn items(batch: &Batch) -> String {
    let noun = match batch.signal {
        Signal::Traces => "spans",
        Signal::Metrics => "data points",
        Signal::Logs => "log records",
        Signal::Profiles => "profiles",
    };
    count(batch.items, noun)
}

/// `1 span`, `2 spans`.
pub(super) fn count(number: u64, plural: &str) -> String {
    match number {
        1 => format!("1 {}", plural.trim_end_matches('s')),
        _ => format!("{number} {plural}"),
    }
}
