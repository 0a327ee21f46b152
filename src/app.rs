//! From config to running process: built from the exits backwards, drained in the order of the
//! data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::config::Config;
use crate::delivery::batcher::Limits;
use crate::delivery::lane::Lane;
use crate::delivery::sender::Sender;
use crate::host::workers::Workers;
use crate::intake::{Door, Intake};
use crate::otlp::Signal;
use crate::otlp::walk::Validation;
use crate::pipeline::Pipeline;
use crate::pipeline::route::Route;
use crate::receivers::ReceiverConfig;
use crate::receivers::otlp::ValidationConfig;
use crate::receivers::otlp::listen::Listeners;
use crate::shutdown::Trigger;
use crate::telemetry::ledger::{Ledger, LedgerSnapshot};

/// A running daemon.
pub struct App {
    door: Arc<Door>,
    ledger: Arc<Ledger>,
    receiving: Trigger,
    delivering: Trigger,
    tasks: JoinSet<()>,
    deadline: Duration,
}

impl App {
    /// Builds and starts everything that the configuration names.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn start(config: &Config, budget: Budget, workers: Workers) -> Result<Self, String> {
        let ledger = Arc::new(Ledger::default());
        let mut app = Self {
            door: Arc::new(Door::new(&config.intake)),
            ledger,
            receiving: Trigger::default(),
            delivering: Trigger::default(),
            tasks: JoinSet::new(),
            deadline: config.shutdown.deadline,
        };
        let lanes = app.open_lanes(config, &workers)?;
        let pipelines = build_pipelines(config, &lanes);
        for (name, receiver) in &config.receivers {
            let ReceiverConfig::Otlp(otlp) = receiver;
            let fed = feeds(name, config, &pipelines);
            let takes = Signal::ALL.into_iter().filter(|s| !fed[*s as usize].is_empty()).collect();
            let validation = match otlp.validation {
                ValidationConfig::Full => Validation::Full,
                ValidationConfig::Items => Validation::Items,
            };
            let route = Arc::new(Route {
                pipelines: fed,
                validation,
                acknowledge: config.intake.acknowledge,
                budget: budget.clone(),
                workers: workers.clone(),
                ledger: Arc::clone(&app.ledger),
            });
            let door = Arc::clone(&app.door);
            let gates = route.gates();
            let intake = Intake::new(budget.clone(), door, gates, takes, route.onward());
            let listeners = Listeners::bind(name, otlp).await?;
            app.tasks.spawn(listeners.serve(intake, app.receiving.drain()));
        }
        Ok(app)
    }

    fn open_lanes(
        &mut self,
        config: &Config,
        workers: &Workers,
    ) -> Result<BTreeMap<String, Arc<Lane>>, String> {
        let mut lanes = BTreeMap::new();
        for (name, entry) in &config.exporters {
            let exporter =
                entry.kind.build(workers).map_err(|problem| format!("exporters.{name}: {problem}"))?;
            let limits = Limits::new(&entry.lane.batch, entry.kind.encoding());
            let accounts = self.ledger.accounts(name);
            let lane = Arc::new(Lane::new(name, entry.lane.clone(), limits, accounts));
            let sender = Sender::new(Arc::clone(&lane), exporter);
            self.tasks.spawn(sender.run(self.delivering.drain()));
            lanes.insert(name.clone(), lane);
        }
        Ok(lanes)
    }

    /// Drains in the order of the data and says what became of everything.
    pub async fn stop(mut self) -> LedgerSnapshot {
        let deadline = Instant::now() + self.deadline;
        self.door.close();
        self.receiving.begin(deadline);
        self.receiving.done().await;
        self.delivering.begin(deadline);
        while self.tasks.join_next().await.is_some() {}
        self.ledger.snapshot()
    }
}

fn build_pipelines(
    config: &Config,
    lanes: &BTreeMap<String, Arc<Lane>>,
) -> BTreeMap<String, Arc<Pipeline>> {
    config
        .pipelines
        .iter()
        .map(|(name, pipeline)| {
            let lanes = pipeline.exporters.iter().filter_map(|name| lanes.get(name).cloned());
            let built =
                Pipeline { name: name.clone(), processors: Vec::new(), lanes: lanes.collect() };
            (name.clone(), Arc::new(built))
        })
        .collect()
}

/// The pipelines that a receiver feeds, by signal.
fn feeds(
    receiver: &str,
    config: &Config,
    pipelines: &BTreeMap<String, Arc<Pipeline>>,
) -> [Vec<Arc<Pipeline>>; Signal::ALL.len()] {
    Signal::ALL.map(|signal| {
        config
            .pipelines
            .iter()
            .filter(|(_, pipeline)| pipeline.receivers.iter().any(|name| name == receiver))
            .filter(|(_, pipeline)| {
                pipeline.signals.as_ref().is_none_or(|signals| signals.contains(&signal))
            })
            .filter_map(|(name, _)| pipelines.get(name).cloned())
            .collect()
    })
}
