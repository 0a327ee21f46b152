//! Certificates are replaced while clients send: none of them notices, new connections see the new
//! certificate, and a bad file changes nothing.

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

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Child;

use daemon::Daemon;
use pki::{Authority, Pair, folder, put};
use process::{finish, pause, start_load, until};
use secure::{counted, has, s_client, start, start_with};

/// The serial number of the certificate that a new connection is shown.
fn serial(daemon: &Daemon, listener: &str) -> String {
    let said = s_client(&daemon.endpoint(listener), &["-showcerts"]);
    let begin = said.find("-----BEGIN CERTIFICATE-----").expect(&said);
    let end = said.find("-----END CERTIFICATE-----").unwrap();
    let pem = format!("{}-----END CERTIFICATE-----\n", &said[begin..end]);
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    pem.parse_x509().unwrap().raw_serial_as_string()
}

fn reloads(daemon: &Daemon, listener: &str, outcome: &str) -> u64 {
    let labels = format!("component=\"receivers.apps.{listener}\",outcome=\"{outcome}\"");
    counted(daemon, &format!("otlpd_tls_reloads_total{{{labels}}}"))
}

/// Replaces a file at once: a half of it is never seen.
fn replace_file(folder: &Path, name: &str, text: &str) {
    let next = folder.join("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, folder.join(name)).unwrap();
}

/// Replaces the pair of a server as careful programs do: each file at once, one after the other.
fn replace(folder: &Path, pair: &Pair) {
    replace_file(folder, "tls.crt", &pair.certificate);
    replace_file(folder, "tls.key", &pair.key);
}

/// Ten certificates, one after the other, while requests come over both protocols and connections
/// are opened all the time: each lives for a second at most.
#[test]
fn certificates_are_replaced_under_load_without_one_failed_request() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start_with(files.path(), "", "max_connection_age = \"500ms\"");
    let ca = files.path().join("ca.crt");
    let mut loads = ["grpc", "http"].map(|protocol| {
        let endpoint = format!("https://{}", daemon.endpoint(protocol));
        let flags = [
            ["--endpoint", &endpoint],
            ["--protocol", protocol],
            ["--ca-file", ca.to_str().unwrap()],
            ["--connections", "2"],
            ["--in-flight", "2"],
            ["--items", "20"],
            ["--rate", "4000"],
            ["--duration", "20s"],
            ["--timeout", "60s"],
        ];
        start_load(flags.as_flattened())
    });
    let opened = "otlpd_receiver_opened_connections_total{receiver=\"apps\",transport=\"grpc\"}";
    until("the load is on", || counted(&daemon, opened) > 2);
    for number in 100..110 {
        let before = counted(&daemon, opened);
        replace(files.path(), &authority.issue(number));
        let expected = format!("{number:02x}");
        for listener in ["grpc", "http"] {
            until("the new certificate is shown", || {
                serial(&daemon, listener) == expected
            });
        }
        // On a slow machine the load is over before the last certificate comes.
        let mut are_over = || {
            let is_over = |load: &mut Child| load.try_wait().unwrap().is_some();
            loads.each_mut().map(is_over) == [true; 2]
        };
        until("connections are opened", || {
            counted(&daemon, opened) > before + 2 || are_over()
        });
    }
    for (load, success) in loads.into_iter().zip(["grpc-status 0", "http 200"]) {
        let report = finish(load);
        let answers = report["answers"].as_object().unwrap();
        assert_eq!(answers.keys().collect::<Vec<_>>(), [success], "{report}");
        assert!(answers[success].as_u64().unwrap() > 100, "{report}");
    }
    for listener in ["grpc", "http"] {
        until("each is counted", || {
            reloads(&daemon, listener, "success") == 10
        });
        assert_eq!(reloads(&daemon, listener, "failure"), 0);
    }
    let line = "receivers.apps.grpc: TLS files have changed";
    assert_eq!(daemon.log().matches(line).count(), 10, "{}", daemon.log());
}

