//! How many CPUs we may use: the least of the affinity mask, the cpuset and the quota, walking
//! up the groups, since a parent's limit holds for its children.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::cgroup::{Hierarchy, Level, Version};

/// The CPUs that we may use, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuAllowance {
    /// CPU seconds in a second.
    pub cpus: f64,
    /// `cpus` rounded up, at least 1: how many threads can be kept busy.
    pub threads: usize,
    /// What sets it, such as `1.5 CPUs from cgroup v2 cpu.max at /kubepods/pod1, 2 threads`.
    pub source: String,
}

impl fmt::Display for CpuAllowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// One of the limits; the least of them counts.
struct Limit {
    cpus: f64,
    source: String,
}

/// Reads the allowance as it is now. `root` is where the file system begins, `/` outside tests.
/// What cannot be read does not limit.
pub fn read(root: &Path) -> CpuAllowance {
    let mut limits = vec![affinity(root)];
    limits.extend(cpuset(root));
    limits.extend(quotas(root));
    // Of equal limits the first one named counts: the mask is what the kernel enforces.
    let least = limits.into_iter().reduce(|least, limit| {
        if limit.cpus < least.cpus {
            limit
        } else {
            least
        }
    });
    let Limit { cpus, source } = least.unwrap_or_else(|| Limit {
        cpus: 1.0,
        source: "nothing that could be read".to_owned(),
    });
    let threads = (cpus.ceil() as usize).max(1);
    let shown = (cpus * 1000.0).round() / 1000.0;
    let (cpu_word, thread_word) = (plural(cpus == 1.0, "CPU"), plural(threads == 1, "thread"));
    CpuAllowance {
        cpus,
        threads,
        source: format!("{shown} {cpu_word} from {source}, {threads} {thread_word}"),
    }
}

/// Reads the allowance again and again, for ever, and tells `allowance` when it has changed:
/// an orchestrator may resize a container while it runs.
pub async fn follow(root: PathBuf, every: Duration, allowance: watch::Sender<CpuAllowance>) {
    loop {
        tokio::time::sleep(every).await;
        let now = read(&root);
        allowance.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }
}

fn plural(one: bool, word: &str) -> String {
    format!("{word}{}", if one { "" } else { "s" })
}

/// The mask of our main thread, which the kernel keeps within the cpuset.
fn affinity(root: &Path) -> Limit {
    let status = std::fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .and_then(count_cpus);
    match mask {
        Some(cpus) => Limit {
            cpus: f64::from(cpus),
            source: "the affinity mask".to_owned(),
        },
        None => Limit {
            cpus: std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
            source: "what the system says is available".to_owned(),
        },
    }
}

fn cpuset(root: &Path) -> Option<Limit> {
    let hierarchy = Hierarchy::find(root, "cpuset")?;
    let files = match hierarchy.version {
        Version::V1 => ["cpuset.effective_cpus", "cpuset.cpus"],
        Version::V2 => ["cpuset.cpus.effective", "cpuset.cpus"],
    };
    // The effective set of a group already lies within its parents'; a group in which the
    // controller is not enabled has no file, and its parent's set is its own.
    hierarchy.levels().iter().find_map(|level| {
        let (file, cpus) = files
            .into_iter()
            .find_map(|file| Some((file, count_cpus(&level.read(file)?)?)))?;
        Some(Limit {
            cpus: f64::from(cpus),
            source: format!("{} {file} at {}", hierarchy.version.name(), level.path),
        })
    })
}

fn quotas(root: &Path) -> Vec<Limit> {
    let Some(hierarchy) = Hierarchy::find(root, "cpu") else {
        return Vec::new();
    };
    let (read_quota, file): (fn(&Level) -> Option<f64>, _) = match hierarchy.version {
        Version::V1 => (quota_v1, "cpu.cfs_quota_us"),
        Version::V2 => (quota_v2, "cpu.max"),
    };
    let limits = hierarchy.levels().iter().filter_map(|level| {
        Some(Limit {
            cpus: read_quota(level)?,
            source: format!("{} {file} at {}", hierarchy.version.name(), level.path),
        })
    });
    limits.collect()
}

/// `cpu.cfs_quota_us` is -1 where there is no quota.
fn quota_v1(level: &Level) -> Option<f64> {
    let quota: i64 = level.read("cpu.cfs_quota_us")?.parse().ok()?;
    let period: i64 = level.read("cpu.cfs_period_us")?.parse().ok()?;
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// `cpu.max` is `QUOTA PERIOD`, with the word `max` where there is no quota.
fn quota_v2(level: &Level) -> Option<f64> {
    let text = level.read("cpu.max")?;
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// How many CPUs a list such as `0-3,8` names; `None` if it names none or is not a list.
fn count_cpus(list: &str) -> Option<u32> {
    let mut count = 0_u32;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> CpuAllowance {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup");
        read(&fixtures.join(name))
    }

    #[test]
    fn each_recorded_machine_has_its_allowance_and_says_why() {
        let expected = [
            (
                "v1/quota",
                "0.5 CPUs from cgroup v1 cpu.cfs_quota_us at /limited, 1 thread",
            ),
            (
                "v1/docker",
                "1.5 CPUs from cgroup v1 cpu.cfs_quota_us at /, 2 threads",
            ),
            (
                "v1/cpuset",
                "2 CPUs from cgroup v1 cpuset.effective_cpus at /pinned, 2 threads",
            ),
            ("v1/unlimited", "2 CPUs from the affinity mask, 2 threads"),
            (
                "v2/pod",
                "1.5 CPUs from cgroup v2 cpu.max at /kubepods.slice/pod1.slice, 2 threads",
            ),
            (
                "v2/namespaced",
                "1 CPU from cgroup v2 cpu.max at /, 1 thread",
            ),
            (
                "v2/cpuset",
                "3 CPUs from cgroup v2 cpuset.cpus.effective at /app.slice, 3 threads",
            ),
            ("v2/bare", "8 CPUs from the affinity mask, 8 threads"),
        ];
        for (name, source) in expected {
            assert_eq!(recorded(name).source, source, "{name}");
        }
        assert_eq!(
            (recorded("v2/pod").cpus, recorded("v2/pod").threads),
            (1.5, 2)
        );
    }

    #[test]
    fn a_machine_without_proc_still_gives_a_thread() {
        let allowance = recorded("nowhere");
        assert!(allowance.threads >= 1, "{allowance}");
        assert!(
            allowance.source.contains("what the system says"),
            "{allowance}"
        );
    }

    #[test]
    fn a_list_of_cpus_is_counted_and_nonsense_is_not() {
        for (list, count) in [("0", 1), ("0-1\n", 2), (" 0-3,8,10-11", 7)] {
            assert_eq!(count_cpus(list), Some(count), "{list}");
        }
        for list in ["", "a", "3-1", "0-", "0-4294967295"] {
            assert_eq!(count_cpus(list), None, "{list}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_quota_is_told_while_running() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc/self");
        std::fs::create_dir_all(&proc).unwrap();
        std::fs::write(proc.join("status"), "Cpus_allowed_list:\t0-3\n").unwrap();
        let (tx, mut allowance) = watch::channel(read(root.path()));
        assert_eq!(allowance.borrow().threads, 4);
        let following = tokio::spawn(follow(root.path().into(), Duration::from_secs(5), tx));
        std::fs::write(proc.join("status"), "Cpus_allowed_list:\t0\n").unwrap();
        allowance.changed().await.unwrap();
        assert_eq!(allowance.borrow().threads, 1);
        following.abort();
    }
}
