//! The claim on one stored record: what becomes of it when the claim is dropped.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use super::Log;
use super::Tally;
use super::Ticket;
use super::log::LogCore;
use super::log::lock;

const SETTLE: u8 = 0;
const KEEP: u8 = 1;
const UNLOAD: u8 = 2;

impl Ticket {
    pub(super) fn new(log: &Arc<LogCore>, segment: u64, index: u32, tally: (u32, u8, u64)) -> Self {
        let (bytes, kind, weight) = tally;
        Self {
            log: Arc::clone(log),
            segment,
            index,
            bytes,
            kind,
            weight,
            fate: AtomicU8::new(SETTLE),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally::of(u64::from(self.bytes), self.kind, self.weight)
    }

    /// Where in this log the record is, if it is: its file, and which of that it is.
    pub fn place_in(&self, log: &Log) -> Option<(u64, u32)> {
        Arc::ptr_eq(&self.log, &log.0).then_some((self.segment, self.index))
    }

    /// Whether the record outlives this process: its file is where it was put.
    pub fn is_on_disk(&self) -> bool {
        let state = lock(&self.log.state);
        let segment = state.segments.get(&self.segment);
        segment.is_none_or(|segment| !segment.removed)
    }

    /// The record stays for the next start; it is not read again in this one.
    pub fn keep(&self) {
        self.fate.store(KEEP, Ordering::Relaxed);
    }

    /// The record goes back to those that wait to be read.
    pub fn unload(self) {
        self.fate.store(UNLOAD, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.fate.load(Ordering::Relaxed) {
            KEEP => {}
            UNLOAD => self.log.unload(self),
            _ => self.log.settle(self),
        }
    }
}
