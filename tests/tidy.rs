//! The house rules, as tests: what a reviewer would otherwise have to look for every time.
//! They read the sources as text, so a rule that is broken is named with its file and line.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines before its tests.
const MAX_LINES: usize = 400;

/// The layer of the components and of delivery, which do not know each other. In other layers a
/// room may import its neighbour, but not in a circle.
const COMPONENT_LAYER: u32 = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder, sorted; what git and cargo keep is left out.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A source file of the library.
struct Source {
    /// Below `src/`.
    path: String,
    text: String,
}

impl Source {
    fn all() -> Vec<Self> {
        let src = root().join("src");
        let sources: Vec<Self> = files_below(&src)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .map(|path| Self {
                text: fs::read_to_string(&path).unwrap(),
                path: path
                    .strip_prefix(&src)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            })
            .collect();
        assert!(
            sources.len() > 20,
            "the sources are not where they are sought"
        );
        sources
    }

    /// The top-level module that it belongs to; `None` for the crate roots.
    fn room(&self) -> Option<&str> {
        match self.path.as_str() {
            "lib.rs" | "main.rs" => None,
            path => path.split('/').next()?.split('.').next(),
        }
    }

    /// How many modules stand between it and the crate: 1 for a room, 2 for a file in it.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        parts - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// Whether all of it is tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The lines before the tests, numbered from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let own = if self.is_test() { "" } else { &self.text };
        own.lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// Those lines without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .map(|(number, line)| (number, line.split("// ").next().unwrap_or(line)))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Fails with all the breaches at once.
fn assert_none(rule: &str, breaches: &[String]) {
    let mut list = String::new();
    for breach in breaches {
        write!(list, "\n  {breach}").unwrap();
    }
    assert!(breaches.is_empty(), "{rule}:{list}");
}

/// The layer of each room, as `src/lib.rs` states it: `// Layer N: ...` above a group of `pub
/// mod`.
fn layers() -> BTreeMap<String, u32> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut layer = None;
    let mut layers = BTreeMap::new();
    for line in lib.lines() {
        if let Some(rest) = line.strip_prefix("// Layer ") {
            layer = rest
                .split(':')
                .next()
                .and_then(|number| number.parse().ok());
        } else if let Some(rest) = line.strip_prefix("pub mod ") {
            let room = rest.trim_end_matches(';').to_owned();
            layers.insert(room, layer.expect("a module above the first layer"));
        }
    }
    layers
}

