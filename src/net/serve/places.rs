//! The places for connections on one listener, and who gives his up for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::SHORT_GRACE;
use super::traffic::Traffic;

/// The places for connections on one listener.
pub(super) struct Places {
    free: Arc<Semaphore>,
    wanted: Notify,
    /// Somebody waits for one.
    pub(super) crowded: Arc<AtomicBool>,
}

/// Somebody waits until this is dropped.
struct Crowd<'a>(&'a AtomicBool);

impl<'a> Crowd<'a> {
    fn new(crowded: &'a AtomicBool) -> Self {
        crowded.store(true, Ordering::Relaxed);
        Self(crowded)
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Places {
    /// So many, all of them free.
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            wanted: Notify::new(),
            crowded: Arc::default(),
        })
    }

    /// A place; while there is none, idle connections are asked for theirs.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        let mut place = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        let _crowd = Crowd::new(&self.crowded);
        loop {
            self.wanted.notify_waiters();
            if let Ok(place) = timeout(SHORT_GRACE, place.as_mut()).await {
                return place.ok();
            }
        }
    }

    /// Waits until the place of a connection is asked for whose client has not been greeted yet,
    /// though there was time for it.
    pub(super) async fn asked_of_stranger(&self) {
        sleep(SHORT_GRACE).await;
        self.wanted.notified().await;
    }

    /// Waits until the place of this connection is asked for, and it can do without.
    pub(super) async fn asked_for(&self, traffic: &Traffic) {
        loop {
            self.wanted.notified().await;
            if traffic.is_idle() {
                return;
            }
        }
    }
}
