//! What clients of other makes see of our listeners by TLS: versions, protocols, certificates, and
//! what becomes of those that do not fit.

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

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::SystemTime;

use pki::{Authority, folder, put};
use process::{load, until};
use secure::{counted, curl, failed, has, s_client, start};

#[test]
fn tls_1_2_and_1_3_are_spoken_and_older_versions_are_not() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(files.path(), "");
    let ca = files.path().join("ca.crt");
    let ca = ["-CAfile", ca.to_str().unwrap()];
    for listener in ["grpc", "http"] {
        let address = daemon.endpoint(listener);
        for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let said = s_client(&address, &[&ca[..], &[version]].concat());
            assert!(said.contains(&format!("New, {name}")), "{said}");
            assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        }
        for version in ["-tls1", "-tls1_1"] {
            // At its default level openssl itself would not try.
            let weak = [version, "-cipher", "ALL:@SECLEVEL=0"];
            let said = s_client(&address, &[&ca[..], &weak].concat());
            assert!(said.contains("Cipher is (NONE)"), "{said}");
            assert!(said.contains("alert"), "{said}");
        }
        until("both are counted", || {
            failed(&daemon, listener, "nothing_in_common") == 2
        });
    }
}

#[test]
fn with_a_least_version_of_1_3_no_other_is_spoken() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(files.path(), ", min_version = \"1.3\"");
    let address = daemon.endpoint("grpc");
    assert!(s_client(&address, &["-tls1_3"]).contains("New, TLSv1.3"));
    let said = s_client(&address, &["-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
}

#[test]
fn grpc_is_agreed_on_as_h2_and_http_as_what_the_client_likes_best() {
    if !has("openssl") || !has("curl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(files.path(), "");
    let alpn = |listener, names| s_client(&daemon.endpoint(listener), &["-alpn", names]);
    assert!(alpn("grpc", "http/1.1,h2").contains("ALPN protocol: h2"));
    let said = alpn("grpc", "http/1.1");
    assert!(said.contains("no application protocol"), "{said}");
    assert!(alpn("http", "http/1.1").contains("ALPN protocol: http/1.1"));
    assert!(alpn("http", "h2,http/1.1").contains("ALPN protocol: h2"));
    until("it is counted", || {
        failed(&daemon, "grpc", "nothing_in_common") == 1
    });

    let ca = files.path().join("ca.crt");
    let url = format!("https://{}", daemon.endpoint("http"));
    for (flag, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        assert_eq!(
            curl(&url, &[flag, "--cacert", ca.to_str().unwrap()]),
            expected
        );
    }
    // Who does not know our CA does not send anything.
    assert_eq!(curl(&url, &[]), "0 000");
    until("it is counted", || {
        failed(&daemon, "http", "broken_off") == 1
    });
}

#[test]
fn with_a_client_ca_only_who_shows_a_good_certificate_is_served() {
    if !has("curl") {
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let at = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    put(files.path(), "expired", &authority.issue_expired(3));
    put(files.path(), "foreign", &Authority::new("theirs").issue(4));
    let with_ca = format!(", client_ca_file = \"{}\"", at("ca.crt"));
    let daemon = start(files.path(), &with_ca);
    let url = format!("https://{}", daemon.endpoint("http"));
    let ask = |name: Option<&str>, version: &str| {
        let mut args = vec!["--cacert".to_owned(), at("ca.crt"), version.to_owned()];
        args.extend(["--tls-max".to_owned(), "1.3".to_owned()]);
        if let Some(name) = name {
            let pair = [at(&format!("{name}.crt")), at(&format!("{name}.key"))];
            let [certificate, key] = pair;
            args.extend(["--cert".to_owned(), certificate, "--key".to_owned(), key]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        curl(&url, &args)
    };
    let begun = SystemTime::now();
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        assert_eq!(ask(Some("client"), version), "2 200");
        for other in [None, Some("expired"), Some("foreign")] {
            assert_eq!(ask(other, version), "0 000", "{other:?}");
        }
    }
    until("all are counted", || {
        failed(&daemon, "http", "client_certificate") == 6
    });
    let log = daemon.log();
    assert!(log.contains("a client was not served"), "{log}");
    assert!(log.contains("reason=\"client_certificate\""), "{log}");
    let lines = log.matches("a client was not served").count();
    assert!(lines <= most_lines(begun), "{log}");
}

/// What fails within ten seconds is one line.
fn most_lines(begun: SystemTime) -> usize {
    1 + begun.elapsed().unwrap().as_secs() as usize / 10
}

#[test]
fn who_does_not_speak_tls_is_told_apart_and_costs_a_line_now_and_then() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(files.path(), "");
    let begun = SystemTime::now();
    for listener in ["grpc", "http"] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(daemon.address(listener)).unwrap();
            stream
                .write_all(b"POST /v1/traces HTTP/1.1\r\n\r\n")
                .unwrap();
            let mut answer = Vec::new();
            // It is closed, whatever is said before.
            stream.read_to_end(&mut answer).ok();
            assert!(!answer.starts_with(b"HTTP"));
        }
        until("they are counted", || {
            failed(&daemon, listener, "not_tls") == 20
        });
    }
    let log = daemon.log();
    let lines = log.matches("a client was not served").count();
    assert!((2..=2 * most_lines(begun)).contains(&lines), "{log}");
}

#[test]
fn who_speaks_tls_to_a_port_in_the_clear_is_told_apart() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = daemon::Daemon::start(
        "[exporters.out]\ntype = \"discard\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n",
    );
    for listener in ["grpc", "http"] {
        let to = format!("https://{}", daemon.endpoint(listener));
        let ca = files.path().join("ca.crt");
        let output = Command::new(env!("CARGO_BIN_EXE_otlpd"))
            .args(["bench", "load", "--requests", "1", "--timeout", "1ms"])
            .args(["--endpoint", &to, "--protocol", listener, "--ca-file"])
            .arg(ca)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does it speak TLS here?"), "{said}");
        let line = format!("owner=\"receivers.apps.{listener}\"");
        let what = "the client speaks TLS, and this listener does not";
        until("it is told", || {
            let log = daemon.log();
            log.lines()
                .any(|found| found.contains(&line) && found.contains(what))
        });
    }
}

