//! Where our control group lies in the file system: found by `/proc/self/cgroup` (which group
//! we are in) and `/proc/self/mountinfo` (where its hierarchy is mounted, and from which group
//! down). See cgroups(7) and proc(5).

use std::fs;
use std::path::{Path, PathBuf};

/// The version of the hierarchy that holds a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

impl Version {
    /// The word for it in a source.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "cgroup v1",
            Self::V2 => "cgroup v2",
        }
    }
}

/// Our group and its parents, as far as they are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    levels: Vec<Level>,
}

/// One group: ours or one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Where its files are.
    directory: PathBuf,
    /// Its path below the mount, for a person.
    pub(super) path: String,
}

impl Level {
    /// The trimmed text of one of its files; `None` where there is no such file (the root of a
    /// v2 hierarchy has no limits).
    pub(super) fn read(&self, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        Some(text.trim().to_owned())
    }
}

impl Hierarchy {
    /// The hierarchy that `controller` is in: its own v1 hierarchy where it has one, else v2.
    /// `root` is where the file system begins, `/` outside tests.
    pub(super) fn find(root: &Path, controller: &str) -> Option<Self> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        let v1 = group_of(&groups, |names| names.split(',').any(|n| n == controller));
        let (version, group) = match v1 {
            Some(group) => (Version::V1, group),
            None => (Version::V2, group_of(&groups, str::is_empty)?),
        };
        let mount = mounts
            .lines()
            .filter_map(Mount::parse)
            .find(|mount| mount.holds(version, controller))?;
        let levels = levels(root, &mount, group);
        Some(Self { version, levels })
    }

    /// Our own group first, then its parents up to the mount.
    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }
}

/// The path in the line of `/proc/self/cgroup` (`ID:CONTROLLERS:PATH`) whose controllers fit.
fn group_of(groups: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (_id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        fits(controllers).then_some(path)
    })
}

struct Mount {
    /// The group that is seen at the mount point.
    group: String,
    point: String,
    kind: String,
    options: String,
}

impl Mount {
    /// Reads `32 31 0:29 GROUP POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER_OPTIONS`.
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            group: unescape(before.next()?),
            point: unescape(before.next()?),
            kind: after.next()?.to_owned(),
            options: after.nth(1)?.to_owned(),
        })
    }

    fn holds(&self, version: Version, controller: &str) -> bool {
        match version {
            Version::V1 => {
                self.kind == "cgroup" && self.options.split(',').any(|o| o == controller)
            }
            Version::V2 => self.kind == "cgroup2",
        }
    }
}

/// mountinfo writes blanks, newlines and backslashes in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn levels(root: &Path, mount: &Mount, group: &str) -> Vec<Level> {
    let point = root.join(mount.point.trim_start_matches('/'));
    // A container without a cgroup namespace is told its path on the host, but sees its own
    // group at the mount point. A path outside the mount ("/..") leaves the mount point itself.
    let below = group
        .strip_prefix(mount.group.trim_end_matches('/'))
        .filter(|below| below.is_empty() || below.starts_with('/'))
        .filter(|below| !below.split('/').any(|part| part == ".."))
        .unwrap_or("");
    let mut parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    let mut levels = Vec::with_capacity(parts.len() + 1);
    loop {
        levels.push(Level {
            directory: parts.iter().fold(point.clone(), |at, part| at.join(part)),
            path: format!("/{}", parts.join("/")),
        });
        if parts.pop().is_none() {
            return levels;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(mount_group: &str, group: &str) -> Vec<String> {
        let line = format!("32 31 0:29 {mount_group} /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
        let mount = Mount::parse(&line).unwrap();
        levels(Path::new("/"), &mount, group)
            .into_iter()
            .map(|level| level.path)
            .collect()
    }

    #[test]
    fn the_walk_goes_from_our_group_up_to_the_mount() {
        assert_eq!(paths("/", "/a/b"), ["/a/b", "/a", "/"]);
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount() {
        assert_eq!(paths("/docker/c1", "/docker/c1"), ["/"]);
        assert_eq!(paths("/docker/c1", "/docker/c1/sub"), ["/sub", "/"]);
        assert_eq!(paths("/docker/c1", "/docker/c12"), ["/"]);
    }

    #[test]
    fn a_group_outside_the_namespace_leaves_the_mount_alone() {
        assert_eq!(paths("/", "/../other"), ["/"]);
    }

    #[test]
    fn a_v1_controller_is_found_among_the_options_of_its_mount() {
        let line =
            "25 23 0:22 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let mount = Mount::parse(line).unwrap();
        assert!(mount.holds(Version::V1, "cpu"));
        assert!(!mount.holds(Version::V1, "cpuset"));
        assert!(!mount.holds(Version::V2, "cpu"));
    }
}
