//! How much freed memory the allocator keeps for the next request, and when it gives back what is
//! more.

use std::path::Path;
use std::time::Duration;

use super::process;

/// How much is kept of this budget, in bytes.
pub fn slack(budget: u64) -> u64 {
    (budget / 4).clamp(1 << 20, 32 << 20)
}

/// Lets the allocator keep up to `slack` bytes of freed memory, instead of giving each body's
/// pages back to the kernel and asking for zeroed ones again: on a pass-through of half a
/// megabyte a request that is a tenth of all CPU time. Few arenas, so that few threads' leftovers
/// add up. Does nothing where the C library is not glibc.
pub fn keep(slack: u64) {
    #[cfg(target_env = "gnu")]
    {
        let slack = libc::c_int::try_from(slack).unwrap_or(libc::c_int::MAX);
        set(libc::M_TRIM_THRESHOLD, slack);
        set(libc::M_MMAP_THRESHOLD, slack.min(MMAP_FROM));
        set(libc::M_ARENA_MAX, ARENAS);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = slack;
}

/// From this size on an allocation has a mapping of its own, and goes back at once.
#[cfg(target_env = "gnu")]
const MMAP_FROM: libc::c_int = 8 << 20;

#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// What the process itself and its connections take, beside what is paid for and what is kept.
const OWN: u64 = 16 << 20;

/// So much more than was left the last time is worth a look at the whole heap.
const WORTH: u64 = 8 << 20;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// When freed memory goes back that lies between what is still used, as many connections leave it
/// behind.
#[derive(Debug)]
struct Leftovers {
    slack: u64,
    /// What stayed that nobody had paid for, the last time; it will stay again.
    left: u64,
}

impl Leftovers {
    /// By what is resident and not of a file, and what of it is paid for.
    fn are_due(&mut self, resident: u64, used: u64) -> bool {
        let unpaid = resident.saturating_sub(used);
        self.left = self.left.min(unpaid);
        // What is used is scattered, too.
        let expected = used / 2 + self.slack + OWN;
        let due = unpaid > expected.max(self.left + WORTH);
        // It may have stayed for what was just about to end: after a while it is tried again.
        self.left -= self.left / 16;
        due
    }
}

/// Gives memory back to the kernel, now and then, when far more is resident than is used.
pub async fn give_back(slack: u64, used: impl Fn() -> u64 + Send) {
    let mut leftovers = Leftovers { slack, left: 0 };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if leftovers.are_due(process::anonymous(Path::new("/")), used()) {
            // It stops who allocates, but none of the threads that serve by itself.
            tokio::task::spawn_blocking(trim).await.ok();
            leftovers.left = process::anonymous(Path::new("/")).saturating_sub(used());
        }
    }
}

fn trim() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(
            unsafe_code,
            reason = "malloc_trim takes an integer and gives back pages that nobody uses"
        )]
        // SAFETY: `malloc_trim` has no preconditions, and locks what it looks at.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(target_env = "gnu")]
fn set(parameter: libc::c_int, value: libc::c_int) {
    #[expect(
        unsafe_code,
        reason = "mallopt takes two integers and changes tuning parameters only; measured: \
                  0.46 to 0.40 CPU seconds per million spans"
    )]
    // SAFETY: `mallopt` has no preconditions, and an unknown parameter only returns 0.
    unsafe {
        libc::mallopt(parameter, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memory_goes_back_when_far_more_is_resident_than_used() {
        let mut leftovers = Leftovers {
            slack: 16 * MIB,
            left: 0,
        };
        assert!(!leftovers.are_due(32 * MIB, 0));
        assert!(leftovers.are_due(33 * MIB, 0));
        assert!(!leftovers.are_due(150 * MIB, 80 * MIB));
    }

    #[test]
    fn what_stayed_is_not_asked_for_again() {
        let mut leftovers = Leftovers {
            slack: MIB,
            left: 100 * MIB,
        };
        assert!(!leftovers.are_due(108 * MIB, 0));
        assert!(leftovers.are_due(109 * MIB, 0));
        // What was used when it stayed, and is not any more, is looked at again.
        leftovers.left = 30 * MIB;
        assert!(!leftovers.are_due(70 * MIB, 40 * MIB));
        assert!(leftovers.are_due(70 * MIB, 0));
        // Once it is gone, it is not what stays any more.
        assert!(!leftovers.are_due(10 * MIB, 0));
        assert!(leftovers.are_due(50 * MIB, 0));
    }
}
