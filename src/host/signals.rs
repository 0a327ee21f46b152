//! The signals that ask us to stop.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signal asked us to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// From an orchestrator or a service manager.
    Terminate,
    /// From a terminal.
    Interrupt,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// SIGTERM and SIGINT. They no longer end the process from the moment that this is made.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes both signals over. Must be called within a runtime; fails only if the system
    /// refuses.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them; a second one may be waited for, to stop at once. Cancel-safe.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn raise(kind: &str) {
        let kill = tokio::process::Command::new("kill")
            .args([kind, &std::process::id().to_string()])
            .status();
        assert!(kill.await.unwrap().success());
    }

    #[tokio::test]
    async fn both_signals_are_told_apart_and_do_not_end_the_process() {
        let mut signals = StopSignals::install().unwrap();
        raise("-TERM").await;
        assert_eq!(signals.next().await, StopSignal::Terminate);
        raise("-INT").await;
        assert_eq!(signals.next().await, StopSignal::Interrupt);
    }
}
