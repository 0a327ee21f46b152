//! The machine below us: CPU and memory allowances, worker threads, signals.

pub mod workers;
