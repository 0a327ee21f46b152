//! One process at a time.

use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io::Write;
use std::path::Path;

use super::StorageError;
use super::error::failed;
use super::sync::create_folder;

/// Takes the directory, creating it where there is none. The lock is given up when the file is
/// closed, by us or by the end of the process.
pub(super) fn take(directory: &Path) -> Result<File, StorageError> {
    create_folder(directory).map_err(|e| failed("create the directory", directory, &e))?;
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
