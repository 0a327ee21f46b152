//! The thread that writes. It also makes the text, one batch at a time, so that there is never
//! more of it in memory than of one batch.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::output::{Output, Stream};
use super::{FileConfig, encode};
use crate::batch::Batch;
use crate::component::{Delivered, Failure};
use crate::limited;
use crate::otlp::Signal;
use crate::storage::Fsync;

/// How many batches may wait for the thread; the attempts of others wait to be handed over.
const WAITING: usize = 4;

/// The memory that is kept from one batch to the next, in bytes.
const KEPT: usize = 4 << 20;

/// Hands batches to the thread, which ends when this is dropped.
pub(super) struct Writer {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
}

struct Job {
    batch: Batch,
    done: oneshot::Sender<Result<Delivered, Failure>>,
    _place: OwnedSemaphorePermit,
}

/// Where the batches of each signal go.
enum Outputs {
    Files(Vec<(Signal, usize)>, Vec<Output>),
    Standard(Stream),
}

/// What the thread has.
struct Hand {
    config: FileConfig,
    outputs: Outputs,
    text: Vec<u8>,
    /// When what was written is to be synced, with `fsync = "interval"`.
    sync_at: Option<Instant>,
}

impl Writer {
    /// # Errors
    /// A sentence, where the system has no thread to give.
    pub(super) fn start(config: &FileConfig) -> Result<Self, String> {
        let (jobs, taker) = bounded(WAITING);
        let mut hand = Hand {
            config: config.clone(),
            outputs: outputs(config),
            text: Vec::new(),
            sync_at: None,
        };
        thread::Builder::new()
            .name("file-writer".to_owned())
            .spawn(move || hand.work(&taker))
            .map_err(|error| format!("cannot start the thread that writes: {error}"))?;
        Ok(Self {
            jobs,
            places: Arc::new(Semaphore::new(WAITING)),
        })
    }

    /// Waits until the batch has been written. Where that is given up before its turn has come,
    /// it is not written.
    pub(super) async fn write(&self, batch: Batch) -> Result<Delivered, Failure> {
        let gone = || Failure::Retryable {
            after: None,
            cause: "the thread that writes has ended".to_owned(),
        };
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (done, outcome) = oneshot::channel();
        let job = Job {
            batch,
            done,
            _place: place.map_err(|_closed| gone())?,
        };
        // There is room for as many as there are places.
        self.jobs.try_send(job).map_err(|_full| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// A file for each signal; the same one where its name does not tell them apart.
fn outputs(config: &FileConfig) -> Outputs {
    let mut of = Vec::new();
    let mut paths = Vec::new();
    for signal in Signal::ALL {
        let Some(path) = config.path_of(signal) else {
            return Outputs::Standard(Stream::new(config));
        };
        let known = paths.iter().position(|known| *known == path);
        let index = known.unwrap_or(paths.len());
        if known.is_none() {
            paths.push(path);
        }
        of.push((signal, index));
    }
    let outputs = paths.into_iter().map(|path| Output::new(path, config));
    Outputs::Files(of, outputs.collect())
}

impl Hand {
    fn work(&mut self, taker: &Receiver<Job>) {
        loop {
            let next = match self.sync_at {
                Some(at) => taker.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => taker.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let ended = matches!(next, Err(RecvTimeoutError::Disconnected));
            if let Ok(job) = next {
                self.job(job);
            }
            if self.sync_at.is_some_and(|at| ended || at <= Instant::now()) {
                self.sync();
            }
            if ended {
                return;
            }
        }
    }

    /// What cannot be synced is written all the same, and tried again.
    fn sync(&mut self) {
        self.sync_at = None;
        let Outputs::Files(_, outputs) = &mut self.outputs else {
            return;
        };
        for output in outputs {
            if let Err(problem) = output.sync() {
                limited!(error, "{problem}");
                self.sync_at = Some(Instant::now() + self.config.flush_interval);
            }
        }
    }

    fn job(&mut self, job: Job) {
        if job.done.is_closed() {
            return;
        }
        let outcome = self.write(&job.batch).map(|()| Delivered::default());
        if self.text.capacity() > KEPT {
            self.text = Vec::new();
        }
        // Nobody is left to tell where the attempt was given up meanwhile.
        job.done.send(outcome).ok();
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let encoding = self.config.compression.encoding();
        encode::batch(batch, self.config.format, encoding, &mut self.text)?;
        if self.text.is_empty() {
            return Ok(());
        }
        let written = match &mut self.outputs {
            Outputs::Standard(stream) => stream.write(&mut io::stdout().lock(), &self.text),
            Outputs::Files(of, outputs) => {
                let of = of.iter().find(|(signal, _)| *signal == batch.signal);
                let output = of.and_then(|(_, index)| outputs.get_mut(*index));
                match output {
                    Some(output) => output.write(&self.text),
                    None => Err("there is no file for this signal".to_owned()),
                }
            }
        };
        written.map_err(|cause| Failure::Retryable { after: None, cause })?;
        if self.config.fsync == Fsync::Interval && self.sync_at.is_none() {
            self.sync_at = Some(Instant::now() + self.config.flush_interval);
        }
        Ok(())
    }
}
