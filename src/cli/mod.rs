//! The command line: one file a subcommand.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Files, Problems};

pub mod bench;
mod components;
mod conform;
mod hand_over;
mod health;
mod queue;
mod replay;
mod run;
mod tls;
mod upgrade;
mod validate;

/// An OTLP collector in one small binary: bytes in, bytes out, nothing lost in silence.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a subcommand it runs: on FILE, or without one on built-in defaults \
                  (OTLP on 127.0.0.1:4317 and :4318, printed)."
)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration and say what was understood
    Validate(validate::Validate),
    /// List the receivers, processors, connectors and exporters that are built in
    Components,
    /// Ask a running otlpd how it is
    Health(health::Health),
    /// Replace a running otlpd by the program that is there now, without refusing a client
    Upgrade(upgrade::Upgrade),
    /// Send the requests again that were given up and are kept in the dead letters
    Replay(replay::Replay),
    /// Look into the queues on disk, of a stopped or a running otlpd
    Queue(queue::Queue),
    /// Check a server that takes OTLP against the specifications
    Conform(Box<conform::Conform>),
    /// Measure a pipeline and account for every item that goes through it
    Bench(bench::BenchArgs),
}

/// Where the configuration comes from.
#[derive(Args, Debug)]
struct ConfigArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key over the file, such as exporters.out.endpoint=http://127.0.0.1:5317; the value
    /// is TOML, or else a string
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    /// For whoever only looks at it.
    fn load(&self) -> Result<Config, Problems> {
        self.load_with(Files::Left)
    }

    fn load_with(&self, files: Files) -> Result<Config, Problems> {
        let env = |name: &str| std::env::var(name).ok();
        Config::load_with(self.config.as_deref(), &self.set, &env, files)
    }
}

/// Does what the command line says. Code 0 is success, 1 a failure that was told on standard
/// error, 2 a command line that was not understood.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(&cli.config),
        Some(Command::Validate(command)) => command.run(),
        Some(Command::Components) => components::run(),
        Some(Command::Health(command)) => command.run(),
        Some(Command::Upgrade(command)) => command.run(),
        Some(Command::Replay(command)) => command.run(),
        Some(Command::Queue(command)) => command.run(),
        Some(Command::Conform(command)) => command.run(),
        Some(Command::Bench(args)) => bench::run(args),
    }
}

/// Prints to standard output. Nobody is left to tell where that fails.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// Prints to standard error, in the same way.
fn complain(text: &str) {
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_where_they_are_used() {
        let cli = Cli::try_parse_from(["otlpd", "--config", "a.toml", "--set", "x=1"]).unwrap();
        assert_eq!(cli.config.config, Some(PathBuf::from("a.toml")));
        assert_eq!(cli.config.set, ["x=1"]);
        let line = ["otlpd", "validate", "--config", "a.toml", "--set", "x=1"];
        assert!(Cli::try_parse_from(line).is_ok());
        for line in [
            ["otlpd", "--set", "x=1", "validate"],
            ["otlpd", "components", "--set", "x=1"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
