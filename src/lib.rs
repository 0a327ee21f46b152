//! otlpd takes in OpenTelemetry traces, metrics and logs, carries them through pipelines of
//! bounded queues and delivers them, and says at every moment what became of each item.
//!
//! # Layout
//! The way of the data is the table of contents:
//! `receiver -> intake -> worker (processors) -> fan-out -> lane { queue -> batcher -> sender }`.
//! Modules are listed from the top layer down; a module imports only from those below it
//! (`tests/tidy.rs` holds that).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::too_many_lines)
)]

// Layer 7: the command line.
pub mod cli;
// Layer 6: from config to running process.
pub mod app;
// Layer 5: what an operator writes, and what an operator reads.
pub mod admin;
pub mod config;
// Layer 4: processors in a row, and the fan-out to lanes.
pub mod pipeline;
// Layer 3: components, and delivery, which knows exporters only as a trait.
pub mod delivery;
pub mod exporters;
pub mod processors;
pub mod receivers;
// Layer 2: what a component is, and admission.
pub mod component;
pub mod intake;
// Layer 1: what flows, how it is settled, how it is paid for, what is said about it.
pub mod batch;
pub mod otlp;
pub mod receipt;
pub mod telemetry;
// Layer 0: the ground floor knows nothing of telemetry.
pub mod auth;
pub mod budget;
pub mod failures;
pub mod host;
pub mod net;
pub mod shutdown;
pub mod storage;
pub mod units;
