//! From config to running process: built from the exits backwards, drained in the order of the
//! data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::admin::{self, PipelineSummary, Sources};
use crate::batch::Priority;
use crate::budget::Budget;
use crate::config::Config;
use crate::delivery::batcher::Limits;
use crate::delivery::config::QueueKind;
use crate::delivery::dead_letters::DeadLetters;
use crate::delivery::lane::Lane;
use crate::delivery::sender::Sender;
use crate::host::cpu::{self, CpuAllowance};
use crate::host::workers::Workers;
use crate::intake::priority::Priorities;
use crate::intake::{Door, Intake};
use crate::net::listen::Listener;
use crate::otlp::Signal;
use crate::pipeline::Pipeline;
use crate::pipeline::route::Route;
use crate::processors;
use crate::processors::fault::Fault;
use crate::receivers::ReceiverConfig;
use crate::receivers::otlp::OtlpConfig;
use crate::receivers::otlp::listen::Listeners;
use crate::shutdown::Trigger;
use crate::telemetry::health::{Health, State};
use crate::telemetry::lanes::Lanes;
use crate::telemetry::ledger::{Ledger, LedgerSnapshot};
use crate::telemetry::metrics::Registry;

mod stored;

use stored::Stored;

mod parts;

/// What the host gives us, as it was read at the start.
#[derive(Clone, Debug)]
pub struct Allowances {
    /// The CPUs that we may use.
    pub cpu: CpuAllowance,
    /// Whether the allowance is read again while running.
    pub follow_cpu: bool,
    /// The memory budget in bytes.
    pub budget: u64,
    /// What set it, for a person.
    pub budget_source: String,
}

/// A running daemon.
pub struct App {
    health: Arc<Health>,
    door: Arc<Door>,
    ledger: Arc<Ledger>,
    lanes: Arc<Lanes>,
    registry: Arc<Registry>,
    budget: Budget,
    priorities: Option<Arc<Priorities>>,
    workers: Workers,
    receiving: Trigger,
    delivering: Trigger,
    /// Ends the lanes whose queues stay on disk.
    keeping: Trigger,
    stored: Option<Stored>,
    /// Set once the storage is open.
    dead_letters: Arc<OnceLock<DeadLetters>>,
    senders: JoinSet<()>,
    /// Serve until the very end, so that whoever asks is told.
    background: Vec<JoinHandle<()>>,
    deadline: Duration,
}

/// What refusals have to reach their clients when we are in a hurry.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How often the CPU allowance is read again.
const FOLLOW_EVERY: Duration = Duration::from_secs(10);

