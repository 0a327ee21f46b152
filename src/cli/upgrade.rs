//! `otlpd upgrade`: has a running otlpd replaced by the program that is now where it was started
//! from, and says what came of it.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use tokio::time::Instant;

use super::ConfigArgs;
use super::health::Whom;
use super::tls::TlsArgs;
use crate::config::Config;
use crate::host::signals::ask_for_upgrade;
use crate::telemetry::upgrades::UpgradeSnapshot;

/// Between two looks at how it goes.
const PAUSE: Duration = Duration::from_millis(50);

/// What both processes may take for everything that has no bound of its own.
const SLACK: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct Upgrade {
    /// The process; without, the one that answers on the admin endpoint of the configuration,
    /// which must be the one in any case
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What is read of `/status`.
#[derive(Debug, Deserialize)]
struct Status {
    pid: u32,
    readiness: Readiness,
    upgrade: UpgradeSnapshot,
}

#[derive(Debug, Deserialize)]
struct Readiness {
    state: String,
}

impl Upgrade {
    /// Code 0 where another process has taken over, 1 where it has not.
    pub(super) fn run(&self) -> ExitCode {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(problems) => {
                super::complain(&format!("{problems}\n"));
                return ExitCode::FAILURE;
            }
        };
        match self.carry_out(&config) {
            Ok((old, new)) => {
                super::print(&format!("{old} -> {new}\n"));
                ExitCode::SUCCESS
            }
            Err(problem) => {
                super::complain(&format!("{problem}\n"));
                ExitCode::FAILURE
            }
        }
    }

    fn carry_out(&self, config: &Config) -> Result<(u32, u32), String> {
        if !config.admin.enabled {
            return Err(
                "there is nobody to ask how it went: the admin listener is switched off; send \
                 SIGUSR2 to the process, and read its log"
                    .to_owned(),
            );
        }
        let whom = Whom::new(&config.admin, &self.tls).known_by(&config.admin);
        let url = &whom.url;
        let before = status(&whom).map_err(|error| format!("cannot ask {url}/status: {error}"))?;
        let pid = before.pid;
        if let Some(wanted) = self.pid.filter(|wanted| *wanted != pid) {
            return Err(format!(
                "process {pid} answers at {url}, not {wanted}: use the configuration \
                 of process {wanted}"
            ));
        }
        if before.upgrade.under_way {
            return Err(format!("an upgrade of process {pid} is under way already"));
        }
        ask_for_upgrade(pid)
            .map_err(|error| format!("cannot send SIGUSR2 to process {pid}: {error}"))?;
        watch(config, &whom, &before)
    }
}

/// Looks until it has ended, in one way or the other.
fn watch(config: &Config, whom: &Whom, before: &Status) -> Result<(u32, u32), String> {
    let upgrade = &config.upgrade;
    let patience =
        upgrade.prepare_timeout + upgrade.start_timeout + config.shutdown.deadline + SLACK;
    let begun = Instant::now();
    while begun.elapsed() < patience {
        std::thread::park_timeout(PAUSE);
        match status(whom) {
            Ok(now) => {
                if let Some(end) = judge(before, &now) {
                    return end;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(format!(
                    "process {} is gone, and no other is in its place: its log says why",
                    before.pid
                ));
            }
            // Between the two, the answer of one may be cut short.
            Err(_) => {}
        }
    }
    let pid = before.pid;
    Err(format!(
        "no other process has replaced {pid} within {patience:?}: the log of {pid} says why"
    ))
}

/// How it ended, if it has.
fn judge(before: &Status, now: &Status) -> Option<Result<(u32, u32), String>> {
    if now.pid != before.pid {
        return (now.readiness.state == "running").then_some(Ok((before.pid, now.pid)));
    }
    let has_ended = now.upgrade.attempts > before.upgrade.attempts && !now.upgrade.under_way;
    let why = now.upgrade.failure.as_deref().unwrap_or("nobody said why");
    let pid = now.pid;
    has_ended.then(|| {
        Err(format!(
            "the upgrade failed, and process {pid} serves on: {why}"
        ))
    })
}

fn status(whom: &Whom) -> io::Result<Status> {
    let answer = whom.ask("/status")?;
    if !answer.is_yes {
        return Err(io::Error::other(answer.body));
    }
    serde_json::from_str(&answer.body).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pid: u32, state: &str, attempts: u64, failure: Option<&str>) -> Status {
        Status {
            pid,
            readiness: Readiness {
                state: state.to_owned(),
            },
            upgrade: UpgradeSnapshot {
                attempts,
                under_way: failure.is_none() && attempts > 1,
                failure: failure.map(str::to_owned),
            },
        }
    }

    #[test]
    fn another_process_that_runs_is_success_and_the_same_one_with_a_failure_is_not() {
        let before = status(7, "running", 1, Some("an old story"));
        let judge = |now| judge(&before, &now);
        assert_eq!(judge(status(8, "running", 0, None)), Some(Ok((7, 8))));
        assert_eq!(judge(status(8, "starting", 0, None)), None);
        // The signal is on its way; then the attempt is under way; then it has failed.
        assert_eq!(judge(status(7, "running", 1, Some("an old story"))), None);
        assert_eq!(judge(status(7, "running", 2, None)), None);
        let failed = judge(status(7, "running", 2, Some("it hangs"))).unwrap();
        assert!(failed.unwrap_err().ends_with("serves on: it hangs"));
    }
}
