//! Which segments are no more because all of them was settled: what tells them from those that
//! were lost.

use std::collections::BTreeMap;
use std::ops::Range;

use super::format;
use super::format::RUN_LEN;

/// What the checksum of what is said here begins with, in the place of a segment's seed.
const SEED: u32 = 0;

/// The sequence numbers of records whose segments are no more. All before `since` are.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    /// From here on each segment that goes is noted; `None` if that is not known.
    since: Option<u64>,
    /// Runs: the first, and the one behind the last. They do not touch.
    runs: BTreeMap<u64, u64>,
}

impl Gone {
    /// Notes that these are no more.
    pub(super) fn note(&mut self, records: Range<u64>) {
        let Range { mut start, mut end } = records;
        if start >= end {
            return;
        }
        while let Some((first, behind)) = self.runs.range(..=end).next_back() {
            let (first, behind) = (*first, *behind);
            if behind < start {
                break;
            }
            self.runs.remove(&first);
            (start, end) = (start.min(first), end.max(behind));
        }
        self.runs.insert(start, end);
    }

    /// From `first` on all is noted, and nothing before it is left.
    pub(super) fn begin_at(&mut self, first: u64) {
        self.since = Some(first);
        self.runs.retain(|_, behind| *behind > first);
    }

    /// Where numbers begin that are known to be noted.
    pub(super) fn since(&self) -> Option<u64> {
        self.since
    }

    /// How many of these are not known to be settled, where no file has them.
    pub(super) fn lost(&self, records: Range<u64>) -> u64 {
        let start = records.start.max(self.since.unwrap_or(0));
        let inside = |(first, behind): (&u64, &u64)| {
            let end = (*behind).min(records.end);
            end.saturating_sub((*first).max(start))
        };
        let noted: u64 = self.runs.iter().map(inside).sum();
        records.end.saturating_sub(start).saturating_sub(noted)
    }

    /// One note, as it is added to the file of settlements.
    pub(super) fn encode_one(first: u64, count: u32) -> [u8; RUN_LEN] {
        format::encode_run(SEED, first, count)
    }

    /// All of it. A run of none says where the notes begin.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(since) = self.since {
            bytes.extend(Self::encode_one(since, 0));
        }
        for (first, behind) in &self.runs {
            let mut first = *first;
            while first < *behind {
                let count = u32::try_from(behind - first).unwrap_or(u32::MAX);
                bytes.extend(Self::encode_one(first, count));
                first += u64::from(count);
            }
        }
        bytes
    }

    /// Takes in a run of the file of settlements, if it is one of these.
    pub(super) fn read(&mut self, run: &[u8; RUN_LEN]) -> bool {
        if !format::run_is_of(run, SEED) {
            return false;
        }
        match format::decode_run(run) {
            (since, 0) => self.since = Some(since),
            (first, count) => self.note(first..first.saturating_add(u64::from(count))),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_noted_nor_before_the_notes_is_lost() {
        let mut gone = Gone::default();
        gone.begin_at(10);
        for run in [20..30, 40..50, 30..35, 45..60, 15..18] {
            gone.note(run);
        }
        assert_eq!(gone.runs.len(), 3, "{gone:?}");
        assert_eq!(gone.lost(1..15), 5);
        assert_eq!(gone.lost(15..18), 0);
        assert_eq!(gone.lost(18..61), 2 + 5 + 1);
        gone.begin_at(35);
        assert_eq!(gone.lost(1..61), 5 + 1);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut gone = Gone::default();
        gone.begin_at(7);
        gone.note(9..9 + (1 << 33));
        let mut read = Gone::default();
        for run in gone.encode().as_chunks().0 {
            assert!(read.read(run));
        }
        assert_eq!((read.since, read.runs), (gone.since, gone.runs));
        let of_a_segment = format::encode_run(77, 9, 1);
        assert!(!Gone::default().read(&of_a_segment));
    }
}
