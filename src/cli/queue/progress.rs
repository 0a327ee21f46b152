//! How far a long reading is, on standard error.

use std::time::Duration;

use tokio::time::Instant;

use super::contents::Seen;

/// How often it is said.
const EVERY: Duration = Duration::from_secs(2);

/// Says how far it is each few seconds; nothing where all is done sooner.
pub(super) struct Progress {
    of: u64,
    done: u64,
    said: Instant,
}

impl Progress {
    /// Of so many bytes in all.
    pub(super) fn new(of: u64) -> Self {
        Self {
            of,
            done: 0,
            said: Instant::now(),
        }
    }

    /// Counts what is seen; a file counts when it is begun.
    pub(super) fn note(&mut self, seen: &Seen) {
        if let Seen::File { bytes, .. } = seen {
            self.step(*bytes);
        }
    }

    /// So many bytes more are done.
    pub(super) fn step(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        if let Some(line) = self.line(Instant::now()) {
            crate::cli::complain(&line);
        }
    }

    fn line(&mut self, now: Instant) -> Option<String> {
        if now.saturating_duration_since(self.said) < EVERY {
            return None;
        }
        self.said = now;
        // A queue that is in use can grow meanwhile.
        let percent = (self.done.saturating_mul(100) / self.of.max(1)).min(99);
        let (done, of) = (self.done >> 20, self.of.max(self.done) >> 20);
        Some(format!("{percent} %: read {done} of {of} MiB\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_every_two_seconds_and_never_says_all() {
        let mut progress = Progress::new(400 << 20);
        let start = progress.said;
        progress.step(100 << 20);
        assert_eq!(progress.line(start + EVERY / 2), None);
        let line = progress.line(start + EVERY);
        assert_eq!(line.as_deref(), Some("25 %: read 100 of 400 MiB\n"));
        assert_eq!(progress.line(start + EVERY), None);
        progress.done = 500 << 20;
        let line = progress.line(start + EVERY * 2);
        assert_eq!(line.as_deref(), Some("99 %: read 500 of 500 MiB\n"));
    }
}
