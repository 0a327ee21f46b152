//! Looking for files, and reading them by turns.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::following::{Following, Step};
use super::glob::{self, Pattern, Seen};
use super::known::{Known, Shelf};
use super::request::Gate;
use super::{FileReceiver, StartAt, source};
use crate::intake::Intake;
use crate::limited;
use crate::shutdown::Drain;
use crate::telemetry::metrics::ReadingMetrics;

/// The most files that are kept account of; of more, those that come last are left alone.
const MOST_FILES: usize = 100_000;

/// Of how many files that are not there it is remembered how far they were read: what is mounted
/// late is not read anew.
const MOST_ABSENT: usize = 10_000;

/// How many requests are read of one file before it is another's turn.
const TURN: usize = 64;

/// How often positions are written down. What was taken since comes again after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// For how many looks a file that is found no longer is read on, if it is open: who was writing to
/// it when it was moved away may not have finished.
const LAST_LOOKS: u32 = 25;

/// One receiver at work.
struct Follower {
    gate: Gate,
    reading: ReadingMetrics,
    shelf: Shelf,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    start_at: StartAt,
    most_open: usize,
    poll_interval: Duration,
    /// By device and inode.
    files: BTreeMap<(u64, u64), Following>,
    /// Whose turn it is, in this order.
    order: Vec<(u64, u64)>,
    /// What is known of files that were not seen yet.
    known: BTreeMap<(u64, u64), Known>,
    /// Whether anything was seen before, now or by an earlier run.
    begun: bool,
    changed: bool,
    saved: Instant,
    looked: Option<Instant>,
}

/// Reads until the drain begins, and keeps the positions.
pub(super) async fn run(receiver: FileReceiver, intake: Intake, shelf: Shelf, drain: Drain) {
    let mut follower = match Follower::new(receiver, intake, shelf) {
        Ok(follower) => follower,
        Err(problem) => {
            tracing::error!("{problem}");
            return;
        }
    };
    follower.restore().await;
    let mut begun = drain.clone();
    let mut over = drain;
    // What was submitted is waited for, so that its position is kept; but not past the deadline.
    tokio::select! {
        () = follower.work(&mut begun) => {}
        () = over.over() => {}
    }
    follower.save().await;
    let known = follower.known();
    follower.shelf.hand_on(&follower.gate.receiver, known);
}

impl Follower {
    fn new(receiver: FileReceiver, intake: Intake, shelf: Shelf) -> Result<Self, String> {
        let FileReceiver {
            name,
            config,
            metrics,
            reading,
        } = receiver;
        let parse = |patterns: &[String]| -> Result<Vec<Pattern>, String> {
            let parse = |text: &String| {
                let parsed = Pattern::parse(text);
                parsed.map_err(|problem| format!("receivers.{name}: {text:?} {problem}"))
            };
            patterns.iter().map(parse).collect()
        };
        Ok(Self {
            include: parse(&config.include)?,
            exclude: parse(&config.exclude)?,
            start_at: config.start_at,
            most_open: config.max_concurrent_files,
            poll_interval: config.poll_interval,
            gate: Gate {
                receiver: name,
                intake,
                metrics,
                format: config.format,
                signal: config.signal,
                limit: config.max_log_size.as_usize(),
            },
            reading,
            shelf,
            files: BTreeMap::new(),
            order: Vec::new(),
            known: BTreeMap::new(),
            begun: false,
            changed: false,
            saved: Instant::now(),
            looked: None,
        })
    }

    async fn restore(&mut self) {
        let (shelf, receiver) = (self.shelf.clone(), self.gate.receiver.clone());
        let known = blocking(move || shelf.load(&receiver)).await.flatten();
        if let Some(known) = known {
            self.begun = true;
            self.known = known.into_iter().map(|known| (known.id(), known)).collect();
        }
    }

    async fn work(&mut self, drain: &mut Drain) {
        loop {
            if self
                .looked
                .is_none_or(|looked| looked.elapsed() >= self.poll_interval)
            {
                self.look().await;
            }
            let mut pause = Some(self.poll_interval);
            for id in self.in_turn() {
                match self.turn(id, drain).await {
                    Step::More => pause = None,
                    Step::Idle => {}
                    Step::Later(delay) => {
                        // The door is shut for all of them.
                        pause = Some(delay);
                        break;
                    }
                    Step::Stop => return,
                }
            }
            if self.changed && self.saved.elapsed() >= SAVE_EVERY {
                self.save().await;
            }
            tokio::select! {
                biased;
                _ = drain.begun() => return,
                () = sleep(pause.unwrap_or_default()) => {}
            }
        }
    }

