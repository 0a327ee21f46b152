//! Which queues on disk are meant: the folder of `[storage]`, and what is in it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::batch::Priority;
use crate::config::Config;
use crate::delivery::dead_letters;
use crate::storage::Key;
use crate::storage::inspect::Segment;

/// Where to look, and what for.
#[derive(Args, Debug)]
pub(super) struct PlaceArgs {
    /// The folder of [storage]
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "config",
        required_unless_present = "config"
    )]
    directory: Option<PathBuf>,
    /// The configuration that names the folder
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key of encrypted storage, beside those of the configuration: its id, and the file that
    /// holds its secret
    #[arg(long, value_name = "ID=FILE")]
    key: Vec<String>,
    /// Only the queue of this exporter
    #[arg(long, value_name = "EXPORTER")]
    queue: Option<String>,
    /// Only the dead letters
    #[arg(long, conflicts_with = "queue")]
    dead_letters: bool,
}

/// One log on disk, by what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    /// A priority's share of an exporter's queue.
    Queue {
        exporter: String,
        priority: Priority,
    },
    /// What could not be delivered for good.
    DeadLetters,
}

/// A log that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shelf: Shelf,
    /// Its name below the directory.
    pub(super) log: String,
}

/// What was asked for, and what it takes to read it.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) directory: PathBuf,
    pub(super) keys: Vec<Key>,
    pub(super) logs: Vec<Place>,
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue { exporter, priority } => write!(f, "{exporter}, {}", priority.name()),
            Self::DeadLetters => f.write_str("dead letters"),
        }
    }
}

impl Places {
    /// Whether the records of this file can be read.
    pub(super) fn has_key_of(&self, segment: &Segment) -> bool {
        let there = |id: &String| self.keys.iter().any(|key| key.id == *id);
        segment.key_id.as_ref().is_none_or(there)
    }
}

impl PlaceArgs {
    /// The folder, and the logs in it that were asked for: those of each exporter by name, what
    /// matters most first, then the dead letters.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn find(&self) -> Result<Places, String> {
        let (directory, mut keys) = self.directory()?;
        for key in &self.key {
            keys.push(read_key(key)?);
        }
        let all = places(&directory)
            .map_err(|error| format!("cannot read the folder {}: {error}", directory.display()))?;
        let chosen = all.iter().filter(|place| self.means(&place.shelf));
        let logs: Vec<Place> = chosen.cloned().collect();
        if let Some(wanted) = self.queue.as_ref().filter(|_| logs.is_empty()) {
            return Err(no_queue(wanted, &directory, &all));
        }
        Ok(Places {
            directory,
            keys,
            logs,
        })
    }

    /// Whether the dead letters alone are meant.
    pub(super) const fn only_dead_letters(&self) -> bool {
        self.dead_letters
    }

    fn means(&self, shelf: &Shelf) -> bool {
        match (shelf, &self.queue) {
            (Shelf::DeadLetters, wanted) => wanted.is_none(),
            (Shelf::Queue { .. }, None) => !self.dead_letters,
            (Shelf::Queue { exporter, .. }, Some(wanted)) => exporter == wanted,
        }
    }

    /// The folder, and the keys that the configuration has.
    fn directory(&self) -> Result<(PathBuf, Vec<Key>), String> {
        if let Some(directory) = &self.directory {
            return Ok((directory.clone(), Vec::new()));
        }
        let env = |name: &str| std::env::var(name).ok();
        let config = Config::load(self.config.as_deref(), &[], &env)
            .map_err(|problems| problems.to_string())?;
        let keys = config.storage.keys();
        let directory = config.storage.directory.ok_or_else(|| {
            let file = self.config.as_deref().unwrap_or(Path::new("it"));
            format!(
                "{} keeps nothing on disk: it has no `directory` in [storage]",
                file.display()
            )
        })?;
        Ok((directory, keys))
    }
}

fn read_key(text: &str) -> Result<Key, String> {
    let (id, file) = text
        .split_once('=')
        .ok_or_else(|| format!("--key {text} is not ID=FILE"))?;
    let secret = fs::read_to_string(file)
        .map_err(|error| format!("cannot read the key {id} in {file}: {error}"))?;
    Key::parse(id, &secret).map_err(|error| error.to_string())
}

fn no_queue(wanted: &str, directory: &Path, all: &[Place]) -> String {
    let mut there: Vec<&str> = all
        .iter()
        .filter_map(|place| match &place.shelf {
            Shelf::Queue { exporter, .. } => Some(exporter.as_str()),
            Shelf::DeadLetters => None,
        })
        .collect();
    there.dedup();
    let there = match there.as_slice() {
        [] => "there is none at all".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    format!(
        "{} has no queue of an exporter named {wanted}; {there}",
        directory.display()
    )
}

fn places(directory: &Path) -> io::Result<Vec<Place>> {
    // The folder itself must be there; what is missing in it was not needed yet.
    fs::read_dir(directory)?;
    let mut places = Vec::new();
    for name in folders(&directory.join("queue"))? {
        for priority in Priority::ALL.into_iter().rev() {
            let log = format!("queue/{name}/{}", priority.name());
            if directory.join(&log).is_dir() {
                let exporter = exporter_name(&name);
                let shelf = Shelf::Queue { exporter, priority };
                places.push(Place { shelf, log });
            }
        }
    }
    if directory.join(dead_letters::LOG).is_dir() {
        let (shelf, log) = (Shelf::DeadLetters, dead_letters::LOG.to_owned());
        places.push(Place { shelf, log });
    }
    Ok(places)
}

/// Files that otlpd has set aside because they are damaged: how many, and their bytes.
pub(super) fn quarantine(directory: &Path) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(directory.join("quarantine")) else {
        return (0, 0);
    };
    let sizes = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    sizes.fold((0, 0), |(files, bytes), meta| {
        (files + 1, bytes + meta.len())
    })
}

