//! How far each file was read, and where that is kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Positions;
use super::source::Print;

/// One file, and how far it was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Known {
    device: u64,
    inode: u64,
    first_bytes: u64,
    first_bytes_crc32: u32,
    /// Uncompressed.
    pub(super) offset: u64,
    pub(super) line: u64,
    /// For people: a file is told by the numbers above.
    path: PathBuf,
}

impl Known {
    pub(super) fn new(id: (u64, u64), print: Print, place: (u64, u64), path: &Path) -> Self {
        Self {
            device: id.0,
            inode: id.1,
            first_bytes: print.bytes,
            first_bytes_crc32: print.sum,
            offset: place.0,
            line: place.1,
            path: path.to_owned(),
        }
    }

    pub(super) fn id(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    pub(super) fn print(&self) -> Print {
        Print {
            bytes: self.first_bytes,
            sum: self.first_bytes_crc32,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    files: Vec<Known>,
}

const VERSION: u32 = 1;

/// Where the positions of one receiver are kept: in memory, and in a file where there is a folder
/// for it.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: Option<PathBuf>,
    positions: Positions,
}

impl Shelf {
    pub(super) fn new(folder: Option<PathBuf>, positions: Positions) -> Self {
        Self { folder, positions }
    }

    /// The positions that were kept; `None` if there are none. What cannot be read is said, and
    /// reading begins anew, at the beginning: what is read twice is better than what is passed
    /// over.
    pub(super) fn load(&self, receiver: &str) -> Option<Vec<Known>> {
        if let Some(known) = self.positions.take(receiver) {
            return Some(known);
        }
        let path = self.path(receiver)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "positions cannot be read; files are read from their beginning");
                return Some(Vec::new());
            }
        };
        match serde_json::from_slice::<Written>(&text) {
            Ok(written) if written.version == VERSION => Some(written.files),
            Ok(_) => {
                tracing::error!(file = %path.display(), "positions are of another version of otlpd; files are read from their beginning");
                Some(Vec::new())
            }
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "positions are damaged; files are read from their beginning");
                Some(Vec::new())
            }
        }
    }

    /// Keeps the positions. After a crash it is either all of these or all of those before.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn save(&self, receiver: &str, known: Vec<Known>) -> Result<(), String> {
        let Some(path) = self.path(receiver) else {
            return Ok(());
        };
        let written = Written {
            version: VERSION,
            files: known,
        };
        let text = serde_json::to_vec(&written).map_err(|error| error.to_string())?;
        replace(&path, &text).map_err(|error| {
            format!(
                "cannot write {}: {error}; how far files were read is kept in memory only, and \
                 they are read again from where it was last written",
                path.display()
            )
        })
    }

    /// Hands the positions to whoever goes on in this process.
    pub(super) fn hand_on(&self, receiver: &str, known: Vec<Known>) {
        self.positions.put(receiver, known);
    }

    fn path(&self, receiver: &str) -> Option<PathBuf> {
        // A name may hold anything; as hexadecimal it leads nowhere else.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name: String = receiver
            .chars()
            .map(|c| match plain(c) {
                true => c.to_string(),
                false => format!("%{:x}", u32::from(c)),
            })
            .collect();
        let folder = self.folder.as_ref()?;
        Some(folder.join("receivers").join(format!("{name}.positions")))
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("positions.new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_data()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}