impl App {
    /// Builds and starts everything that the configuration names.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn start(config: &Config, allowances: &Allowances) -> Result<Self, String> {
        let (registry, budget) = (Arc::default(), Budget::new(allowances.budget));
        let priorities = parts::priorities(config, &registry);
        let door = Door::new(&config.intake).with(
            parts::tenants(config, &budget, &registry),
            priorities.clone(),
        );
        let mut app = Self {
            health: Arc::default(),
            door: Arc::new(door),
            ledger: Arc::default(),
            lanes: Arc::default(),
            registry,
            budget,
            priorities,
            workers: Workers::new(allowances.cpu.threads),
            receiving: Trigger::default(),
            delivering: Trigger::default(),
            keeping: Trigger::default(),
            stored: None,
            dead_letters: Arc::default(),
            senders: JoinSet::new(),
            background: Vec::new(),
            deadline: config.shutdown.deadline,
        };
        let faults = parts::faults(config);
        let shown = faults.values().cloned().collect();
        app.start_admin(config, allowances, shown).await?;
        let lanes = app.open_lanes(config).await?;
        let pipelines = build_pipelines(config, &lanes, &faults)?;
        let mut ready = Vec::new();
        for (name, receiver) in &config.receivers {
            let ReceiverConfig::Otlp(otlp) = receiver;
            let intake = app.intake(config, otlp, feeds(name, config, &pipelines));
            ready.push((Listeners::bind(name, otlp, &app.registry).await?, intake));
        }
        for (listeners, intake) in ready {
            app.background
                .push(tokio::spawn(listeners.serve(intake, app.receiving.drain())));
        }
        app.health.set(State::Running);
        Ok(app)
    }

    async fn start_admin(
        &mut self,
        config: &Config,
        allowances: &Allowances,
        faults: Vec<Arc<Fault>>,
    ) -> Result<(), String> {
        let (allowance, cpu) = watch::channel(allowances.cpu.clone());
        if allowances.follow_cpu {
            let follow = cpu::follow(PathBuf::from("/"), FOLLOW_EVERY, allowance);
            self.background.push(tokio::spawn(follow));
            self.background
                .push(tokio::spawn(resize(self.workers.clone(), cpu.clone())));
        }
        if !config.admin.enabled {
            return Ok(());
        }
        let listener = Listener::bind(&config.admin.endpoint, "admin.endpoint").await;
        let listener = listener.map_err(|error| error.to_string())?;
        let sources = Arc::new(Sources {
            ledger: Arc::clone(&self.ledger),
            budget: self.budget.clone(),
            budget_source: allowances.budget_source.clone(),
            door: Arc::clone(&self.door),
            health: Arc::clone(&self.health),
            cpu,
            pipelines: summaries(config),
            lanes: Arc::clone(&self.lanes),
            faults,
            registry: Arc::clone(&self.registry),
            dead_letters: Arc::clone(&self.dead_letters),
        });
        self.background
            .push(tokio::spawn(admin::serve(listener, sources)));
        Ok(())
    }

    async fn open_lanes(&mut self, config: &Config) -> Result<BTreeMap<String, Arc<Lane>>, String> {
        let stored = Stored::open(config, &self.budget).await?;
        let dead_letters = match &stored {
            Some(stored) => stored.dead_letters(config, &self.ledger).await?,
            None => DeadLetters::default(),
        };
        let mut lanes = BTreeMap::new();
        for (name, entry) in &config.exporters {
            let exporter = entry
                .kind
                .build(&self.workers)
                .map_err(|problem| format!("exporters.{name}: {problem}"))?;
            let limits = Limits::new(&entry.lane.batch, entry.kind.encoding());
            let accounts = self.ledger.accounts(name);
            let mut lane = Lane::new(name, entry.lane.clone(), limits, accounts, &self.lanes);
            lane = lane.with_dead_letters(dead_letters.clone());
            if let Some(stored) = &stored
                && entry.lane.queue.kind != QueueKind::Memory
            {
                let durable = stored.lane(name, &entry.lane, lane.room()).await?;
                lane = lane.with_durable(durable);
            }
            if let Some(priority) = &config.priority {
                let weights = Priority::ALL.map(|class| priority.weights.of(class));
                lane = lane.with_weights(weights);
            }
            let lane = Arc::new(lane);
            let sender = Sender::new(Arc::clone(&lane), exporter);
            let drain = match lane.is_durable() {
                true => self.keeping.drain(),
                false => self.delivering.drain(),
            };
            self.senders.spawn(sender.run(drain));
            lanes.insert(name.clone(), lane);
        }
        self.stored = stored;
        // Lanes are opened once.
        self.dead_letters.get_or_init(|| dead_letters);
        Ok(lanes)
    }

    fn intake(&self, config: &Config, otlp: &OtlpConfig, pipelines: Feeds) -> Intake {
        let fed = Signal::ALL.into_iter().zip(&pipelines);
        let takes = fed
            .filter(|(_, fed)| !fed.is_empty())
            .map(|(signal, _)| signal)
            .collect();
        let route = Arc::new(Route {
            pipelines,
            validation: otlp.validation.into(),
            acknowledge: config.acknowledge(),
            budget: self.budget.clone(),
            workers: self.workers.clone(),
            ledger: Arc::clone(&self.ledger),
            priorities: self.priorities.clone(),
        });
        let door = Arc::clone(&self.door);
        Intake::new(
            self.budget.clone(),
            door,
            route.gates(),
            takes,
            route.onward(),
        )
    }

    /// Drains in the order of the data, and says what became of everything. `hurry` ends it
    /// early.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) -> LedgerSnapshot {
        self.health.set(State::Draining);
        let now = Instant::now();
        let refuse_at = now + self.deadline / 2;
        let drain = self.drain(
            refuse_at,
            refuse_at + self.deadline / 4,
            now + self.deadline,
        );
        let in_time = tokio::select! {
            () = drain => true,
            () = hurry => false,
        };
        if !in_time {
            tracing::warn!("asked again to stop: giving up what is left");
            let now = Instant::now();
            self.drain(now, now + LAST_WORDS, now).await;
        }
        self.ledger.snapshot()
    }

    /// Listeners close and requests under way finish; at `refuse_at` those that still wait are
    /// refused, and at `cut_at` the connections are cut that have not ended. Only then, when
    /// nothing more can be acknowledged, the lanes empty, until `deadline`.
    async fn drain(&mut self, refuse_at: Instant, cut_at: Instant, deadline: Instant) {
        self.receiving.begin(cut_at);
        if timeout_at(refuse_at, self.receiving.done()).await.is_err() {
            self.door.close();
            self.receiving.done().await;
        }
        self.keeping.begin(deadline);
        self.delivering.begin(deadline);
        while self.senders.join_next().await.is_some() {}
        if let Some(dead_letters) = self.dead_letters.get() {
            let in_time = timeout_at(
                deadline.max(Instant::now()) + LAST_WORDS,
                dead_letters.finish(),
            );
            if in_time.await.is_err() {
                tracing::error!("the disk has not taken all dead letters in time");
            }
        }
        if let Some(stored) = self.stored.take() {
            stored.close().await;
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        for task in &self.background {
            task.abort();
        }
    }
}

