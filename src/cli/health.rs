//! `otlpd health`: asks a running otlpd how it is, for health checks in images without a shell.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use tokio::runtime::Builder;

use super::ConfigArgs;
use super::tls::TlsArgs;
use crate::admin::AdminConfig;
use crate::auth::AuthConfig;
use crate::net::fetch::Fetch;
use crate::net::tls::{ClientTlsConfig, Register};

/// The longest that it may take, from connecting to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Args, Debug)]
pub(super) struct Health {
    /// Ask whether clients should send to it (/readyz), not just whether it runs (/livez)
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Health {
    /// Code 0 where the answer is yes, 1 where it is no or there is none.
    pub(super) fn run(&self) -> ExitCode {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(problems) => {
                super::complain(&format!("{problems}\n"));
                return ExitCode::FAILURE;
            }
        };
        if !config.admin.enabled {
            super::complain("there is nobody to ask: the admin listener is switched off\n");
            return ExitCode::FAILURE;
        }
        let path = if self.ready { "/readyz" } else { "/livez" };
        let whom = Whom::new(&config.admin, &self.tls);
        match whom.ask(path) {
            Ok(answer) if answer.is_yes => {
                super::print(&format!("{}\n", answer.body));
                ExitCode::SUCCESS
            }
            Ok(answer) => {
                super::complain(&format!("{}\n", answer.body));
                ExitCode::FAILURE
            }
            Err(error) => {
                super::complain(&format!("cannot ask {}{path}: {error}\n", whom.url));
                ExitCode::FAILURE
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) is_yes: bool,
    pub(super) body: String,
}

/// Where the admin side of this configuration is asked, and how it is shown to a person.
pub(super) struct Whom {
    pub(super) url: String,
    /// Where it is greeted by TLS.
    tls: Option<ClientTlsConfig>,
    /// What is shown to it.
    headers: HeaderMap,
}

impl Whom {
    /// Without `--ca-file` a certificate is not verified: it is asked on this machine, whose name
    /// the certificate hardly has.
    pub(super) fn new(admin: &AdminConfig, said: &TlsArgs) -> Self {
        let mut tls = said.config().unwrap_or_default();
        tls.insecure_skip_verify |= tls.ca_file.is_none();
        let endpoint = reachable(&admin.endpoint);
        let url = match (&admin.tls, endpoint.starts_with("unix:")) {
            (_, true) => endpoint,
            (Some(_), false) => format!("https://{endpoint}"),
            (None, false) => format!("http://{endpoint}"),
        };
        let tls = admin.tls.is_some().then_some(tls);
        Self {
            url,
            tls,
            headers: HeaderMap::new(),
        }
    }

    /// Shows it what whoever has its configuration can, where it asks for credentials.
    pub(super) fn known_by(mut self, admin: &AdminConfig) -> Self {
        let own = admin.auth.as_ref().and_then(AuthConfig::one_of_them);
        self.headers.extend(own.map(|own| (AUTHORIZATION, own)));
        self
    }

    /// One request.
    pub(super) fn ask(&self, path: &str) -> io::Result<Answer> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let bounds = (PATIENCE, MAX_ANSWER);
            let whose = ("health", &Register::default());
            let fetch = Fetch::new(&self.url, self.tls.as_ref(), whose, bounds);
            let fetch = fetch.map_err(io::Error::other)?.at(path);
            let answer = fetch.get(self.headers.clone()).await?;
            Ok(Answer {
                is_yes: answer.status == StatusCode::OK,
                body: String::from_utf8_lossy(&answer.body).trim().to_owned(),
            })
        })
    }
}

/// Where a listener on this endpoint is reached from the same machine: one on all interfaces,
/// on the loopback.
fn reachable(endpoint: &str) -> String {
    for (all, own) in [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")] {
        if let Some(port) = endpoint.strip_prefix(all) {
            return format!("{own}{port}");
        }
    }
    endpoint.to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn ask(endpoint: &str, path: &str) -> io::Result<Answer> {
        let admin = AdminConfig {
            endpoint: endpoint.to_owned(),
            ..AdminConfig::default()
        };
        Whom::new(&admin, &TlsArgs::default()).ask(path)
    }

    /// Asks a listener that gives this answer; returns what it was asked, too.
    fn ask_one_that_says(answer: &'static str) -> (io::Result<Answer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let got = ask(&endpoint, "/readyz");
        (got, server.join().unwrap())
    }

    #[test]
    fn a_healthy_one_says_two_hundred() {
        let (answer, request) =
            ask_one_that_says("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"ready\":true}");
        let answer = answer.unwrap();
        assert!(answer.is_yes);
        assert_eq!(answer.body, "{\"ready\":true}");
        assert!(
            request.starts_with("GET /readyz HTTP/1.1\r\nhost: 127.0.0.1:"),
            "{request}"
        );
    }

    #[test]
    fn anything_else_is_no_and_its_reasons_are_kept() {
        let (answer, _) =
            ask_one_that_says("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"reasons\":[]}\n");
        let expected = Answer {
            is_yes: false,
            body: "{\"reasons\":[]}".to_owned(),
        };
        assert_eq!(answer.unwrap(), expected);
    }

    #[test]
    fn what_is_not_http_and_nobody_at_all_are_errors() {
        let (answer, _) = ask_one_that_says("220 mail.example.com ESMTP\r\n\r\n");
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::Other);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = free.local_addr().unwrap().to_string();
        drop(free);
        let refused = ask(&endpoint, "/livez").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_listener_on_all_interfaces_is_asked_on_the_loopback() {
        for (endpoint, expected) in [
            ("0.0.0.0:13133", "127.0.0.1:13133"),
            ("[::]:13133", "[::1]:13133"),
            ("10.0.0.7:13133", "10.0.0.7:13133"),
        ] {
            assert_eq!(reachable(endpoint), expected);
        }
    }
}
