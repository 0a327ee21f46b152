//! wip
#![allow(missing_docs)]
use bytes::Bytes;
#[derive(Clone, Copy)]
pub struct SplitLimit { pub max_bytes: usize, pub max_items: u64 }
pub struct Part { pub bytes: Bytes, pub items: u64, pub oversize: bool }
pub struct Split { pub parts: Vec<Part> }
pub fn split(_: super::Signal, _: &Bytes, _: SplitLimit) -> Split { Split { parts: vec![] } }
