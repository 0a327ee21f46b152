//! From the tree to the types that the rooms declare.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::auth::Aside;
use super::deserialize::NodeDeserializer;
use super::fault::{Fault, FaultKind};
use super::problem::Findings;
use super::tree::{Node, Value};
use super::{Config, ExporterEntry, Files, PipelineConfig, auth, check, not_yet, suggest};
use crate::admin::AdminConfig;
use crate::delivery::config::LaneConfig;
use crate::exporters::ExporterConfig;
use crate::processors::ProcessorConfig;
use crate::receivers::ReceiverConfig;

const SECTIONS: [&str; 13] = [
    "intake",
    "tenants",
    "priority",
    "admin",
    "log",
    "shutdown",
    "upgrade",
    "storage",
    "process",
    "receivers",
    "processors",
    "exporters",
    "pipelines",
];

/// Reads the whole tree. What can be read is, so that everything wrong in the rest is found
/// too; `None` where the findings already say why there is no config.
pub(super) fn config(mut tree: Node, files: Files, findings: &mut Findings) -> Option<Config> {
    report_unknown_sections(&tree, findings);
    let config = Config {
        intake: section(&mut tree, "intake", findings),
        tenants: section(&mut tree, "tenants", findings),
        priority: section(&mut tree, "priority", findings),
        admin: admin(&mut tree, findings),
        log: section(&mut tree, "log", findings),
        shutdown: section(&mut tree, "shutdown", findings),
        upgrade: section(&mut tree, "upgrade", findings),
        storage: section(&mut tree, "storage", findings),
        process: section(&mut tree, "process", findings),
        receivers: named(&mut tree, "receivers", findings, receiver),
        processors: named(&mut tree, "processors", findings, processor),
        exporters: named(&mut tree, "exporters", findings, exporter),
        pipelines: named(&mut tree, "pipelines", findings, pipeline),
        warnings: Vec::new(),
    };
    check::sections(&tree, &config, findings);
    check::graph(&tree, &config, findings);
    match files {
        Files::Read => check::files(&tree, &config, findings),
        Files::Left => {}
    }
    (!findings.has_problems()).then_some(config)
}

fn report_unknown_sections(tree: &Node, findings: &mut Findings) {
    let entries = tree.table().into_iter().flat_map(|table| &table.entries);
    for (name, entry) in entries {
        if !SECTIONS.contains(&name.as_str()) {
            let sentence = not_yet::key(name).unwrap_or_else(|| {
                let nearest = suggest::did_you_mean(name, &SECTIONS);
                let sections = SECTIONS.join(", ");
                format!("unknown section `{name}`{nearest}; the sections are {sections}")
            });
            findings.problem(entry.key.clone(), sentence);
        }
    }
}

fn section<T: DeserializeOwned + Default>(
    tree: &mut Node,
    name: &str,
    findings: &mut Findings,
) -> T {
    child(tree, name)
        .and_then(|node| read(node, name, &[], findings, |table| T::deserialize(table)))
        .unwrap_or_default()
}

fn admin(tree: &mut Node, findings: &mut Findings) -> AdminConfig {
    let Some(node) = child(tree, "admin") else {
        return AdminConfig::default();
    };
    let mut aside = Aside::take(node);
    let auth = aside.incoming("admin", findings);
    let read = read(node, "admin", &[auth::KEY], findings, |table| {
        AdminConfig::deserialize(table)
    });
    aside.put_back(node);
    AdminConfig {
        auth,
        ..read.unwrap_or_default()
    }
}

fn child<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    let entry = node.table_mut()?.entries.get_mut(name)?;
    Some(&mut entry.node)
}

/// Reads each table of a section whose keys are names.
fn named<T>(
    tree: &mut Node,
    section: &str,
    findings: &mut Findings,
    read_one: impl Fn(&mut Node, &str, &mut Findings) -> Option<T>,
) -> BTreeMap<String, T> {
    let Some(node) = child(tree, section) else {
        return BTreeMap::new();
    };
    let kind = node.value.type_name();
    let Value::Table(table) = &mut node.value else {
        let sentence = format!("`{section}` wants a table for each name, but this is {kind}");
        findings.problem(node.origin.clone(), sentence);
        return BTreeMap::new();
    };
    let mut components = BTreeMap::new();
    for (name, entry) in &mut table.entries {
        let full_name = format!("{section}.{name}");
        if let Some(component) = read_one(&mut entry.node, &full_name, findings) {
            components.insert(name.clone(), component);
        }
    }
    components
}

fn receiver(node: &mut Node, name: &str, findings: &mut Findings) -> Option<ReceiverConfig> {
    let kind = take_type(node, name, &ReceiverConfig::TYPES, findings)?;
    let takes_auth = ReceiverConfig::takes_auth(&kind);
    let mut beside = vec!["type"];
    beside.extend(takes_auth.then_some(auth::KEY));
    let mut aside = takes_auth.then(|| Aside::take(node));
    let auth = aside
        .as_mut()
        .and_then(|aside| aside.incoming(name, findings));
    let config = read(node, name, &beside, findings, |table| {
        ReceiverConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
    });
    if let Some(aside) = aside {
        aside.put_back(node);
    }
    let mut config = config?;
    check::receiver(&config, node, findings);
    if let Some(auth) = auth {
        check::certificates(&auth, &config, node, findings);
        config.set_auth(auth);
    }
    Some(config)
}

