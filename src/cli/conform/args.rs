//! The command line of `otlpd conform`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::families::Selection;
use super::probe::{Known, Pair, Probe};
use super::sink::Sink;
use super::wire::dial::Endpoint;
use super::wire::tls::TlsSettings;
use crate::otlp::Signal;
use crate::units::{parse_bytes, parse_duration};

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line for each, aligned
    Text,
    /// One object for the run
    Json,
    /// XML as CI systems read it
    Junit,
}

/// Check a server that takes OTLP against the specifications
#[derive(Args, Debug)]
#[command(
    after_help = "Lines that need an endpoint or a fact that was not given are skipped, \
    with the reason. The exit code is 0 where every MUST and SHOULD line passes, 1 where one \
    fails, 2 for a command line that was not understood. Requests carry generated telemetry of \
    the service otlpd-conform; some of them are large (--request-limit) or damaged on purpose."
)]
pub(super) struct ServerArgs {
    /// Where gRPC is served; https://HOST:PORT for TLS
    #[arg(long, value_name = "HOST:PORT")]
    grpc: Option<String>,
    /// Where HTTP is served, without the signal's path
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// Print all lines with their level and source, and check nothing
    #[arg(long)]
    pub(super) list: bool,
    /// Only these families or lines, such as H,J or H13,G5
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these families or lines
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    skip: Vec<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// How long the lines about slow clients wait for the server to give up on one
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "75s")]
    slow: Duration,
    /// The signals that the server takes
    #[arg(long, value_name = "SIGNALS", value_delimiter = ',', value_parser = signal,
          default_value = "traces,metrics,logs")]
    signals: Vec<Signal>,
    #[command(flatten)]
    security: SecurityArgs,
    #[command(flatten)]
    facts: FactArgs,
}

/// How to get in.
#[derive(Args, Debug)]
struct SecurityArgs {
    /// A header of every request, such as 'x-tenant: a'
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Sends 'authorization: Bearer TOKEN'; with it the lines about authentication run
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    /// Whom to trust, in PEM, instead of the system's list
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The client's certificate, in PEM; with it the lines about client certificates run
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// What cannot be found out from outside.
#[derive(Args, Debug)]
struct FactArgs {
    /// The server's limit for a request; without it, the default that OTLP recommends (64MiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    request_limit: Option<u64>,
    /// The same for HTTP, where it has another
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    http_request_limit: Option<u64>,
    /// An origin that the server lets in by CORS
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Option<String>,
    /// Send floods too (bounded in time and number): only to servers of your own
    #[arg(long)]
    floods: bool,
    /// A server like the others that is overloaded now, for gRPC
    #[arg(long, value_name = "HOST:PORT")]
    overloaded_grpc: Option<String>,
    /// The same for HTTP
    #[arg(long, value_name = "URL")]
    overloaded_http: Option<String>,
    /// A server like the others whose destination fails for now, for gRPC
    #[arg(long, value_name = "HOST:PORT")]
    failing_grpc: Option<String>,
    /// The same for HTTP
    #[arg(long, value_name = "URL")]
    failing_http: Option<String>,
    /// Listen here as the server's destination, over gRPC and HTTP: with it the lines about what
    /// is passed on run
    #[arg(long, value_name = "HOST:PORT")]
    sink: Option<String>,
    /// A unix socket on which the server takes HTTP
    #[arg(long, value_name = "PATH")]
    unix: Option<String>,
}

impl ServerArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection {
            only: self.only.clone(),
            skip: self.skip.clone(),
        }
    }

    /// What the checks ask with. The error is a sentence.
    pub(super) fn probe(&self) -> Result<Probe, String> {
        let tls = Arc::new(self.security.settings()?);
        let endpoint = |option: &str, text: Option<&String>, port| {
            let parsed = text.map(|text| Endpoint::parse(text, port, &tls, self.timeout));
            parsed
                .transpose()
                .map_err(|problem| format!("--{option}: {problem}"))
        };
        let facts = &self.facts;
        let pair = |name: &str, grpc: Option<&String>, http: Option<&String>| {
            Ok::<_, String>(Pair {
                grpc: endpoint(&format!("{name}-grpc"), grpc, 4317)?,
                http: endpoint(&format!("{name}-http"), http, 4318)?,
            })
        };
        let overloaded = (
            facts.overloaded_grpc.as_ref(),
            facts.overloaded_http.as_ref(),
        );
        let failing = (facts.failing_grpc.as_ref(), facts.failing_http.as_ref());
        Ok(Probe {
            grpc: endpoint("grpc", self.grpc.as_ref(), 4317)?,
            http: endpoint("http", self.http.as_ref(), 4318)?,
            sink: facts
                .sink
                .as_deref()
                .map(Sink::bind)
                .transpose()?
                .map(Arc::new),
            known: Known {
                timeout: self.timeout,
                slow: self.slow,
                headers: self.security.headers(),
                signals: self.signals.clone(),
                request_limit: facts.request_limit,
                http_request_limit: facts.http_request_limit.or(facts.request_limit),
                cors_origin: facts.cors_origin.clone(),
                floods: facts.floods,
                overloaded: pair("overloaded", overloaded.0, overloaded.1)?,
                failing: pair("failing", failing.0, failing.1)?,
                unix: facts.unix.clone(),
            },
        })
    }
}

impl SecurityArgs {
    fn settings(&self) -> Result<TlsSettings, String> {
        let own = self.client_cert.as_ref().zip(self.client_key.as_ref());
        TlsSettings::read(self.tls_ca.as_deref(), own)
    }

    fn headers(&self) -> Vec<(String, String)> {
        let bearer = self.bearer.as_ref();
        let bearer = bearer.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        self.header.iter().cloned().chain(bearer).collect()
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    let mut all = Signal::ALL.into_iter();
    all.find(|signal| signal.name() == text)
        .ok_or_else(|| "is one of traces, metrics, logs, profiles".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("is written 'NAME: VALUE'".to_owned())?;
    let name: http::HeaderName = name
        .trim()
        .parse()
        .map_err(|_| format!("{name:?} is no name of a header"))?;
    let value = value.trim();
    http::HeaderValue::from_str(value).map_err(|_| "the value is no header's".to_owned())?;
    Ok((name.as_str().to_owned(), value.to_owned()))
}
