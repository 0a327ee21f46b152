//! Handing over to a new process: the old one's side of an upgrade in place.

use crate::app::{Allowances, App, Prepared};
use crate::config::Config;
use crate::host::service::{Change, notify};
use crate::host::signals::{Signals, StopSignal};
use crate::net::handover::{Successor, Word};

/// What became of it.
pub(super) enum Outcome {
    /// This process serves on.
    Stays(Box<App>),
    /// It is to stop, and had not handed over.
    IsToStop(Box<App>, StopSignal),
    /// The process of this id serves; here, only what is in memory is left to be delivered.
    HandedOver(Box<App>, u32),
}

/// Why nothing came of it.
enum Failure {
    /// For this reason.
    Because(String),
    /// This process was asked to stop.
    Stopped(StopSignal),
}

/// Why a second SIGUSR2 is refused.
const UNDER_WAY: &str = "an upgrade is under way already";

/// Starts the program that is now where this one came from, and hands over to it. Nobody is
/// refused meanwhile: connections wait in the sockets, which both processes have open. Where the
/// new one fails, this one serves on.
///
/// # Errors
/// The new process failed late, and this one could not start again either.
pub(super) async fn hand_over(
    mut app: App,
    config: &Config,
    allowances: &Allowances,
    signals: &mut Signals,
) -> Result<Outcome, String> {
    app.upgrades().begin();
    tracing::info!("SIGUSR2: starting a new process, to hand over to it");
    notify(Change::Reloading);
    let mut successor = match start(&app) {
        Ok(successor) => successor,
        Err(problem) => return Ok(stay(app, &problem)),
    };
    let given_up = tokio::select! {
        given_up = give_up_to(&mut successor, &mut app, config) => given_up.map_err(Failure::Because),
        signal = signals.stop(UNDER_WAY) => Err(Failure::Stopped(signal)),
    };
    match given_up {
        Ok(()) => {}
        Err(failure) => {
            successor.end().await;
            return go_on(app, config, allowances, failure).await;
        }
    }
    take_leave(app, successor, (config, allowances), signals).await
}

fn start(app: &App) -> Result<Successor, String> {
    if std::process::id() == 1 {
        return Err(
            "this is process 1, with which its container would end: restart the container"
                .to_owned(),
        );
    }
    let sockets = app.sockets();
    let sockets = sockets.map_err(|error| format!("no file descriptor is free: {error}"))?;
    Successor::start(sockets)
}

/// Stops to serve, once the new process is prepared, and tells it so.
async fn give_up_to(
    successor: &mut Successor,
    app: &mut App,
    config: &Config,
) -> Result<(), String> {
    let prepared = successor.hear(&Word::Prepared, config.upgrade.prepare_timeout);
    prepared.await?;
    app.stop_receiving().await;
    app.release_storage().await;
    successor.say(&Word::Yours).await
}

/// Waits for the new process to serve.
async fn take_leave(
    mut app: App,
    mut successor: Successor,
    (config, allowances): (&Config, &Allowances),
    signals: &mut Signals,
) -> Result<Outcome, String> {
    let pid = successor.id();
    let mut stopped = None;
    let ready = {
        let mut ready = std::pin::pin!(successor.hear(&Word::Ready, config.upgrade.start_timeout));
        loop {
            tokio::select! {
                ready = ready.as_mut() => break ready,
                // It cannot be asked back now; whoever stops a service stops both processes.
                signal = signals.stop(UNDER_WAY), if stopped.is_none() => stopped = Some(signal),
            }
        }
    };
    match (ready, stopped) {
        (Ok(()), _) => {
            notify(Change::MainProcess(pid));
            app.release_sockets();
            Ok(Outcome::HandedOver(Box::new(app), pid))
        }
        (Err(problem), stopped) => {
            successor.end().await;
            let failure = stopped.map_or(Failure::Because(problem), Failure::Stopped);
            go_on(app, config, allowances, failure).await
        }
    }
}

/// The new process is gone, whatever it had.
async fn go_on(
    app: App,
    config: &Config,
    allowances: &Allowances,
    failure: Failure,
) -> Result<Outcome, String> {
    let problem = match failure {
        Failure::Because(problem) => problem,
        Failure::Stopped(signal) => return Ok(Outcome::IsToStop(Box::new(app), signal)),
    };
    if app.is_receiving() {
        return Ok(stay(app, &problem));
    }
    tracing::warn!("starting again in this process, since the new one failed");
    let again = match Prepared::after(app, config, allowances).await {
        Ok(prepared) => prepared.start(config, allowances).await,
        Err((past, problem)) => {
            // What it holds is to be delivered all the same.
            past.stop(std::future::pending()).await;
            Err(problem)
        }
    };
    match again {
        Ok(app) => Ok(stay(app, &problem)),
        Err(again) => Err(format!(
            "the upgrade failed: {problem}; and this process could not start again: {again}"
        )),
    }
}

fn stay(app: App, problem: &str) -> Outcome {
    tracing::error!(
        "the upgrade failed, and process {} serves on: {problem}",
        std::process::id()
    );
    app.upgrades().fail(problem);
    notify(Change::Ready);
    Outcome::Stays(Box::new(app))
}
