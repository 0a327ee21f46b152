//! The same requests, of every shape and with every trouble, through otlpd and through the
//! OpenTelemetry Collector: what they answer and what comes out behind is compared field by
//! field, and each difference is one that `tests/differential/differences.toml` gives a reason
//! for.
//!
//! `tests/differential/install.sh` builds the Collector, and `tests/sdks/install.sh python` has
//! Google's parser; where one of them is missing a line says so. With `OTLPD_COLLECTOR=required`
//! they must be there. `OTLPD_DIFFERENTIAL=20000` sends so many requests instead of 2,000.

#![allow(
    clippy::unwrap_used,
    clippy::explicit_write,
    reason = "a test may panic, and say why it is left out"
)]

#[path = "support/proof.rs"]
mod proof;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where `install.sh` puts what it builds.
fn collector() -> PathBuf {
    let cache = std::env::var_os("OTLPD_COLLECTOR_CACHE").map(PathBuf::from);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    cache
        .unwrap_or_else(|| target.join("collector"))
        .join("otelcol")
}

/// Whether all differences were known, and what it said; nothing where it cannot run.
fn compare(arguments: &[&str]) -> Option<(bool, String)> {
    let (python, collector) = (proof::python(), collector());
    for (program, script) in [
        (&python, "tests/sdks/install.sh python"),
        (&collector, "tests/differential/install.sh"),
    ] {
        if !program.is_file() {
            let required = std::env::var("OTLPD_COLLECTOR").is_ok_and(|value| value == "required");
            assert!(!required, "run {script}");
            proof::say(&format!(
                "SKIPPED: the Collector as an oracle: run {script}"
            ));
            return None;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let output = Command::new(python)
        .arg(sources.join("differential.py"))
        .args(["--otlpd", env!("CARGO_BIN_EXE_otlpd")])
        .arg("--collector")
        .arg(collector)
        .arg("--folder")
        .arg(folder.path())
        .args(arguments)
        // Nothing is left beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some((output.status.success(), said))
}

#[test]
fn every_difference_from_the_collector_is_known() {
    let count = std::env::var("OTLPD_DIFFERENTIAL").unwrap_or_else(|_| "2000".to_owned());
    if let Some((passed, said)) = compare(&["--count", &count]) {
        assert!(passed, "{said}");
    }
}

/// A comparison that cannot fail shows nothing.
#[test]
fn a_difference_that_is_not_written_down_is_seen() {
    let forgotten = "ids of a wrong length";
    if let Some((passed, said)) = compare(&["--count", "500", "--forget", forgotten]) {
        assert!(!passed, "{said}");
        assert!(
            said.contains("span_id_short: answer: partial/permanent"),
            "{said}"
        );
    }
}
