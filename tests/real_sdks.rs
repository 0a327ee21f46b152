//! The stock OpenTelemetry SDKs of five languages, over gRPC, HTTP/protobuf and, where they have
//! it, HTTP/JSON, plain and gzipped, send known numbers of spans, log records and data points through the built daemon
//! to another OTLP endpoint, and all of them arrive, once.
//!
//! `tests/sdks/install.sh` installs the SDKs below `target/sdks/`. A language that is not there
//! is left out, and a line says so; with `OTLPD_SDKS=required` one whose tools are on this
//! machine must be there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and print, and one line here must pass by what hides that"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/process.rs"]
mod process;
#[path = "support/sdks.rs"]
mod sdks;

use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use daemon::Daemon;
use pki::Authority;
use process::until;
use sdks::{Clients, Language, Sink, expected, languages, sent};

/// Each scenario keeps both cores busy by itself.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn addresses(daemon: &Daemon) -> [String; 2] {
    ["grpc", "http"].map(|protocol| daemon.endpoint(protocol))
}

fn exporter(name: &str, sink: &str, more: &str) -> String {
    format!(
        "[exporters.{name}]\ntype = \"otlp_{name}\"\nendpoint = \"http://{sink}\"\n{more}\n\
         [pipelines.{name}]\nreceivers = [\"apps\"]\nexporters = [\"{name}\"]\n"
    )
}

/// Stops the daemon; nothing more may arrive, and its own last account must agree.
fn conclude(mut daemon: Daemon, sink: &mut Sink, languages: &[&Language], protocols: &[&str]) {
    let (ended, ledger) = daemon.stop();
    assert!(ended.success(), "{ended}: {}", daemon.log());
    for signal in ["traces", "metrics", "logs"] {
        let sent = sent(languages, signal);
        assert_eq!(ledger[signal]["received"], sent, "{ledger}");
        for protocol in protocols {
            let exporter = &ledger[signal]["exporters"][protocol];
            assert_eq!(exporter["delivered"], sent, "{ledger}");
        }
    }
    assert_eq!(sink.counts(), expected(languages, protocols));
}

#[test]
fn every_sdk_delivers_every_signal_over_every_protocol() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    for acknowledge in ["queued", "delivered"] {
        let mut sink = Sink::closed();
        sink.open();
        let daemon = Daemon::start(&format!(
            "[intake]\nacknowledge = \"{acknowledge}\"\n{}{}",
            exporter("grpc", &sink.grpc, "compression = \"gzip\""),
            exporter("http", &sink.http, "compression = \"none\""),
        ));
        Clients::start(&languages, &addresses(&daemon), None).wait();
        sink.wait(&languages, &["grpc", "http"]);
        conclude(daemon, &mut sink, &languages, &["grpc", "http"]);
    }
}

#[test]
fn what_comes_while_the_destination_is_away_waits_in_the_queue() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    let mut sink = Sink::closed();
    let daemon = Daemon::start(&exporter("grpc", &sink.grpc, "compression = \"none\""));
    let begun = SystemTime::now();
    // They do not notice that it is away.
    Clients::start(&languages, &addresses(&daemon), None).wait();
    until("seven seconds to pass", || {
        begun.elapsed().unwrap() > Duration::from_secs(7)
    });
    let delivered = &daemon.status()["ledger"]["traces"]["exporters"]["grpc"]["delivered"];
    assert_eq!(*delivered, 0);
    sink.open();
    sink.wait(&languages, &["grpc"]);
    conclude(daemon, &mut sink, &languages, &["grpc"]);
}

/// By default clients are held for 9 s, and a destination that is back is found out within one.
const OUTAGE: Duration = Duration::from_secs(7);

/// The queue has room for a fraction of what is sent, so nearly all clients are held, those of
/// JavaScript over gRPC among them, which would never send again what is refused.
#[test]
fn clients_that_find_the_queue_full_are_held_and_lose_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    // The times are those that everybody has: ten seconds of patience, seven without a
    // destination. A machine that stands still for the rest is given two more chances.
    let outage = || sit_out_an_outage(&languages);
    if catch_unwind(outage).is_err() && catch_unwind(outage).is_err() {
        outage();
    }
}