fn processor(node: &mut Node, name: &str, findings: &mut Findings) -> Option<ProcessorConfig> {
    let kind = take_type(node, name, &ProcessorConfig::TYPES, findings)?;
    read(node, name, &["type"], findings, |table| {
        ProcessorConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
    })
}

fn exporter(node: &mut Node, name: &str, findings: &mut Findings) -> Option<ExporterEntry> {
    let kind = take_type(node, name, &ExporterConfig::TYPES, findings);
    let lane = lane(node, name, findings);
    let mut beside = vec!["type"];
    beside.extend(LaneConfig::KEYS);
    let kind = kind?;
    let takes_auth = ExporterConfig::takes_auth(&kind);
    beside.extend(takes_auth.then_some(auth::KEY));
    let mut aside = takes_auth.then(|| Aside::take(node));
    let auth = aside
        .as_mut()
        .and_then(|aside| aside.outgoing(name, findings));
    let kind = read(node, name, &beside, findings, |table| {
        ExporterConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
    });
    if let Some(aside) = aside {
        aside.put_back(node);
    }
    let mut kind = kind?;
    check::exporter(&kind, node, findings);
    if let Some(auth) = auth {
        check::shown(&kind, node, findings);
        kind.set_auth(auth);
    }
    Some(ExporterEntry { lane: lane?, kind })
}

fn lane(exporter: &mut Node, name: &str, findings: &mut Findings) -> Option<LaneConfig> {
    let mut node = split_lane(exporter);
    let lane = read(&mut node, name, &[], findings, |table| {
        LaneConfig::deserialize(table)
    })?;
    check::lane(&lane, &node, findings);
    Some(lane)
}

fn pipeline(node: &mut Node, name: &str, findings: &mut Findings) -> Option<PipelineConfig> {
    read(node, name, &[], findings, |table| {
        PipelineConfig::deserialize(table)
    })
}

/// Moves the keys of the lane out of an exporter's table, into one of their own.
fn split_lane(node: &mut Node) -> Node {
    let mut lane = node.clone();
    let is_lane = |key: &str| LaneConfig::KEYS.contains(&key);
    if let (Some(lane), Some(rest)) = (lane.table_mut(), node.table_mut()) {
        lane.entries.retain(|key, _| is_lane(key));
        rest.entries.retain(|key, _| !is_lane(key));
    }
    lane
}

pub(super) fn no_such_type() -> Fault {
    Fault::new(FaultKind::Other(
        "has a type that is not built in".to_owned(),
    ))
}

/// Takes the `type` out of a component's table, if there is such a type.
pub(super) fn take_type(
    node: &mut Node,
    name: &str,
    types: &[(&'static str, &'static str)],
    findings: &mut Findings,
) -> Option<String> {
    let origin = node.origin.clone();
    let kind = node.value.type_name();
    let Some(table) = node.table_mut() else {
        findings.problem(
            origin,
            format!("`{name}` wants a table, but this is {kind}"),
        );
        return None;
    };
    let types: Vec<&str> = types.iter().map(|(kind, _)| *kind).collect();
    let Some(entry) = table.entries.remove("type") else {
        if !table.removed.contains("type") {
            let choices = suggest::choices(&types);
            findings.problem(origin, format!("{name} needs the key `type`: {choices}"));
        }
        return None;
    };
    let sentence = match entry.node.value {
        Value::String(kind) if types.contains(&kind.as_str()) => return Some(kind),
        Value::String(kind) if entry.node.secret => {
            drop(kind);
            format!("`type` wants {}", suggest::choices(&types))
        }
        Value::String(kind) => format!(
            "there is no type {kind:?}{}; it is {}",
            suggest::did_you_mean(&kind, &types),
            suggest::choices(&types)
        ),
        other => format!(
            "`type` wants {}, but this is {}",
            suggest::choices(&types),
            other.type_name()
        ),
    };
    findings.problem(entry.node.origin, sentence);
    None
}

/// Reads one table. Whatever does not fit is reported, taken out, and the rest read again, since
/// serde stops at the first fault; so all of them are found.
pub(super) fn read<T>(
    node: &mut Node,
    name: &str,
    beside: &[&str],
    findings: &mut Findings,
    deserialize: impl Fn(NodeDeserializer<'_>) -> Result<T, Fault>,
) -> Option<T> {
    loop {
        let fault = match deserialize(NodeDeserializer::new(node, beside)) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let path = fault.path();
        let at = node.nearest(&path);
        match &fault.kind {
            FaultKind::MissingKey(key) => {
                if !at.table().is_some_and(|table| table.removed.contains(key)) {
                    findings.problem(at.origin.clone(), fault.sentence(name));
                }
                if node.stand_in(&path, key) {
                    continue;
                }
            }
            FaultKind::UnknownKey { .. } => {
                findings.problem(node.place_of_key(&path), fault.sentence(name));
            }
            _ if matches!(at.value, Value::StandIn) => {
                // Nothing serves in its place; its whole table goes.
                let parent = path.split_last().map_or(&[][..], |(_, parent)| parent);
                if !node.remove(parent) {
                    return None;
                }
                continue;
            }
            // What a table says as a whole is not to be believed once something was taken out.
            FaultKind::Other(_) if at.table().is_some_and(|table| !table.removed.is_empty()) => {}
            _ => findings.problem(at.origin.clone(), fault.sentence(name)),
        }
        if !node.remove(&path) {
            return None;
        }
    }
}
