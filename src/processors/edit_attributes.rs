//! What the attributes and resource processors of a pipeline become: one pass over the bytes.

use bytes::Bytes;

use super::ActionConfig;
use crate::batch::Batch;
use crate::component::Processor;
use crate::otlp::attributes::{self, Actions};

/// Edits the attributes of resources and of items.
#[derive(Debug, Default)]
pub(super) struct EditAttributes {
    resources: Actions,
    items: Actions,
}

impl EditAttributes {
    /// Does this to resources, after what it did before.
    pub(super) fn then_resources(&mut self, actions: &[ActionConfig]) {
        then(&mut self.resources, actions);
    }

    /// Does this to items, after what it did before.
    pub(super) fn then_items(&mut self, actions: &[ActionConfig]) {
        then(&mut self.items, actions);
    }

    /// Whether it would do nothing at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.items.is_empty()
    }
}

fn then(actions: &mut Actions, more: &[ActionConfig]) {
    let before = std::mem::take(actions);
    let more = more.iter().map(|config| config.0.clone());
    *actions = before.into_iter().chain(more).collect();
}

impl Processor for EditAttributes {
    fn process(&self, mut batch: Batch) -> Batch {
        let signal = batch.signal;
        batch.rewrite(|chunk| {
            attributes::edit(signal, chunk, &self.resources, &self.items).map(Bytes::from)
        });
        batch
    }
}
