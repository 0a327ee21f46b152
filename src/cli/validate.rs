//! `otlpd validate`: checks a configuration and says what was understood.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use crate::config::{Config, Files, summary};

#[derive(Args, Debug)]
pub(super) struct Validate {
    /// The configuration; the same as --config FILE
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Do not read the certificates and keys that it names: they are on another machine
    #[arg(long)]
    without_files: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Validate {
    /// Code 0 where it could be run, 1 where it could not.
    pub(super) fn run(self) -> ExitCode {
        let mut args = self.config;
        args.config = args.config.or(self.file);
        let files = match self.without_files {
            true => Files::Left,
            false => Files::Read,
        };
        match args.load_with(files) {
            Ok(config) => {
                for warning in &config.warnings {
                    super::complain(&format!("warning: {warning}\n"));
                }
                super::print(&report(&args, &config));
                ExitCode::SUCCESS
            }
            Err(problems) => {
                super::complain(&format!("{problems}\n"));
                ExitCode::FAILURE
            }
        }
    }
}

fn report(args: &ConfigArgs, config: &Config) -> String {
    let name = match &args.config {
        Some(path) => path.display().to_string(),
        None => "(built-in defaults)".to_owned(),
    };
    let mut text = format!("{name}: ok\n");
    for line in summary::lines(config)
        .into_iter()
        .chain([summary::budget(config)])
    {
        text += &format!("  {line}\n");
    }
    text
}
