//! What the machine or the container gives us: CPUs, memory, signals, and what we use of them.

pub mod cpu;
pub mod memory;
pub mod process;
pub mod signals;

mod cgroup;
