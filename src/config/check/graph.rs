//! Checks of the pipelines: that what they name exists, and that a success answer means
//! something in each.

use std::collections::BTreeSet;

use super::{Site, files};
use crate::config::problem::Findings;
use crate::config::tree::{Node, Origin};
use crate::config::{Config, PipelineConfig, suggest};
use crate::intake::Acknowledge;

/// Checks the pipelines against the components. `config` holds what could be read; what a
/// section names but could not be read counts as there.
pub(in crate::config) fn graph(tree: &Node, config: &Config, findings: &mut Findings) {
    if names(tree, "pipelines").is_empty() && tree.place(&["pipelines"]).is_some() {
        findings.problem(
            Origin::Whole,
            "there is no pipeline, so that nothing would be carried: add [pipelines.main] with \
             `receivers` and `exporters`",
        );
    }
    for (name, pipeline) in &config.pipelines {
        check_pipeline(tree, name, pipeline, findings);
        acknowledgement(tree, config, name, findings);
    }
    files::graph(tree, config, findings);
    for section in ["receivers", "processors", "exporters"] {
        report_unused(tree, config, section, findings);
    }
}

fn check_pipeline(tree: &Node, name: &str, pipeline: &PipelineConfig, findings: &mut Findings) {
    let Some(node) = tree.get(&["pipelines", name]) else {
        return;
    };
    let mut site = Site { node, findings };
    for (section, listed) in lists(pipeline) {
        let declared = names(tree, section);
        if listed.is_empty() && section != "processors" {
            let sentence = format!("pipelines.{name} needs at least one of `{section}`");
            site.problem(&[section], &[], sentence + &among(&declared));
        }
        references(section, listed, &declared, &mut site);
    }
    if let Some(signals) = &pipeline.signals {
        let twice = |i: usize| signals.iter().take(i).any(|s| Some(s) == signals.get(i));
        site.forbid(
            signals.is_empty(),
            &["signals"],
            "`signals` is empty, so that nothing would be carried: leave it out to carry all",
        );
        for (index, signal) in signals.iter().enumerate() {
            let path = ["signals", &index.to_string()];
            site.forbid(
                twice(index),
                &path,
                &format!("{:?} is listed twice", signal.name()),
            );
        }
    }
}

fn references(section: &str, listed: &[String], declared: &[String], site: &mut Site<'_>) {
    for (index, reference) in listed.iter().enumerate() {
        let position = index.to_string();
        let path = [section, position.as_str()];
        if listed
            .iter()
            .take(index)
            .any(|earlier| earlier == reference)
        {
            site.problem(&path, &[], format!("{reference:?} is listed twice"));
        } else if !declared.contains(reference) {
            let kind = section.trim_end_matches('s');
            let shown = match site.node.is_secret(&path) {
                true => "of this name".to_owned(),
                false => format!(
                    "{reference:?}{}",
                    suggest::did_you_mean(reference, declared)
                ),
            };
            let sentence = format!("there is no {kind} {shown}{}", among(declared));
            site.problem(&path, &[], sentence);
        }
    }
}

fn among(declared: &[String]) -> String {
    match declared {
        [] => "; none is configured".to_owned(),
        _ => format!("; there is {}", declared.join(", ")),
    }
}

fn lists(pipeline: &PipelineConfig) -> [(&'static str, &[String]); 3] {
    [
        ("receivers", &pipeline.receivers),
        ("processors", &pipeline.processors),
        ("exporters", &pipeline.exporters),
    ]
}

/// Where no exporter is required, success would be answered whatever becomes of the data.
fn acknowledgement(tree: &Node, config: &Config, name: &str, findings: &mut Findings) {
    let Some(pipeline) = config.pipelines.get(name) else {
        return;
    };
    // An exporter that could not be read may well be required.
    let optional = |name: &String| {
        let entry = config.exporters.get(name);
        entry.is_some_and(|entry| !entry.lane.required)
    };
    if pipeline.exporters.is_empty() || !pipeline.exporters.iter().all(optional) {
        return;
    }
    let path = ["pipelines", name, "exporters"];
    let (Some(place), Some(_)) = (tree.place(&path), tree.place(&["intake", "acknowledge"])) else {
        return;
    };
    let word = match config.acknowledge() {
        Acknowledge::Delivered => "delivered",
        Acknowledge::Stored => "stored",
        Acknowledge::Queued => "",
    };
    match word {
        "delivered" | "stored" => findings.problem(
            place,
            format!(
                "no exporter here is required, so that `acknowledge = {word:?}` would wait for \
                 none of them: leave `required = false` out for at least one"
            ),
        ),
        _ => findings.warning(
            place,
            "no exporter here is required, so that a success answer promises nothing",
        ),
    }
}

fn report_unused(tree: &Node, config: &Config, section: &str, findings: &mut Findings) {
    let used: BTreeSet<&String> = config
        .pipelines
        .values()
        .flat_map(lists)
        .filter(|(listed, _)| *listed == section)
        .flat_map(|(_, names)| names)
        .collect();
    for name in names(tree, section) {
        if !used.contains(&name)
            && let Some(place) = tree.place(&[section, &name])
        {
            findings.warning(
                place,
                format!("{section}.{name} is in no pipeline and is not started"),
            );
        }
    }
}

fn names(tree: &Node, section: &str) -> Vec<String> {
    let table = tree.get(&[section]).and_then(Node::table);
    table.map_or_else(Vec::new, |table| table.entries.keys().cloned().collect())
}
