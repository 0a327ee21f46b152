//! How a running process ends: in the order of the data, at once or in steps.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::App;
use crate::net::listen::Kept;
use crate::shutdown::Drain;
use crate::telemetry::health::State;
use crate::telemetry::ledger::LedgerSnapshot;

/// What refusals have to reach their clients when we are in a hurry.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the attempts that are under way have to end, before what is on disk is left to another
/// process: that one would make them again.
const LAST_ATTEMPTS: Duration = Duration::from_secs(2);

/// As long as there is any destination, in a sense: a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl App {
    /// Whether it accepts connections.
    pub fn is_receiving(&self) -> bool {
        !self.receiving.has_begun()
    }

    /// Accepts nothing any more, finishes what clients have begun, and leaves the admin side to
    /// another process; the sockets stay open, so that connections wait for it. What waits for
    /// its destination is delivered on. Cancelled, it has begun all the same: only
    /// [`App::stop`] or [`super::Prepared::after`] follows.
    pub async fn stop_receiving(&mut self) {
        let now = Instant::now();
        let refuse_at = now + self.deadline / 2;
        self.finish_requests(refuse_at, refuse_at + self.deadline / 4)
            .await;
        if let Some(admin) = self.admin.take() {
            admin.abort();
            // Only then its listener is closed.
            let _aborted = admin.await;
        }
    }

    /// Leaves what is on disk to another process. What is only in memory is delivered on.
    pub async fn release_storage(&mut self) {
        let deadline = Instant::now() + LAST_ATTEMPTS;
        self.keeping.begin(deadline);
        self.keeping.done().await;
        self.close_storage(deadline).await;
    }

    /// The sockets are another process's from now on: should it go, clients are to hear of it.
    pub fn release_sockets(&mut self) {
        self.sockets.clear();
    }

    /// Nobody listens any more: files of sockets go, too.
    fn close_sockets(&mut self) {
        self.sockets.drain(..).for_each(Kept::close);
    }

    /// Drains in the order of the data, and says what became of everything. `hurry` ends it
    /// early.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) -> LedgerSnapshot {
        self.health.set(State::Draining);
        self.close_sockets();
        let now = Instant::now();
        let refuse_at = now + self.deadline / 2;
        let drain = self.drain(
            refuse_at,
            refuse_at + self.deadline / 4,
            now + self.deadline,
        );
        let in_time = tokio::select! {
            () = drain => true,
            () = hurry => false,
        };
        if !in_time {
            tracing::warn!("asked again to stop: giving up what is left");
            let now = Instant::now();
            self.drain(now, now + LAST_WORDS, now).await;
        }
        self.ledger.snapshot()
    }

    /// Requests are finished; only then, when nothing more can be acknowledged, the lanes empty,
    /// until `deadline`.
    async fn drain(&mut self, refuse_at: Instant, cut_at: Instant, deadline: Instant) {
        self.finish_requests(refuse_at, cut_at).await;
        self.keeping.begin(deadline);
        self.delivering.begin(deadline);
        while self.senders.join_next().await.is_some() {}
        self.close_storage(deadline).await;
    }

    async fn close_storage(&mut self, deadline: Instant) {
        if let Some(dead_letters) = self.dead_letters.get() {
            let in_time = timeout_at(
                deadline.max(Instant::now()) + LAST_WORDS,
                dead_letters.finish(),
            );
            if in_time.await.is_err() {
                tracing::error!("the disk has not taken all dead letters in time");
            }
        }
        if let Some(stored) = self.stored.take() {
            stored.close().await;
        }
    }

    /// Listeners close and requests under way finish; at `refuse_at` those that still wait are
    /// refused, and at `cut_at` the connections are cut that have not ended.
    async fn finish_requests(&mut self, refuse_at: Instant, cut_at: Instant) {
        self.receiving.begin(cut_at);
        if timeout_at(refuse_at, self.receiving.done()).await.is_err() {
            self.door.close();
            self.receiving.done().await;
        }
    }

    /// Delivers what is left in the lanes; until they are empty, or until `drain` says when.
    pub(super) async fn deliver_the_rest(mut self, mut drain: Drain) {
        self.delivering.begin(Instant::now() + FOR_EVER);
        let mut deadline = None;
        loop {
            tokio::select! {
                sender = self.senders.join_next() => if sender.is_none() { return },
                moved = drain.deadline_after(deadline) => {
                    deadline = Some(moved);
                    self.delivering.begin(moved);
                }
            }
        }
    }
}
