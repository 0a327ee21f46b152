//! The signals that ask us to stop, or to let another process take over.

use std::fmt;
use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signal asked us to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// From an orchestrator or a service manager.
    Terminate,
    /// From a terminal.
    Interrupt,
    /// From a terminal that is closed.
    Hangup,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        })
    }
}

/// What a signal asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To stop.
    Stop(StopSignal),
    /// To start the program anew and hand over to it: SIGUSR2.
    Upgrade,
}

/// SIGTERM, SIGINT and SIGHUP. They no longer end the process from the moment that this is made.
///
/// SIGHUP asks to stop where we were started from a terminal, which then is closed. To a daemon it is
/// sent in the hope that it reads its configuration again: that changes nothing, and is told how it
/// is done.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    at_a_terminal: bool,
}

/// What is said of a SIGHUP that changes nothing.
const NOTHING_IS_READ_AGAIN: &str = "SIGHUP: nothing is read again. `otlpd upgrade` starts a new \
    process with the configuration as it is now, and refuses no client; certificates, keys and \
    tokens in files are read again by themselves";

impl StopSignals {
    /// Takes these signals over. Must be called within a runtime; fails only if the system
    /// refuses.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            at_a_terminal: io::stdin().is_terminal(),
        })
    }

    /// Waits for the next of them; a second one may be waited for, to stop at once. Cancel-safe.
    pub async fn next(&mut self) -> StopSignal {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return StopSignal::Terminate,
                _ = self.interrupt.recv() => return StopSignal::Interrupt,
                _ = self.hangup.recv() => {}
            }
            if self.at_a_terminal {
                return StopSignal::Hangup;
            }
            tracing::warn!("{NOTHING_IS_READ_AGAIN}");
        }
    }
}

/// Those, and SIGUSR2, for a process that others can take over from.
#[derive(Debug)]
pub struct Signals {
    stop: StopSignals,
    upgrade: Signal,
}

impl Signals {
    /// Takes them over. Must be called within a runtime; fails only if the system refuses.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            stop: StopSignals::install()?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next of them. Cancel-safe.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            signal = self.stop.next() => Wish::Stop(signal),
            _ = self.upgrade.recv() => Wish::Upgrade,
        }
    }

    /// Waits for the next that asks to stop; a second one may be waited for, to stop at once.
    /// Who asks for an upgrade meanwhile is told in the log that there will be none, and why.
    /// Cancel-safe.
    pub async fn stop(&mut self, why_no_upgrade: &str) -> StopSignal {
        loop {
            match self.next().await {
                Wish::Stop(signal) => return signal,
                Wish::Upgrade => tracing::warn!("SIGUSR2: refused: {why_no_upgrade}"),
            }
        }
    }
}

/// Asks another process for an upgrade.
///
/// # Errors
/// The kernel's: there is no such process, or it is somebody else's.
pub fn ask_for_upgrade(pid: u32) -> io::Result<()> {
    // 0 and what is above would be groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    #[expect(unsafe_code, reason = "std sends no signals but SIGKILL, to children")]
    // SAFETY: takes two numbers and touches no memory of ours.
    let sent = unsafe { libc::kill(pid, libc::SIGUSR2) };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
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
    async fn signals_are_told_apart_and_do_not_end_the_process() {
        let mut signals = Signals::install().unwrap();
        raise("-TERM").await;
        assert_eq!(signals.next().await, Wish::Stop(StopSignal::Terminate));
        raise("-INT").await;
        assert_eq!(signals.next().await, Wish::Stop(StopSignal::Interrupt));
        ask_for_upgrade(std::process::id()).unwrap();
        assert_eq!(signals.next().await, Wish::Upgrade);
        // One that comes at the wrong time does not stop us.
        let mut stop = Box::pin(signals.stop("not now"));
        ask_for_upgrade(std::process::id()).unwrap();
        assert!(futures_util::poll!(&mut stop).is_pending());
        raise("-TERM").await;
        assert_eq!(stop.await, StopSignal::Terminate);
        // A terminal that is closed does, but not whoever hopes for a reload. What came before may
        // not have been heard yet.
        signals.stop.at_a_terminal = true;
        raise("-HUP").await;
        assert_eq!(signals.stop("not now").await, StopSignal::Hangup);
        signals.stop.at_a_terminal = false;
        raise("-HUP").await;
        raise("-INT").await;
        assert_eq!(signals.stop("not now").await, StopSignal::Interrupt);
    }

    #[test]
    fn groups_and_processes_that_are_not_there_are_refused() {
        let kind = |pid| ask_for_upgrade(pid).unwrap_err().kind();
        assert_eq!(kind(0), io::ErrorKind::InvalidInput);
        assert_eq!(kind(u32::MAX), io::ErrorKind::InvalidInput);
        assert_ne!(kind(i32::MAX.unsigned_abs()), io::ErrorKind::InvalidInput);
    }
}
