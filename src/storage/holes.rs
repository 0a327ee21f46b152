//! What a start misses: files that are damaged or not there, and the records between those that
//! are.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use super::Hole;
use super::StorageError;
use super::Tally;
use super::error::failed;
use super::format::RECORD_LEN;
use super::gone::Gone;
use super::log::LogCore;
use super::survey::Ends;
use super::survey::Survey;
use super::survey::index_of;
use super::survey::segment_in;
use super::survey::survey;

/// What is said of a file that is not there.
pub(super) const MISSING: &str = "the file is not there: it was removed, or never reached the disk";

/// A segment's file of which nothing can be read.
#[derive(Debug)]
pub(super) struct Broken {
    file: PathBuf,
    reason: String,
    bytes: u64,
    /// Whether it begins like one of ours: then it held a record at least.
    is_begun: bool,
    /// What its footer says, if that can be read: the number behind its last record, and its tally.
    footer: Option<(u64, Tally)>,
    /// Whether it may be read at another start.
    stays: bool,
}

impl Broken {
    /// One that is to go to the quarantine.
    pub(super) fn damaged(path: &Path, reason: &str) -> Self {
        Self {
            file: path.to_owned(),
            reason: reason.to_owned(),
            bytes: fs::metadata(path).map_or(0, |meta| meta.len()),
            is_begun: Ends::is_begun(path),
            footer: Ends::footer_alone(path),
            stays: false,
        }
    }

    /// A copy of another one that is there: nothing is lost with it.
    pub(super) fn copy(path: &Path) -> Self {
        Self {
            is_begun: false,
            footer: None,
            ..Self::damaged(path, "it is a copy of another file")
        }
    }

    /// One that the disk does not give, for now; but a folder is no segment and never was.
    pub(super) fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Self {
        if path.is_dir() {
            return Self::damaged(path, "it is a folder");
        }
        let mut broken = Self::damaged(path, "");
        broken.reason = format!(
            "it cannot be read: {error}; it stays where it is, and the next start that can read it \
             delivers it"
        );
        broken.stays = true;
        broken
    }

    /// A number that none of its records has, nor any before it.
    fn behind(&self, first: u64) -> u64 {
        match self.footer {
            Some((next, _)) => next.max(first + 1),
            None => first + self.bytes / RECORD_LEN as u64 + 1,
        }
    }

    /// Moves it into the quarantine, unless it stays.
    fn set_aside(&mut self, log: &LogCore, first: u64) -> Result<(), StorageError> {
        if self.stays {
            return Ok(());
        }
        let to = log.free_quarantine_of(first);
        let moved = to
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::rename(&self.file, &to));
        match moved {
            // A tool, or a person, was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("move to the quarantine", &self.file, &error)),
            Ok(()) => {
                self.file = to;
                Ok(())
            }
        }
    }
}

/// The way through a log's segments, in order: what is missing between them.
#[derive(Debug)]
pub(super) struct Holes {
    pub(super) gone: Gone,
    broken: BTreeMap<u64, Broken>,
    /// The number that the next segment begins with, if nothing is missing.
    next: Option<u64>,
    pub(super) found: Vec<Hole>,
}

impl Holes {
    pub(super) fn new(gone: Gone, broken: BTreeMap<u64, Broken>) -> Self {
        Self {
            gone,
            broken,
            next: None,
            found: Vec::new(),
        }
    }

    /// Moves what is damaged out of the way.
    pub(super) fn set_aside(&mut self, log: &LogCore) -> Result<(), StorageError> {
        for (first, broken) in &mut self.broken {
            broken.set_aside(log, *first)?;
        }
        Ok(())
    }

    /// How many records are missing in front of `first`, behind a segment that ends early.
    fn lost_behind(&self, next: u64, first: u64) -> u64 {
        let known = self.gone.since().is_some();
        if known {
            self.gone.lost(next..first)
        } else {
            0
        }
    }

    /// A segment was read that ends before `next`.
    pub(super) fn pass(&mut self, next: u64) {
        self.next = Some(next);
    }

    /// A segment begins with `first`: what is missing before it.
    pub(super) fn come_to(&mut self, log: &LogCore, first: u64) {
        let later = self.broken.split_off(&first);
        let broken = std::mem::replace(&mut self.broken, later);
        // Where what goes is not noted, only a file that is damaged says that anything is missing.
        let known = match self.gone.since() {
            Some(since) => Some(self.next.unwrap_or(since)),
            None => broken.keys().next().copied(),
        };
        let missing = known.unwrap_or(first).min(first)..first;
        let mut lost = self.gone.lost(missing.clone());
        let stays = broken.values().any(|broken| broken.stays);
        if stays {
            lost = 0;
        }
        if broken.is_empty() && lost > 0 {
            self.found.push(Hole {
                file: log.path_of(missing.start),
                reason: MISSING.to_owned(),
                lost: Tally::number(lost),
            });
        }
        for (_, broken) in broken {
            let exactly = broken.footer.map(|(_, tally)| tally);
            let exactly = exactly.filter(|tally| tally.records == lost);
            self.tell(broken, exactly.unwrap_or(Tally::number(lost)));
            lost = 0;
        }
        if !stays {
            self.note(missing);
        }
    }

