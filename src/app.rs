//! From config to running process: built from the exits backwards, drained in the order of the
//! data.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::admin::{self, PipelineSummary, Sources};
use crate::auth::Authenticator;
use crate::batch::Priority;
use crate::budget::Budget;
use crate::component::Exporter;
use crate::config::Config;
use crate::delivery::batcher::Limits;
use crate::delivery::config::QueueKind;
use crate::delivery::dead_letters::DeadLetters;
use crate::delivery::lane::Lane;
use crate::delivery::left::LeftQueue;
use crate::delivery::sender::Sender;
use crate::host::allocator;
use crate::host::cpu::{self, CpuAllowance};
use crate::host::workers::Workers;
use crate::intake::priority::Priorities;
use crate::intake::{Door, Intake};
use crate::net::inherited::Sockets;
use crate::net::listen::{Kept, Listener};
use crate::net::tls::Register;
use crate::otlp::Signal;
use crate::otlp::walk::Rules;
use crate::pipeline::Pipeline;
use crate::pipeline::route::Route;
use crate::processors;
use crate::processors::fault::Fault;
use crate::receivers::file::Positions;
use crate::shutdown::Trigger;
use crate::telemetry::health::Health;
use crate::telemetry::lanes::Lanes;
use crate::telemetry::ledger::Ledger;
use crate::telemetry::metrics::Registry;
use crate::telemetry::upgrades::Upgrades;

mod prepared;
mod stop;
mod stored;

pub use prepared::Prepared;
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
    left_queues: Arc<OnceLock<Vec<LeftQueue>>>,
    senders: JoinSet<()>,
    /// Serve until the very end, so that whoever asks is told.
    background: Vec<JoinHandle<()>>,
    admin: Option<JoinHandle<()>>,
    /// Second descriptors of all listening sockets: as long as they are open, nobody is refused,
    /// whoever accepts.
    sockets: Vec<Kept>,
    /// How far files were read by receivers that have stopped.
    positions: Positions,
    upgrades: Arc<Upgrades>,
    /// Where TLS is used, and what is counted there.
    tls: Register,
    deadline: Duration,
}

/// How often the CPU allowance is read again.
const FOLLOW_EVERY: Duration = Duration::from_secs(10);

impl App {
    /// Builds what the configuration names, on sockets that were inherited where there are any.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn prepare(
        config: &Config,
        allowances: &Allowances,
        sockets: Sockets,
    ) -> Result<Prepared, String> {
        Prepared::build(Self::new(config, allowances, None), config, sockets).await
    }

    /// Nothing of it runs yet. It keeps the accounts, the counts and the budget of what ran in
    /// this process before, if anything did.
    fn new(config: &Config, allowances: &Allowances, past: Option<&Self>) -> Self {
        let (registry, budget, ledger, upgrades) = match past {
            Some(past) => (
                Arc::clone(&past.registry),
                past.budget.clone(),
                Arc::clone(&past.ledger),
                Arc::clone(&past.upgrades),
            ),
            None => (
                Arc::default(),
                Budget::for_requests(allowances.budget),
                Arc::default(),
                Arc::default(),
            ),
        };
        let priorities = parts::priorities(config, &registry);
        let tenants = parts::tenants(config, &budget, &registry);
        let door = Door::new(&config.intake).with(tenants, priorities.clone());
        Self {
            health: Arc::default(),
            door: Arc::new(door),
            ledger,
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
            left_queues: Arc::default(),
            senders: JoinSet::new(),
            background: Vec::new(),
            admin: None,
            sockets: Vec::new(),
            positions: past.map(|past| past.positions.clone()).unwrap_or_default(),
            upgrades,
            tls: Register::default(),
            deadline: config.shutdown.deadline,
        }
    }

    fn start_admin(
        &mut self,
        listener: Option<(Listener, Option<Arc<Authenticator>>)>,
        config: &Config,
        of: &Allowances,
        faults: Vec<Arc<Fault>>,
    ) {
        let budget = self.budget.clone();
        let slack = allocator::slack(budget.limit());
        let give_back = allocator::give_back(slack, move || budget.used());
        self.background.push(tokio::spawn(give_back));
        let (allowance, cpu) = watch::channel(of.cpu.clone());
        if of.follow_cpu {
            let follow = cpu::follow(PathBuf::from("/"), FOLLOW_EVERY, allowance);
            self.background.push(tokio::spawn(follow));
            self.background
                .push(tokio::spawn(resize(self.workers.clone(), cpu.clone())));
        }
        let Some((listener, auth)) = listener else {
            return;
        };
        let sources = Arc::new(Sources {
            ledger: Arc::clone(&self.ledger),
            budget: self.budget.clone(),
            budget_source: of.budget_source.clone(),
            door: Arc::clone(&self.door),
            health: Arc::clone(&self.health),
            cpu,
            pipelines: summaries(config),
            lanes: Arc::clone(&self.lanes),
            faults,
            registry: Arc::clone(&self.registry),
            dead_letters: Arc::clone(&self.dead_letters),
            left_queues: Arc::clone(&self.left_queues),
            upgrades: Arc::clone(&self.upgrades),
            tls: self.tls.clone(),
        });
        self.admin = Some(tokio::spawn(admin::serve(listener, sources, auth)));
    }

    async fn open_lanes(
        &mut self,
        config: &Config,
        mut exporters: BTreeMap<String, Arc<dyn Exporter>>,
    ) -> Result<BTreeMap<String, Arc<Lane>>, String> {
        let stored = Stored::open(config, &self.budget, &self.ledger).await?;
        let dead_letters = match &stored {
            Some(stored) => stored.dead_letters(config, &self.ledger).await?,
            None => DeadLetters::default(),
        };
        let mut lanes = BTreeMap::new();
        for (name, entry) in &config.exporters {
            let Some(exporter) = exporters.remove(name) else {
                continue;
            };
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
        if let Some(stored) = &stored {
            let left = stored.left_queues(config).await?;
            self.left_queues.get_or_init(|| left);
        }
        self.stored = stored;
        // Lanes are opened once.
        self.dead_letters.get_or_init(|| dead_letters);
        Ok(lanes)
    }

    fn intake(&self, config: &Config, rules: Rules, pipelines: Feeds) -> Intake {
        let fed = Signal::ALL.into_iter().zip(&pipelines);
        let takes = fed
            .filter(|(_, fed)| !fed.is_empty())
            .map(|(signal, _)| signal)
            .collect();
        let route = Arc::new(Route {
            pipelines,
            rules,
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
            Arc::clone(&route).onward(),
        )
        .with_copies(route.all_copies())
    }

    /// Second descriptors of all listening sockets.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn sockets(&self) -> io::Result<Vec<Kept>> {
        self.sockets.iter().map(Kept::try_clone).collect()
    }

    /// The attempts to replace this process, as the admin side tells them.
    pub fn upgrades(&self) -> &Upgrades {
        &self.upgrades
    }
}

impl Drop for App {
    fn drop(&mut self) {
        for task in self.background.iter().chain(&self.admin) {
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
) -> BTreeMap<String, Arc<Pipeline>> {
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
    pipelines
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
