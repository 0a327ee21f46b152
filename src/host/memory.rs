//! How much memory we may use, and how much of it the telemetry in transit may take.

use std::fs;
use std::path::Path;

use super::cgroup::{Hierarchy, Level, Version};
use crate::units::ByteSize;

/// The memory that we may use, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit, in bytes; `u64::MAX` if nothing could be read.
    pub bytes: u64,
    /// What sets it, such as `cgroup v2 memory.max at /kubepods/pod1`.
    pub source: String,
    /// Whether a control group sets it, and so enforces it by killing us.
    pub container: bool,
}

/// Reads the limit as it is now. `root` is where the file system begins, `/` outside tests.
pub fn read(root: &Path) -> MemoryLimit {
    let machine = physical(root);
    // A limit that is not below the machine's memory is none: v1 writes "unlimited" as a number
    // near 2^63, and the page size decides which.
    let limits = groups(root)
        .into_iter()
        .filter(|limit| limit.bytes < machine.bytes);
    limits.min_by_key(|limit| limit.bytes).unwrap_or(machine)
}

/// Below this not one ordinary request would pass.
const LEAST: u64 = 4 << 20;

const MOST_ON_A_MACHINE: u64 = 512 << 20;

/// What `memory_budget = "auto"` gives, in bytes.
///
/// In a container, 40 % of its limit (at least 4 MiB). The rest is for what the budget does not
/// count: the process itself (about 10 MiB), buffers of connections and of compression, the
/// copy of a body between two representations (inflating, merging), and the allocator, which
/// under churn keeps up to half as much again as is in use. Going past the limit is death, being
/// below it is only a client that is told to wait.
///
/// On a bare machine we are a guest: 25 % of the memory, at most 512 MiB. A queue that is longer
/// than that does not help a destination that is too slow, and belongs on disk.
pub fn budget(limit: &MemoryLimit) -> u64 {
    if limit.container {
        (limit.bytes / 5 * 2).max(LEAST)
    } else {
        (limit.bytes / 4).min(MOST_ON_A_MACHINE)
    }
}

/// What [`budget`] gives and why, for a person: `25.6MiB: 40 % of cgroup v2 memory.max at /pod
/// (64MiB), at least 4MiB`.
pub fn explain_budget(limit: &MemoryLimit) -> String {
    let (share, bound) = if limit.container {
        (40, format!("at least {}", ByteSize(LEAST)))
    } else {
        (25, format!("at most {}", ByteSize(MOST_ON_A_MACHINE)))
    };
    let (bytes, whole) = (ByteSize(budget(limit)), ByteSize::mib(limit.bytes >> 20));
    format!(
        "{bytes:.1}: {share} % of {} ({whole}), {bound}",
        limit.source
    )
}

fn groups(root: &Path) -> Vec<MemoryLimit> {
    let Some(hierarchy) = Hierarchy::find(root, "memory") else {
        return Vec::new();
    };
    let files = match hierarchy.version {
        Version::V1 => ["memory.limit_in_bytes", "memory.stat"],
        // Above `memory.high` we are not killed but throttled to a standstill.
        Version::V2 => ["memory.max", "memory.high"],
    };
    let mut limits = Vec::new();
    // Of equal limits the first counts, which names the group that sets it.
    for file in files {
        for level in hierarchy.levels() {
            limits.extend(limit_in(level, file).map(|bytes| MemoryLimit {
                bytes,
                source: format!("{} {file} at {}", hierarchy.version.name(), level.path),
                container: true,
            }));
        }
    }
    limits
}

/// `memory.stat` of v1 knows the limits of parents that are not mounted here; the other files
/// are one number, or the word `max`.
fn limit_in(level: &Level, file: &str) -> Option<u64> {
    let text = level.read(file)?;
    let number = if file == "memory.stat" {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("hierarchical_memory_limit "))?
    } else {
        &text
    };
    number.parse().ok()
}

fn physical(root: &Path) -> MemoryLimit {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let (bytes, source) = match kib {
        Some(kib) => (kib.saturating_mul(1024), "the memory of the machine"),
        None => (u64::MAX, "nothing that could be read"),
    };
    MemoryLimit {
        bytes,
        source: source.to_owned(),
        container: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn recorded(name: &str) -> MemoryLimit {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup");
        read(&fixtures.join(name))
    }

    #[test]
    fn each_recorded_machine_has_its_limit_and_says_why() {
        let expected = [
            (
                "v1/quota",
                64,
                "cgroup v1 memory.limit_in_bytes at /limited",
            ),
            ("v1/docker", 128, "cgroup v1 memory.stat at /"),
            (
                "v2/pod",
                256,
                "cgroup v2 memory.max at /kubepods.slice/pod1.slice/app.scope",
            ),
            ("v2/namespaced", 48, "cgroup v2 memory.high at /"),
        ];
        for (name, mib, source) in expected {
            let limit = recorded(name);
            assert_eq!(
                (limit.bytes, limit.source.as_str()),
                (mib * MIB, source),
                "{name}"
            );
            assert!(limit.container, "{name}");
        }
    }

    #[test]
    fn without_a_limit_the_memory_of_the_machine_counts() {
        for name in ["v1/unlimited", "v2/bare"] {
            let limit = recorded(name);
            assert_eq!(limit.source, "the memory of the machine", "{name}");
            assert_eq!(limit.bytes, 24_684_084 * 1024, "{name}");
            assert!(!limit.container, "{name}");
        }
    }

    #[test]
    fn the_budget_leaves_room_for_what_it_does_not_count() {
        let of = |bytes, container| {
            budget(&MemoryLimit {
                bytes,
                source: String::new(),
                container,
            })
        };
        assert_eq!(of(500 * MIB, true), 200 * MIB);
        assert_eq!(of(5 * MIB, true), 4 * MIB);
        assert_eq!(of(1024 * MIB, false), 256 * MIB);
        assert_eq!(of(u64::MAX, false), 512 * MIB);
    }

    #[test]
    fn the_budget_is_explained_by_its_rule_and_its_source() {
        for (name, explained) in [
            (
                "v1/quota",
                "25.6MiB: 40 % of cgroup v1 memory.limit_in_bytes at /limited (64MiB), at least 4MiB",
            ),
            (
                "v2/bare",
                "512MiB: 25 % of the memory of the machine (24105MiB), at most 512MiB",
            ),
        ] {
            assert_eq!(explain_budget(&recorded(name)), explained, "{name}");
        }
    }
}
