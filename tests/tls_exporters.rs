//! What our exporters believe, by TLS: certificates of the right CA and name, and nothing else.
//! What is wrong is told in the lane's last error, and nothing is lost by it.

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
#[path = "support/secure.rs"]
mod secure;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use daemon::Daemon;
use pki::{Authority, folder, put};
use process::{load, until};
use secure::{has, start};

/// A daemon that sends to this endpoint with these keys of `tls`.
fn sender(kind: &str, endpoint: &str, tls: &str) -> Daemon {
    Daemon::start(&format!(
        "[exporters.out]\ntype = \"{kind}\"\nendpoint = \"{endpoint}\"\n\
         tls = {{ reload_interval = \"100ms\"{tls} }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
    ))
}

fn send(daemon: &Daemon) {
    let endpoint = daemon.endpoint("grpc");
    let report = load(&["--endpoint", &endpoint, "--requests", "5", "--items", "10"]);
    assert_eq!(report["answers"]["grpc-status 0"], 5, "{report}");
}

fn delivered(daemon: &Daemon) -> u64 {
    daemon.account("traces", "out")["delivered"]
        .as_u64()
        .unwrap_or(0)
}

fn key(name: &str, folder: &Path, file: &str) -> String {
    format!(", {name} = \"{}/{file}\"", folder.display())
}

#[test]
fn both_exporters_deliver_by_tls_and_show_a_certificate_to_who_asks_for_one() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let asks = key("client_ca_file", files.path(), "ca.crt");
    let receiver = start(files.path(), &asks);
    let tls = key("ca_file", files.path(), "ca.crt")
        + &key("cert_file", files.path(), "client.crt")
        + &key("key_file", files.path(), "client.key");
    for (kind, listener) in [("otlp_grpc", "grpc"), ("otlp_http", "http")] {
        let endpoint = format!("https://{}", receiver.endpoint(listener));
        let mut daemon = sender(kind, &endpoint, &tls);
        send(&daemon);
        until("all is delivered", || delivered(&daemon) == 50);
        let (status, _) = daemon.stop();
        assert!(status.success());
    }
    // Without a scheme, `tls` says what is meant.
    let mut daemon = sender("otlp_grpc", &receiver.endpoint("grpc"), &tls);
    send(&daemon);
    until("all is delivered", || delivered(&daemon) == 50);
    daemon.stop();
}

/// Sends, and waits until the lane says this of it.
fn fails(kind: &str, endpoint: &str, tls: &str, why: &str) {
    let daemon = sender(kind, endpoint, tls);
    send(&daemon);
    until(why, || {
        let lane = daemon.lane("out");
        lane["last_error"]
            .as_str()
            .is_some_and(|error| error.contains(why))
    });
    let account = daemon.account("traces", "out");
    assert_eq!(account["in_process"], 50, "{account}");
}

#[test]
fn who_is_not_believed_is_told_with_what_may_help() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let other = Authority::new("theirs");
    std::fs::write(files.path().join("other.crt"), &other.certificate).unwrap();
    let receiver = start(files.path(), "");
    let port = receiver.address("grpc").port();
    let ours = key("ca_file", files.path(), "ca.crt");
    let localhost = format!("https://localhost:{port}");
    let theirs = key("ca_file", files.path(), "other.crt");
    fails("otlp_grpc", &localhost, &theirs, "name its CA in `ca_file`");
    // By the CAs of the system.
    fails("otlp_grpc", &localhost, "", "name its CA in `ca_file`");
    let named = format!("{ours}, server_name_override = \"backend.example\"");
    fails("otlp_grpc", &localhost, &named, "`server_name_override`");
    let port = receiver.address("http").port();
    let localhost = format!("https://localhost:{port}");
    fails("otlp_http", &localhost, &theirs, "name its CA in `ca_file`");
}

#[test]
fn an_expired_server_is_not_believed() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    put(files.path(), "tls", &authority.issue_expired(9));
    let receiver = start(files.path(), "");
    assert!(receiver.log().contains("has expired on"));
    let endpoint = format!("https://{}", receiver.endpoint("grpc"));
    let ours = key("ca_file", files.path(), "ca.crt");
    fails("otlp_grpc", &endpoint, &ours, "certificate expired");
}

