//! Emptied files, kept to be written over. A segment of a lane that keeps up lives for less than a
//! second, and to make and free the pages of its file would cost as much as to fill them.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use super::StorageError;
use super::error::failed;
use super::log::LogCore;
use super::log::lock;
use super::segment::Segment;

/// How many a log keeps at the most: as many segments as are settled in one go, as a rule.
const MOST: usize = 4;

/// The emptied files of one log. They are removed when nothing is written, when more than half
/// of the room is taken, at the end and at a start.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<Spare>);

#[derive(Debug)]
struct Spare {
    path: PathBuf,
    bytes: u64,
}

impl Spares {
    /// Takes the file of a segment that nobody needs out of the log: it is kept under another name
    /// where that makes sense, else removed.
    pub(super) fn keep(&mut self, log: &LogCore, segment: &Segment) -> io::Result<()> {
        if segment.removed {
            return Ok(());
        }
        let from = log.path_of(segment.first);
        let room = &log.options.room;
        let ample = room.used() <= room.limit() / 2;
        // One that was set aside has a second name in the quarantine, and a sync that failed says
        // that its disk is not to be trusted.
        let fit = ample && self.0.len() < MOST && !segment.set_aside && !segment.spoiled;
        let path = from.with_extension("spare");
        if fit && fs::rename(&from, &path).is_ok() {
            let bytes = segment.file_bytes;
            self.0.push(Spare { path, bytes });
            self.note(log);
            return Ok(());
        }
        fs::remove_file(&from)
    }

    /// A file to write over, under its new name, and its length.
    pub(super) fn take(&mut self, log: &LogCore, to: &Path) -> Option<(File, u64)> {
        let spare = self.0.pop()?;
        self.note(log);
        let taken = File::options().read(true).write(true).open(&spare.path);
        let taken = taken.and_then(|file| {
            let meta = file.metadata()?;
            // Somebody has linked it elsewhere, and wants to keep what it holds.
            if meta.nlink() != 1 {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(&spare.path, to)?;
            Ok((file, meta.len()))
        });
        if taken.is_err() {
            remove(&spare.path);
        }
        taken.ok()
    }

    /// Gives the disk back: whether there was anything to give.
    pub(super) fn clear(&mut self, log: &LogCore) -> bool {
        if self.0.is_empty() {
            return false;
        }
        for spare in self.0.drain(..) {
            remove(&spare.path);
        }
        self.note(log);
        true
    }

    fn note(&self, log: &LogCore) {
        lock(&log.state).spare_bytes = self.0.iter().map(|spare| spare.bytes).sum();
    }
}

/// Removes what a process that did not end in order has left.
pub(super) fn remove_all(folder: &Path) -> Result<(), StorageError> {
    let wrong = |e: io::Error| failed("read the directory", folder, &e);
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "spare")
        {
            remove(&path);
        }
    }
    Ok(())
}

/// One that stays takes room on the disk, and does no other harm: the next start tries again.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!("{} is not removed: {error}", path.display());
    }
}
