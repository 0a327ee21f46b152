//! The parts that are there only if the configuration asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::budget::Budget;
use crate::config::Config;
use crate::intake::priority::Priorities;
use crate::intake::tenants::Tenants;
use crate::processors::ProcessorConfig;
use crate::processors::fault::Fault;
use crate::telemetry::metrics::Registry;

pub(super) fn tenants(config: &Config, budget: &Budget, registry: &Registry) -> Option<Tenants> {
    let tenants = config.tenants.as_ref()?;
    Some(Tenants::new(tenants, &config.intake, budget, registry))
}

pub(super) fn priorities(config: &Config, registry: &Registry) -> Option<Arc<Priorities>> {
    let priority = config.priority.as_ref()?;
    Some(Arc::new(Priorities::new(priority, registry)))
}

/// The `fault` processors that stand in a pipeline. Nobody is to be surprised by one.
pub(super) fn faults(config: &Config) -> BTreeMap<String, Arc<Fault>> {
    let mut faults = BTreeMap::new();
    for (name, processor) in &config.processors {
        let ProcessorConfig::Fault(fault) = processor else {
            continue;
        };
        let used = config.pipelines.iter();
        let used = used.filter(|(_, pipeline)| pipeline.processors.contains(name));
        let pipelines: Vec<&str> = used.map(|(name, _)| name.as_str()).collect();
        if !pipelines.is_empty() {
            let pipelines = pipelines.join(", ");
            tracing::warn!(
                "processors.{name} injects faults into {pipelines}: {fault}; this is for \
                 rehearsals, and clients and destinations feel it"
            );
            faults.insert(name.clone(), Arc::new(Fault::new(name, fault)));
        }
    }
    faults
}
