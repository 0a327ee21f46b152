//! A command that is the exporter under test: started once for each scenario, with a server of
//! its own, so that several run side by side.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::arrival::Wire;
use super::case::{Case, End, Seen};
use super::progress::Progress;
use super::stage::{Part, Stage};

/// How long connections, and whoever else holds the output, may outlive the command.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The most that is kept of what a command writes, in bytes.
const MAX_OUTPUT: usize = 64 << 10;

/// How commands are run.
pub(super) struct Runs<'a> {
    pub(super) command: &'a [String],
    pub(super) listen: SocketAddr,
    /// The longest that one may run.
    pub(super) patience: Duration,
    /// How many at once.
    pub(super) jobs: usize,
}

impl Runs<'_> {
    /// Plays all scenarios; what was seen is in their order.
    pub(super) async fn play(
        &self,
        cases: Vec<Case>,
        progress: &Progress,
    ) -> Result<Vec<Seen>, String> {
        let runs = cases
            .into_iter()
            .enumerate()
            .map(|(number, case)| async move {
                let seen = self.run(case).await;
                progress.step();
                seen.map(|seen| (number, seen))
            });
        let runs = futures_util::stream::iter(runs).buffer_unordered(self.jobs.max(1));
        let all: Vec<Result<(usize, Seen), String>> = runs.collect().await;
        let mut all: Vec<(usize, Seen)> = all.into_iter().collect::<Result<_, _>>()?;
        all.sort_by_key(|(number, _)| *number);
        Ok(all.into_iter().map(|(_, seen)| seen).collect())
    }

    async fn run(&self, case: Case) -> Result<Seen, String> {
        let stage = Stage::open(SocketAddr::new(self.listen.ip(), 0)).await?;
        stage.put_on(Part::new(0, case.wire, &case.answers));
        let end = self.command(&case, stage.address).await?;
        stage.until_empty(AFTERMATH).await;
        let (arrivals, others) = stage
            .arrivals()
            .into_iter()
            .partition(|arrival| arrival.case.is_some());
        Ok(Seen {
            case,
            arrivals,
            others,
            end: Some(end),
        })
    }

    async fn command(&self, case: &Case, server: SocketAddr) -> Result<End, String> {
        let (program, arguments) = self.command.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_EXPORTER_OTLP_") {
                command.env_remove(name);
            }
        }
        command.envs(variables(case, server));
        let began = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let output = Arc::default();
        let out = child.stdout.take().map(|out| keep(out, &output));
        let err = child.stderr.take().map(|err| keep(err, &output));
        let how = match timeout(self.patience, child.wait()).await {
            Ok(Ok(status)) if status.success() => "ended".to_owned(),
            Ok(Ok(status)) => format!("failed, {status},"),
            Ok(Err(error)) => format!("was lost, {error},"),
            Err(_) => {
                child.kill().await.ok();
                "was ended by the suite".to_owned()
            }
        };
        let at = Instant::now();
        for reader in [out, err].into_iter().flatten() {
            // A child of the command may hold it open.
            timeout(AFTERMATH, reader).await.ok();
        }
        let output = output.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(End {
            began,
            at,
            how,
            output: String::from_utf8_lossy(&output).into_owned(),
        })
    }
}

/// What tells the command where the server is and how it is spoken to.
fn variables(case: &Case, server: SocketAddr) -> Vec<(&'static str, String)> {
    let endpoint = format!("http://{server}");
    let protocol = match case.wire {
        Wire::Grpc => "grpc",
        Wire::HttpProtobuf => "http/protobuf",
        Wire::HttpJson => "http/json",
    };
    let usual = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true".to_owned()),
    ];
    let settings = &case.settings;
    let usual = usual
        .into_iter()
        .filter(|(name, _)| !settings.without.contains(name));
    let own = settings
        .variables
        .iter()
        .map(|(name, value)| (*name, value.replace("{endpoint}", &endpoint)));
    // Of two values for one name the later counts.
    usual.chain(own).collect()
}

/// Reads to the end, and keeps the beginning.
fn keep(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    kept: &Arc<Mutex<Vec<u8>>>,
) -> tokio::task::JoinHandle<()> {
    let kept = Arc::clone(kept);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MAX_OUTPUT.saturating_sub(kept.len());
            kept.extend(buffer.iter().take(length.min(room)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::case::Expect;
    use super::*;

    #[test]
    fn a_scenarios_own_variables_are_stronger_than_the_usual_ones() {
        let case = Case::new(Wire::Grpc, "x", [], Expect::Again)
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", "{endpoint}/p/")
            .without(&["OTEL_EXPORTER_OTLP_PROTOCOL"]);
        let variables = variables(&case, SocketAddr::from(([127, 0, 0, 1], 9)));
        let last = variables.last().unwrap();
        assert_eq!(last.0, "OTEL_EXPORTER_OTLP_ENDPOINT");
        assert_eq!(last.1, "http://127.0.0.1:9/p/");
        let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        assert!(!names.contains(&"OTEL_EXPORTER_OTLP_PROTOCOL"));
    }
}
