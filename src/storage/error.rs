//! What went wrong, said to the one who must act.

use std::io;
use std::path::Path;

use super::StorageError;

/// `what` could not be done to `path`: why, and what helps.
pub(super) fn failed(what: &str, path: &Path, cause: &io::Error) -> StorageError {
    let advice = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that disk, or lower the max_bytes of the queues on it"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "make that file system writable again (see the kernel's log for why it is not)"
        }
        io::ErrorKind::PermissionDenied => "let the user that otlpd runs as read and write there",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes (ulimit -f)",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "it is not there, or something removed or replaced it: see that the path is right and \
             that only otlpd works in that directory"
        }
        _ => "look for the cause in the kernel's log",
    };
    StorageError(format!(
        "cannot {what} {}: {cause}; {advice}",
        path.display()
    ))
}

/// What is said once the storage is closed.
pub(super) fn closed() -> StorageError {
    StorageError("the storage is closed: this process is stopping".to_owned())
}
