//! One file that is written, and rotated.
//!
//! Whoever writes to it has it locked meanwhile, so that two processes that follow each other in
//! an upgrade do not cut back what the other is writing, nor rotate it away below the other.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::place::failed;
use super::tail::{self, Tail};
use super::{FileConfig, backups};
use crate::limited;
use crate::otlp::Format;
use crate::storage::Fsync;

/// How often what is too old is sought.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// How often the file may be replaced below us before an attempt is given up.
const TRIES: u32 = 3;

/// A file, by its path.
pub(super) struct Output {
    path: PathBuf,
    config: FileConfig,
    open: Option<Open>,
    /// Whether this process has written to it.
    begun: bool,
    unsynced: bool,
    pruned: Option<Instant>,
}

/// A file that is open, and where it is.
struct Open {
    file: File,
    place: (u64, u64),
    /// A pipe or a device is only written to.
    regular: bool,
}

impl Output {
    pub(super) fn new(path: PathBuf, config: &FileConfig) -> Self {
        Self {
            path,
            config: config.clone(),
            open: None,
            begun: false,
            unsynced: false,
            pruned: None,
        }
    }

    /// Writes all of it, or as good as nothing.
    ///
    /// # Errors
    /// A sentence. The next attempt opens the file anew.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.try_write(bytes);
        match &written {
            Ok(()) => self.unlock(),
            Err(_) => self.open = None,
        }
        written
    }

    fn try_write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut end = self.make_ready()?;
        if self.is_due(end, bytes.len()) {
            self.rotate()?;
            end = self.make_ready()?;
        }
        let Some(open) = &mut self.open else {
            return Err(format!("{} is not open", self.path.display()));
        };
        if let Err(error) = open.file.write_all(bytes) {
            if open.regular {
                // What of it is there is cut off now, or else when the file is opened next.
                open.file.set_len(end).ok();
            }
            return Err(failed("write to", &self.path, &error));
        }
        self.unsynced = true;
        if self.config.fsync == Fsync::Always {
            self.sync()?;
        }
        self.prune();
        Ok(())
    }

    /// Has what was written put on the disk itself.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        if let Some(open) = self.open.as_ref().filter(|_| self.unsynced) {
            open.file
                .sync_data()
                .map_err(|error| failed("sync", &self.path, &error))?;
        }
        self.unsynced = false;
        Ok(())
    }

    /// Opens and locks the file that has the path now, and says where its end is.
    fn make_ready(&mut self) -> Result<u64, String> {
        let failed = |what: &str, error: &io::Error| failed(what, &self.path, error);
        for _ in 0..TRIES {
            let (open, fresh) = match self.open.take() {
                Some(open) => (open, false),
                None => (self.open().map_err(|error| failed("open", &error))?, true),
            };
            if !open.regular {
                self.open = Some(open);
                return Ok(0);
            }
            lock(&open.file).map_err(|error| failed("lock", &error))?;
            // It may have been moved or deleted, by a person or by the rotation of another.
            let there = fs::metadata(&self.path).map(|there| (there.dev(), there.ino()));
            if there.ok() != Some(open.place) {
                if self.config.fsync != Fsync::Never {
                    open.file
                        .sync_data()
                        .map_err(|error| failed("sync", &error))?;
                }
                continue;
            }
            if fresh
                && !self
                    .recover(&open.file)
                    .map_err(|error| failed("read", &error))?
            {
                continue;
            }
            let metadata = open.file.metadata();
            let end = metadata.map_err(|error| failed("look at", &error))?.len();
            self.begun = true;
            self.open = Some(open);
            return Ok(end);
        }
        Err(format!(
            "{} is replaced by something else again and again",
            self.path.display()
        ))
    }

    fn open(&self) -> io::Result<Open> {
        let folder = backups::folder(&self.path);
        if self.config.create_directory && !folder.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(self.config.directory_permissions.0)
                .create(folder)?;
        }
        let is_new = !self.path.exists();
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(self.config.file_permissions.0)
            .open(&self.path)?;
        if is_new && self.config.fsync != Fsync::Never {
            File::open(folder)?.sync_all()?;
        }
        let metadata = file.metadata()?;
        Ok(Open {
            place: (metadata.dev(), metadata.ino()),
            regular: metadata.is_file(),
            file,
        })
    }

    /// Sees to it that a file that was just opened can be written on. False, if it is none of
    /// ours and was set aside.
    fn recover(&self, file: &File) -> io::Result<bool> {
        let length = file.metadata()?.len();
        if !self.begun && !self.config.append {
            file.set_len(0)?;
            return Ok(true);
        }
        let FileConfig {
            format,
            compression,
            ..
        } = self.config;
        let path = self.path.display();
        match tail::of(file, length, format, compression.encoding())? {
            Tail::Whole => {}
            Tail::NoBreak => (&*file).write_all(b"\n")?,
            Tail::Torn(whole) => {
                file.set_len(whole)?;
                tracing::warn!(
                    file = %path,
                    bytes = length - whole,
                    "a write was cut short, by the end of a process or by a failure; what is there \
                     of it is cut off, and was never called delivered"
                );
            }
            Tail::Foreign => {
                let to = backups::set_aside(&self.path, SystemTime::now())?;
                tracing::warn!(
                    file = %path,
                    to = %to.display(),
                    "the file cannot be written on, since something else has written to it, or \
                     otlpd with another format or compression; it is set aside"
                );
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_due(&self, end: u64, more: usize) -> bool {
        let rotation = self.config.rotation.as_ref();
        rotation.is_some_and(|rotation| {
            end > 0 && end.saturating_add(more as u64) > rotation.max_bytes.bytes()
        })
    }

    fn rotate(&mut self) -> Result<(), String> {
        if self.config.fsync != Fsync::Never {
            self.sync()?;
        }
        let rotated = backups::set_aside(&self.path, SystemTime::now());
        rotated.map_err(|error| failed("rotate", &self.path, &error))?;
        self.open = None;
        self.pruned = None;
        Ok(())
    }

    /// Nothing is at stake but room: where it fails, it is said, and tried again.
    fn prune(&mut self) {
        let Some(rotation) = &self.config.rotation else {
            return;
        };
        let now = Instant::now();
        if self.pruned.is_some_and(|last| now - last < PRUNE_EVERY) {
            return;
        }
        self.pruned = Some(now);
        if let Err(error) = backups::prune(&self.path, rotation, SystemTime::now()) {
            let problem = failed("delete what was rotated of", &self.path, &error);
            limited!(warn, "{problem}");
        }
    }

    fn unlock(&self) {
        if let Some(open) = self.open.as_ref().filter(|open| open.regular) {
            // Closing it unlocks it too.
            open.file.unlock().ok();
        }
    }
}

/// Waits until nobody else writes. A file system that has no locks has no second writer either,
/// as far as we can tell.
fn lock(file: &File) -> io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}

/// Standard output. It cannot be cut back, rotated or synced.
pub(super) struct Stream {
    format: Format,
    /// A piece was cut short.
    torn: bool,
}

impl Stream {
    pub(super) fn new(config: &FileConfig) -> Self {
        Self {
            format: config.format,
            torn: false,
        }
    }

    /// Writes all of it to `out`.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn write(&mut self, out: &mut dyn Write, bytes: &[u8]) -> Result<(), String> {
        let mend: &[u8] = match self.torn && self.format == Format::Json {
            true => b"\n",
            false => b"",
        };
        let written = out
            .write_all(mend)
            .and_then(|()| out.write_all(bytes))
            .and_then(|()| out.flush());
        self.torn = written.is_err();
        written.map_err(|error| failed("write to", Path::new("standard output"), &error))
    }
}
