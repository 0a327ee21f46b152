//! The files that were rotated: their names, and which of them are kept.
//!
//! `data.jsonl` becomes `data-2026-01-31T09-00-00.000.jsonl`, named after the moment, in UTC, at
//! which it was; so they are in order when they are sorted by name. What ends in `.gz` or `.zst`
//! keeps that at its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::RotationConfig;
use crate::exporters::date::date;

/// `2026-01-31T09-00-00.000`, with digits as zeros.
const SHAPE: &[u8] = b"0000-00-00T00-00-00.000";

/// A path of which there are rotated files.
#[derive(Debug)]
struct Name<'a> {
    folder: &'a Path,
    stem: String,
    extension: String,
}

impl<'a> Name<'a> {
    fn of(path: &'a Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let compressed = [".gz", ".zst"].into_iter().find(|end| name.ends_with(end));
        let inner = name.strip_suffix(compressed.unwrap_or_default());
        let inner = inner.unwrap_or(&name);
        // A name that begins with its only dot has no extension.
        let at = inner.rfind('.').filter(|at| *at > 0).unwrap_or(inner.len());
        let (stem, extension) = name.split_at(at);
        Self {
            folder: folder(path),
            stem: stem.to_owned(),
            extension: extension.to_owned(),
        }
    }

    fn at(&self, time: &str) -> PathBuf {
        let (stem, extension) = (&self.stem, &self.extension);
        self.folder.join(format!("{stem}-{time}{extension}"))
    }

    /// The time in the name of a rotated file.
    fn time_in<'n>(&self, name: &'n str) -> Option<&'n str> {
        let time = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let time = time.strip_suffix(&self.extension)?;
        let digit = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
        time.bytes()
            .map(digit)
            .eq(SHAPE.iter().copied())
            .then_some(time)
    }
}

/// The folder that a path is in.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Gives the file the name of one that was rotated now, which no other file has.
pub(super) fn set_aside(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let name = Name::of(path);
    let mut time = now;
    loop {
        let to = name.at(&stamp(time));
        if !to.try_exists()? {
            fs::rename(path, &to)?;
            return Ok(to);
        }
        time += Duration::from_millis(1);
    }
}

/// Deletes what is too old, and what is too many; the oldest go first.
pub(super) fn prune(path: &Path, config: &RotationConfig, now: SystemTime) -> io::Result<()> {
    let name = Name::of(path);
    let mut times = Vec::new();
    for entry in fs::read_dir(name.folder)? {
        let entry = entry?.file_name();
        let time = entry.to_str().and_then(|entry| name.time_in(entry));
        times.extend(time.map(str::to_owned));
    }
    times.sort_unstable();
    let surplus = match config.max_backups {
        0 => 0,
        kept => times.len().saturating_sub(kept),
    };
    let oldest = match config.max_age.is_zero() {
        true => String::new(),
        false => stamp(now.checked_sub(config.max_age).unwrap_or(UNIX_EPOCH)),
    };
    for (index, time) in times.iter().enumerate() {
        if index < surplus || *time < oldest {
            let file = name.at(time);
            fs::remove_file(&file)?;
            tracing::info!(file = %file.display(), "a rotated file is deleted: too many, or too old");
        }
    }
    Ok(())
}

fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_extension_and_are_known_again() {
        let time = "2026-01-31T09-00-00.007";
        for (path, expected) in [
            ("a/data.jsonl", "a/data-2026-01-31T09-00-00.007.jsonl"),
            ("data.jsonl.gz", "./data-2026-01-31T09-00-00.007.jsonl.gz"),
            ("/x/data.zst", "/x/data-2026-01-31T09-00-00.007.zst"),
            ("/x/data", "/x/data-2026-01-31T09-00-00.007"),
            ("/x/.hidden", "/x/.hidden-2026-01-31T09-00-00.007"),
        ] {
            let name = Name::of(Path::new(path));
            let backup = name.at(time);
            assert_eq!(backup, PathBuf::from(expected));
            let file = backup.file_name().unwrap().to_str().unwrap();
            assert_eq!(name.time_in(file), Some(time));
        }
        let name = Name::of(Path::new("data.jsonl"));
        for other in [
            "data.jsonl",
            "data-old.jsonl",
            "data-2026-01-31T09-00-00.007.jsonl.gz",
            "data2-2026-01-31T09-00-00.007.jsonl",
            "data-2026-01-31T09:00:00.007.jsonl",
        ] {
            assert_eq!(name.time_in(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_too_many_or_too_old_is_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.jsonl");
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let hour = Duration::from_secs(3600);
        for age in 1..=5 {
            fs::write(&path, format!("{age}")).unwrap();
            set_aside(&path, now - hour * age).unwrap();
        }
        fs::write(folder.path().join("data-old.jsonl"), "other").unwrap();
        let left = |config: RotationConfig| {
            prune(&path, &config, now).unwrap();
            let files = fs::read_dir(folder.path()).unwrap();
            let mut left: Vec<String> = files
                .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
                .collect();
            left.sort();
            left.join(" ")
        };
        let config = RotationConfig {
            max_backups: 0,
            ..RotationConfig::default()
        };
        assert_eq!(left(config), "1 2 3 4 5 other");
        let max_age = hour * 7 / 2;
        assert_eq!(left(RotationConfig { max_age, ..config }), "1 2 3 other");
        let max_backups = 2;
        assert_eq!(
            left(RotationConfig {
                max_backups,
                ..config
            }),
            "1 2 other"
        );
    }

    #[test]
    fn two_in_one_moment_have_two_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.jsonl");
        let mut names = Vec::new();
        for _ in 0..3 {
            fs::write(&path, "").unwrap();
            names.push(set_aside(&path, UNIX_EPOCH).unwrap());
        }
        assert!(names.is_sorted() && names[0] != names[1] && names[1] != names[2]);
    }
}
