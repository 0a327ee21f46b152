//! An upgrade in place under load by TLS: no client is refused, none of its requests fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/process.rs"]
mod process;
#[path = "support/service.rs"]
mod service;

use pki::{Authority, folder};
use process::{finish, load, start_load};
use service::Service;

#[test]
fn an_upgrade_under_load_by_tls_refuses_nobody() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let folder = files.path().display();
    let ports = ["grpc", "http"].map(|protocol| (protocol, daemon::free_port()));
    let listeners = ports.map(|(protocol, port)| {
        format!(
            "[receivers.secure.{protocol}]\nendpoint = \"127.0.0.1:{port}\"\n\
             tls = {{ cert_file = \"{folder}/tls.crt\", key_file = \"{folder}/tls.key\" }}\n"
        )
    });
    let mut service = Service::start(&format!(
        "[receivers.secure]\ntype = \"otlp\"\n{}\
         [exporters.out]\ntype = \"discard\"\n\
         [pipelines.main]\nreceivers = [\"apps\", \"secure\"]\nexporters = [\"out\"]\n",
        listeners.concat()
    ));
    let ca = files.path().join("ca.crt");
    let flags = |protocol: &str, port: u16| {
        let endpoint = format!("https://127.0.0.1:{port}");
        let ca = ca.to_str().unwrap();
        let flags = [
            ["--endpoint", &endpoint],
            ["--protocol", protocol],
            ["--ca-file", ca],
        ];
        flags
            .as_flattened()
            .iter()
            .map(|flag| (*flag).to_owned())
            .collect::<Vec<_>>()
    };
    let run = |protocol, port, more: &[&str]| {
        let flags = flags(protocol, port);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(more);
        start_load(&flags)
    };
    let long = ["--items", "20", "--duration", "8s"];
    let loads = ports.map(|(protocol, port)| run(protocol, port, &long));
    for _ in 0..2 {
        let (code, said) = service.upgrade();
        assert_eq!(code, Some(0), "{said}");
    }
    for (load, success) in loads.into_iter().zip(["grpc-status 0", "http 200"]) {
        let report = finish(load);
        let answers = report["answers"].as_object().unwrap();
        assert_eq!(answers.keys().collect::<Vec<_>>(), [success], "{report}");
    }
    let (protocol, port) = ports[0];
    let after = flags(protocol, port);
    let mut after: Vec<&str> = after.iter().map(String::as_str).collect();
    after.extend(["--requests", "5"]);
    assert_eq!(load(&after)["answers"]["grpc-status 0"], 5);
    service.stop();
}
