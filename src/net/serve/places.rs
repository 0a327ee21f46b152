//! The places for connections on one listener, and who is asked to give up his for whom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::departures::{Standing, who_goes};
use super::traffic::Traffic;

/// The places for connections on one listener.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Who was asked to go may take leave while another one has its place already; so many at
    /// once.
    farewells: Arc<Semaphore>,
    guests: Mutex<Guests>,
    /// Somebody waits for one.
    crowded: Arc<AtomicBool>,
}

/// Who has a place, the oldest first.
#[derive(Default)]
struct Guests {
    next: u64,
    here: BTreeMap<u64, Guest>,
}

struct Guest {
    traffic: Arc<Traffic>,
    came: Instant,
    asked: Option<Instant>,
}

impl Guest {
    fn standing(&self) -> Standing {
        Standing {
            came: self.came,
            heard: self.traffic.last_heard(),
            busy: !self.traffic.is_idle(),
            asked: self.asked,
        }
    }
}

/// Of all places, what farewells may take beside them: an eighth.
const FAREWELLS: usize = 8;

/// How often it is looked whether anybody may be asked to go, while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(25);

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
            farewells: Arc::new(Semaphore::new(count.div_ceil(FAREWELLS))),
            guests: Mutex::default(),
            crowded: Arc::default(),
        })
    }

    /// A place; while there is none, others are asked for theirs, one for one.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        let mut place = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        let _crowd = Crowd::new(&self.crowded);
        loop {
            self.ask_one(Instant::now());
            if let Ok(place) = timeout(LOOK_EVERY, place.as_mut()).await {
                return place.ok();
            }
        }
    }

    fn ask_one(&self, now: Instant) {
        let mut guests = self.guests();
        let standings = guests
            .here
            .iter()
            .map(|(id, guest)| (*id, guest.standing()));
        let goes = who_goes(standings, now);
        if let Some(guest) = goes.and_then(|id| guests.here.get_mut(&id)) {
            guest.asked = Some(now);
            guest.traffic.ask();
        }
    }

    /// Has a connection that came just now sit down. `place` is `None` where we stop, and no
    /// others come.
    pub(super) fn seat(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>) -> Seat {
        let traffic = Traffic::new(&self.crowded);
        let guest = Guest {
            traffic: Arc::clone(&traffic),
            came: Instant::now(),
            asked: None,
        };
        let mut guests = self.guests();
        let id = guests.next;
        guests.next += 1;
        guests.here.insert(id, guest);
        drop(guests);
        Seat {
            places: Arc::clone(self),
            id,
            place,
            traffic,
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, until this is dropped.
pub(super) struct Seat {
    places: Arc<Places>,
    id: u64,
    place: Option<OwnedSemaphorePermit>,
    /// What goes on on the connection.
    pub(super) traffic: Arc<Traffic>,
}

impl Seat {
    /// Frees the place before the connection has ended. `false` where too many take leave
    /// already: it keeps its place then.
    pub(super) fn stand_up(&mut self) -> bool {
        let farewell = Arc::clone(&self.places.farewells).try_acquire_owned();
        let stands = farewell.is_ok();
        if let Ok(farewell) = farewell {
            self.places.guests().here.remove(&self.id);
            self.place = Some(farewell);
        }
        stands
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.guests().here.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn sit(places: &Arc<Places>) -> Seat {
        places.seat(places.take().await)
    }

    fn was_asked(seat: &Seat) -> bool {
        seat.traffic.asked().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn one_newcomer_costs_one_stranger_its_place() {
        let places = Places::new(3);
        let active = sit(&places).await;
        let strangers = [sit(&places).await, sit(&places).await];
        active.traffic.heard();
        let began = Instant::now();
        let mut newcomer = Box::pin(places.take());
        assert!(futures_util::poll!(&mut newcomer).is_pending());
        assert!(active.traffic.is_crowded());
        assert!(!was_asked(&strangers[0]), "they have just come");
        tokio::select! {
            _ = &mut newcomer => panic!("there is no place"),
            () = strangers[0].traffic.asked() => {}
        }
        assert!(began.elapsed() < Duration::from_millis(300));
        drop(strangers);
        assert!(newcomer.await.is_some());
        assert!(!was_asked(&active) && !active.traffic.is_crowded());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_leave_has_no_place_any_more() {
        let places = Places::new(2);
        let mut seats = [sit(&places).await, sit(&places).await];
        assert!(seats[0].stand_up());
        assert!(
            !seats[1].stand_up(),
            "one farewell at a time, of two places"
        );
        let newcomer = sit(&places).await;
        assert!(places.take().now_or_never().is_none());
        drop((seats, newcomer));
        assert_eq!(places.farewells.available_permits(), 1);
        assert_eq!(places.free.available_permits(), 2);
    }
}
