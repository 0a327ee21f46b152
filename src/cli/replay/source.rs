//! Where letters come from: the folder beside a running otlpd, or one that is ours alone.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::tally::Tally;
use crate::budget::Budget;
use crate::delivery::dead_letters::LOG;
use crate::storage::{Fsync, Log, LogOptions, ReadOrder, Record, Storage, StorageOptions, Ticket};

/// A letter as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    pub(super) items: u64,
    /// The right to remove it.
    ticket: Option<Ticket>,
}

/// A folder that this process alone has open, so that letters can be removed.
pub(super) struct Source {
    storage: Storage,
    log: Log,
    page: VecDeque<Record>,
}

/// How much is read at once.
const PAGE_BYTES: usize = 4 << 20;

/// More than any disk has: what is read here was paid for when it was written.
const ROOM: u64 = 1 << 50;

impl Source {
    /// Takes the folder for this process alone.
    ///
    /// # Errors
    /// A sentence: there are no dead letters, or another process has the folder.
    pub(super) async fn take_over(directory: PathBuf) -> Result<Self, String> {
        has_letters(&directory)?;
        let opened = tokio::task::spawn_blocking(move || {
            let storage = Storage::open(StorageOptions {
                directory,
                sync_interval: Duration::from_millis(500),
                keys: Vec::new(),
            })?;
            let options = LogOptions {
                fsync: Fsync::Interval,
                room: Budget::new(ROOM),
            };
            let (log, _recovery) = storage.log(LOG, options, &mut |_, _| ())?;
            Ok((storage, log))
        });
        let opened = opened.await.map_err(|error| error.to_string())?;
        let (storage, log) = opened.map_err(|error: crate::storage::StorageError| {
            format!("--remove needs the folder for itself, which means that otlpd does not run on it: {error}")
        })?;
        Ok(Self {
            storage,
            log,
            page: VecDeque::new(),
        })
    }

    /// The next letter, the oldest first; damage is counted.
    ///
    /// # Errors
    /// A sentence: the disk cannot be read.
    pub(super) async fn next(&mut self, tally: &mut Tally) -> Result<Option<Found>, String> {
        while self.page.is_empty() {
            let page = self.log.next(PAGE_BYTES, ReadOrder::OldestFirst).await;
            let page = page.map_err(|error| error.to_string())?;
            let ended = page.records.is_empty() && page.lost.records == 0;
            tally.count_damaged(page.lost.records, page.lost.weight.iter().sum());
            self.page = page.records.into();
            if ended {
                return Ok(None);
            }
        }
        Ok(self.page.pop_front().map(|record| Found {
            head: record.head,
            body: record.body,
            items: record.weight,
            ticket: Some(record.ticket),
        }))
    }

    /// Leaves what was not asked for, and gives the folder up.
    pub(super) async fn close(mut self) {
        for record in self.page.drain(..) {
            record.ticket.keep();
        }
        let closed = tokio::task::spawn_blocking(move || self.storage.close()).await;
        if let Err(error) = closed {
            crate::cli::complain(&format!("the folder was not closed in order: {error}\n"));
        }
    }
}

fn has_letters(directory: &Path) -> Result<(), String> {
    let folder = directory.join(LOG);
    match folder.is_dir() {
        true => Ok(()),
        false => Err(format!(
            "{} holds no dead letters: it has no folder {LOG}; name the `directory` of [storage]",
            directory.display()
        )),
    }
}

impl Found {
    /// It stays among the dead letters.
    pub(super) fn keep(self) {
        if let Some(ticket) = self.ticket {
            ticket.keep();
        }
    }

    /// It is removed from there, where that is ours to do.
    pub(super) fn remove(self) {
        drop(self.ticket);
    }
}
