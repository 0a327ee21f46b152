//! Where letters come from: the folder beside a running otlpd, or one that is ours alone.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::tally::Tally;
use crate::budget::Budget;
use crate::delivery::dead_letters::LOG;
use crate::storage::Ticket;
use crate::storage::inspect::{self, Damage};
use crate::storage::{
    Fsync, Key, Log, LogOptions, ReadOrder, Record, Storage, StorageError, StorageOptions,
};

/// A letter as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    pub(super) items: u64,
    /// The right to remove it.
    ticket: Option<Ticket>,
}

/// The folder of `[storage]`.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) directory: PathBuf,
    /// What its records may be encrypted with.
    pub(super) keys: Vec<Key>,
}

/// Where letters come from.
pub(super) enum Source {
    /// A folder that this process alone has open, so that letters can be removed.
    Own(Own),
    /// One that otlpd may be running on: it is only read.
    Beside(Beside),
}

pub(super) struct Own {
    storage: Storage,
    log: Log,
    page: VecDeque<Record>,
}

pub(super) struct Beside {
    seen: mpsc::Receiver<Result<inspect::Record, Damage>>,
    /// Reads ahead, on a thread that may wait for the disk and for us.
    reading: Option<JoinHandle<Result<(), StorageError>>>,
}

/// How much is read at once of a folder of our own.
const PAGE_BYTES: usize = 4 << 20;

/// How many letters are read ahead beside a running otlpd.
const READ_AHEAD: usize = 2;

/// More than any disk has: what is read here was paid for when it was written.
const ROOM: u64 = 1 << 50;

impl Source {
    /// Takes the folder for this process alone.
    ///
    /// # Errors
    /// A sentence: there are no dead letters, or another process has the folder.
    pub(super) async fn take_over(folder: Folder) -> Result<Self, String> {
        folder.has_letters()?;
        let opened = spawn_blocking(move || folder.open()).await;
        let (storage, log) = opened
            .map_err(|error| error.to_string())?
            .map_err(|error| {
                format!(
                    "--remove needs the folder for itself, which means that otlpd does not run on \
                 it: {error}"
                )
            })?;
        let page = VecDeque::new();
        Ok(Self::Own(Own { storage, log, page }))
    }

    /// Looks into the folder, whoever has it.
    ///
    /// # Errors
    /// A sentence: there are no dead letters.
    pub(super) fn look_into(folder: Folder) -> Result<Self, String> {
        folder.has_letters()?;
        let (tx, rx) = mpsc::channel(READ_AHEAD);
        let reading = spawn_blocking(move || folder.look(&tx));
        Ok(Self::Beside(Beside {
            seen: rx,
            reading: Some(reading),
        }))
    }

    /// The next letter, the oldest first; damage is counted.
    ///
    /// # Errors
    /// A sentence: the disk cannot be read.
    pub(super) async fn next(&mut self, tally: &mut Tally) -> Result<Option<Found>, String> {
        match self {
            Self::Own(own) => own.next(tally).await,
            Self::Beside(beside) => beside.next(tally).await,
        }
    }

    /// Leaves what was not asked for, and gives the folder up.
    pub(super) async fn close(self) {
        let closed = match self {
            Self::Own(Own { storage, page, .. }) => {
                for record in page {
                    record.ticket.keep();
                }
                spawn_blocking(move || storage.close()).await
            }
            Self::Beside(Beside { seen, reading }) => {
                drop(seen);
                match reading {
                    // It was not heard to its end.
                    Some(reading) => reading.await.map(|_read| ()),
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = closed {
            crate::cli::complain(&format!("the folder was not closed in order: {error}\n"));
        }
    }
}

impl Own {
    async fn next(&mut self, tally: &mut Tally) -> Result<Option<Found>, String> {
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
}

impl Beside {
    async fn next(&mut self, tally: &mut Tally) -> Result<Option<Found>, String> {
        while let Some(seen) = self.seen.recv().await {
            match seen {
                Ok(record) => {
                    return Ok(Some(Found {
                        head: record.head,
                        body: record.body,
                        items: record.weight,
                        ticket: None,
                    }));
                }
                Err(Damage {
                    path,
                    offset,
                    reason,
                }) => {
                    let path = path.display();
                    crate::cli::complain(&format!("{path}, byte {offset}: {reason}\n"));
                    // How many letters that were, and of how many items, nobody can say.
                    tally.count_damaged(1, 0);
                }
            }
        }
        let Some(reading) = self.reading.take() else {
            return Ok(None);
        };
        let read = reading.await.map_err(|error| error.to_string())?;
        read.map(|()| None).map_err(|error| error.to_string())
    }
}

impl Folder {
    fn has_letters(&self) -> Result<(), String> {
        match self.directory.join(LOG).is_dir() {
            true => Ok(()),
            false => Err(format!(
                "{} holds no dead letters: it has no folder {LOG}; name the `directory` of \
                 [storage]",
                self.directory.display()
            )),
        }
    }

    /// Reads all that is not settled, until nobody asks for more.
    fn look(
        &self,
        found: &mpsc::Sender<Result<inspect::Record, Damage>>,
    ) -> Result<(), StorageError> {
        let (segments, damaged) = inspect::segments(&self.directory, LOG)?;
        for damage in damaged {
            if found.blocking_send(Err(damage)).is_err() {
                return Ok(());
            }
        }
        for segment in &segments {
            let records = match segment.records(&self.keys) {
                Ok(records) => records,
                // Displaced by newer letters in the meantime.
                Err(_) if !segment.path.is_file() => continue,
                Err(error) => return Err(error),
            };
            for record in records {
                if found.blocking_send(record).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn open(self) -> Result<(Storage, Log), StorageError> {
        let storage = Storage::open(StorageOptions {
            directory: self.directory,
            sync_interval: Duration::from_millis(500),
            keys: self.keys,
        })?;
        let options = LogOptions {
            fsync: Fsync::Interval,
            room: Budget::new(ROOM),
        };
        let (log, _recovery) = storage.log(LOG, options, &mut |_, _| ())?;
        Ok((storage, log))
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
