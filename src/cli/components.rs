//! `otlpd components`: what is built in.

use std::process::ExitCode;

use crate::exporters::ExporterConfig;
use crate::processors::ProcessorConfig;
use crate::receivers::ReceiverConfig;

pub(super) fn run() -> ExitCode {
    super::print(&table());
    ExitCode::SUCCESS
}

fn table() -> String {
    let kinds: [(&str, &[(&str, &str)]); 4] = [
        ("receivers", &ReceiverConfig::TYPES),
        ("processors", &ProcessorConfig::TYPES),
        ("connectors", &[]),
        ("exporters", &ExporterConfig::TYPES),
    ];
    let names = kinds.iter().flat_map(|(_, types)| *types);
    let width = names.map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (kind, types) in kinds {
        text += &format!("{kind}:\n");
        for (name, purpose) in types {
            text += &format!("  {name:width$}  {purpose}\n");
        }
        if types.is_empty() {
            text += "  (none yet)\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_stands_in_the_table_with_its_purpose() {
        let table = table();
        for (name, purpose) in ExporterConfig::TYPES
            .into_iter()
            .chain(ReceiverConfig::TYPES)
        {
            // A receiver and an exporter may have the same name.
            let mut lines = table.lines();
            let stands = |line: &str| line.trim().starts_with(name) && line.ends_with(purpose);
            assert!(lines.any(stands), "{name}");
        }
    }
}