/// The folders in a folder, by name; none where it does not exist.
fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_dir()) {
            found.push(name.to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// The exporter whose folder has this name: `%2e` in it stands for the byte 0x2e.
fn exporter_name(folder: &str) -> String {
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let escaped = tail
            .get(..2)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*byte));
        rest = match escaped {
            Some(_) => tail.get(2..).unwrap_or_default(),
            None => tail,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        place: PlaceArgs,
    }

    fn find(directory: &Path, more: &[&str]) -> Result<Vec<String>, String> {
        let line = ["x", "--directory", directory.to_str().unwrap()];
        let line = Line::try_parse_from(line.iter().chain(more)).unwrap();
        let logs = line.place.find()?.logs;
        Ok(logs.iter().map(|place| place.shelf.to_string()).collect())
    }

    #[test]
    fn queues_are_found_by_their_folders() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(find(root, &[]), Ok(vec![]));
        for folder in [
            "queue/backend/normal",
            "queue/backend/high",
            "queue/a%2eb/low",
            "dead-letters",
            "something/else",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("queue/file"), "").unwrap();
        assert_eq!(quarantine(root), (0, 0));
        fs::create_dir_all(root.join("quarantine")).unwrap();
        fs::write(root.join("quarantine/a.seg"), [0; 5]).unwrap();
        fs::write(root.join("quarantine/b.seg"), [0; 2]).unwrap();
        assert_eq!(quarantine(root), (2, 7));
        let all = [
            "a.b, low",
            "backend, high",
            "backend, normal",
            "dead letters",
        ];
        assert_eq!(find(root, &[]).unwrap(), all);
        assert_eq!(find(root, &["--queue", "a.b"]).unwrap(), ["a.b, low"]);
        assert_eq!(find(root, &["--dead-letters"]).unwrap(), ["dead letters"]);
        let error = find(root, &["--queue", "bakend"]).unwrap_err();
        assert!(
            error.ends_with("named bakend; there are: a.b, backend"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = find(&root.path().join("gone"), &[]).unwrap_err();
        assert!(error.contains("/gone: No such file"), "{error}");
    }

    #[test]
    fn a_configuration_names_the_folder_and_has_the_keys() {
        let root = tempfile::tempdir().unwrap();
        let [file, secret] = ["otlpd.toml", "secret"].map(|name| root.path().join(name));
        let find = |text: &str| {
            fs::write(&file, text).unwrap();
            fs::write(&secret, "ab".repeat(32)).unwrap();
            let key = format!("second={}", secret.display());
            let line = ["x", "--config", file.to_str().unwrap(), "--key", &key];
            Line::try_parse_from(line).unwrap().place.find()
        };
        let rest = "[receivers.r]\ntype = \"otlp\"\ngrpc = { endpoint = \"127.0.0.1:4317\" }\n\
                    [exporters.e]\ntype = \"discard\"\n\
                    [pipelines.p]\nreceivers = [\"r\"]\nexporters = [\"e\"]\n";
        let storage = format!(
            "[storage]\ndirectory = '{}'\nencryption_keys = [{{ id = \"first\", key = \"{}\" }}]\n",
            root.path().display(),
            "07".repeat(32)
        );
        let places = find(&format!("{storage}{rest}")).unwrap();
        assert_eq!(places.directory, root.path());
        let ids: Vec<&str> = places.keys.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["first", "second"]);
        let error = find(rest).unwrap_err();
        assert!(error.contains("keeps nothing on disk"), "{error}");
    }

    #[test]
    fn one_folder_is_asked_for_and_no_two() {
        let parses = |line: &[&str]| Line::try_parse_from(line).is_ok();
        assert!(!parses(&["x"]));
        assert!(!parses(&["x", "--directory", "a", "--config", "b"]));
        assert!(parses(&["x", "--config", "b", "--queue", "q"]));
        assert!(!parses(&[
            "x",
            "--config",
            "b",
            "--queue",
            "q",
            "--dead-letters"
        ]));
    }

    #[test]
    fn names_that_were_escaped_come_back() {
        assert_eq!(exporter_name("backend_2-b"), "backend_2-b");
        assert_eq!(exporter_name("%2e%2e%2fa%20b%2f%c3%a4"), "../a b/ä");
        assert_eq!(exporter_name("100%"), "100%");
    }
}