#[test]
fn a_server_that_wants_a_certificate_and_gets_none_is_told() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let asks = key("client_ca_file", files.path(), "ca.crt");
    let receiver = start(files.path(), &asks);
    let ours = key("ca_file", files.path(), "ca.crt");
    for (kind, listener) in [("otlp_grpc", "grpc"), ("otlp_http", "http")] {
        let endpoint = format!("https://{}", receiver.endpoint(listener));
        fails(kind, &endpoint, &ours, "CertificateRequired");
    }
}

#[test]
fn a_name_that_the_certificate_has_stands_for_the_one_that_is_dialled() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let mut params = rcgen::CertificateParams::new(["backend.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::NoCa;
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&pair).unwrap().pem();
    let pair = pki::Pair {
        certificate,
        key: pair.serialize_pem(),
    };
    put(files.path(), "tls", &pair);
    let receiver = start(files.path(), "");
    let endpoint = format!("https://{}", receiver.endpoint("grpc"));
    let by_name =
        key("ca_file", files.path(), "tls.crt") + ", server_name_override = \"backend.example\"";
    let by_nothing = ", insecure_skip_verify = true";
    for tls in [by_name.as_str(), by_nothing] {
        let daemon = sender("otlp_grpc", &endpoint, tls);
        send(&daemon);
        until("all is delivered", || delivered(&daemon) == 50);
        let loud = "`insecure_skip_verify` believes whoever answers";
        assert_eq!(daemon.log().contains(loud), tls == by_nothing);
    }
}

/// A TLS server of another make; it ends with the test.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn grpc_goes_to_nobody_who_has_not_agreed_to_h2() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let port = daemon::free_port();
    let foreign = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-accept",
            &format!("127.0.0.1:{port}"),
        ])
        .args(["-cert", "tls.crt", "-key", "tls.key"])
        .current_dir(files.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _foreign = Foreign(foreign.unwrap());
    until("openssl listens", || {
        TcpListener::bind(("127.0.0.1", port)).is_err()
    });
    let ours = key("ca_file", files.path(), "ca.crt");
    let endpoint = format!("https://127.0.0.1:{port}");
    fails(
        "otlp_grpc",
        &endpoint,
        &ours,
        "did not agree to HTTP/2 (ALPN h2)",
    );
}

#[test]
fn http_to_the_port_of_grpc_is_told_what_it_is() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let receiver = start(files.path(), "");
    let endpoint = format!("https://{}", receiver.endpoint("grpc"));
    let ours = key("ca_file", files.path(), "ca.crt");
    fails("otlp_http", &endpoint, &ours, "is this its port for gRPC?");
}

#[test]
fn who_does_not_speak_tls_is_told_apart() {
    let receiver = Daemon::start(
        "[exporters.out]\ntype = \"discard\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n",
    );
    let endpoint = format!("https://{}", receiver.endpoint("http"));
    fails("otlp_http", &endpoint, "", "does it speak TLS here?");
}

#[test]
fn files_of_exporters_are_read_again_when_they_change() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = folder(&old);
    let receiver = start(files.path(), "");
    let endpoint = format!("https://{}", receiver.endpoint("grpc"));
    let theirs = tempfile::tempdir().unwrap();
    std::fs::write(theirs.path().join("ca.crt"), &new.certificate).unwrap();
    let tls = key("ca_file", theirs.path(), "ca.crt");
    let daemon = sender("otlp_grpc", &endpoint, &tls);
    send(&daemon);
    until("it is not believed", || {
        let lane = daemon.lane("out");
        lane["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("ca_file"))
    });
    // A file that is no good changes nothing.
    std::fs::write(theirs.path().join("ca.crt"), "not a certificate").unwrap();
    let failures = "otlpd_tls_reloads_total{component=\"exporters.out\",outcome=\"failure\"}";
    until("it is told", || secure::counted(&daemon, failures) == 1);
    std::fs::write(theirs.path().join("ca.crt"), &old.certificate).unwrap();
    until("all is delivered", || delivered(&daemon) == 50);
}