/// The modules named right after `crate::`, in a line or in the group that begins there.
fn rooms_named(line: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut named = Vec::new();
    for (at, found) in line.match_indices("crate::") {
        let rest = &line[at + found.len()..];
        match rest.strip_prefix('{') {
            None => named.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    if start && c.is_alphanumeric() {
                        named.push(word(&group[at..]));
                        start = false;
                    }
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

/// The room of each macro: `#[macro_export]` puts all of them at the root of the crate.
fn rooms_of_macros(sources: &[Source]) -> BTreeMap<String, String> {
    let mut rooms = BTreeMap::new();
    for source in sources {
        for (_, line) in source.code() {
            if let (Some(name), Some(room)) = (line.strip_prefix("macro_rules! "), source.room()) {
                let name = name.trim_end_matches([' ', '{']);
                rooms.insert(name.to_owned(), room.to_owned());
            }
        }
    }
    rooms
}

/// What each room imports from other rooms, with the first place where it does.
fn imports() -> BTreeMap<(String, String), String> {
    let mut imports = BTreeMap::new();
    let sources = Source::all();
    let macros = rooms_of_macros(&sources);
    for source in &sources {
        let Some(room) = source.room() else { continue };
        for (number, line) in source.code() {
            for named in rooms_named(line) {
                let named = macros.get(&named).cloned().unwrap_or(named);
                if named != room {
                    imports
                        .entry((room.to_owned(), named))
                        .or_insert_with(|| format!("src/{}:{number}", source.path));
                }
            }
        }
    }
    imports
}

#[test]
fn every_room_has_a_layer() {
    let layers = layers();
    let rooms: BTreeSet<String> = Source::all()
        .iter()
        .filter_map(|source| source.room().map(str::to_owned))
        .collect();
    let listed: BTreeSet<String> = layers.keys().cloned().collect();
    assert_eq!(rooms, listed, "src/ and the layers of src/lib.rs differ");
    assert_eq!(layers["units"], 0);
    assert_eq!(layers["cli"], 7);
}

#[test]
fn imports_point_down() {
    let layers = layers();
    let mut breaches = Vec::new();
    for ((room, named), place) in imports() {
        let (own, other) = (layers[&room], layers.get(&named).copied());
        match other {
            None => breaches.push(format!("{place}: crate::{named} is no room of src/lib.rs")),
            Some(other) if other > own => breaches.push(format!(
                "{place}: {room} (layer {own}) imports {named} (layer {other})"
            )),
            Some(other) if other == own && own == COMPONENT_LAYER => breaches.push(format!(
                "{place}: {room} and {named} are both of layer {own}, where rooms do not know \
                 each other"
            )),
            Some(_) => {}
        }
    }
    assert_none("imports point to lower layers only", &breaches);
}

#[test]
fn rooms_of_one_layer_do_not_import_each_other_in_a_circle() {
    let edges: Vec<(String, String)> = imports().into_keys().collect();
    let mut left: BTreeSet<String> = layers().into_keys().collect();
    // Take away what imports nothing that is left, until nothing is left or all is circles.
    loop {
        let free: Vec<String> = left
            .iter()
            .filter(|room| {
                !edges
                    .iter()
                    .any(|(from, to)| from == *room && left.contains(to))
            })
            .cloned()
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|room| !free.contains(room));
    }
    assert!(left.is_empty(), "these rooms import each other: {left:?}");
}

#[test]
fn no_file_reaches_other_rooms_by_way_of_super() {
    let mut breaches = Vec::new();
    for source in Source::all() {
        for (number, line) in source.code() {
            let Some(path) = line
                .strip_prefix("use ")
                .or_else(|| line.strip_prefix("pub use "))
            else {
                continue;
            };
            let ups = path.split("::").take_while(|part| *part == "super").count();
            if ups > 0 && ups >= source.depth() {
                breaches.push(format!("src/{}:{number}: {line}", source.path));
            }
        }
    }
    assert_none("other rooms are imported as crate::ROOM", &breaches);
}

#[test]
fn files_fit_the_screen() {
    let mut breaches = Vec::new();
    for source in Source::all() {
        let lines = source.lines().count();
        if lines > MAX_LINES {
            breaches.push(format!("src/{}: {lines} lines", source.path));
        }
    }
    assert_none("a file has at most 400 lines before its tests", &breaches);
}

#[test]
fn every_file_says_what_it_is_for() {
    let breaches: Vec<String> = Source::all()
        .iter()
        .filter(|source| !source.is_test() && !source.text.starts_with("//!"))
        .map(|source| format!("src/{}", source.path))
        .collect();
    assert_none("a file begins with a sentence on what it is for", &breaches);
}

#[test]
fn words_that_do_not_belong_into_the_product_are_absent() {
    let banned = [
        (".unwrap()", "what can fail says so"),
        (".expect(", "what can fail says so"),
        ("#[allow(", "an exception is #[expect(..., reason = ...)]"),
        ("todo!(", "no stubs"),
        ("unimplemented!(", "no stubs"),
        ("dbg!(", "logs go through tracing"),
    ];
    let mut breaches = Vec::new();
    for source in Source::all() {
        for (number, line) in source.code() {
            for (word, why) in banned {
                if line.contains(word) {
                    breaches.push(format!("src/{}:{number}: {word}: {why}", source.path));
                }
            }
        }
        for (number, line) in source.lines() {
            if ["TODO", "FIXME", "XXX"]
                .iter()
                .any(|word| line.contains(word))
            {
                breaches.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("outside tests", &breaches);
}

#[test]
fn nothing_is_named_after_what_everything_is() {
    let vague = [
        "Manager", "Handler", "Helper", "Util", "Utils", "Wrapper", "Inner",
    ];
    let mut breaches = Vec::new();
    for source in Source::all() {
        for (number, line) in source.code() {
            let words: Vec<&str> = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty())
                .collect();
            for pair in words.windows(2) {
                let declares = matches!(pair[0], "struct" | "enum" | "trait" | "type");
                if declares && vague.iter().any(|end| pair[1].ends_with(end)) {
                    breaches.push(format!("src/{}:{number}: {}", source.path, pair[1]));
                }
            }
        }
    }
    assert_none("names say what a thing is", &breaches);
}

/// Every `type` of the components of a kind, as its `mod.rs` lists them.
fn types_of(kind: &str) -> Vec<String> {
    let path = root().join("src").join(kind).join("mod.rs");
    let text = fs::read_to_string(path).unwrap_or_default();
    let list = text
        .split_once("const TYPES")
        .and_then(|(_, rest)| rest.split_once('='))
        .and_then(|(_, rest)| rest.split_once("];"))
        .map_or("", |(list, _)| list);
    list.split('(')
        .filter_map(|entry| entry.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_component_has_an_example() {
    let mut shown = BTreeSet::new();
    for path in files_below(&root().join("config/examples")) {
        let text = fs::read_to_string(&path).unwrap();
        let file: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (kind, components) in &file {
            for component in components
                .as_table()
                .into_iter()
                .flat_map(toml::Table::values)
            {
                if let Some(name) = component.get("type").and_then(toml::Value::as_str) {
                    shown.insert((kind.clone(), name.to_owned()));
                }
            }
        }
    }
    let mut breaches = Vec::new();
    for kind in ["receivers", "processors", "connectors", "exporters"] {
        for name in types_of(kind) {
            if !shown.contains(&(kind.to_owned(), name.clone())) {
                breaches.push(format!("{kind}: type = \"{name}\""));
            }
        }
    }
    assert!(types_of("receivers").contains(&"otlp".to_owned()));
    assert!(types_of("exporters").len() >= 4);
    assert_none("without an example in config/examples", &breaches);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Written in two halves, so as not to find themselves.
    let homes = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut breaches = Vec::new();
    for path in files_below(root()) {
        // What is not text is none of ours.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home)) {
                let path = path.strip_prefix(root()).unwrap();
                breaches.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    assert_none("paths of one machine", &breaches);
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    for (line, expected) in [
        ("use crate::units::ByteSize;", &["units"][..]),
        (
            "use crate::{batch::Batch, otlp::{Signal, wire}, units};",
            &["batch", "otlp", "units"],
        ),
        (
            "    let x = crate::net::dial(crate::units::X);",
            &["net", "units"],
        ),
        ("pub(in crate::otlp) fn f() {}", &["otlp"]),
        ("use std::fmt;", &[]),
    ] {
        assert_eq!(rooms_named(line), expected, "{line}");
    }
}
