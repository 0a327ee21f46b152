//! What is known of a segment while it lies on disk.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::budget::Reservation;

use super::StorageError;
use super::Tally;
use super::bits::Bits;
use super::crypt::Cipher;
use super::crypt::Key;

/// What reads and writes of a segment's records need beside its file.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    /// What each checksum begins with.
    pub(super) seed: u32,
    pub(super) salt: [u8; 16],
    pub(super) key: Option<Arc<Key>>,
}

impl Codec {
    /// What its records are encrypted with. It is large and quickly made, so it is not kept.
    pub(super) fn cipher(&self) -> Result<Option<Cipher>, StorageError> {
        let key = self.key.as_deref();
        key.map(|key| Cipher::new(key, self.salt)).transpose()
    }
}

/// A segment. A record in it is waiting (to be read), done (settled), or neither: somebody has
/// its ticket, or keeps it for the next start.
#[derive(Debug)]
pub(super) struct Segment {
    /// The sequence number of its first record.
    pub(super) first: u64,
    /// How many records it has, those that were lost in it included.
    pub(super) count: u32,
    /// Where its records begin.
    pub(super) begin: u64,
    /// Where its records end.
    pub(super) end: u64,
    /// What its file takes.
    pub(super) file_bytes: u64,
    pub(super) codec: Codec,
    /// Whether nothing more is written to it.
    pub(super) sealed: bool,
    /// Whether a sync of it failed: it is sealed with the next write.
    pub(super) spoiled: bool,
    /// Whether something was written since it was last synced.
    pub(super) dirty: bool,
    /// Its file while it is written to.
    pub(super) file: Option<Arc<File>>,
    /// Those that wait; `None` means all that are not done.
    waiting: Option<Bits>,
    done: Bits,
    /// What waits, in sum.
    pub(super) waiting_tally: Tally,
    /// Where reading goes on.
    pub(super) cursor: Cursor,
    /// Those that this pass over the segment did not find.
    skipped: Vec<Range<u32>>,
    /// Whether its file is in the quarantine already.
    pub(super) set_aside: bool,
    /// Whether something removed its file, or put another in its place.
    pub(super) removed: bool,
    pub(super) room: Reservation,
}

/// A place in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The record that begins there.
    pub(super) index: u32,
    pub(super) offset: u64,
}

impl Segment {
    /// An empty one that is now written to.
    pub(super) fn begun(first: u64, begin: u64, codec: Codec, file: Arc<File>) -> Self {
        Self {
            first,
            count: 0,
            begin,
            end: begin,
            file_bytes: 0,
            codec,
            sealed: false,
            spoiled: false,
            dirty: false,
            file: Some(file),
            waiting: Some(Bits::default()),
            done: Bits::default(),
            waiting_tally: Tally::default(),
            cursor: Cursor::default(),
            skipped: Vec::new(),
            set_aside: false,
            removed: false,
            room: Reservation::default(),
        }
    }

    /// One that was found, with `done` settled in it and `waiting` left.
    pub(super) fn found(
        (first, count): (u64, u32),
        (begin, end): (u64, u64),
        codec: Codec,
        done: Bits,
        waiting: Tally,
    ) -> Self {
        Self {
            first,
            count,
            begin,
            end,
            file_bytes: end,
            codec,
            sealed: true,
            spoiled: false,
            dirty: false,
            file: None,
            waiting: None,
            done,
            waiting_tally: waiting,
            cursor: Cursor::default(),
            skipped: Vec::new(),
            set_aside: false,
            removed: false,
            room: Reservation::default(),
        }
    }

    /// Whether nobody needs any of it.
    pub(super) fn is_done(&self) -> bool {
        self.done.count() == self.count
    }

    /// How many of its records somebody needs.
    pub(super) fn left(&self) -> u32 {
        self.count - self.done.count()
    }

    pub(super) fn done(&self) -> &Bits {
        &self.done
    }

    pub(super) fn waits(&self, index: u32) -> bool {
        index < self.count
            && match &self.waiting {
                Some(waiting) => waiting.contains(index),
                None => !self.done.contains(index),
            }
    }

    fn waiting(&mut self) -> &mut Bits {
        let (done, count) = (&self.done, self.count);
        self.waiting
            .get_or_insert_with(|| (0..count).filter(|index| !done.contains(*index)).collect())
    }

    /// Gives a waiting record to a reader.
    pub(super) fn load(&mut self, index: u32, tally: &Tally) -> bool {
        let loaded = self.waiting().remove(index);
        if loaded {
            self.waiting_tally.subtract(tally);
        }
        loaded
    }

    /// Takes it back.
    pub(super) fn unload(&mut self, index: u32, tally: &Tally) {
        if !self.done.contains(index) && self.waiting().insert(index) {
            self.waiting_tally.add(tally);
        }
    }

    /// Settles a record that somebody had; false if it was.
    pub(super) fn settle(&mut self, index: u32) -> bool {
        index < self.count && self.done.insert(index)
    }

    /// Settles all that wait, unread: their tally, and which they were.
    pub(super) fn settle_waiting(&mut self) -> (Tally, Vec<u32>) {
        let waiting: Vec<u32> = self.waiting().iter().collect();
        for index in &waiting {
            self.done.insert(*index);
        }
        self.waiting = Some(Bits::default());
        (std::mem::take(&mut self.waiting_tally), waiting)
    }

    /// Where the next pass begins: where the last ended, or at the beginning if something was
    /// unloaded before that.
    pub(super) fn begin_pass(&mut self) -> Cursor {
        let index = self.cursor.index;
        let before = self.waiting().first().is_some_and(|first| first < index);
        if before || self.cursor.offset == 0 {
            self.end_pass();
            self.cursor.offset = self.begin;
        }
        self.cursor
    }

    /// Notes that these were not found.
    pub(super) fn skip(&mut self, indices: Range<u32>) {
        if !indices.is_empty() {
            self.skipped.push(indices);
        }
    }

    /// Whether all that wait stand where this pass found damage.
    pub(super) fn waits_for_skipped(&mut self) -> bool {
        let skipped = std::mem::take(&mut self.skipped);
        let all = self
            .waiting()
            .iter()
            .all(|index| skipped.iter().any(|range| range.contains(&index)));
        self.skipped = skipped;
        all
    }

    /// The next pass begins at the beginning.
    pub(super) fn end_pass(&mut self) {
        self.cursor = Cursor::default();
        self.skipped.clear();
    }
}
