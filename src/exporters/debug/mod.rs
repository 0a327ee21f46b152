//! Prints what passes on standard output, for a person.
//!
//! A page of text is made of each batch on a worker thread, and written whole by a thread of
//! the exporter's own, because whoever reads standard output may stop reading.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::batch::Batch;
use crate::component::{Delivered, Exporter, Failure};
use crate::host::workers::Workers;

mod basic;
mod detailed;
mod fields;
mod normal;
mod numbers;
mod page;
mod points;
mod printer;
mod values;

use page::Page;
use printer::Printer;

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

/// The most text that is made of one batch, in bytes: more than a person reads, and a small
/// part of the budget.
const MAX_TEXT: usize = 1 << 20;

/// Prints batches.
pub struct Debug {
    verbosity: Verbosity,
    workers: Workers,
    printer: Printer,
}

impl Debug {
    /// Prints on standard output.
    ///
    /// # Errors
    /// A sentence, where the thread that writes cannot be started.
    pub fn new(config: &DebugConfig, workers: Workers) -> Result<Self, String> {
        Ok(Self {
            verbosity: config.verbosity,
            workers,
            printer: Printer::start(std::io::stdout())?,
        })
    }
}

impl Exporter for Debug {
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        let (batch, verbosity) = (batch.clone(), self.verbosity);
        async move {
            let text = self
                .workers
                .run(move || render(&batch, verbosity, MAX_TEXT))
                .await;
            self.printer.print(text).await
        }
        .boxed()
    }
}

/// The text of a batch, which ends with a line break; a little more than `limit` bytes of it at
/// most.
fn render(batch: &Batch, verbosity: Verbosity, limit: usize) -> String {
    let mut page = Page::new(limit);
    let written = match verbosity {
        Verbosity::Basic => basic::write(&mut page, batch),
        Verbosity::Normal => normal::write(&mut page, batch),
        Verbosity::Detailed => detailed::write(&mut page, batch),
    };
    match written {
        Ok(()) => page.whole(),
        Err(std::fmt::Error) => page.cut(batch),
    }
}

#[cfg(test)]
mod tests;
