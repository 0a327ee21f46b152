//! What of a lane stays on disk for the next start.

use std::path::Path;

use super::Lane;
use crate::batch::Batch;
use crate::delivery::record;
use crate::receipt::Receipt;
use crate::telemetry::ledger::Fate;

impl Lane {
    /// Sees whether what was stored lies where it was put: what is said of it at the end is true.
    pub(super) async fn look(&self) {
        if let Some(durable) = &self.durable {
            let [any, ..] = &durable.logs;
            any.look().await;
        }
    }

    /// Leaves a batch on disk for the next start, writing it first where it is only in memory;
    /// the receipt comes back where that cannot be, with the cause.
    pub(super) async fn keep(
        &self,
        batch: &Batch,
        mut receipt: Receipt,
    ) -> Result<(), (Receipt, String)> {
        let Some(durable) = &self.durable else {
            return Err((receipt, "its queue is in memory".to_owned()));
        };
        if !receipt.is_stored() {
            let room = self.room.try_reserve_most(record::room(batch));
            let Ok(room) = room else {
                return Err((receipt, "the queue's max_bytes are taken".to_owned()));
            };
            let log = durable.log(batch.context.priority);
            let ticket = match log.append(record::encode(batch), room).await {
                Ok(ticket) => ticket,
                Err(error) => return Err((receipt, error.to_string())),
            };
            ticket.keep();
            // What of it was stored before is in the new record too.
            receipt.forget_tickets();
        }
        receipt.settle(Fate::Kept);
        Ok(())
    }

    /// What nobody has read stays where it is: that is all that is still in process when nothing
    /// is in memory any more, what a reader that went away gives back included.
    pub(super) fn keep_unread(&self) {
        let Some(durable) = &self.durable else {
            return;
        };
        self.hear(durable);
        for account in &self.accounts {
            account.settle(account.counts().in_process, Fate::Kept);
        }
        let kept: u64 = self.accounts.iter().map(|a| a.counts().kept).sum();
        if kept > 0 {
            let [log, ..] = &durable.logs;
            let folder = log.folder().parent();
            tracing::info!(
                exporter = %self.name,
                items = kept,
                folder = %folder.unwrap_or(Path::new("")).display(),
                kind = self.config.queue.kind.name(),
                "undelivered items stay on disk for the next start"
            );
        }
    }
}
