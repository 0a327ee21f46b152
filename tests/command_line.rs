//! What the command line answers, and with which exit code.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::path::Path;
use std::process::{Command, Output};

fn otlpd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_otlpd"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn validate_says_what_was_understood() {
    let file = "config/examples/two_destinations.toml";
    for arguments in [&["validate", file][..], &["validate", "--config", file]] {
        let output = otlpd(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let expected = "\
config/examples/two_destinations.toml: ok
  pipeline main: apps [otlp, gRPC 127.0.0.1:4317, HTTP 127.0.0.1:4318] -> \
backend [otlp_grpc, http://127.0.0.1:5317], \
second [otlp_grpc, http://127.0.0.1:5318, not required]
  success in main means: the data waits in memory for backend (queued); a crash loses it
  admin: http://127.0.0.1:13133
  memory budget: 128MiB
";
        assert_eq!(stdout(&output), expected);
    }
}

#[test]
fn validate_tells_every_problem_and_fails() {
    let output = otlpd(&["validate", "tests/fixtures/config/zeros.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    assert!(
        said.starts_with("tests/fixtures/config/zeros.toml:2:12: "),
        "{said}"
    );
    assert!(said.ends_with("18 problems\n"), "{said}");
}

#[test]
fn validate_takes_options_over_the_built_in_defaults() {
    let output = otlpd(&["validate", "--set", "admin.enabled=false"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("(built-in defaults): ok\n"));
    assert!(stdout(&output).contains("  admin: off\n"));
    let output = otlpd(&["validate", "--set", "admin.enabled=maybe"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("--set admin.enabled: "));
}

#[test]
fn a_bad_config_is_told_instead_of_run() {
    let output = otlpd(&["--config", "tests/fixtures/config/empty.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no pipeline"));
}

#[test]
fn a_command_line_that_is_not_understood_is_code_two() {
    for arguments in [
        &["validat"][..],
        &["validate", "a.toml", "--config", "b.toml"],
        &["--no-such-option"],
    ] {
        assert_eq!(otlpd(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn components_and_version_are_printed() {
    let output = otlpd(&["components"]);
    assert_eq!(output.status.code(), Some(0));
    for word in [
        "receivers:",
        "processors:",
        "connectors:",
        "exporters:",
        "otlp_grpc",
    ] {
        assert!(stdout(&output).contains(word), "{word}");
    }
    let output = otlpd(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let version = format!("otlpd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&output), version);
}