#[test]
fn a_certificate_that_is_signed_by_itself_is_believed_by_who_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    // As `openssl req -x509` makes them.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pair = pki::Pair {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    };
    let (certificate, key) = put(folder.path(), "tls", &pair);
    let asks = format!(", client_ca_file = \"{}\"", certificate.display());
    let daemon = start(folder.path(), &asks);
    let to = |host: &str| format!("https://{host}:{}", daemon.address("grpc").port());
    let certificate = certificate.to_str().unwrap();
    let key = key.to_str().unwrap();
    let files = [
        "--cert-file",
        certificate,
        "--key-file",
        key,
        "--ca-file",
        certificate,
    ];
    let localhost = to("localhost");
    let args = [&["--endpoint", &localhost, "--requests", "3"], &files[..]].concat();
    assert_eq!(load(&args)["answers"]["grpc-status 0"], 3);
    // But not under another name.
    let output = Command::new(env!("CARGO_BIN_EXE_otlpd"))
        .args(["bench", "load", "--requests", "1", "--timeout", "1ms"])
        .args(["--endpoint", &to("127.0.0.1")])
        .args(files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("server_name_override"), "{said}");
}

#[test]
fn the_expiry_of_the_certificate_is_told() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(3 * 24 * 3600);
    put(files.path(), "tls", &authority.issue_until(7, soon));
    let daemon = start(files.path(), "");
    let line = "otlpd_tls_certificate_expiry_seconds{component=\"receivers.apps.grpc\"} ";
    let page = daemon.get("/metrics").body;
    let found = page.lines().find_map(|found| found.strip_prefix(line));
    let seconds: f64 = found.unwrap().parse().unwrap();
    assert!((200_000.0..=259_200.0).contains(&seconds), "{seconds}");
    assert!(daemon.log().contains("(serial 07) expires in 72 hours"));
    let uses = daemon.status()["tls"].clone();
    let certificate = &uses[0]["certificate"];
    assert_eq!(certificate["serial"], "07", "{uses}");
    assert_eq!(counted(&daemon, "otlpd_tls_reloads_total"), 0);
}
