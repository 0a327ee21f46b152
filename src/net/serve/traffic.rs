//! What goes on on one connection, as far as its end depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::LAST_CHANCE;

/// What goes on on one connection.
#[derive(Debug)]
pub struct Traffic {
    came: Instant,
    /// When a request was last read to its end: so many milliseconds after it came, and one.
    heard: AtomicU64,
    /// Told when its place is asked for.
    asked: Notify,
    under_way: AtomicUsize,
    /// Whether a request has ever come.
    spoke: AtomicBool,
    /// Whether the peer speaks HTTP/2, which has a goodbye that no request can cross.
    pub(super) multiplexed: AtomicBool,
    /// The connection is asked to go.
    pub(super) leaving: AtomicBool,
    /// Told of each request from then on.
    spoke_again: Notify,
    /// How many requests there have been.
    requests: AtomicUsize,
    /// How many requests are held, unread.
    held: AtomicUsize,
    /// Somebody waits for a place on the listener.
    crowded: Arc<AtomicBool>,
}

/// A request that is held until this is dropped.
struct Held<'a>(&'a AtomicUsize);

/// A request that is under way until this is dropped.
struct UnderWay(Arc<Traffic>);

impl Traffic {
    /// What goes on on a connection that came just now.
    pub(super) fn new(crowded: &Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            came: Instant::now(),
            heard: AtomicU64::new(0),
            asked: Notify::new(),
            under_way: AtomicUsize::new(0),
            spoke: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            spoke_again: Notify::new(),
            requests: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            crowded: Arc::clone(crowded),
        })
    }

    /// A request was read to its end: whoever sent it is no stranger.
    pub fn heard(&self) {
        let after = u64::try_from(self.came.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(after.saturating_add(1), Ordering::Relaxed);
    }

    /// When a request was last read to its end.
    pub(super) fn last_heard(&self) -> Option<Instant> {
        let after = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.came + Duration::from_millis(after))
    }

    /// Asks for its place.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until its place is asked for.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Waits until a request is let in, whose body meanwhile may fill the connection.
    pub async fn held<T>(&self, let_in: impl Future<Output = T>) -> T {
        self.held.fetch_add(1, Ordering::Relaxed);
        let _held = Held(&self.held);
        let_in.await
    }

    /// Whether requests are held here, so that others may not get through.
    pub fn holds(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody waits for a connection's place, so that who is slow had better go.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Answers a request, which is under way from this call on until it is answered, or until
    /// the answer is given up.
    pub fn during<F: Future>(
        self: &Arc<Self>,
        answer: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.spoke.store(true, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if self.leaving.load(Ordering::Relaxed) {
            self.spoke_again.notify_one();
        }
        let under_way = UnderWay(Arc::clone(self));
        // An async block would have room for the answer twice, in each stream that is open.
        answer.map(move |answer| {
            drop(under_way);
            answer
        })
    }

    fn spoke(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// Waits until it is clear that nothing is said here.
    pub(super) async fn silence(&self, patience: Duration) {
        sleep(patience).await;
        if self.spoke() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Waits until no request was under way for this long; for ever if it is zero. It is looked
    /// for in quarters of that time.
    pub(super) async fn idle_for(&self, limit: Duration) {
        if limit.is_zero() {
            std::future::pending::<()>().await;
        }
        let (mut quarters, mut seen) = (0, 0);
        while quarters < 4 {
            sleep(limit / 4).await;
            let requests = self.requests.load(Ordering::Relaxed);
            quarters = match self.is_idle() && requests == seen {
                true => quarters + 1,
                false => 0,
            };
            seen = requests;
        }
    }

    /// HTTP/1.1 has no goodbye: closing a connection that is idle races with a request that is on
    /// its way already, and some clients (Go) give that up. So it may speak once more, and is
    /// closed by the answer.
    pub(super) async fn last_request(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        if self.is_idle() && !self.multiplexed.load(Ordering::Relaxed) {
            // Silent for so long, it will hardly speak in the very moment that it is closed.
            let _silent = timeout(LAST_CHANCE, self.spoke_again.notified()).await;
        }
    }

    /// Waits until no request was under way at the end of a period of this length.
    pub(super) async fn rest(&self, period: Duration) {
        loop {
            sleep(period).await;
            if self.is_idle() {
                return;
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