    /// Whose turn it is. What is being inflated holds much memory, and is read to its end first.
    fn in_turn(&self) -> Vec<(u64, u64)> {
        let inflating = self.files.iter().find(|(_, file)| file.is_inflating());
        match inflating {
            Some((id, _)) => vec![*id],
            None => self.order.clone(),
        }
    }

    /// Reads some requests of a file.
    async fn turn(&mut self, id: (u64, u64), drain: &mut Drain) -> Step {
        let open = self.files.values().filter(|file| file.is_open()).count();
        let Some(file) = self.files.get_mut(&id).filter(|file| file.is_due()) else {
            return Step::Idle;
        };
        for _ in 0..TURN {
            if drain.begun().now_or_never().is_some() {
                return Step::Stop;
            }
            let step = file.step(&self.gate).await;
            self.changed |= file.take_moved();
            if step != Step::More {
                if open >= self.most_open {
                    file.close();
                }
                return step;
            }
        }
        file.give_back();
        Step::More
    }

    /// Looks which files there are now.
    async fn look(&mut self) {
        let (include, exclude) = (self.include.clone(), self.exclude.clone());
        let found = blocking(move || glob::find(&include, &exclude, MOST_FILES)).await;
        let Some((seen, more)) = found else {
            return;
        };
        if more {
            limited!(
                error,
                receiver = self.gate.receiver,
                most = MOST_FILES,
                "there are more files than can be followed: name fewer, or remove old ones"
            );
        }
        self.order = seen.iter().map(|seen| seen.id).collect();
        for file in self.files.values_mut() {
            file.unseen += 1;
        }
        for seen in seen {
            self.see(seen).await;
        }
        self.begun = true;
        self.looked = Some(Instant::now());
        while self.known.len() > MOST_ABSENT {
            self.known.pop_first();
        }
        self.forget();
        let unread = self.files.values().map(Following::unread).sum();
        self.reading.found(self.files.len(), unread);
    }

    async fn see(&mut self, seen: Seen) {
        if let Some(file) = self.files.get_mut(&seen.id) {
            return file.seen(seen.path, seen.size);
        }
        let known = self.known.remove(&seen.id);
        let at_end = !self.begun && self.start_at == StartAt::End;
        let mut file = Following::new(&seen, known);
        if at_end {
            let (path, size, format) = (seen.path.clone(), seen.size, self.gate.format);
            let end = blocking(move || source::last_end(&path, size, format)).await;
            match end {
                Some(Ok(end)) => file.begin_at(end, seen.size),
                Some(Err(error)) => self.unreadable(&seen.path, &error),
                None => {}
            }
        }
        self.changed = true;
        self.files.insert(seen.id, file);
    }

    /// Files that are gone: what is open of them is read on for a while.
    fn forget(&mut self) {
        let (gate, order) = (&self.gate, &mut self.order);
        let before = self.files.len();
        self.files.retain(|id, file| {
            if file.unseen == 0 {
                return true;
            }
            let stays = file.is_open() && (file.unseen < LAST_LOOKS || file.is_due());
            if stays {
                file.look_again();
                order.push(*id);
            } else {
                file.ends(gate);
            }
            stays
        });
        self.changed |= self.files.len() != before;
    }

    fn unreadable(&self, path: &Path, error: &io::Error) {
        limited!(
            warn,
            receiver = self.gate.receiver,
            file = %path.display(),
            %error,
            "a file cannot be read; it is tried again"
        );
    }

    fn known(&self) -> Vec<Known> {
        let files = self.files.values().map(Following::known);
        files.chain(self.known.values().cloned()).collect()
    }

    async fn save(&mut self) {
        if !self.changed {
            return;
        }
        let (shelf, receiver, known) =
            (self.shelf.clone(), self.gate.receiver.clone(), self.known());
        let saved = blocking(move || shelf.save(&receiver, known)).await;
        match saved {
            Some(Ok(())) => self.changed = false,
            Some(Err(problem)) => {
                limited!(error, receiver = self.gate.receiver, "{problem}");
            }
            None => {}
        }
        self.saved = Instant::now();
    }
}

/// Does what may wait for a disk on a thread that may; nothing comes of it if that panics.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    spawn_blocking(work).await.ok()
}
