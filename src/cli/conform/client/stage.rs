//! The scripted server's memory: which scenarios wait for a request, which request belongs to
//! which scenario, and all that has come.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::arrival::{Arrival, Wire};
use super::serve;

/// One address, and what is played there. Each new request is the subject of the next scenario
/// that waits for one; a request with items of a subject is another attempt at it.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    play: Arc<Play>,
    serving: JoinHandle<()>,
    numbers: AtomicUsize,
}

/// What the connections share.
pub(super) struct Play {
    script: Mutex<Script>,
    /// Changes with everything that happens.
    pub(super) beat: watch::Sender<u64>,
    /// Whether connections are accepted, and until when not.
    pub(super) door: watch::Sender<Door>,
    /// How many connections are open.
    pub(super) open: watch::Sender<usize>,
}

/// Which connections are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) closed_until: Option<Instant>,
    pub(super) only_http1: bool,
}

#[derive(Default)]
struct Script {
    waiting: VecDeque<Part>,
    playing: Vec<Part>,
    arrivals: Vec<Arrival>,
}

/// A scenario: the answers to one request and to its repetitions.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) case: usize,
    pub(super) wire: Wire,
    pub(super) answers: Arc<[Answer]>,
    items: HashSet<u64>,
    given: usize,
}

impl Part {
    pub(super) fn new(case: usize, wire: Wire, answers: &[Answer]) -> Self {
        Self {
            case,
            wire,
            answers: answers.into(),
            items: HashSet::new(),
            given: 0,
        }
    }

    /// The next answer; what comes after the last is taken.
    fn next(&mut self) -> (Answer, usize) {
        let attempt = self.given;
        self.given += 1;
        let answer = self.answers.get(attempt).cloned();
        (answer.unwrap_or(Answer::Taken), attempt)
    }
}

impl Stage {
    /// Listens and serves. The error is a sentence about the address.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, String> {
        let failed = |error| format!("cannot listen on {address}: {error}");
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let play = Arc::new(Play {
            script: Mutex::default(),
            beat: watch::Sender::new(0),
            door: watch::Sender::new(Door::default()),
            open: watch::Sender::new(0),
        });
        let serving = tokio::spawn(serve::serve(listener, address, Arc::clone(&play)));
        Ok(Self {
            address,
            play,
            serving,
            numbers: AtomicUsize::new(0),
        })
    }

    /// A number that no other scenario of this stage has.
    pub(super) fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a scenario behind those that wait for a request.
    pub(super) fn put_on(&self, part: Part) {
        self.play.script().waiting.push_back(part);
    }

    /// Takes off what nobody came for.
    pub(super) fn clear(&self) {
        self.play.script().waiting.clear();
    }

    /// Takes HTTP/2 again, where a scenario forbade it.
    pub(super) fn open_door(&self) {
        self.play.door.send_modify(|door| door.only_http1 = false);
    }

    /// Waits until this holds of what has come; false when it does not within the patience.
    pub(super) async fn until(
        &self,
        patience: Duration,
        holds: impl Fn(&[Arrival]) -> bool,
    ) -> bool {
        let give_up = Instant::now() + patience;
        let mut beat = self.play.beat.subscribe();
        loop {
            beat.borrow_and_update();
            if holds(&self.play.script().arrivals) {
                return true;
            }
            if timeout_at(give_up, beat.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Waits until no connection is open, which is soon after their client's end.
    pub(super) async fn until_empty(&self, patience: Duration) {
        let mut open = self.play.open.subscribe();
        let empty = open.wait_for(|open| *open == 0);
        // A client that left a child behind keeps its connection; what came is judged anyway.
        tokio::time::timeout(patience, empty).await.ok();
    }

    /// All that has come so far.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        self.play.script().arrivals.clone()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Play {
    fn script(&self) -> MutexGuard<'_, Script> {
        // The script is whole between statements; a panic elsewhere does not spoil it.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request down; the number under which it is kept, and its answer.
    pub(super) fn arrive(&self, mut arrival: Arrival) -> (usize, Answer) {
        let mut script = self.script();
        let answer = script.cast(&mut arrival);
        let number = script.arrivals.len();
        script.arrivals.push(arrival);
        drop(script);
        self.stir();
        (number, answer)
    }

    /// Its answer is on its way.
    pub(super) fn answered(&self, number: usize) {
        if let Some(arrival) = self.script().arrivals.get_mut(number) {
            arrival.answered = Some(Instant::now());
        }
        self.stir();
    }

    /// Its client went away before there was an answer.
    pub(super) fn left(&self, number: usize) {
        if let Some(arrival) = self.script().arrivals.get_mut(number)
            && arrival.answered.is_none()
        {
            arrival.left = Some(Instant::now());
        }
        self.stir();
    }

    fn stir(&self) {
        self.beat.send_modify(|beat| *beat += 1);
    }
}

impl Script {
    /// Finds the scenario that a request belongs to, or gives it the next one.
    fn cast(&mut self, arrival: &mut Arrival) -> Answer {
        let content = &arrival.content;
        let known = self.playing.iter_mut().find(|part| {
            let same = |item| part.items.contains(item);
            part.wire == content.wire && content.items.iter().any(same)
        });
        if let Some(part) = known {
            let (answer, attempt) = part.next();
            arrival.case = Some((part.case, attempt));
            return answer;
        }
        // Nothing can be recognised again that has no items, and it is no scenario's protocol.
        let next = self.waiting.front();
        let fits = next.is_some_and(|part| part.wire == content.wire);
        let fits = fits && !content.items.is_empty();
        let Some(mut part) = fits.then(|| self.waiting.pop_front()).flatten() else {
            return Answer::Taken;
        };
        part.items = content.items.iter().copied().collect();
        let (answer, attempt) = part.next();
        arrival.case = Some((part.case, attempt));
        self.playing.push(part);
        answer
    }
}
