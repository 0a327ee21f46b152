//! The dead letters: what could not be delivered for good, kept on disk with the reason.

mod count;
mod letter;
mod reserve;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

pub use count::{LetterCounts, Loss};
pub use letter::{Letter, Unreadable};

use crate::batch::Batch;
use crate::budget::{Budget, Reservation, Unpaid};
use crate::limited;
use crate::otlp::Signal;
use crate::storage::{Fsync, Log, LogOptions, NewRecord, Storage, StorageError, Tally};
use crate::telemetry::ledger::{Ledger, Reason};
use count::Tallies;
use reserve::Reserve;

/// The name of the log that they are in.
pub const LOG: &str = "dead-letters";

/// Where dead letters go; by default they are off, and what is given up is gone. Cloning it
/// shares it.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters(Option<Arc<Office>>);

/// Why a request is given up.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// What its items are counted as.
    pub reason: Reason,
    /// What the destination said, or what was wrong, for a person.
    pub text: &'a str,
}

/// Why a letter is not written.
#[derive(Clone, Debug)]
pub struct Unwritten {
    /// What its items are counted as, should they be lost by it.
    pub loss: Loss,
    /// What is wrong, and what to do, for a person.
    pub problem: String,
}

#[derive(Debug)]
struct Office {
    log: Log,
    room: Budget,
    /// Held by the lane that makes room, so that two of them do not displace twice as many.
    making_room: Mutex<()>,
    reserve: Reserve,
    tallies: Tallies,
    ledger: Arc<Ledger>,
    /// How many letters are to be written.
    awaited: watch::Sender<usize>,
}

/// A letter that is to be written, as long as this lives: [`DeadLetters::finish`] waits for it.
#[derive(Debug)]
pub struct Awaited(Arc<Office>);

/// How long the disk may take to give back the bytes of letters that were given up.
const PATIENCE: Duration = Duration::from_secs(5);

impl DeadLetters {
    /// Opens the log of dead letters in `storage`, which takes `max_bytes` on disk; they are off
    /// where that is 0. Must be called within a runtime. `ledger` hears of letters that are given
    /// up to make room.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(
        storage: &Storage,
        max_bytes: u64,
        ledger: Arc<Ledger>,
    ) -> Result<Self, StorageError> {
        if max_bytes == 0 {
            return Ok(Self::default());
        }
        let room = Budget::new(max_bytes);
        let options = LogOptions {
            fsync: Fsync::Interval,
            room: room.clone(),
        };
        let (log, recovery) = storage.log(LOG, options, &mut |_, _| ())?;
        if recovery.waiting.records > 0 {
            tracing::info!(
                letters = recovery.waiting.records,
                items = recovery.waiting.weight.iter().sum::<u64>(),
                "dead letters of earlier runs are kept; `otlpd replay` sends them again"
            );
        }
        for hole in &recovery.holes {
            tracing::error!(
                file = %hole.file.display(),
                reason = hole.reason,
                letters = hole.lost.records,
                "a file of the dead letters is damaged or missing; so many letters of it are lost"
            );
        }
        for (signal, items) in Signal::ALL.into_iter().zip(recovery.waiting.weight) {
            ledger.find_letters(signal, items);
        }
        Ok(Self(Some(Arc::new(Office {
            log,
            room,
            making_room: Mutex::default(),
            reserve: Reserve::new(&storage.directory().join(LOG), max_bytes),
            tallies: Tallies::default(),
            ledger,
            awaited: watch::Sender::new(0),
        }))))
    }

    /// Whether anything is kept.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where what is given up for good goes, for a person.
    pub fn whereabouts(&self) -> &'static str {
        match self.are_on() {
            true => "it goes into the dead letters, and `otlpd replay` sends it again",
            false => "it is lost: there are no dead letters (storage.dead_letters_max_bytes)",
        }
    }

    /// Announces a letter; none where what is given up for this reason is not written down.
    pub fn announce(&self, reason: Reason) -> Option<Awaited> {
        let office = self.0.as_ref().filter(|_| is_kept(reason))?;
        office.awaited.send_modify(|count| *count += 1);
        Some(Awaited(Arc::clone(office)))
    }

    /// Waits until no letter is to be written any more.
    pub async fn finish(&self) {
        let Some(office) = &self.0 else { return };
        let mut awaited = office.awaited.subscribe();
        // The sender is the office's own, and lives as long as this borrow.
        let _none = awaited.wait_for(|count| *count == 0).await;
    }

    /// Writes a letter, waiting for the disk; where it is dropped before it returns, there is no
    /// letter.
    ///
    /// # Errors
    /// It is not written. Unless it is too large for ever, another try may succeed.
    pub async fn write(
        &self,
        exporter: &Arc<str>,
        batch: &Batch,
        cause: Cause<'_>,
    ) -> Result<(), Unwritten> {
        let Some(office) = &self.0 else {
            return Err(Unwritten {
                loss: Loss::StorageFailed,
                problem: "the dead letters are off (storage.dead_letters_max_bytes)".to_owned(),
            });
        };
        let written = office.write(exporter, batch, cause).await;
        match &written {
            Ok(()) => office.tallies.written(exporter, cause.reason, batch.items),
            Err(unwritten) => office.tallies.failed(&unwritten.problem),
        }
        written
    }

    /// Items are gone whose letter cannot be written, and does not wait.
    pub fn lose(&self, exporter: &str, batch: &Batch, unwritten: &Unwritten) {
        let Some(office) = &self.0 else { return };
        let items = batch.items;
        office.tallies.lost(batch.signal, unwritten.loss, items);
        limited!(
            error,
            exporter,
            items,
            "items are lost to the dead letters as well: {}",
            unwritten.problem
        );
    }

    /// What there is to say of them; `None` where they are off.
    pub fn counts(&self) -> Option<LetterCounts> {
        let office = self.0.as_ref()?;
        let unsettled = office.log.unsettled();
        let mut counts = office.tallies.counts();
        counts.letters = unsettled.records;
        counts.items = unsettled.weight.iter().sum();
        counts.disk_bytes = office.log.disk_bytes();
        counts.max_bytes = office.room.limit();
        Some(counts)
    }
}

