//! Prints what passes, for a person.

use serde::Deserialize;

/// `type = "debug"`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DebugConfig {
    /// How much is printed.
    pub verbosity: Verbosity,
}

/// `verbosity = "basic" | "normal" | "detailed"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verbosity {
    /// One line a batch, with its counts.
    #[default]
    Basic,
    /// One line an item.
    Normal,
    /// Every field of every item.
    Detailed,
}

/// wip
pub struct Debug;
impl Debug {
    /// wip
    pub fn new(_: &DebugConfig) -> Self {
        Self
    }
}
impl crate::component::Exporter for Debug {
    fn export<'a>(
        &'a self,
        _: &'a crate::batch::Batch,
    ) -> futures_util::future::BoxFuture<
        'a,
        Result<crate::component::Delivered, crate::component::Failure>,
    > {
        Box::pin(async { Ok(Default::default()) })
    }
}
