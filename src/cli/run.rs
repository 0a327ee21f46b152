//! `otlpd` without a subcommand: runs the daemon.

use std::process::ExitCode;

use super::ConfigArgs;

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    match args.load() {
        Ok(_config) => {
            super::complain("the configuration is sound, but nothing carries it out yet\n");
            ExitCode::FAILURE
        }
        Err(problems) => {
            super::complain(&format!("{problems}\n"));
            ExitCode::FAILURE
        }
    }
}
