//! What open requests cost beside their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use http::HeaderMap;

use crate::budget::{Budget, Reservation};

/// What one costs in bytes: its task, what HTTP/2 knows of it, and the buffers that it keeps.
pub(super) const STREAM: usize = 8 << 10;

/// The requests of a receiver that are under way. What they cost is paid for out of the budget,
/// as far as a quarter of it goes; how many there can be is bounded by [`super::connection`].
#[derive(Clone)]
pub(super) struct Streams {
    budget: Budget,
    open: Arc<AtomicUsize>,
}

/// One of them, until this is dropped.
pub(super) struct Stream {
    open: Arc<AtomicUsize>,
    _paid: Option<Reservation>,
}

impl Streams {
    pub(super) fn new(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            open: Arc::default(),
        }
    }

    /// A request has come. It is never refused for its stream alone.
    pub(super) fn open(&self) -> Stream {
        let open = 1 + self.open.fetch_add(1, Ordering::Relaxed);
        let paid = (open <= self.most()).then(|| self.budget.try_reserve(STREAM).ok());
        Stream {
            open: Arc::clone(&self.open),
            _paid: paid.flatten(),
        }
    }

    /// Whether so many are open that whoever is slow to send had better come back.
    pub(super) fn is_crowded(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.most() / 2
    }

    /// As many as a quarter of the budget pays for.
    fn most(&self) -> usize {
        usize::try_from(self.budget.limit() / 4).unwrap_or(usize::MAX) / STREAM
    }
}

impl Stream {
    /// The same answer, with which this ends. Where the head is large the answer begins at once,
    /// and so lets go of it before others come: otherwise those of all connections might be
    /// held until the tasks of their streams have their turn.
    pub(super) fn during<F: Future>(
        self,
        head_is_large: bool,
        answer: F,
    ) -> impl Future<Output = F::Output> {
        // An async block would have room for the answer twice.
        let mut answer = Box::pin(answer.map(move |answer| {
            drop(self);
            answer
        }));
        let given = match head_is_large {
            // Whoever polls it next is woken for it.
            true => answer.as_mut().now_or_never(),
            false => None,
        };
        match given {
            Some(given) => Either::Left(ready(given)),
            None => Either::Right(answer),
        }
    }
}

/// Heads of up to so many bytes are kept as they are while the body is read.
const SMALL_HEAD: usize = 2 << 10;

/// Whether headers are worth letting go of, with the connection's read buffers, which they are a
/// part of.
pub(super) fn is_large(headers: &HeaderMap) -> bool {
    let lines = headers.iter();
    let bytes: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    bytes > SMALL_HEAD
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_paid_for_with_up_to_a_quarter_of_the_budget() {
        let budget = Budget::new(64 * STREAM as u64);
        let streams = Streams::new(&budget);
        let mut open: Vec<Stream> = (0..8).map(|_| streams.open()).collect();
        assert_eq!(budget.used(), 8 * STREAM as u64);
        assert!(!streams.is_crowded());
        open.extend((0..32).map(|_| streams.open()));
        assert_eq!(budget.used(), 16 * STREAM as u64);
        assert!(streams.is_crowded());
        open.truncate(8);
        assert!(!streams.is_crowded());
        drop(open);
        assert_eq!(budget.used(), 0);
    }
}
