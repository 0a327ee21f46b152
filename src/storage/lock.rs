//! One process at a time.

use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::StorageError;
use super::error::failed;
use super::sync::create_folder;

/// The lock of a directory. It is given up when this is dropped, or when the process ends.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    /// The directory, locked too where its file system can: then nobody gets in by removing the
    /// file.
    directory: Option<File>,
    /// Whether it was found to be lost, and is not taken again yet.
    lost: bool,
}

/// What a look at the lock has shown.
#[derive(Debug)]
pub(super) enum Ownership {
    /// It is as it was.
    Kept,
    /// It was lost, and is taken again: others may have worked in the directory meanwhile.
    TakenAgain,
    /// It is lost: nothing may be written.
    Lost(StorageError),
}

impl Held {
    /// Takes the directory, creating it where there is none.
    pub(super) fn take(directory: &Path) -> Result<Self, StorageError> {
        let directory_lock = lock_directory(directory)?;
        let file = take(directory)?;
        Ok(Self {
            file,
            directory: directory_lock,
            lost: false,
        })
    }

    /// Sees whether the lock's file is still the one that everybody else would lock: a process
    /// that finds another there, or none, takes the directory beside us. While we have a lock on the
    /// directory too nobody can, and it need not be taken again before that is `due`: whoever is
    /// about to remove the whole directory would find it not empty.
    pub(super) fn look(&mut self, directory: &Path, due: bool) -> Ownership {
        let path = directory.join("lock");
        if is_named(&self.file, &path) {
            // Whoever moved it away has moved it back: others may have worked there all the same.
            return match std::mem::take(&mut self.lost) {
                false => Ownership::Kept,
                true => Ownership::TakenAgain,
            };
        }
        if !due && !self.lost && self.has_directory(directory) {
            return Ownership::Kept;
        }
        let path = path.display();
        match self.take_again(directory) {
            Ok(()) => {
                tracing::error!(
                    "{path} is not the file that this process locked: something removed or \
                     replaced it, or the whole directory. It is locked again, and what was stored \
                     is looked for. See that only otlpd works in that directory"
                );
                self.lost = false;
                Ownership::TakenAgain
            }
            Err(error) => {
                if !std::mem::replace(&mut self.lost, true) {
                    tracing::error!(
                        "{path} is not the file that this process locked: something removed or \
                         replaced it, or the whole directory, and it cannot be locked again: \
                         {error}. Until it can, nothing is written there"
                    );
                }
                Ownership::Lost(error)
            }
        }
    }
}

impl Held {
    fn has_directory(&self, directory: &Path) -> bool {
        let held = self.directory.as_ref();
        held.is_some_and(|held| is_named(held, directory))
    }

    fn take_again(&mut self, directory: &Path) -> Result<(), StorageError> {
        if !self.has_directory(directory) {
            self.directory = lock_directory(directory)?;
        }
        self.file = take(directory)?;
        Ok(())
    }
}

impl Drop for Held {
    /// A process that we have just forked has the files as well until it becomes another program,
    /// and closing ours alone would leave the locks with it.
    fn drop(&mut self) {
        for file in self.directory.iter().chain([&self.file]) {
            if let Err(error) = file.unlock() {
                tracing::debug!(%error, "a lock of the storage is given up by closing its file");
            }
        }
    }
}

/// Locks the directory itself, creating it where there is none; `None` where its file system
/// cannot do that.
fn lock_directory(directory: &Path) -> Result<Option<File>, StorageError> {
    create_folder(directory).map_err(|e| failed("create the directory", directory, &e))?;
    let opened = File::open(directory).map_err(|e| failed("open", directory, &e))?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(opened)),
        Err(TryLockError::WouldBlock) => Err(in_use(directory, &directory.join("lock"))),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Whether this is the name of that open file. What cannot be seen for now counts as one that is.
pub(super) fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(ours), named) = (file.metadata(), fs::metadata(path)) else {
        return true;
    };
    match named {
        Ok(named) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        Err(error) => !is_absent(&error),
    }
}

/// Whether an error says that there is no such file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn take(directory: &Path) -> Result<File, StorageError> {
    let path = directory.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| failed("open", &path, &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(directory, &path)),
        Err(TryLockError::Error(e)) => return Err(failed("lock", &path, &e)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(|e| failed("write", &path, &e))?;
    Ok(file)
}

fn in_use(directory: &Path, path: &Path) -> StorageError {
    let pid = fs::read_to_string(path).unwrap_or_default();
    let holder = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    StorageError(format!(
        "{} is in use by {holder}: stop it, or give this one another directory",
        directory.display()
    ))
}
