//! Faults on purpose, to rehearse outages: requests that wait, are refused, or are lost. What a
//! fault does takes time and ends requests, which a processor does not; so the pipeline asks it,
//! behind all processors and before the fan-out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::intake::InjectedError;
use crate::otlp::Signal;
use crate::otlp::view;
use crate::telemetry::limited::Gate;
use crate::units;

/// `type = "fault"`
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct FaultConfig {
    probability: f64,
    latency: Duration,
    end: End,
    signals: Option<Vec<Signal>>,
    attributes: BTreeMap<String, String>,
}

/// The keys that it may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    /// How many of the requests that fit are struck: above 0, up to 1.
    probability: f64,
    /// How long they wait.
    #[serde(with = "units::duration")]
    latency: Duration,
    /// What their clients are told.
    error: Option<InjectedError>,
    /// Whether they are lost, though their clients are told that they were taken.
    drop: bool,
    /// Requests of these signals only; of all if not said.
    signals: Option<Vec<Signal>>,
    /// Requests with a resource that has all of these attributes, with these strings for values.
    attributes: BTreeMap<String, String>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            probability: 1.0,
            latency: Duration::ZERO,
            error: None,
            drop: false,
            signals: None,
            attributes: BTreeMap::new(),
        }
    }
}

impl TryFrom<Written> for FaultConfig {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        if !(written.probability > 0.0 && written.probability <= 1.0) {
            return Err("has a `probability` that is not above 0 and up to 1");
        }
        let end = match (written.error, written.drop) {
            (None, false) if written.latency.is_zero() => {
                return Err("does nothing: give it `latency`, `error` or `drop = true`");
            }
            (None, false) => End::PassedOn,
            (Some(error), false) => End::Refused(error),
            (None, true) => End::Dropped,
            (Some(_), true) => {
                return Err(
                    "has both `error` and `drop`: a client that is told of an error \
                            keeps what it has, and nothing is lost",
                );
            }
        };
        Ok(Self {
            probability: written.probability,
            latency: written.latency,
            end,
            signals: written.signals,
            attributes: written.attributes,
        })
    }
}

/// For a person: `10 % of traces and logs with service.name = "checkout" wait for 2s`.
impl fmt::Display for FaultConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % of ", self.probability * 100.0)?;
        match &self.signals {
            None => f.write_str("all requests")?,
            Some(signals) => {
                let names: Vec<&str> = signals.iter().map(|signal| signal.name()).collect();
                f.write_str(&names.join(" and "))?;
            }
        }
        for (index, (key, value)) in self.attributes.iter().enumerate() {
            let before = if index == 0 { " with" } else { " and" };
            write!(f, "{before} {key} = {value:?}")?;
        }
        let mut before = "";
        if !self.latency.is_zero() {
            write!(f, " wait for {}", units::readable(self.latency))?;
            before = " and";
        }
        match self.end {
            End::PassedOn => Ok(()),
            End::Refused(error) => write!(f, "{before} are answered with {}", error.name()),
            End::Dropped => write!(f, "{before} are taken and dropped"),
        }
    }
}

/// What becomes of a request that was struck, when it has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    PassedOn,
    /// Its client is told so.
    Refused(InjectedError),
    /// It is lost, and its client hears nothing of that.
    Dropped,
}

impl End {
    /// The word for it in `/status` and metric labels.
    const fn name(self) -> &'static str {
        match self {
            Self::PassedOn => "latency",
            Self::Refused(error) => error.name(),
            Self::Dropped => "drop",
        }
    }
}

/// One `fault` processor of a running daemon. It stands for itself in every pipeline.
#[derive(Debug)]
pub struct Fault {
    /// Its name in the configuration.
    pub name: Arc<str>,
    config: FaultConfig,
    delayed: AtomicU64,
    ended: AtomicU64,
    said: Gate,
}

/// What a fault has done so far, as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultSnapshot {
    /// Its name in the configuration.
    pub processor: String,
    /// What it does, for a person.
    pub what: String,
    /// How often it has done each of it.
    pub injected: BTreeMap<&'static str, u64>,
}

impl Fault {
    /// The processor of this name.
    pub fn new(name: &str, config: &FaultConfig) -> Self {
        Self {
            name: name.into(),
            config: config.clone(),
            delayed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            said: Gate::new(Duration::from_secs(10)),
        }
    }

