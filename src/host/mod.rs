//! What the machine or the container gives us: CPUs, memory, worker threads, signals, the service
//! manager's ear, and what we use of them.

pub mod allocator;
pub mod cpu;
pub mod memory;
pub mod process;
pub mod service;
pub mod signals;
pub mod workers;

mod cgroup;