#[test]
fn a_bad_file_leaves_the_old_certificate_in_use_and_is_told_once() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(files.path(), "");
    for (bad, said) in [
        ("", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nzzz", "is not PEM"),
    ] {
        let before = reloads(&daemon, "grpc", "failure");
        replace_file(files.path(), "tls.crt", bad);
        until("it is told", || {
            reloads(&daemon, "grpc", "failure") == before + 1 && daemon.log().contains(said)
        });
        assert_eq!(serial(&daemon, "grpc"), "01");
    }
    // The key of another certificate, and no key at all.
    let other = authority.issue(5);
    replace_file(files.path(), "tls.crt", &other.certificate);
    until("it is told", || {
        let said = "is not the private key of the first certificate";
        reloads(&daemon, "grpc", "failure") == 3 && daemon.log().contains(said)
    });
    fs::remove_file(files.path().join("tls.key")).unwrap();
    until("it is told", || {
        let said = "there is no such file";
        reloads(&daemon, "grpc", "failure") == 4 && daemon.log().contains(said)
    });
    assert_eq!(serial(&daemon, "grpc"), "01");
    let line = "receivers.apps.grpc: TLS files have changed and can not be used";
    assert_eq!(daemon.log().matches(line).count(), 4, "{}", daemon.log());
    // And then it is good again.
    replace_file(files.path(), "tls.key", &other.key);
    until("the new one is in use", || serial(&daemon, "grpc") == "05");
    until("it is counted", || reloads(&daemon, "grpc", "success") == 1);
}

/// Kubernetes swaps the folder that all files of a volume are links into.
#[test]
fn a_volume_that_is_swapped_by_a_symlink_is_noticed() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let volume = tempfile::tempdir().unwrap();
    let version = |number: u64| {
        let name = format!("..version_{number}");
        let folder = volume.path().join(&name);
        fs::create_dir(&folder).unwrap();
        put(&folder, "tls", &authority.issue(number));
        symlink(&name, volume.path().join("..data_tmp")).unwrap();
        fs::rename(
            volume.path().join("..data_tmp"),
            volume.path().join("..data"),
        )
        .unwrap();
    };
    version(20);
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), volume.path().join(name)).unwrap();
    }
    let daemon = start(volume.path(), "");
    assert_eq!(serial(&daemon, "http"), "14");
    version(21);
    until("the new certificate is shown", || {
        serial(&daemon, "http") == "15"
    });
    assert_eq!(reloads(&daemon, "http", "failure"), 0);
}

#[test]
fn a_client_ca_that_is_taken_off_the_list_is_not_believed_any_more() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = folder(&old);
    let at = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("clients.crt"), &old.certificate).unwrap();
    put(files.path(), "later", &new.issue(8));
    let asks = format!(", client_ca_file = \"{}\"", at("clients.crt"));
    let daemon = start(files.path(), &asks);
    let endpoint = format!("https://{}", daemon.endpoint("grpc"));
    let is_served = |name: &str| {
        let files = [
            at(&format!("{name}.crt")),
            at(&format!("{name}.key")),
            at("ca.crt"),
        ];
        let [certificate, key, ca] = &files;
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_otlpd"))
            .args([
                "bench",
                "load",
                "--json",
                "--requests",
                "1",
                "--connections",
                "1",
            ])
            .args([
                "--in-flight",
                "1",
                "--endpoint",
                &endpoint,
                "--timeout",
                "60s",
            ])
            .args([
                "--ca-file",
                ca,
                "--cert-file",
                certificate,
                "--key-file",
                key,
            ])
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        report["answers"]["grpc-status 0"] == 1
    };
    assert!(is_served("client") && !is_served("later"));
    // Both, for as long as clients change over; then only the new one.
    let both = format!("{}{}", old.certificate, new.certificate);
    fs::write(at("clients.crt"), both).unwrap();
    until("the new CA is believed, too", || is_served("later"));
    assert!(is_served("client"));
    fs::write(at("clients.crt"), &new.certificate).unwrap();
    until("the old CA is not believed any more", || {
        !is_served("client")
    });
    assert!(is_served("later"));
    pause();
}