/// Whether another try, some day or to another destination, may cure it.
pub fn is_kept(reason: Reason) -> bool {
    match reason {
        Reason::Permanent | Reason::TooLarge | Reason::RetriesExhausted | Reason::TooOld => true,
        Reason::QueueFull
        | Reason::Damaged
        | Reason::StorageFailed
        | Reason::Shutdown
        | Reason::FaultInjected
        | Reason::Bug => false,
    }
}

fn letter(exporter: &str, batch: &Batch, cause: Cause<'_>) -> Letter {
    let given_up = SystemTime::now();
    let age = Instant::now().saturating_duration_since(batch.received);
    let context = &batch.context;
    Letter {
        exporter: exporter.to_owned(),
        reason: cause.reason.name().to_owned(),
        cause: cause.text.to_owned(),
        given_up,
        received: given_up.checked_sub(age).unwrap_or(given_up),
        signal: batch.signal,
        items: batch.items,
        tenant: context.tenant.as_deref().unwrap_or_default().to_owned(),
        priority: context.priority,
    }
}

impl Office {
    async fn write(
        &self,
        exporter: &str,
        batch: &Batch,
        cause: Cause<'_>,
    ) -> Result<(), Unwritten> {
        let head = letter(exporter, batch, cause).encode();
        let append = async || {
            let record = NewRecord {
                kind: batch.signal as u8,
                weight: batch.items,
                head: head.clone(),
                body: batch.chunks.clone(),
            };
            let room = self.make_room(record.size()).await?;
            let written = self.log.append(record, room).await;
            written.map_err(|error| Unwritten {
                loss: Loss::StorageFailed,
                problem: format!("{error}; or lower storage.dead_letters_max_bytes"),
            })
        };
        let mut written = append().await;
        if written.as_ref().is_err_and(Unwritten::is_the_disk) && self.reserve.release().await {
            written = append().await;
        }
        written?.unload();
        self.reserve.restore();
        Ok(())
    }

    /// Room on disk, by giving up the oldest letters where there is none.
    async fn make_room(&self, bytes: usize) -> Result<Reservation, Unwritten> {
        let _alone = self.making_room.lock().await;
        match self.room.try_reserve(bytes) {
            Ok(room) => return Ok(room),
            Err(Unpaid::TooLarge) => return Err(self.too_large(bytes)),
            Err(Unpaid::Spent) => {}
        }
        let free = self.room.limit().saturating_sub(self.room.used());
        let mut short = (bytes as u64).saturating_sub(free);
        while short > 0 {
            let displaced = self.log.drop_oldest().await;
            if displaced.records == 0 {
                break;
            }
            self.displaced(&displaced);
            short = short.saturating_sub(displaced.bytes);
        }
        // Their files leave the disk in a moment.
        let room = timeout(PATIENCE, self.room.reserve(bytes)).await;
        room.ok().and_then(Result::ok).ok_or_else(|| Unwritten {
            loss: Loss::Full,
            problem: format!(
                "the disk has not given back the room of older ones within {PATIENCE:?}: see \
                 whether it is slow, or raise storage.dead_letters_max_bytes"
            ),
        })
    }

    fn too_large(&self, bytes: usize) -> Unwritten {
        Unwritten {
            loss: Loss::TooLarge,
            problem: format!(
                "the request takes {bytes} bytes, and all dead letters may take {}: raise \
                 storage.dead_letters_max_bytes",
                self.room.limit()
            ),
        }
    }

    fn displaced(&self, letters: &Tally) {
        for (signal, items) in Signal::ALL.into_iter().zip(letters.weight) {
            self.tallies.lost(signal, Loss::Full, items);
            self.ledger.displace(signal, items);
        }
        limited!(
            warn,
            letters = letters.records,
            items = letters.weight.iter().sum::<u64>(),
            "the dead letters are full: the oldest are given up (storage.dead_letters_max_bytes)"
        );
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited.send_modify(|count| *count -= 1);
    }
}

impl Unwritten {
    /// The disk has not taken it when the process had to end.
    pub fn out_of_time() -> Self {
        Self {
            loss: Loss::StorageFailed,
            problem: "the disk has not taken them before the end".to_owned(),
        }
    }

    /// Whether it never will be.
    pub fn is_final(&self) -> bool {
        self.loss == Loss::TooLarge
    }

    fn is_the_disk(&self) -> bool {
        self.loss == Loss::StorageFailed
    }
}

#[cfg(test)]
mod tests;
