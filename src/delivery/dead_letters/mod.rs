//! The dead letters: what could not be delivered for good, kept on disk with the reason.

mod count;
mod letter;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

pub use count::{LetterCounts, Loss};
pub use letter::{Letter, Unreadable};

use crate::batch::Batch;
use crate::budget::{Budget, Reservation, Unpaid};
use crate::limited;
use crate::otlp::Signal;
use crate::receipt::{Receipt, Remains};
use crate::storage::{Fsync, Log, LogOptions, NewRecord, Storage, StorageError, Tally};
use crate::telemetry::ledger::{Ledger, Reason};
use count::Tallies;

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

#[derive(Debug)]
struct Office {
    tray: mpsc::Sender<Post>,
    /// What waits to be written is paid from this, so that a slow disk does not hold memory that
    /// new requests need.
    tray_room: Budget,
    log: Log,
    max_bytes: u64,
    tallies: Arc<Tallies>,
}

/// The most letters that wait to be written.
const TRAY_LETTERS: usize = 1024;

/// The most of their bytes: four requests of the usual largest size.
const TRAY_BYTES: u64 = 16 << 20;

/// How long the disk may take to give back the bytes of letters that were given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the one task that writes is told.
#[derive(Debug)]
enum Post {
    Letter(Box<Pending>),
    /// All that came before this is written when the sender is dropped.
    Finish(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Pending {
    exporter: Arc<str>,
    reason: Reason,
    signal: Signal,
    record: NewRecord,
    remains: Remains,
    /// What pays for the bytes in memory.
    _paid: SmallVec<[Arc<Reservation>; 1]>,
    _tray_room: Reservation,
}

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
        let tallies = Arc::<Tallies>::default();
        let (tx, rx) = mpsc::channel(TRAY_LETTERS);
        let clerk = Clerk {
            log: log.clone(),
            room,
            tallies: Arc::clone(&tallies),
            ledger,
        };
        tokio::spawn(clerk.work(rx));
        Ok(Self(Some(Arc::new(Office {
            tray: tx,
            tray_room: Budget::new(TRAY_BYTES),
            log,
            max_bytes,
            tallies,
        }))))
    }

    /// Whether anything is kept.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Gives a batch up: its items are dropped for this reason and, if that is one that another
    /// try some day may cure, its bytes are on their way to the disk. Never waits: where too many
    /// are on that way already they are gone, which is counted and said.
    pub fn give_up(&self, exporter: &Arc<str>, batch: &Batch, receipt: Receipt, cause: Cause<'_>) {
        let items = receipt.items();
        let remains = receipt.settle_dropped(cause.reason);
        let Some(office) = self.0.as_ref().filter(|_| is_kept(cause.reason)) else {
            return;
        };
        let signal = batch.signal;
        let record = NewRecord {
            kind: signal as u8,
            weight: items,
            head: letter(exporter, batch, items, cause).encode(),
            body: batch.chunks.clone(),
        };
        let taken = office
            .tray_room
            .try_reserve_most(record.size())
            .is_ok_and(|tray_room| {
                let pending = Pending {
                    exporter: Arc::clone(exporter),
                    reason: cause.reason,
                    signal,
                    record,
                    remains,
                    _paid: batch.reservations.clone(),
                    _tray_room: tray_room,
                };
                office
                    .tray
                    .try_send(Post::Letter(Box::new(pending)))
                    .is_ok()
            });
        if !taken {
            office.tallies.lost(signal, Loss::Busy, items);
            limited!(
                error,
                exporter = %exporter,
                items,
                "more is given up than the disk takes: items are lost to the dead letters as well"
            );
        }
    }

    /// Waits until all that was given up so far is written, or has failed to be.
    pub async fn finish(&self) {
        let Some(office) = &self.0 else { return };
        let (tx, rx) = oneshot::channel();
        if office.tray.send(Post::Finish(tx)).await.is_ok() {
            // It is dropped, not sent on: that is the message.
            let _dropped = rx.await;
        }
    }

    /// What there is to say of them; `None` where they are off.
    pub fn counts(&self) -> Option<LetterCounts> {
        let office = self.0.as_ref()?;
        let unsettled = office.log.unsettled();
        let mut counts = office.tallies.counts();
        counts.letters = unsettled.records;
        counts.items = unsettled.weight.iter().sum();
        counts.disk_bytes = office.log.disk_bytes();
        counts.max_bytes = office.max_bytes;
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

fn letter(exporter: &str, batch: &Batch, items: u64, cause: Cause<'_>) -> Letter {
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
        items,
        tenant: context.tenant.as_deref().unwrap_or_default().to_owned(),
        priority: context.priority,
    }
}

/// The one task that writes.
#[derive(Debug)]
struct Clerk {
    log: Log,
    room: Budget,
    tallies: Arc<Tallies>,
    ledger: Arc<Ledger>,
}

impl Clerk {
    async fn work(self, mut tray: mpsc::Receiver<Post>) {
        while let Some(post) = tray.recv().await {
            match post {
                Post::Letter(pending) => self.write(*pending).await,
                Post::Finish(done) => drop(done),
            }
        }
    }

    async fn write(&self, pending: Pending) {
        let items = pending.record.weight;
        let outcome = match self.make_room(pending.record.size()).await {
            Err(loss) => Err((loss, format!("no room: {}", loss.name()))),
            Ok(room) => self
                .log
                .append(pending.record, room)
                .await
                .map_err(|error| (Loss::StorageFailed, error.to_string())),
        };
        match outcome {
            Ok(ticket) => {
                ticket.unload();
                self.tallies
                    .written(&pending.exporter, pending.reason, items);
                pending.remains.dead_lettered();
            }
            Err((loss, problem)) => {
                self.tallies.lost(pending.signal, loss, items);
                self.tallies.failed(&problem);
                limited!(
                    error,
                    exporter = %pending.exporter,
                    items,
                    "items are lost to the dead letters as well: {problem}"
                );
            }
        }
    }

    /// Room on disk, by giving up the oldest letters where there is none.
    async fn make_room(&self, bytes: usize) -> Result<Reservation, Loss> {
        match self.room.try_reserve(bytes) {
            Ok(room) => return Ok(room),
            Err(Unpaid::TooLarge) => return Err(Loss::TooLarge),
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
        room.ok().and_then(Result::ok).ok_or(Loss::Full)
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

#[cfg(test)]
mod tests;
