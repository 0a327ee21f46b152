//! What stands in `config/` works: every file loads, every component has an example, and the
//! reference names every key with the default that it really has.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use otlpd::auth::{AuthConfig, CredentialsConfig};
use otlpd::config::{Config, Problems};
use otlpd::exporters::ExporterConfig;
use otlpd::net::tls::{ClientTlsConfig, ServerTlsConfig};
use otlpd::processors::ProcessorConfig;
use otlpd::receivers::ReceiverConfig;
use toml::{Table, Value};

/// What the reference has that is required and so has no default.
const REQUIRED: &str = r#"
[receivers.apps]
type = "otlp"
grpc = { endpoint = "127.0.0.1:4317" }
http = { endpoint = "127.0.0.1:4318" }

[receivers.files]
type = "file"
include = ["/var/log/otlp/*.jsonl", "/var/log/otlp/*.jsonl.zst"]

[processors.cluster]
type = "resource"
attributes = [
    { action = "upsert", key = "k8s.cluster.name", value = "blue" },
    { action = "insert", key = "deployment.environment.name", value = "production" },
]

[processors.private]
type = "attributes"
actions = [
    { action = "rename", key = "user_email", new_key = "user.email" },
    { action = "hash", key = "user.email" },
    { action = "delete", key = "http.request.header.authorization" },
    { action = "update", key = "peer.service", from_attribute = "server.address" },
]

[exporters.backend]
type = "otlp_grpc"
endpoint = "http://127.0.0.1:5317"

[exporters.web]
type = "otlp_http"
endpoint = "http://127.0.0.1:5318"

[exporters.files]
type = "file"

[exporters.print]
type = "debug"

[exporters.nothing]
type = "discard"

[pipelines.main]
receivers = ["apps", "files"]
processors = ["cluster", "private"]
exporters = ["backend", "web", "files", "print", "nothing"]
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn reference() -> String {
    std::fs::read_to_string(folder().join("otlpd.toml")).unwrap()
}

/// The reference with the keys that have no default (`#key = value`) and the sections that are off
/// unless they are written (`#[section]`) written out. `tls` is among them, and is for https.
fn whole_reference() -> String {
    let lines = reference();
    let uncommented = lines.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            setting
        }
        _ => line,
    });
    let whole = uncommented.collect::<Vec<_>>().join("\n");
    whole.replace("\"http://", "\"https://")
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(toml_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files
}

fn load_text(text: &str, sets: &[String]) -> Result<Config, Problems> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    // The one variable that the reference names without a default.
    let variable = |name: &str| (name == "OTLPD_QUEUE_KEY").then(|| "0".repeat(64));
    Config::load(Some(file.path()), sets, &variable)
}

#[test]
fn every_file_loads_without_a_warning() {
    let files = toml_files(&folder());
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        match Config::load(Some(&file), &[], &|_| None) {
            Ok(config) => assert!(config.warnings.is_empty(), "{:?}", config.warnings),
            Err(problems) => panic!("{problems}"),
        }
    }
}

#[test]
fn every_component_has_an_example() {
    let mut shown = BTreeSet::new();
    for file in toml_files(&folder().join("examples")) {
        let table: Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        for section in ["receivers", "processors", "exporters"] {
            let components = table.get(section).and_then(Value::as_table);
            for component in components.into_iter().flat_map(Table::values) {
                shown.insert((section, component["type"].as_str().unwrap().to_owned()));
            }
        }
    }
    let types = [
        ("receivers", &ReceiverConfig::TYPES[..]),
        ("processors", &ProcessorConfig::TYPES[..]),
        ("exporters", &ExporterConfig::TYPES[..]),
    ];
    for (section, types) in types {
        for (name, _) in types {
            assert!(
                shown.contains(&(section, (*name).to_owned())),
                "{section}: {name}"
            );
        }
    }
}

#[test]
fn the_reference_says_the_defaults_that_the_code_has() {
    let said = load_text(&reference(), &[]).unwrap();
    let defaults = load_text(REQUIRED, &[]).unwrap();
    assert_eq!(format!("{said:#?}"), format!("{defaults:#?}"));
}

/// What the reference shows of the sections that are off unless they are written, but for the keys
/// that have no default, is what they are when they are written and empty.
#[test]
fn the_sections_that_are_off_have_the_defaults_that_the_reference_shows() {
    let mut shown: Table = whole_reference().parse().unwrap();
    shown.retain(|section, _| matches!(section, "tenants" | "priority"));
    let tenants = shown["tenants"].as_table_mut().unwrap();
    tenants.remove("limits").unwrap();
    let default = tenants["default"].as_table_mut().unwrap();
    default.retain(|key, _| key == "burst");
    let priority = shown["priority"].as_table_mut().unwrap();
    priority.remove("rules").unwrap();
    let shown = load_text(&format!("{REQUIRED}\n{shown}"), &[]).unwrap();
    let empty = load_text(&format!("{REQUIRED}\n[tenants]\n[priority]\n"), &[]).unwrap();
    assert!(empty.tenants.is_some() && empty.priority.is_some());
    assert_eq!(format!("{shown:#?}"), format!("{empty:#?}"));
}

