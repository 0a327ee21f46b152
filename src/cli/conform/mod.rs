//! `otlpd conform`: judges any implementation of OTLP by the lines of the specification.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::line::Verdict;

pub(crate) mod client;
pub(crate) mod line;

/// `otlpd conform`
#[derive(Args, Debug)]
pub(super) struct Conform {
    #[command(subcommand)]
    command: Command,
    
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge an exporter
    Client(ClientCommand),
}

#[derive(Args, Debug)]
struct ClientCommand {
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    client: client::ClientArgs,
}

impl Conform {
    pub(super) fn run(self) -> ExitCode {
        let Command::Client(command) = self.command;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wanted = |line: &line::Line| command.only.is_empty() || command.only.iter().any(|only| line.id.starts_with(only.as_str()));
        match runtime.block_on(client::judge(&command.client, &wanted)) {
            Err(problem) => { super::complain(&format!("{problem}\n")); ExitCode::FAILURE }
            Ok(verdicts) => {
                for (line, verdict, note) in verdicts {
                    let text = match verdict {
                        Verdict::Pass => format!("pass  {} {:?} {} [{note}]\n", line.id, line.level, line.what),
                        Verdict::Skip(why) => format!("skip  {} {:?} {} ({why})\n", line.id, line.level, line.what),
                        Verdict::Fail{expected, got} => format!("FAIL  {} {:?} {}\n   expected {expected}\n   got {got}\n   [{note}]\n", line.id, line.level, line.what),
                    };
                    super::print(&text);
                }
                ExitCode::SUCCESS
            }
        }
    }
}
