//! T1 to T5: TLS.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

use super::expect_alive;
use crate::cli::conform::line::{
    Check, Checked, Verdict, check, expect, failed, pass, skip, skipped,
};
use crate::cli::conform::probe::Probe;
use crate::cli::conform::wire::dial::Endpoint;
use crate::cli::conform::wire::http1::Http1;
use crate::cli::conform::wire::tls::{Own, TlsSettings, handshake};

const VERSIONS: &str = "RFC 9325 section 3.1.1";
const AT_THE_START: &str = "otlpd's choice";

pub(super) const LINES: &[Check] = &[
    check!(Should "T1", "TLS 1.3 is spoken", VERSIONS, newest),
    check!(Choice "T1b", "TLS 1.2 is spoken, unless it was switched off", VERSIONS, older),
    check!(Must "T1c", "by TLS the gRPC port chooses h2 (ALPN)", "RFC 9113 section 3.2", alpn),
    check!(Choice "T2", "a client without a certificate is refused", "RFC 8446 section 4.4.2.4 (leaves it open)", no_certificate),
    check!(Choice "T2b", "a client with a certificate of an unknown issuer is refused",
        "RFC 8446 section 4.4.2.4 (leaves it open)", unknown_certificate),
    check!(Choice "T3", "a certificate without its key is an error at the start", AT_THE_START,
        skip "seen only when the server is started"),
    check!(Choice "T4", "certificates are read anew without dropping connections", AT_THE_START,
        skip "seen only where the server's files are"),
    check!(Choice "T5", "TLS on a plaintext port, and the other way, ends cleanly", "otlpd's choice", mixed_up),
];

/// A server that speaks TLS: its name, where it is, and what the user said of TLS.
type Secured = (&'static str, Endpoint, Arc<TlsSettings>);

/// All of them.
fn secured(probe: &Probe) -> Result<Vec<Secured>, Verdict> {
    let given = [("gRPC", &probe.grpc), ("HTTP", &probe.http)];
    let found = given.into_iter().filter_map(|(name, endpoint)| {
        let endpoint = endpoint.as_ref()?;
        let settings = endpoint.tls.as_ref()?;
        Some((name, endpoint.clone(), Arc::clone(settings)))
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(skipped("no endpoint is https"));
    }
    Ok(found)
}

async fn speaks(probe: &Probe, version: &'static SupportedProtocolVersion) -> Checked {
    for (name, endpoint, settings) in secured(probe)? {
        let alpn = if name == "gRPC" { "h2" } else { "http/1.1" };
        let config = settings.config_with(settings.own(), &[version], &[alpn]);
        let config = config.map_err(|problem| failed("a handshake", problem))?;
        let plain = endpoint.connect_plain().await;
        let plain = plain.map_err(|problem| failed("a connection", problem))?;
        let shaken = handshake(&endpoint.host, plain, config, probe.known.timeout).await;
        let got = |problem| failed("a handshake", format!("{problem} ({name})"));
        shaken.map_err(got)?;
    }
    pass()
}

async fn newest(probe: Arc<Probe>) -> Checked {
    speaks(&probe, &TLS13).await
}

async fn older(probe: Arc<Probe>) -> Checked {
    speaks(&probe, &TLS12).await
}

async fn alpn(probe: Arc<Probe>) -> Checked {
    let Some(endpoint) = probe.grpc.as_ref().filter(|found| found.tls.is_some()) else {
        return skip("the gRPC endpoint is not https");
    };
    let settings = endpoint.tls.clone().unwrap_or_default();
    let config = settings.config(&["h2", "http/1.1"]);
    let config = config.map_err(|problem| failed("a handshake", problem))?;
    let plain = endpoint.connect_plain().await;
    let plain = plain.map_err(|problem| failed("a connection", problem))?;
    let shaken = handshake(&endpoint.host, plain, config, probe.known.timeout).await;
    let shaken = shaken.map_err(|problem| failed("a handshake", problem))?;
    let chosen = shaken.get_ref().1.alpn_protocol();
    let chosen = chosen.map_or("nothing".into(), String::from_utf8_lossy);
    expect(chosen == "h2", "h2", chosen)?;
    pass()
}

/// Goes on where no server talks to a client with this certificate.
async fn expect_refused(probe: &Probe, own: impl Fn() -> Result<Own, String>) -> Checked {
    for (name, endpoint, settings) in secured(probe)? {
        if !settings.has_own() {
            return skip("no client certificate was given (--client-cert), so none may be needed");
        }
        let config = own()
            .and_then(|own| settings.config_with(own, rustls::ALL_VERSIONS, &["h2", "http/1.1"]))
            .map_err(|problem| failed("a handshake that is refused", problem))?;
        let plain = endpoint.connect_plain().await;
        let plain = plain.map_err(|problem| failed("a connection", problem))?;
        let shaken = handshake(&endpoint.host, plain, config, probe.known.timeout).await;
        let Ok(stream) = shaken else { continue };
        // By TLS 1.3 the client is done before the server has looked: the refusal comes after.
        let mut connection = Http1::new(Box::new(stream), probe.known.timeout);
        let asked = b"GET / HTTP/1.1\r\nhost: otlpd-conform\r\n\r\n";
        let ended = connection.send(asked).await.is_err() || connection.ends_without_a_byte().await;
        expect(
            ended,
            "a refusal of the handshake",
            format!("an answer ({name})"),
        )?;
    }
    pass()
}

async fn no_certificate(probe: Arc<Probe>) -> Checked {
    expect_refused(&probe, || Ok(None)).await
}

/// A certificate that nobody has signed but itself, and its key, which is no secret.
const STRANGER: [&[u8]; 2] = [
    include_bytes!("../wire/stranger/unknown.pem"),
    include_bytes!("../wire/stranger/key.pem"),
];

async fn unknown_certificate(probe: Arc<Probe>) -> Checked {
    let stranger = || {
        let [certificate, key] = STRANGER;
        let certificate = CertificateDer::from_pem_slice(certificate);
        let certificate = certificate.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
        Ok(Some((vec![certificate], key)))
    };
    expect_refused(&probe, stranger).await
}

async fn mixed_up(probe: Arc<Probe>) -> Checked {
    for (name, endpoint) in [("gRPC", &probe.grpc), ("HTTP", &probe.http)] {
        let Some(endpoint) = endpoint else { continue };
        let plain = endpoint.connect_plain().await;
        let plain = plain.map_err(|problem| failed("a connection", problem))?;
        let ended = if endpoint.tls.is_some() {
            let mut connection = Http1::new(Box::new(plain), probe.known.timeout);
            let asked = b"POST /v1/traces HTTP/1.1\r\nhost: otlpd-conform\r\n\r\n";
            connection.exchange(asked).await.is_ok() || connection.ends().await
        } else {
            let config = TlsSettings::default().config(&["h2", "http/1.1"]);
            let config = config.map_err(|problem| failed("a handshake", problem))?;
            let shaken = handshake(&endpoint.host, plain, config, probe.known.timeout).await;
            shaken.is_err_and(|problem| !problem.contains("took longer"))
        };
        let got = format!("a connection that stays open ({name})");
        expect(ended, "an answer or the end of the connection", got)?;
    }
    expect_alive(&probe, "it").await?;
    pass()
}
