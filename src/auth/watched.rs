//! A small file that is read again when it changes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::sleep;

use super::secret::Digest;

/// No file is read further than this, in bytes: some ten thousand tokens.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// A file by what the configuration says of it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The key that names it, with its table: `receivers.apps.auth.tokens_file`.
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// How often it is read again; 0 is never.
    pub(super) interval: Duration,
}

/// What makes something of the text of a file; what it says of one that is not good holds nothing
/// of it.
type Parse<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// What the file held when it was last good.
pub(super) struct Watched<T> {
    source: Source,
    parse: Parse<T>,
    current: RwLock<Arc<T>>,
    /// What was last read, good or not.
    seen: Mutex<Digest>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file, and watches it as long as the return value lives. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// A sentence that names the key and the file.
    pub(super) fn open(
        source: Source,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, String> {
        let text = read(&source.path);
        let seen = fingerprint(&text);
        let parsed = text.and_then(|text| parse(&text));
        let parsed =
            parsed.map_err(|what| format!("`{}` {}: {what}", source.key, source.path.display()))?;
        let interval = source.interval;
        let watched = Arc::new(Self {
            source,
            parse: Box::new(parse),
            current: RwLock::new(Arc::new(parsed)),
            seen: Mutex::new(seen),
        });
        if !interval.is_zero() {
            let weak = Arc::downgrade(&watched);
            tokio::spawn(async move {
                loop {
                    sleep(interval).await;
                    let Some(watched) = weak.upgrade() else {
                        return;
                    };
                    watched.look().await;
                }
            });
        }
        Ok(watched)
    }

    pub(super) fn current(&self) -> Arc<T> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Reads the file now. Where it is not good, what it held before stays in use.
    pub(super) async fn look(&self) {
        let path = self.source.path.clone();
        let Ok(text) = tokio::task::spawn_blocking(move || read(&path)).await else {
            return;
        };
        let found = fingerprint(&text);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.is(&found) {
                return;
            }
            *seen = found;
        }
        let Source { key, path, .. } = &self.source;
        let path = path.display();
        match text.and_then(|text| (self.parse)(&text)) {
            Ok(parsed) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parsed);
                tracing::info!("{key}: {path} has changed, and is in use");
            }
            Err(what) => tracing::error!(
                "{key}: {path} has changed and can not be used, what it held before stays in use: \
                 {what}"
            ),
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.source.path.display())
    }
}

/// Tells one content, or one failure, from another.
fn fingerprint(text: &Result<String, String>) -> Digest {
    match text {
        Ok(text) => Digest::of(text.as_bytes()),
        Err(what) => Digest::of(what.as_bytes()),
    }
}

/// The text of the file, or a sentence. May block.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_FILE => Err(format!("it is larger than {MAX_FILE} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such file: write where it is, or put it there".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "can not be read: permission denied; let the user that otlpd runs as read it".to_owned()
        }
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("can not be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u64, String> {
        text.trim().parse().map_err(|_| "is no number".to_owned())
    }

    fn source(path: &Path) -> Source {
        Source {
            key: "test.file".to_owned(),
            path: path.to_owned(),
            interval: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn what_is_good_is_taken_over_and_what_is_not_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "1").unwrap();
        let watched = Watched::open(source(&path), number).unwrap();
        assert_eq!(*watched.current(), 1);
        for (written, expected) in [(Some("2\n"), 2), (Some("x"), 2), (None, 2), (Some("3"), 3)] {
            match written {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            watched.look().await;
            assert_eq!(*watched.current(), expected, "{written:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_good_at_the_start_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let said = |path: &Path| Watched::open(source(path), number).unwrap_err();
        let nowhere = said(&path);
        assert!(nowhere.contains("no such file"), "{nowhere}");
        assert!(nowhere.starts_with("`test.file` "), "{nowhere}");
        std::fs::write(&path, "x").unwrap();
        assert!(said(&path).ends_with(": is no number"));
        std::fs::write(&path, vec![b'1'; MAX_FILE as usize + 1]).unwrap();
        assert!(said(&path).contains("larger than"));
    }
}
