//! What a lane has given up for good: it waits here, with its share of the queue, until its dead
//! letter is written. So a lane gives up no faster than the disk takes it, and a queue that is
//! full of this holds its clients like any other.
//!
//! Where the letter cannot be written, what lies in a queue on disk waits on, and is tried again;
//! what lies in memory alone is lost, and counted, since waiting would only fill the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::Lane;
use crate::batch::Batch;
use crate::delivery::dead_letters::{Awaited, Cause, Unwritten};
use crate::delivery::queue::Rooms;
use crate::delivery::shipment::Shipment;
use crate::limited;
use crate::receipt::Receipt;
use crate::telemetry::ledger::{Fate, Reason};

/// A request whose dead letter is to be written.
#[derive(Debug)]
struct GivenUp {
    batch: Batch,
    receipt: Receipt,
    _rooms: Rooms,
    reason: Reason,
    cause: Arc<str>,
    _awaited: Awaited,
}

/// All of them, in the order in which they were given up.
#[derive(Debug, Default)]
pub(super) struct Pile {
    waiting: VecDeque<GivenUp>,
    pub(super) items: u64,
    pub(super) bytes: usize,
}

impl Pile {
    fn push(&mut self, given_up: GivenUp) {
        self.items += given_up.batch.items;
        self.bytes += given_up.batch.bytes();
        self.waiting.push_back(given_up);
    }

    fn pop(&mut self) -> Option<GivenUp> {
        let given_up = self.waiting.pop_front()?;
        self.items -= given_up.batch.items;
        self.bytes -= given_up.batch.bytes();
        Some(given_up)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the first of them was received.
    pub(super) fn received(&self) -> Option<Instant> {
        Some(self.waiting.front()?.batch.received)
    }
}

/// How long after a failure a letter is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// How long the end of a lane waits for letters.
const LAST_LETTERS: Duration = Duration::from_millis(500);

/// How an attempt to write the next letter ended.
enum Written {
    Done,
    /// Nothing is to be written.
    Nothing,
    /// It waits on.
    Held,
}

impl Lane {
    /// Gives requests up for good: each into a dead letter of its own, where that is kept.
    pub(in crate::delivery) fn give_up(&self, shipment: Shipment, reason: Reason, cause: &str) {
        let cause: Arc<str> = cause.into();
        for Shipment {
            batch,
            receipt,
            rooms,
            ..
        } in shipment.take_apart()
        {
            let Some(awaited) = self.dead_letters.announce(reason) else {
                receipt.settle(Fate::Dropped(reason));
                continue;
            };
            self.lock().given_up.push(GivenUp {
                batch,
                receipt,
                _rooms: rooms,
                reason,
                cause: Arc::clone(&cause),
                _awaited: awaited,
            });
        }
        self.show(&self.lock());
        self.posted.notify_one();
    }

    /// Writes the dead letters of what is given up. Never returns.
    pub(in crate::delivery) async fn write_letters(self: Arc<Self>) {
        loop {
            match self.write_letter().await {
                Written::Done => {}
                Written::Nothing => self.posted.notified().await,
                // Sooner where something has changed.
                Written::Held => drop(timeout(WRITE_AGAIN, self.posted.notified()).await),
            }
        }
    }

    /// The disk took nothing of a request either, and the file that it was for is ended: where all
    /// in it is settled it leaves the disk, and letters that wait find room before the next
    /// request does.
    pub(super) fn retry_letters(&self) {
        self.posted.notify_one();
    }

    /// Whether letters are to be written, and can be as far as is known.
    pub(in crate::delivery) fn writes(&self) -> bool {
        !self.held.load(Ordering::Relaxed) && !self.lock().given_up.is_empty()
    }

    /// Writes the letter that has waited longest. Until it is written, what it is of stays where it
    /// is: this may be dropped at any time.
    async fn write_letter(&self) -> Written {
        let next = {
            let state = self.lock();
            let next = state.given_up.waiting.front();
            next.map(|next| (next.batch.clone(), next.reason, Arc::clone(&next.cause)))
        };
        let Some((batch, reason, cause)) = next else {
            return Written::Nothing;
        };
        let text = &*cause;
        let cause = Cause { reason, text };
        let written = self.dead_letters.write(&self.name, &batch, cause).await;
        let held = written.as_ref().err().is_some_and(|unwritten| {
            let state = self.lock();
            let next = state.given_up.waiting.front();
            !unwritten.is_final() && next.is_some_and(|next| next.receipt.is_stored())
        });
        self.set_held(held);
        if let (true, Err(unwritten)) = (held, &written) {
            self.say_held(unwritten);
            return Written::Held;
        }
        let Some(GivenUp { receipt, .. }) = self.take_given_up() else {
            return Written::Nothing;
        };
        match written {
            Ok(()) => receipt.settle_dead_lettered(reason),
            Err(unwritten) => {
                self.dead_letters.lose(&self.name, &batch, &unwritten);
                receipt.settle(Fate::Dropped(reason));
            }
        }
        Written::Done
    }

    fn take_given_up(&self) -> Option<GivenUp> {
        let mut state = self.lock();
        let next = state.given_up.pop();
        self.show(&state);
        if state.given_up.is_empty() {
            // The sender may wait for this to end.
            self.wake.notify_one();
        }
        next
    }

    fn set_held(&self, held: bool) {
        if self.held.swap(held, Ordering::Relaxed) != held {
            self.wake.notify_one();
        }
    }

    fn say_held(&self, unwritten: &Unwritten) {
        let requests = self.lock().given_up.waiting.len();
        limited!(
            error,
            exporter = %self.name,
            requests,
            "dead letters cannot be written; what was given up stays in the queue on disk, and is \
             tried again each second: {}",
            unwritten.problem
        );
    }

    /// The last letters, by a deadline; what of them is on disk stays there for the next start.
    /// How many items were lost.
    pub(super) async fn close_given_up(&self) -> u64 {
        let deadline = Instant::now() + LAST_LETTERS;
        while let Ok(Written::Done) = timeout_at(deadline, self.write_letter()).await {}
        let left = std::mem::take(&mut self.lock().given_up);
        let mut lost = 0;
        for given_up in left.waiting {
            if let Err((receipt, _cause)) = self.keep(&given_up.batch, given_up.receipt).await {
                lost += receipt.items();
                let unwritten = Unwritten::out_of_time();
                self.dead_letters
                    .lose(&self.name, &given_up.batch, &unwritten);
                receipt.settle(Fate::Dropped(given_up.reason));
            }
        }
        lost
    }
}