    /// A segment turned out to be one that the disk does not give.
    pub(super) fn leave(&mut self, path: &Path, error: &StorageError) {
        self.tell(Broken::unreadable(path, error), Tally::default());
    }

    /// All segments were read: what is missing behind the last, and a number that no record has.
    pub(super) fn end(&mut self, next_seq: u64) -> u64 {
        let mut next_seq = next_seq;
        for (first, broken) in std::mem::take(&mut self.broken) {
            let behind = broken.behind(first);
            let footer = broken.footer.map(|(_, tally)| tally);
            let lost = match broken.stays {
                true => Tally::default(),
                false => footer.unwrap_or(Tally::number(broken.is_begun.into())),
            };
            self.tell(broken, lost);
            self.note(next_seq..behind);
            next_seq = next_seq.max(behind);
        }
        next_seq
    }

    fn tell(&mut self, broken: Broken, lost: Tally) {
        let Broken { file, reason, .. } = broken;
        self.found.push(Hole { file, reason, lost });
    }

    /// What was told is not told again.
    pub(super) fn note(&mut self, records: Range<u64>) {
        self.gone.note(records);
    }
}

/// What a segment costs that was read in full.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// What is wrong with it; `None` if nothing is lost.
    pub(super) reason: Option<String>,
    pub(super) lost: Tally,
    /// Of these, how many stood behind the last that is whole.
    pub(super) behind: u64,
}

impl Loss {
    /// `follows` is what the next segment begins with.
    pub(super) fn of(ends: &Ends, survey: &Survey, holes: &Holes, follows: Option<u64>) -> Self {
        let is_settled = |index: &&u32| ends.settled.contains(**index);
        let settled = survey.missing.iter().filter(is_settled).count() as u64;
        let missing = survey.missing.len() as u64 - settled;
        let (lost, behind) = match ends.footer {
            // What the rest weighs is not known where some of what is missing was settled.
            Some((_, mut tally)) if settled == 0 => {
                tally.subtract(&survey.whole);
                (tally, 0)
            }
            Some(_) => (Tally::number(missing), 0),
            None => {
                let behind = behind(ends, survey, holes, follows);
                (Tally::number(missing + behind), behind)
            }
        };
        let reason = match survey.damage.first() {
            Some(offset) => format!("what is at byte {offset} is not what was written"),
            None => format!("it was cut off at byte {}", survey.end.0),
        };
        Self {
            reason: (lost.records > 0).then_some(reason),
            lost,
            behind,
        }
    }
}

/// How many records are missing behind the last whole one of a segment without a footer.
fn behind(ends: &Ends, survey: &Survey, holes: &Holes, follows: Option<u64>) -> u64 {
    let (offset, next) = survey.end;
    let count = index_of(ends.header.first, next).unwrap_or(0);
    let settled = ends.settled.iter().filter(|index| *index >= count).count() as u64;
    let damaged = survey.damage.last().is_some_and(|at| *at >= offset);
    let missing = match follows {
        Some(first) => holes.lost_behind(next, first),
        // One at the least; a write that was cut short is no damage.
        None => u64::from(damaged),
    };
    missing.saturating_sub(settled)
}

/// Where records are missing between segments that are there: the file, how far into it, how many.
pub(super) fn between(
    folder: &Path,
    found: &BTreeMap<u64, Ends>,
    gone: &Gone,
) -> io::Result<Vec<(PathBuf, u64, u64)>> {
    let mut missing = Vec::new();
    let Some(mut next) = gone.since() else {
        return Ok(missing);
    };
    let mut before: Option<&Ends> = None;
    for ends in found.values() {
        let first = ends.header.first;
        if let Some(before) = before {
            next = match before.footer {
                Some((next, _)) => next,
                None => survey(File::open(&before.path)?, before)?.end.1,
            };
        }
        let records = gone.lost(next..first);
        if records > 0 {
            missing.push(match before.filter(|ends| ends.footer.is_none()) {
                Some(cut) => (cut.path.clone(), cut.size, records),
                None => (segment_in(folder, next), 0, records),
            });
        }
        before = Some(ends);
    }
    Ok(missing)
}
