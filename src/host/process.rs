//! What this process uses, from `/proc/self` (proc(5)).

use std::fs;
use std::path::Path;

/// What this process uses now; what could not be read is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// The most that was ever resident, in bytes.
    pub peak_rss_bytes: u64,
    /// CPU seconds spent, in user and in kernel mode.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
}

/// What the kernel counts CPU time in for user space (`USER_HZ`); 100 on every architecture
/// that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the usage. `root` is where the file system begins, `/` outside tests.
pub fn read(root: &Path) -> ProcessUsage {
    let proc = root.join("proc/self");
    let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
    let field = |name| number_after(&status, name).unwrap_or(0);
    let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
    // Reading the directory holds one descriptor of its own.
    let open_fds = fs::read_dir(proc.join("fd")).map_or(0, |fds| fds.count().saturating_sub(1));
    ProcessUsage {
        rss_bytes: field("VmRSS:").saturating_mul(1024),
        peak_rss_bytes: field("VmHWM:").saturating_mul(1024),
        cpu_seconds: cpu_ticks(&stat).unwrap_or(0) as f64 / TICKS_PER_SECOND,
        threads: field("Threads:"),
        open_fds: open_fds as u64,
    }
}

/// Resident memory that is of no file, in bytes; 0 if it could not be read.
pub fn anonymous(root: &Path) -> u64 {
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    number_after(&status, "RssAnon:")
        .unwrap_or(0)
        .saturating_mul(1024)
}

fn number_after(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, `utime` and `stime`. The second field is the program's name in brackets,
/// and may itself hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_before, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user.saturating_add(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 103 0 0 0 250 50 0 0 20 0 1 0 104494 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn this_very_process_uses_something_of_everything() {
        let usage = read(Path::new("/"));
        assert!(
            usage.rss_bytes > 0 && usage.peak_rss_bytes >= usage.rss_bytes,
            "{usage:?}"
        );
        assert!(usage.threads >= 1 && usage.open_fds >= 3, "{usage:?}");
    }

    #[test]
    fn a_process_without_proc_uses_nothing() {
        assert_eq!(read(Path::new("/nowhere")), ProcessUsage::default());
    }
}
