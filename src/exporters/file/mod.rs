//! Writes what passes into files, or to standard output: OTLP/JSON, one request a line, or binary
//! protobuf behind its length.
//!
//! A thread of the exporter's own writes, one batch after the other: a disk may hang, and no
//! other thread is to hang with it. A batch is delivered when the kernel has all of it. What
//! cannot be written is cut back off the file, so that of what a crash leaves only the last line
//! can be broken, and that is cut off when the file is next opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer};

use super::Compression;
use crate::batch::Batch;
use crate::component::{Delivered, Exporter, Failure};
use crate::otlp::{Format, Signal};
use crate::storage::Fsync;
use crate::units::{self, ByteSize};

mod backups;
mod encode;
mod output;
mod place;
mod tail;
mod writer;

use writer::Writer;

/// `type = "file"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// Where to; `{signal}` in it is the name of the signal. Standard output, if there is none.
    pub path: Option<PathBuf>,
    /// How requests are written.
    pub format: Format,
    /// How what is written is compressed.
    pub compression: Compression,
    /// Whether what is in the file at the start stays in it.
    pub append: bool,
    /// Whether folders that are missing are made.
    pub create_directory: bool,
    /// Who may do what in those.
    pub directory_permissions: Permissions,
    /// Who may do what with files that are made.
    pub file_permissions: Permissions,
    /// When what was written is synced to the disk itself.
    pub fsync: Fsync,
    /// The longest that it stays unsynced, with `fsync = "interval"`.
    #[serde(with = "units::duration")]
    pub flush_interval: Duration,
    /// When another file is begun; never without it.
    pub rotation: Option<RotationConfig>,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            path: None,
            format: Format::Json,
            compression: Compression::None,
            append: true,
            create_directory: false,
            directory_permissions: Permissions(0o755),
            file_permissions: Permissions(0o640),
            fsync: Fsync::Never,
            flush_interval: Duration::from_secs(1),
            rotation: None,
        }
    }
}

/// What stands for the signal in a path.
const SIGNAL: &str = "{signal}";

impl FileConfig {
    /// The path as it is configured; `None` is standard output.
    pub fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref().filter(|path| path.as_os_str() != "-")
    }

    /// Whether each signal has a file of its own.
    pub fn tells_signals_apart(&self) -> bool {
        let path = self.path().map(|path| path.to_string_lossy());
        path.is_some_and(|path| path.contains(SIGNAL))
    }

    /// The file that this signal is written to; `None` is standard output.
    pub fn path_of(&self, signal: Signal) -> Option<PathBuf> {
        let path = self.path()?;
        Some(match path.to_str() {
            Some(text) => text.replace(SIGNAL, signal.name()).into(),
            None => path.clone(),
        })
    }
}

/// `rotation = { ... }`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationConfig {
    /// The size, on disk, that a file does not grow past, but for a single batch above it.
    pub max_bytes: ByteSize,
    /// When a file that was rotated is deleted, by the time in its name; 0 is never.
    #[serde(with = "units::duration")]
    pub max_age: Duration,
    /// How many of them are kept; 0 keeps all.
    pub max_backups: usize,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::mib(100),
            max_age: Duration::ZERO,
            max_backups: 100,
        }
    }
}

/// `"0640"`: the permission bits of a file, in octal as `chmod` has them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Permissions(pub u32);

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "permissions in octal as a string, such as \"0640\"";
        let text = units::text(deserializer, wanted)?;
        let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if octal && bits <= 0o777 => Ok(Self(bits)),
            _ => Err(serde::de::Error::custom(format_args!("wants {wanted}"))),
        }
    }
}

/// Writes batches.
pub struct File {
    writer: Writer,
}

impl File {
    /// Nothing is opened before the first batch.
    ///
    /// # Errors
    /// A sentence, where the thread that writes cannot be started.
    pub fn new(config: &FileConfig) -> Result<Self, String> {
        Ok(Self {
            writer: Writer::start(config)?,
        })
    }
}

impl Exporter for File {
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        self.writer.write(batch.clone()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal_and_nothing_else() {
        #[derive(Deserialize)]
        struct Table {
            mode: Permissions,
        }
        let read = |text: &str| toml::from_str::<Table>(text).map(|table| table.mode);
        assert_eq!(read("mode = \"0640\"").unwrap(), Permissions(0o640));
        assert_eq!(read("mode = \"755\"").unwrap(), Permissions(0o755));
        for text in ["\"\"", "\"0680\"", "\"rw\"", "\"1777\"", "\"+7\"", "640"] {
            let problem = read(&format!("mode = {text}")).unwrap_err().to_string();
            assert!(problem.contains("octal"), "{text}: {problem}");
        }
    }

    #[test]
    fn each_signal_has_its_place_in_the_path() {
        let mut config = FileConfig {
            path: Some("/data/{signal}.jsonl".into()),
            ..FileConfig::default()
        };
        assert!(config.tells_signals_apart());
        let path = config.path_of(Signal::Logs).unwrap();
        assert_eq!(path, PathBuf::from("/data/logs.jsonl"));
        config.path = Some("-".into());
        assert_eq!(config.path_of(Signal::Logs), None);
    }
}