    /// Whether it strikes this batch: how long that is to wait, and what becomes of it then.
    /// What it does is counted, and said in the log.
    pub fn strike(&self, batch: &Batch) -> Option<(Duration, End)> {
        let config = &self.config;
        if !self.concerns(batch) || !rand::rng().random_bool(config.probability) {
            return None;
        }
        if !config.latency.is_zero() {
            self.delayed.fetch_add(1, Ordering::Relaxed);
        }
        if config.end != End::PassedOn {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(repeated) = self.said.pass() {
            tracing::warn!(
                repeated,
                processor = %self.name,
                signal = batch.signal.name(),
                items = batch.items,
                "a fault was injected: {config}; take the processor out of its pipelines to end that"
            );
        }
        Some((config.latency, config.end))
    }

    /// What it has done so far.
    pub fn snapshot(&self) -> FaultSnapshot {
        let mut injected = BTreeMap::new();
        if !self.config.latency.is_zero() {
            injected.insert("latency", self.delayed.load(Ordering::Relaxed));
        }
        if self.config.end != End::PassedOn {
            injected.insert(self.config.end.name(), self.ended.load(Ordering::Relaxed));
        }
        FaultSnapshot {
            processor: self.name.to_string(),
            what: self.config.to_string(),
            injected,
        }
    }

    fn concerns(&self, batch: &Batch) -> bool {
        let signals = self.config.signals.as_ref();
        if signals.is_some_and(|signals| !signals.contains(&batch.signal)) {
            return false;
        }
        if self.config.attributes.is_empty() {
            return true;
        }
        let mut groups = batch.chunks.iter().flat_map(|chunk| view::groups(chunk));
        groups.any(|group| {
            let strings = group.resource_strings();
            let fits = |(key, value): (&String, &String)| {
                view::find(&strings, key).is_some_and(|found| found == value.as_bytes())
            };
            self.config.attributes.iter().all(fits)
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::batch::{Chunks, Context};
    use crate::otlp::wire::write_bytes;

    fn config(toml: &str) -> Result<FaultConfig, String> {
        toml::from_str(toml).map_err(|error| error.message().to_owned())
    }

    fn fault(toml: &str) -> Fault {
        Fault::new("rehearsal", &config(toml).unwrap())
    }

    /// A request of this signal, of a resource for each of these services.
    fn batch(signal: Signal, services: &[&str]) -> Batch {
        let mut body = Vec::new();
        for service in services {
            let (mut value, mut attribute, mut resource, mut group) =
                (vec![], vec![], vec![], vec![]);
            write_bytes(&mut value, 0x0a, service.as_bytes());
            write_bytes(&mut attribute, 0x0a, b"service.name");
            write_bytes(&mut attribute, 0x12, &value);
            write_bytes(&mut resource, 0x0a, &attribute);
            write_bytes(&mut group, 0x0a, &resource);
            write_bytes(&mut body, 0x0a, &group);
        }
        Batch {
            signal,
            chunks: Chunks::from_elem(Bytes::from(body), 1),
            items: 1,
            received: Instant::now(),
            context: Context::default(),
            deadline: None,
            encoded: None,
            reservations: smallvec::SmallVec::new(),
        }
    }

    #[test]
    fn it_strikes_the_chosen_signals_and_resources_and_nothing_else() {
        let fault = fault(
            "latency = \"2s\"\nsignals = [\"traces\", \"logs\"]\n\
             attributes = { \"service.name\" = \"checkout\" }",
        );
        let strike = |signal, services: &[&str]| fault.strike(&batch(signal, services));
        let struck = Some((Duration::from_secs(2), End::PassedOn));
        assert_eq!(strike(Signal::Traces, &["cart", "checkout"]), struck);
        assert_eq!(strike(Signal::Logs, &["checkout"]), struck);
        assert_eq!(strike(Signal::Metrics, &["checkout"]), None);
        assert_eq!(strike(Signal::Traces, &["checkout2", "cart"]), None);
        assert_eq!(strike(Signal::Traces, &[]), None);
        assert_eq!(fault.snapshot().injected, [("latency", 2)].into());
    }

    #[test]
    fn it_strikes_as_often_as_it_is_told_to() {
        let fault = fault("probability = 0.5\nerror = \"unavailable\"\nlatency = \"1ms\"");
        let batch = batch(Signal::Logs, &["any"]);
        let struck = (0..1000).filter(|_| fault.strike(&batch).is_some()).count();
        // Ten standard deviations to either side.
        assert!((342..658).contains(&struck), "{struck}");
        let injected = fault.snapshot().injected;
        assert_eq!(injected["unavailable"], struck as u64);
        assert_eq!(injected["latency"], struck as u64);
    }

    #[test]
    fn it_says_for_a_person_what_it_does() {
        for (toml, said) in [
            ("drop = true", "100 % of all requests are taken and dropped"),
            (
                "probability = 0.1\nlatency = \"2s\"\nsignals = [\"traces\", \"logs\"]\n\
                 attributes = { a = \"x\", b = \"y\" }",
                "10 % of traces and logs with a = \"x\" and b = \"y\" wait for 2s",
            ),
            (
                "probability = 0.5\nlatency = \"100ms\"\nerror = \"permanent\"",
                "50 % of all requests wait for 100ms and are answered with permanent",
            ),
        ] {
            assert_eq!(config(toml).unwrap().to_string(), said);
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (toml, part) in [
            ("", "does nothing"),
            ("probability = 0.5", "does nothing"),
            ("probability = 0.0\ndrop = true", "`probability`"),
            ("probability = 1.1\ndrop = true", "`probability`"),
            ("error = \"internal\"\ndrop = true", "both"),
        ] {
            let problem = config(toml).unwrap_err();
            assert!(problem.contains(part), "{toml}: {problem}");
        }
    }
}