async fn resize(workers: Workers, mut cpu: watch::Receiver<CpuAllowance>) {
    while cpu.changed().await.is_ok() {
        let allowance = cpu.borrow_and_update().clone();
        tracing::info!("CPU allowance changed: {allowance}");
        workers.resize(allowance.threads);
    }
}

fn build_pipelines(
    config: &Config,
    lanes: &BTreeMap<String, Arc<Lane>>,
    faults: &BTreeMap<String, Arc<Fault>>,
) -> Result<BTreeMap<String, Arc<Pipeline>>, String> {
    let mut pipelines = BTreeMap::new();
    for (name, pipeline) in &config.pipelines {
        let lanes = pipeline
            .exporters
            .iter()
            .filter_map(|name| lanes.get(name).cloned());
        let processors = pipeline
            .processors
            .iter()
            .filter_map(|name| config.processors.get(name));
        let built = Pipeline {
            name: name.clone(),
            processors: processors::build_chain(processors),
            faults: pipeline
                .processors
                .iter()
                .filter_map(|name| faults.get(name).cloned())
                .collect(),
            lanes: lanes.collect(),
        };
        pipelines.insert(name.clone(), Arc::new(built));
    }
    Ok(pipelines)
}

/// The pipelines that one receiver feeds, by signal.
type Feeds = [Vec<Arc<Pipeline>>; Signal::ALL.len()];

fn feeds(receiver: &str, config: &Config, pipelines: &BTreeMap<String, Arc<Pipeline>>) -> Feeds {
    Signal::ALL.map(|signal| {
        let fed = config.pipelines.iter().filter(|(_, pipeline)| {
            pipeline.carries(signal) && pipeline.receivers.iter().any(|name| name == receiver)
        });
        fed.filter_map(|(name, _)| pipelines.get(name).cloned())
            .collect()
    })
}

fn summaries(config: &Config) -> Vec<PipelineSummary> {
    let summary = |(name, pipeline): (&String, &crate::config::PipelineConfig)| PipelineSummary {
        name: name.clone(),
        receivers: pipeline.receivers.clone(),
        processors: pipeline.processors.clone(),
        exporters: pipeline.exporters.clone(),
        signals: Signal::ALL
            .into_iter()
            .filter(|signal| pipeline.carries(*signal))
            .map(Signal::name)
            .collect(),
    };
    config.pipelines.iter().map(summary).collect()
}
