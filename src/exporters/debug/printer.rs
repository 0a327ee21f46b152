//! The thread that writes pages to standard output. Where nobody reads there, it alone stands
//! still: the attempts that wait for it time out in the lane.

use std::io::{ErrorKind, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::component::{Delivered, Failure};

/// Pages that may wait for the thread.
const WAITING: usize = 1;

/// Hands pages to the thread, which ends when this is dropped.
pub(super) struct Printer {
    pages: mpsc::Sender<Page>,
}

struct Page {
    text: String,
    done: oneshot::Sender<Result<Delivered, Failure>>,
}

impl Printer {
    /// # Errors
    /// A sentence, where the system has no thread to give.
    pub(super) fn start(out: impl Write + Send + 'static) -> Result<Self, String> {
        let (pages, taker) = mpsc::channel(WAITING);
        thread::Builder::new()
            .name("debug-printer".to_owned())
            .spawn(move || write_pages(out, taker))
            .map_err(|error| format!("cannot start the thread that prints: {error}"))?;
        Ok(Self { pages })
    }

    /// Waits until the page has been written. Where that is given up before its turn has come,
    /// it is not written.
    pub(super) async fn print(&self, text: String) -> Result<Delivered, Failure> {
        let gone = || Failure::Permanent {
            cause: "the printing thread has ended".to_owned(),
        };
        let (done, outcome) = oneshot::channel();
        self.pages
            .send(Page { text, done })
            .await
            .map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Whether the next page need not wait to be handed over.
    #[cfg(test)]
    pub(super) fn has_room(&self) -> bool {
        self.pages.capacity() > 0
    }
}

fn write_pages(mut out: impl Write, mut taker: mpsc::Receiver<Page>) {
    let mut told = false;
    while let Some(Page { text, done }) = taker.blocking_recv() {
        if done.is_closed() {
            continue;
        }
        let outcome = match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(Delivered::default()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                if !told {
                    tracing::warn!("standard output is closed: nothing is printed from now on");
                    told = true;
                }
                Err(Failure::Permanent {
                    cause: "standard output is closed".to_owned(),
                })
            }
            Err(error) => Err(Failure::Retryable {
                after: None,
                cause: format!("cannot write to standard output: {error}"),
            }),
        };
        // Nobody is left to tell where the attempt was given up meanwhile.
        done.send(outcome).ok();
    }
}
