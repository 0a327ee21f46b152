//! Certificates and keys that can not be used stop the start, and `otlpd validate` finds them:
//! each with its key, its file, and what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/pki.rs"]
mod pki;

use std::fs;
use std::path::Path;
use std::process::Command;

use pki::{Authority, folder};

/// What `otlpd ARGS FILE` says of this configuration, and whether it is content with it.
fn said(folder: &Path, args: &[&str], config: &str) -> (bool, String) {
    let file = folder.join("otlpd.toml");
    fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_otlpd"))
        .args(args)
        .arg(file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A configuration whose gRPC listener has this `tls`, and whose exporter has that one.
fn config(listener: &str, exporter: &str) -> String {
    format!(
        "[admin]\nenabled = false\n[receivers.apps]\ntype = \"otlp\"\n\
         [receivers.apps.grpc]\nendpoint = \"127.0.0.1:0\"\n{listener}\n\
         [exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"https://127.0.0.1:1\"\n{exporter}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
    )
}

/// Both `validate` and the start refuse it, with a sentence that has all of these.
fn refused(folder: &Path, config: &str, parts: &[&str]) {
    for args in [&["validate"][..], &["--config"]] {
        let (content, said) = said(folder, args, config);
        assert!(!content, "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: {part}: {said}");
        }
    }
}

fn server(folder: &Path, certificate: &str, key: &str, more: &str) -> String {
    let folder = folder.display();
    format!(
        "tls = {{ cert_file = \"{folder}/{certificate}\", key_file = \"{folder}/{key}\"{more} }}"
    )
}

#[test]
fn what_is_wrong_with_the_files_of_a_listener_is_told_with_key_and_file() {
    let files = folder(&Authority::new("ours"));
    let at = files.path();
    fs::write(at.join("notes.txt"), "to do").unwrap();
    fs::write(at.join("empty"), "").unwrap();
    fs::write(
        at.join("locked.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    fs::write(at.join("torn"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    for (certificate, key, parts) in [
        (
            "none.crt",
            "tls.key",
            ["`cert_file` ", "none.crt: there is no such file"],
        ),
        (
            "tls.crt",
            "none.key",
            ["`key_file` ", "none.key: there is no such file"],
        ),
        (
            "notes.txt",
            "tls.key",
            ["`cert_file` ", "notes.txt: holds no certificate: wants PEM"],
        ),
        ("torn", "tls.key", ["`cert_file` ", "torn: is not PEM"]),
        (
            "tls.key",
            "tls.key",
            ["`cert_file` ", "are the two files exchanged?"],
        ),
        (
            "tls.crt",
            "notes.txt",
            ["`key_file` ", "notes.txt: holds no private key"],
        ),
        (
            "tls.crt",
            "locked.key",
            ["`key_file` ", "locked.key: is encrypted with a password"],
        ),
        (
            "tls.crt",
            "client.key",
            ["`key_file` ", "client.key: is not the private key of the"],
        ),
    ] {
        refused(at, &config(&server(at, certificate, key, ""), ""), &parts);
    }
    let asks = format!(", client_ca_file = \"{}\"", at.join("empty").display());
    let parts = ["`client_ca_file` ", "empty: holds no certificate"];
    refused(
        at,
        &config(&server(at, "tls.crt", "tls.key", &asks), ""),
        &parts,
    );
}

#[test]
fn a_key_that_is_encrypted_in_the_old_form_is_told_as_such() {
    let files = folder(&Authority::new("ours"));
    let at = files.path();
    let key = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
               DEK-Info: AES-128-CBC,5CB774A1AA60B1621C48ACF2BA8940BD\n\n\
               MIIB\n-----END RSA PRIVATE KEY-----\n";
    fs::write(at.join("old.key"), key).unwrap();
    let parts = ["`key_file` ", "old.key: is encrypted with a password"];
    refused(
        at,
        &config(&server(at, "tls.crt", "old.key", ""), ""),
        &parts,
    );
}

#[test]
fn what_is_wrong_with_the_files_of_an_exporter_is_told_with_key_and_file() {
    let files = folder(&Authority::new("ours"));
    let at = files.path();
    let tls = |keys: &[(&str, &str)]| {
        let keys = keys.iter().map(|(key, name)| {
            let file = at.join(name);
            format!("{key} = \"{}\"", file.display())
        });
        format!("tls = {{ {} }}", keys.collect::<Vec<_>>().join(", "))
    };
    for (keys, parts) in [
        (
            &[("ca_file", "none")][..],
            ["`ca_file` ", "none: there is no such file"],
        ),
        (
            &[("ca_file", "tls.key")],
            ["`ca_file` ", "tls.key: holds a private key and no"],
        ),
        (
            &[("cert_file", "client.crt")],
            ["`cert_file` needs", "`key_file` beside it"],
        ),
        (
            &[("key_file", "client.key")],
            ["`key_file` needs", "`cert_file` beside it"],
        ),
        (
            &[("cert_file", "client.crt"), ("key_file", "tls.key")],
            [
                "`key_file` ",
                "tls.key: is not the private key of the first certificate",
            ],
        ),
    ] {
        refused(at, &config("", &tls(keys)), &parts);
    }
}

#[test]
fn the_admin_listener_is_looked_at_as_well() {
    let files = folder(&Authority::new("ours"));
    let tls = server(files.path(), "tls.crt", "client.key", "");
    let admin = config("", "").replace("enabled = false", &tls);
    let parts = ["otlpd.toml:2:", "client.key: is not the private key"];
    refused(files.path(), &admin, &parts);
}

#[test]
fn where_the_files_are_elsewhere_validate_can_leave_them_alone() {
    let files = folder(&Authority::new("ours"));
    let config = config(&server(files.path(), "none.crt", "none.key", ""), "");
    let (content, said) = said(files.path(), &["validate", "--without-files"], &config);
    assert!(content, "{said}");
    assert!(said.contains("gRPC 127.0.0.1:0 (TLS)"), "{said}");
}

#[test]
fn a_file_whose_name_came_from_the_environment_is_not_named() {
    let files = folder(&Authority::new("ours"));
    let tls = server(files.path(), "tls.crt", "tls.key", "").replace("tls.key", "${env:X:-hidden}");
    let (content, said) = said(files.path(), &["validate"], &config(&tls, ""));
    assert!(!content);
    assert!(said.contains("`key_file` there is no such file"), "{said}");
    assert!(!said.contains("/hidden"), "{said}");
}

#[test]
fn whoever_only_asks_a_running_daemon_does_not_stumble_over_its_files() {
    let files = folder(&Authority::new("ours"));
    let tls = server(files.path(), "none.crt", "none.key", "");
    let admin = format!("endpoint = \"127.0.0.1:1\"\n{tls}");
    let config = config("", "").replace("enabled = false", &admin);
    let (content, said) = said(files.path(), &["health", "--config"], &config);
    assert!(!content);
    assert!(
        said.contains("cannot ask https://127.0.0.1:1/livez"),
        "{said}"
    );
}