/// `tls` as it stands in the reference, but for its files, is what it is when only they are written.
#[test]
fn tls_has_the_defaults_that_the_reference_shows() {
    let shown: Table = whole_reference().parse().unwrap();
    let grpc = &shown["receivers"]["apps"]["grpc"];
    for listener in [&shown["admin"], grpc, &shown["receivers"]["apps"]["http"]] {
        let shown = listener["tls"].as_table().unwrap();
        let files = ["cert_file", "key_file", "client_ca_file"];
        let mut bare = shown.clone();
        bare.retain(|key, _| files.contains(&key));
        assert!(bare.len() < shown.len());
        let [shown, bare] = [shown, &bare].map(|t| t.clone().try_into::<ServerTlsConfig>());
        assert_eq!(shown.unwrap(), bare.unwrap());
    }
    for exporter in ["backend", "web"] {
        let mut shown = shown["exporters"][exporter]["tls"].clone();
        let no_default = |key: &str| key.ends_with("_file") || key == "server_name_override";
        let table = shown.as_table_mut().unwrap();
        table.retain(|key, _| !no_default(key));
        assert!(!table.is_empty());
        let shown: ClientTlsConfig = shown.try_into().unwrap();
        assert_eq!(shown, ClientTlsConfig::default());
    }
}

#[test]
fn the_keys_without_a_default_are_valid_as_they_stand_in_the_reference() {
    assert_ne!(whole_reference(), reference());
    load_text(&whole_reference(), &[]).unwrap();
}

/// An unknown key in a table makes the loader list the keys that there are.
#[test]
fn the_reference_names_every_key_there_is() {
    let text = whole_reference();
    let root: Table = text.parse().unwrap();
    let mut tables = Vec::new();
    collect_tables("", &root, &mut tables);
    tables.push((String::new(), root));
    // The lane's keys are written out once, under the first exporter.
    let lane = ["required", "timeout", "max_in_flight", "queue", "batch"];
    let lane: BTreeSet<&str> = lane
        .into_iter()
        .chain(["retry_on_failure", "breaker"])
        .collect();
    // These can not stand beside what they are in place of.
    let instead = ["jwks_file", "client_secret_file", "token"];
    let mut checked = 0;
    for (path, table) in tables {
        let unknown = format!("{path}no_such_key_at_all=1");
        let Err(problems) = load_text(&text, &[unknown]) else {
            panic!("{path} takes any key");
        };
        let said = problems.to_string();
        let keys = ["its keys are ", "the sections are "];
        let Some((_, keys)) = keys.iter().find_map(|list| said.split_once(list)) else {
            continue; // a section of names, or a table of headers
        };
        let keys = keys.lines().next().unwrap();
        for key in keys.split(", ") {
            let elsewhere = path.starts_with("exporters.") && path != "exporters.backend.";
            let shown = table.contains_key(key)
                || (elsewhere && lane.contains(key))
                || (instead.contains(&key) && text.contains(key));
            assert!(shown, "the reference lacks `{key}` in [{path}]");
        }
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}

/// Only one type of `auth` can be written out in a table; the others are told in words.
#[test]
fn the_reference_names_the_keys_of_every_type_of_auth() {
    let text = reference();
    let incoming = AuthConfig::TYPES.map(|(kind, _)| ("receivers.apps.auth", kind));
    let outgoing = CredentialsConfig::TYPES.map(|(kind, _)| ("exporters.backend.auth", kind));
    for (table, kind) in incoming.into_iter().chain(outgoing) {
        assert!(
            text.contains(&format!("type = \"{kind}\"")),
            "{table} {kind}"
        );
        let said = format!("{REQUIRED}\n[{table}]\ntype = \"{kind}\"\nno_such_key = 1\n");
        let said = load_text(&said, &[]).unwrap_err().to_string();
        let (_, keys) = said.split_once("its keys are ").unwrap();
        for key in keys.lines().next().unwrap().split(", ") {
            let shown = text.contains(&format!("{key} =")) || text.contains(&format!("`{key}`"));
            assert!(shown, "the reference lacks `{key}` of {table}, {kind}");
        }
    }
}

fn collect_tables(path: &str, table: &Table, tables: &mut Vec<(String, Table)>) {
    for (key, value) in table {
        if let Value::Table(inner) = value {
            let path = format!("{path}{key}.");
            collect_tables(&path, inner, tables);
            tables.push((path, inner.clone()));
        }
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = format!(
        "[intake]\nmemory_budget = \"32MiB\"\n{REQUIRED}\n[receivers.idle]\ntype = \"otlp\"\n\
         grpc = {{ endpoint = \"127.0.0.1:9\" }}\n[exporters.extra]\ntype = \"debug\"\n\
         required = false\n[pipelines.loose]\nreceivers = [\"apps\"]\nexporters = [\"extra\"]\n"
    );
    let config = load_text(&text, &[]).unwrap();
    let warnings: Vec<&str> = config.warnings.iter().map(|w| w.sentence()).collect();
    let expected = [
        "requests above `memory_budget` are refused although \
         receivers.apps.grpc.max_recv_msg_size would allow them by default",
        "receivers.idle is in no pipeline and is not started",
        "no exporter here is required, so that a success answer promises nothing",
        "exporters.extra is not required, but its `queue.max_bytes` is as large as \
         `intake.memory_budget`: when its destination hangs, it can spend the whole budget, and \
         clients are refused",
    ];
    for sentence in expected {
        assert!(warnings.contains(&sentence), "{sentence}\n{warnings:#?}");
    }
}

#[test]
fn the_issues_two_destinations_are_read_as_they_stand() {
    let path = folder().join("examples/two_destinations.toml");
    let config = Config::load(Some(&path), &[], &|_| None).unwrap();
    assert!(config.exporters["backend"].lane.required);
    let second = &config.exporters["second"].lane;
    assert!(!second.required);
    assert_eq!(second.timeout, std::time::Duration::from_secs(2));
    assert_eq!(second.queue.max_bytes(), otlpd::units::ByteSize::mib(16));
    assert_eq!(config.pipelines["main"].exporters, ["backend", "second"]);
}
