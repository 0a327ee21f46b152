//! How much freed memory the allocator keeps for the next request.

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
