//! Which files are meant: patterns of paths.
//!
//! `*` stands for any characters of one name, `?` for one, and `**` as a whole name for any number
//! of folders, none included. Names that begin with a dot are names like others.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::limited;

/// A pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// `/`, or nothing.
    root: PathBuf,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `**`
    Folders,
    /// A name, or what names are to look like.
    Name(Vec<u8>),
}

/// A file that was found.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The path by which it was found.
    pub(super) path: PathBuf,
    /// What it is, whatever its name: the device and the inode.
    pub(super) id: (u64, u64),
    /// In bytes.
    pub(super) size: u64,
    modified: SystemTime,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A phrase that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.contains(['[', ']', '{', '}']) {
            return Err(
                "has a bracket or a brace, which mean nothing in patterns here: they have `*`, \
                 `?` and `**`, and there can be several"
                    .to_owned(),
            );
        }
        let mut pattern = Self {
            root: PathBuf::new(),
            steps: Vec::new(),
        };
        for component in Path::new(text).components() {
            match component {
                Component::RootDir => pattern.root.push("/"),
                Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => pattern.steps.push(Step::Name(b"..".to_vec())),
                Component::Normal(name) if name == "**" => pattern.steps.push(Step::Folders),
                Component::Normal(name) => {
                    pattern.steps.push(Step::Name(name.as_bytes().to_vec()));
                }
            }
        }
        match pattern.steps.last() {
            Some(Step::Name(_)) => Ok(pattern),
            _ => Err("names no file: a last part such as \"*.jsonl\" is missing".to_owned()),
        }
    }

    /// Whether a path is meant, by its text alone.
    pub fn matches(&self, path: &Path) -> bool {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::ParentDir => names.push(OsStr::new("..")),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        path.has_root() == self.root.has_root() && matches(&self.steps, &names)
    }
}

fn matches(steps: &[Step], names: &[&OsStr]) -> bool {
    match (steps.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((Step::Folders, rest)), _) => {
            matches(rest, names)
                || names
                    .split_first()
                    .is_some_and(|(_, inside)| matches(steps, inside))
        }
        (Some((Step::Name(like), steps)), Some((name, names))) => {
            is_like(like, name.as_bytes()) && matches(steps, names)
        }
        _ => false,
    }
}

/// Whether a name is like this. Where the last `*` can stand for more, it is tried again from
/// there.
fn is_like(like: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(of) {
        match like.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(expected) if *expected == b'?' || expected == byte => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((starred, from)) => {
                    star = Some((starred, from + 1));
                    at = starred + 1;
                    of = from + 1;
                }
                None => return false,
            },
        }
    }
    like.get(at..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// The files that `include` means and `exclude` does not, those first that were written to the
/// longest ago; at most so many, and whether there are more.
pub(super) fn find(include: &[Pattern], exclude: &[Pattern], most: usize) -> (Vec<Seen>, bool) {
    let mut walk = Walk {
        exclude,
        most,
        seen: Vec::new(),
        more: false,
    };
    for pattern in include {
        walk.enter(&pattern.root, &pattern.steps);
    }
    let Walk { mut seen, more, .. } = walk;
    seen.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
    (seen, more)
}

struct Walk<'a> {
    exclude: &'a [Pattern],
    most: usize,
    seen: Vec<Seen>,
    more: bool,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path, steps: &[Step]) {
        let Some((first, rest)) = steps.split_first() else {
            return;
        };
        match first {
            Step::Name(name) if !name.contains(&b'*') && !name.contains(&b'?') => {
                self.step(&folder.join(OsStr::from_bytes(name)), rest);
            }
            Step::Name(like) => self.each(folder, &mut |walk, name, path, _| {
                if is_like(like, name.as_bytes()) {
                    walk.step(path, rest);
                }
            }),
            Step::Folders => {
                self.enter(folder, rest);
                self.each(folder, &mut |walk, _, path, is_folder| {
                    if is_folder {
                        walk.enter(path, steps);
                    }
                });
            }
        }
    }

    fn step(&mut self, path: &Path, rest: &[Step]) {
        if !rest.is_empty() {
            return self.enter(path, rest);
        }
        let Ok(metadata) = fs::metadata(path) else {
            return;
        };
        let excluded = self.exclude.iter().any(|pattern| pattern.matches(path));
        let id = (metadata.dev(), metadata.ino());
        if !metadata.is_file() || excluded || self.seen.iter().any(|seen| seen.id == id) {
            return;
        }
        if self.seen.len() >= self.most {
            self.more = true;
            return;
        }
        self.seen.push(Seen {
            path: path.to_owned(),
            id,
            size: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        });
    }

    /// Each entry of a folder: its name, its path, and whether it is a folder itself. A link to a
    /// folder is none, since it could lead in a circle.
    fn each(&mut self, folder: &Path, visit: &mut dyn FnMut(&mut Self, &OsStr, &Path, bool)) {
        let shown = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let entries = match fs::read_dir(shown) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return,
            Err(error) => {
                limited!(warn, folder = %shown.display(), %error, "a folder cannot be read");
                return;
            }
        };
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            visit(self, &name, &folder.join(&name), is_folder);
        }
    }
}

/// There is nothing, or nothing yet.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_shells_mean_by_them() {
        for (pattern, path, expected) in [
            ("/a/*.jsonl", "/a/b.jsonl", true),
            ("/a/*.jsonl", "/a/b.jsonl.gz", false),
            ("/a/*.jsonl", "/a/b/c.jsonl", false),
            ("/a/*.jsonl", "a/b.jsonl", false),
            ("/a/**/*.jsonl", "/a/b.jsonl", true),
            ("/a/**/*.jsonl", "/a/b/c/d.jsonl", true),
            ("/a/**/c/*", "/a/b/c/d", true),
            ("/a/**/c/*", "/a/b/d", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("./a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*", ".hidden", true),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(
                parsed.matches(Path::new(path)),
                expected,
                "{pattern} {path}"
            );
        }
        for pattern in ["", "/", "/a/**", "{a,b}", "[ab]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_is_found_is_what_matches_but_for_what_is_excluded() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "a.jsonl",
            "b/c.jsonl",
            "b/d/e.jsonl",
            "b/f.txt",
            "b/old.jsonl",
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        // The same file under two names, and a link in a circle.
        fs::hard_link(root.join("a.jsonl"), root.join("b/again.jsonl")).unwrap();
        std::os::unix::fs::symlink(root, root.join("b/circle")).unwrap();
        let pattern = |text: &str| Pattern::parse(root.join(text).to_str().unwrap()).unwrap();
        let found = |include: &str, most| {
            let (seen, more) = find(&[pattern(include)], &[pattern("**/old*")], most);
            let mut names: Vec<String> = seen
                .iter()
                .map(|seen| seen.path.strip_prefix(root).unwrap().display().to_string())
                .collect();
            names.sort();
            (names.join(" "), more)
        };
        let all = ("a.jsonl b/c.jsonl b/d/e.jsonl".to_owned(), false);
        assert_eq!(found("**/*.jsonl", 10), all);
        assert_eq!(found("b/*.txt", 10), ("b/f.txt".to_owned(), false));
        assert_eq!(found("b/c.jsonl", 10), ("b/c.jsonl".to_owned(), false));
        assert_eq!(found("no/such/*", 10), (String::new(), false));
        assert!(found("**/*.jsonl", 2).1);
    }
}
