//! Checks of what reads and writes files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Site;
use crate::config::Config;
use crate::config::problem::Findings;
use crate::config::tree::Node;
use crate::exporters::ExporterConfig;
use crate::exporters::file::FileConfig;
use crate::otlp::{Format, Signal};
use crate::receivers::ReceiverConfig;
use crate::receivers::file as read;

/// Checks the keys of a file receiver.
pub(super) fn reads(config: &read::FileConfig, site: &mut Site<'_>) {
    site.forbid(
        config.include.is_empty(),
        &["include"],
        "`include` names no file: give it patterns such as \"/var/log/otlp/*.jsonl\"",
    );
    for (key, patterns) in [("include", &config.include), ("exclude", &config.exclude)] {
        for (index, pattern) in patterns.iter().enumerate() {
            if let Err(problem) = read::Pattern::parse(pattern) {
                let path = [key, &index.to_string()];
                site.problem(&path, &[], format!("this pattern {problem}"));
            }
        }
    }
    site.forbid(
        config.format == Format::Protobuf && config.signal.is_none(),
        &["format"],
        "in \"proto\" nothing says what kind of requests a file holds: add `signal = \"traces\"`, \
         \"metrics\", \"logs\" or \"profiles\"",
    );
    let size = config.max_log_size.0 == 0;
    site.not_zero(
        size,
        &["max_log_size"],
        "every request would be passed over",
    );
    let poll = config.poll_interval.is_zero();
    site.not_zero(poll, &["poll_interval"], "it would look all the time");
    let files = config.max_concurrent_files == 0;
    site.not_zero(files, &["max_concurrent_files"], "no file could be open");
}

/// Checks the keys of a file exporter.
pub(super) fn writes(config: &FileConfig, site: &mut Site<'_>) {
    let path = config.path().map(|path| path.to_string_lossy());
    let names_no_file = path.is_some_and(|path| path.is_empty() || path.ends_with('/'));
    site.forbid(
        names_no_file,
        &["path"],
        "`path` names no file: leave it out, or use \"-\", for standard output",
    );
    site.not_zero(
        config.flush_interval.is_zero(),
        &["flush_interval"],
        "`fsync = \"always\"` syncs what was written before it is called delivered",
    );
    let Some(rotation) = config.rotation else {
        return;
    };
    site.forbid(
        config.path().is_none(),
        &["rotation"],
        "standard output cannot be rotated: name a file with `path`",
    );
    site.not_zero(
        rotation.max_bytes.0 == 0,
        &["rotation", "max_bytes"],
        "each batch would be in a file of its own; leave `rotation` out for a file that is never \
         rotated",
    );
}

/// Checks that each file holds one kind of data, and has one writer.
pub(super) fn graph(tree: &Node, config: &Config, findings: &mut Findings) {
    let mut site = Site {
        node: tree,
        findings,
    };
    let mut writers: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (name, entry) in &config.exporters {
        let ExporterConfig::File(file) = &entry.kind else {
            continue;
        };
        let signals = signals(config, name);
        one_kind(name, file, &signals, &mut site);
        circle(name, file, config, &mut site);
        for path in signals.iter().filter_map(|signal| file.path_of(*signal)) {
            match writers.get(&path) {
                Some(other) if *other != name => {
                    let sentence = format!(
                        "exporters.{other} writes to this file already: give one of them another"
                    );
                    site.problem(&["exporters", name, "path"], &[], sentence);
                    break;
                }
                _ => {
                    writers.insert(path, name);
                }
            }
        }
    }
}

/// Who reads what he writes reads it for ever.
fn circle(name: &str, file: &FileConfig, config: &Config, site: &mut Site<'_>) {
    let pipelines = config.pipelines.values();
    for pipeline in pipelines.filter(|pipeline| pipeline.exporters.iter().any(|e| e == name)) {
        for reader in &pipeline.receivers {
            let Some(ReceiverConfig::File(read)) = config.receivers.get(reader) else {
                continue;
            };
            let means = |patterns: &[String], path: &PathBuf| {
                let mut patterns = patterns.iter().filter_map(|p| read::Pattern::parse(p).ok());
                patterns.any(|pattern| pattern.matches(path))
            };
            let signals = Signal::ALL
                .into_iter()
                .filter(|signal| pipeline.carries(*signal));
            let mut paths = signals.filter_map(|signal| file.path_of(signal));
            if paths.any(|path| means(&read.include, &path) && !means(&read.exclude, &path)) {
                let sentence = format!(
                    "receivers.{reader} of the same pipeline would read this file, and what it \
                     reads would be written to it again, for ever: give it another path, or add it \
                     to `exclude` there"
                );
                return site.problem(&["exporters", name, "path"], &[], sentence);
            }
        }
    }
}

/// The signals that pipelines carry to this exporter.
fn signals(config: &Config, exporter: &String) -> Vec<Signal> {
    let reach = |signal: &Signal| {
        let mut pipelines = config.pipelines.values();
        pipelines.any(|pipeline| pipeline.exporters.contains(exporter) && pipeline.carries(*signal))
    };
    Signal::ALL.into_iter().filter(reach).collect()
}

fn one_kind(name: &str, file: &FileConfig, signals: &[Signal], site: &mut Site<'_>) {
    if signals.len() < 2 || file.tells_signals_apart() {
        return;
    }
    let names: Vec<&str> = signals.iter().map(|signal| signal.name()).collect();
    let names = names.join(", ");
    if file.path().is_some() {
        let sentence = format!(
            "pipelines carry {names} to this file, and a file holds one kind: put {{signal}} into \
             `path`, such as \"otlp-{{signal}}.jsonl\", or set `signals` of the pipeline"
        );
        site.problem(&["exporters", name, "path"], &[], sentence);
    } else if file.format == Format::Protobuf {
        let sentence = format!(
            "pipelines carry {names} to standard output, and nothing tells them apart in \"proto\": \
             use \"json\", or set `signals` of the pipeline"
        );
        site.problem(&["exporters", name, "format"], &[], sentence);
    }
}
