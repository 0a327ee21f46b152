//! A file that is there to be removed: what a full disk needs to be emptied.
//!
//! A queue gives a file back when all in it is settled, and what was refused for good is settled
//! when its letter is written. So a disk that the queue itself has filled takes no letter, and
//! stays full. With the reserve gone there is room for some, and with them files leave the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant};

/// The most that it takes.
const MOST_BYTES: u64 = 1 << 20;

/// It takes no more than this part of what the dead letters may take.
const PART: u64 = 64;

/// How long after it was used it is made again at the earliest.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Since when it is gone.
    gone: Mutex<Option<Instant>>,
}

impl Reserve {
    /// The reserve in this folder. Where the disk has no room for it, there is none yet.
    pub(super) fn new(folder: &Path, max_bytes: u64) -> Self {
        let reserve = Self {
            path: folder.join("reserve"),
            bytes: (max_bytes / PART).min(MOST_BYTES),
            gone: Mutex::default(),
        };
        if !make(&reserve.path, reserve.bytes) {
            reserve.set_gone(Some(Instant::now()));
        }
        reserve
    }

    /// Gives its bytes to the disk; whether there were any.
    pub(super) async fn release(&self) -> bool {
        let path = self.path.clone();
        let removed = spawn_blocking(move || fs::remove_file(path).is_ok()).await;
        self.set_gone(Some(Instant::now()));
        removed.unwrap_or(false)
    }

    /// Makes it again once it has been gone for a while, beside whatever else is done.
    pub(super) fn restore(&self) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.is_none_or(|since| since.elapsed() < AGAIN_AFTER) {
            return;
        }
        // Should the disk still be full there is none, which the next failure finds.
        *gone = None;
        let (path, bytes) = (self.path.clone(), self.bytes);
        spawn_blocking(move || make(&path, bytes));
    }

    fn set_gone(&self, since: Option<Instant>) {
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// Writes it in full: a file with holes would reserve nothing. Whether it is there.
fn make(path: &Path, bytes: u64) -> bool {
    if fs::metadata(path).is_ok_and(|meta| meta.len() == bytes) {
        return true;
    }
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(&vec![0; usize::try_from(bytes).unwrap_or_default()])
    };
    let written = write();
    if let Err(error) = &written {
        let _gone = fs::remove_file(path);
        tracing::debug!("no reserve for dead letters at {}: {error}", path.display());
    }
    written.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_given_up_once_and_made_again_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path(), 1 << 30);
        let file = folder.path().join("reserve");
        assert_eq!(fs::metadata(&file).unwrap().len(), MOST_BYTES);
        assert!(reserve.release().await);
        assert!(!file.exists());
        assert!(!reserve.release().await, "it is gone already");
        reserve.restore();
        assert_eq!(
            *reserve.gone.lock().unwrap(),
            Some(Instant::now()),
            "too soon"
        );
        tokio::time::advance(AGAIN_AFTER).await;
        reserve.restore();
        assert_eq!(*reserve.gone.lock().unwrap(), None);
        // Whoever comes next on that thread pool finds it made, in the end.
        while !fs::metadata(&file).is_ok_and(|meta| meta.len() == MOST_BYTES) {
            tokio::task::yield_now().await;
        }
    }
}