fn sit_out_an_outage(languages: &[&Language]) {
    let mut sink = Sink::closed();
    let small = "queue = { max_bytes = \"4MiB\" }\n";
    let sections = exporter(
        "grpc",
        &sink.grpc,
        &format!("compression = \"none\"\n{small}"),
    );
    let daemon = Daemon::start(&sections);
    let mut clients = Clients::start_impatient(languages, &addresses(&daemon));
    let begun = SystemTime::now();
    // Each client has twelve requests under way at first, one for each of its exporters.
    let enough = 12 * languages.len() as u64 * 3 / 4;
    until("many requests to be held, and time to pass", || {
        daemon.status()["budget"]["held_requests"].as_u64() >= Some(enough)
            && begun.elapsed().unwrap() > OUTAGE
    });
    sink.open();
    clients.wait();
    sink.wait(languages, &["grpc"]);
    conclude(daemon, &mut sink, languages, &["grpc"]);
}

#[test]
fn clients_wait_for_the_destination_where_success_means_delivered() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let languages = languages();
    if languages.is_empty() {
        return;
    }
    let mut sink = Sink::closed();
    let exporter = exporter("grpc", &sink.grpc, "compression = \"none\"");
    let daemon = Daemon::start(&format!(
        "[intake]\nacknowledge = \"delivered\"\nmax_wait = \"50s\"\n{exporter}"
    ));
    let mut clients = Clients::start(&languages, &addresses(&daemon), None);
    // The first request of each of half the exporters of spans.
    let enough = 512 * 2 * languages.len() as u64;
    until("many spans to wait", || {
        let waiting = &daemon.status()["ledger"]["traces"]["exporters"]["grpc"]["in_process"];
        waiting.as_u64() >= Some(enough)
    });
    assert_eq!(
        clients.ended(),
        Vec::<&str>::new(),
        "nobody can have been answered"
    );
    sink.open();
    clients.wait();
    sink.wait(&languages, &["grpc"]);
    conclude(daemon, &mut sink, &languages, &["grpc"]);
}

/// By TLS with a CA of one's own, which Rust's SDK would need other features for.
fn secure(languages: &[&Language], folder: &Path) -> Vec<(&'static str, String)> {
    let ca = folder.join("ca.crt").display().to_string();
    let mut environment = vec![
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.clone()),
        // Where it is set on this machine, Python's requests heed nothing else.
        ("REQUESTS_CA_BUNDLE", ca.clone()),
    ];
    // Only Java's autoconfigured SDK knows that variable; Java itself has stores.
    if languages.iter().any(|language| language.name == "java") {
        let store = folder.join("ca.p12").display().to_string();
        let keytool = Command::new("keytool")
            .args(["-importcert", "-noprompt", "-alias", "ca", "-file", &ca])
            .args(["-keystore", &store, "-storetype", "PKCS12"])
            .args(["-storepass", "changeit"])
            .output();
        assert!(keytool.unwrap().status.success());
        let options = format!(
            "-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
        );
        environment.push(("JAVA_TOOL_OPTIONS", options));
    }
    environment
}

#[test]
fn sdks_deliver_by_tls_with_a_private_ca_and_a_token() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (in_the_clear, by_tls): (Vec<_>, Vec<_>) = languages()
        .into_iter()
        .partition(|language| language.name == "rust");
    let folder = pki::folder(&Authority::new("a CA of one's own"));
    let files = ["cert_file", "key_file"]
        .into_iter()
        .zip(["tls.crt", "tls.key"]);
    let files = files.map(|(key, file)| format!("{key}={:?}", folder.path().join(file)));
    let tls = files.collect::<Vec<_>>().join(", ");
    for (languages, scheme) in [(in_the_clear, "http"), (by_tls, "https")] {
        if languages.is_empty() {
            continue;
        }
        let mut sink = Sink::closed();
        sink.open();
        let sections = exporter("grpc", &sink.grpc, "compression = \"none\"");
        let auth = "[receivers.apps.auth]\ntype = \"bearer\"\ntokens = [\"apps not-a-secret\"]\n";
        let daemon = Daemon::start_by(&format!("{auth}{sections}"), |command| {
            let listeners = ["grpc", "http"].into_iter().filter(|_| scheme == "https");
            for listener in listeners {
                command.args([
                    "--set",
                    &format!("receivers.apps.{listener}.tls={{ {tls} }}"),
                ]);
            }
        });
        let mut environment = match scheme {
            "https" => secure(&languages, folder.path()),
            _ => Vec::new(),
        };
        let token = "authorization=Bearer%20not-a-secret".to_owned();
        environment.push(("OTEL_EXPORTER_OTLP_HEADERS", token));
        let urls = addresses(&daemon).map(|address| format!("{scheme}://{address}"));
        Clients::start_with(&languages, &urls, None, &environment).wait();
        sink.wait(&languages, &["grpc"]);
        conclude(daemon, &mut sink, &languages, &["grpc"]);
    }
}
