//! Runs a script of `tests/proof/` with the built daemon, and shows what it says where it fails.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Each of them keeps the machine busy by itself.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs it to its end; it must pass, or be left out with a line that says why.
pub(crate) fn run(script: &str, arguments: &str) {
    if let Some((passed, said)) = attempt(script, arguments) {
        assert!(passed, "{script} {arguments}\n{said}");
    }
}

/// Whether it passed, and what it said; nothing where it cannot run.
pub(crate) fn attempt(script: &str, arguments: &str) -> Option<(bool, String)> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let python = python();
    if !python.is_file() {
        say(&format!(
            "SKIPPED: {script}: run tests/sdks/install.sh python"
        ));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof");
    let mut command = Command::new(python);
    command
        .arg(source.join(script))
        .args(arguments.split_whitespace())
        .stdin(Stdio::null());
    if script != "power_test.py" {
        command.args(["--otlpd", env!("CARGO_BIN_EXE_otlpd")]);
        command.arg("--folder").arg(folder.path());
    }
    // Nothing is left beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if said.contains("SKIPPED") {
        say(said.trim());
    }
    Some((output.status.success(), said))
}

/// Whether there is a C compiler, for the recorder of what was synced.
pub(crate) fn has_compiler() -> bool {
    let cc = Command::new("cc").arg("--version").output();
    let found = cc.is_ok_and(|output| output.status.success());
    if !found {
        say("SKIPPED: the loss of power: there is no C compiler `cc`");
    }
    found
}

/// Where `tests/sdks/install.sh` puts it.
pub(crate) fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("sdks/python/bin/python")
}

/// A line for whoever reads the output of `cargo test`, which hides what passing tests print.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}
