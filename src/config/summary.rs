//! What was understood of a config, in a few lines for `otlpd validate` and the start-up log.

use super::{Config, ExporterEntry, PipelineConfig, check};
use crate::admin::AdminConfig;
use crate::auth::AuthConfig;
use crate::exporters::ExporterConfig;
use crate::intake::{Acknowledge, MemoryBudget};
use crate::net::tls::ServerTlsConfig;
use crate::otlp::Signal;
use crate::receivers::ReceiverConfig;

/// One sentence a line: each pipeline, and what a success answer means. No values but names and
/// addresses; none of these is a secret.
pub fn lines(config: &Config) -> Vec<String> {
    let mut lines: Vec<String> = config
        .pipelines
        .iter()
        .map(|(name, pipeline)| format!("pipeline {name}: {}", way(config, pipeline)))
        .collect();
    lines.extend(
        config.pipelines.iter().map(|(name, pipeline)| {
            format!("success in {name} means: {}", promise(config, pipeline))
        }),
    );
    lines.extend(config.tenants.as_ref().map(|tenants| {
        let (header, limited) = (&tenants.header, tenants.limits.len());
        format!("tenants: told apart by {header}; {limited} with limits of their own")
    }));
    lines.extend(config.priority.as_ref().map(|priority| {
        let (header, rules) = (&priority.header, priority.rules.len());
        format!(
            "priority: by {header}, by {}, and by {rules} rules",
            priority.resource_attribute
        )
    }));
    lines.push(match config.admin.enabled {
        true => format!("admin: {}", admin(config)),
        false => "admin: off".to_owned(),
    });
    lines
}

/// Where the memory budget comes from; running, the start-up log has the figure itself.
pub fn budget(config: &Config) -> String {
    match config.intake.memory_budget {
        MemoryBudget::Auto => "memory budget: a share of the memory limit (auto)".to_owned(),
        MemoryBudget::Fixed(size) => format!("memory budget: {size}"),
    }
}

fn way(config: &Config, pipeline: &PipelineConfig) -> String {
    let receivers = list(&pipeline.receivers, |name| {
        config.receivers.get(name).map(receiver)
    });
    let exporters = list(&pipeline.exporters, |name| {
        config.exporters.get(name).map(exporter)
    });
    let mut stages = vec![receivers];
    if !pipeline.processors.is_empty() {
        stages.push(pipeline.processors.join(", "));
    }
    stages.push(exporters);
    let signals = match &pipeline.signals {
        Some(signals) => {
            let names: Vec<&str> = signals.iter().map(|signal| Signal::name(*signal)).collect();
            format!(" ({} only)", names.join(", "))
        }
        None => String::new(),
    };
    stages.join(" -> ") + &signals
}

fn list(names: &[String], describe: impl Fn(&String) -> Option<String>) -> String {
    let described = names.iter().map(|name| match describe(name) {
        Some(description) => format!("{name} [{description}]"),
        None => name.clone(),
    });
    described.collect::<Vec<_>>().join(", ")
}

fn admin(config: &Config) -> String {
    let AdminConfig { endpoint, tls, .. } = &config.admin;
    let shown = match (endpoint.starts_with("unix:"), tls) {
        (true, _) => format!("{endpoint}{}", secured(tls.as_ref())),
        (false, Some(tls)) => format!("https://{endpoint}{}", secured(Some(tls))),
        (false, None) => format!("http://{endpoint}"),
    };
    shown + &asked_for(config.admin.auth.as_ref())
}

/// What is to be said of who is let in.
fn asked_for(auth: Option<&AuthConfig>) -> String {
    auth.map_or(String::new(), |auth| format!(", auth {}", auth.name()))
}

/// What is to be said, and loudly, of an admin listener that lets everybody in; `None` where it
/// does not, or only this machine can reach it.
pub fn open_admin(config: &Config) -> Option<String> {
    let admin = &config.admin;
    let is_open = admin.enabled && admin.auth.is_none() && check::is_reached_by_others(admin);
    is_open.then(|| {
        format!(
            "admin: whoever reaches {} reads /status and /metrics and is not asked who it is, as \
             `allow_unauthenticated` says",
            admin.endpoint
        )
    })
}

fn receiver(config: &ReceiverConfig) -> String {
    let otlp = match config {
        ReceiverConfig::Otlp(otlp) => otlp,
        ReceiverConfig::File(file) => return format!("file, {}", file.include.join(", ")),
    };
    let shown = |protocol: &str, endpoint: &str, tls: &Option<ServerTlsConfig>| {
        format!("{protocol} {endpoint}{}", secured(tls.as_ref()))
    };
    let grpc = otlp.grpc.as_ref();
    let http = otlp.http.as_ref();
    let both: Vec<String> = match (grpc, http) {
        (Some(both), _) if otlp.shares_a_port() => {
            vec![shown("gRPC and HTTP", &both.endpoint, &both.tls)]
        }
        (grpc, http) => {
            let grpc = grpc.map(|grpc| shown("gRPC", &grpc.endpoint, &grpc.tls));
            let http = http.map(|http| shown("HTTP", &http.endpoint, &http.tls));
            grpc.into_iter().chain(http).collect()
        }
    };
    let auth = asked_for(otlp.auth.as_ref());
    format!("otlp, {}{auth}", both.join(", "))
}

/// What is to be said of a listener's TLS.
fn secured(tls: Option<&ServerTlsConfig>) -> &'static str {
    match tls {
        Some(tls) if tls.client_ca_file.is_some() => " (TLS, clients show certificates)",
        Some(_) => " (TLS)",
        None => "",
    }
}

fn exporter(entry: &ExporterEntry) -> String {
    let kind = match &entry.kind {
        ExporterConfig::OtlpGrpc(config) => format!("otlp_grpc, {}", config.endpoint),
        ExporterConfig::OtlpHttp(config) => format!("otlp_http, {}", config.endpoint),
        ExporterConfig::File(config) => match config.path() {
            Some(path) => format!("file, {}", path.display()),
            None => "file, standard output".to_owned(),
        },
        ExporterConfig::Debug(_) => "debug".to_owned(),
        ExporterConfig::Discard(_) => "discard".to_owned(),
    };
    match entry.lane.required {
        true => kind,
        false => kind + ", not required",
    }
}

fn promise(config: &Config, pipeline: &PipelineConfig) -> String {
    let required: Vec<&str> = pipeline
        .exporters
        .iter()
        .filter(|name| config.exporters.get(*name).is_some_and(|e| e.lane.required))
        .map(String::as_str)
        .collect();
    let names = required.join(", ");
    match (required.is_empty(), config.acknowledge()) {
        (true, _) => "nothing, since no exporter is required".to_owned(),
        (false, Acknowledge::Queued) => {
            format!("the data waits in memory for {names} (queued); a crash loses it")
        }
        (false, Acknowledge::Stored) => {
            format!("the data is on disk for {names} (stored); a crash loses nothing")
        }
        (false, Acknowledge::Delivered) => {
            format!("the destination of {names} has the data (delivered)")
        }
    }
}
