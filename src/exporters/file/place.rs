//! What is said of a file that cannot be written.

use std::io;
use std::path::Path;

/// `what` could not be done to `path`: why, and what helps.
pub(super) fn failed(what: &str, path: &Path, cause: &io::Error) -> String {
    let advice = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that disk, or keep less with `rotation`"
        }
        io::ErrorKind::ReadOnlyFilesystem => "make that file system writable again",
        io::ErrorKind::PermissionDenied => "let the user that otlpd runs as write there",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes (ulimit -f)",
        io::ErrorKind::IsADirectory => "it is a folder: name a file in it",
        io::ErrorKind::NotFound => {
            "make the folder, or set `create_directory = true` for otlpd to make it"
        }
        io::ErrorKind::NotADirectory => "a part of the path is not a folder",
        io::ErrorKind::BrokenPipe => "nobody reads it any more",
        _ => "look for the cause in the kernel's log",
    };
    format!("cannot {what} {}: {cause}; {advice}", path.display())
}
