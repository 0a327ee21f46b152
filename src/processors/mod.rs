//! Processors change batches on their way, on the bytes. A new one is a new file here, and a
//! line in each of the places below that the compiler names.

use serde::Deserialize;

use crate::component::Processor;

mod action;
pub mod attributes;
mod edit_attributes;
pub mod fault;
pub mod resource;

pub use action::ActionConfig;
use edit_attributes::EditAttributes;

/// One processor, by its `type`.
#[derive(Clone, Debug)]
pub enum ProcessorConfig {
    /// Changes the attributes of resources.
    Resource(resource::ResourceConfig),
    /// Changes the attributes of spans, log records and data points.
    Attributes(attributes::AttributesConfig),
    /// Injects faults, for rehearsals.
    Fault(fault::FaultConfig),
}

impl ProcessorConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 3] = [
        ("resource", "changes the attributes of resources"),
        (
            "attributes",
            "changes the attributes of spans, log records and data points",
        ),
        (
            "fault",
            "delays, refuses or loses requests, to rehearse outages",
        ),
    ];

    /// Reads the table of a processor of this type; `None` if there is no such type.
    pub fn read<'de, D: serde::Deserializer<'de>>(
        kind: &str,
        table: D,
    ) -> Option<Result<Self, D::Error>> {
        Some(match kind {
            "resource" => resource::ResourceConfig::deserialize(table).map(Self::Resource),
            "attributes" => attributes::AttributesConfig::deserialize(table).map(Self::Attributes),
            "fault" => fault::FaultConfig::deserialize(table).map(Self::Fault),
            _ => return None,
        })
    }
}

/// Builds the processors of one pipeline, in their order. Neighbours that edit attributes become
/// one, which goes over the bytes once: edits of resources and edits of items cannot see each
/// other, so only the order among each kind matters.
pub fn build_chain<'a>(
    configs: impl IntoIterator<Item = &'a ProcessorConfig>,
) -> Vec<Box<dyn Processor>> {
    let mut edits = EditAttributes::default();
    for config in configs {
        match config {
            ProcessorConfig::Resource(config) => edits.then_resources(&config.attributes),
            ProcessorConfig::Attributes(config) => edits.then_items(&config.actions),
            // It neither changes anything nor returns at once: the pipeline asks it by itself.
            ProcessorConfig::Fault(_) => {}
        }
    }
    if edits.is_empty() {
        return Vec::new();
    }
    vec![Box::new(edits)]
}

#[cfg(test)]
mod tests;
