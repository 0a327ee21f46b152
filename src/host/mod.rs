//! What the machine or the container gives us: CPUs, memory, worker threads, signals, and what
//! we use of them.

pub mod allocator;
pub mod cpu;
pub mod memory;
pub mod process;
pub mod signals;
pub mod workers;

mod cgroup;
