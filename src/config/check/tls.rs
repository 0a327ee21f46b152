//! Checks of `tls`: first what can be told from the configuration alone, then the files.

use std::net::IpAddr;

use super::{Site, auth, endpoint};
use crate::config::Config;
use crate::config::problem::Findings;
use crate::config::tree::Node;
use crate::exporters::ExporterConfig;
use crate::net::tls::{ClientTlsConfig, Fault, ServerTlsConfig};
use crate::receivers::ReceiverConfig;

/// Checks the `tls` of a listener, which stands at this path.
pub(super) fn server(config: Option<&ServerTlsConfig>, path: &[&str], site: &mut Site<'_>) {
    let Some(config) = config else {
        return;
    };
    let timeout = [path, &["handshake_timeout"]].concat();
    site.not_zero(
        config.handshake_timeout.is_zero(),
        &timeout,
        "no client is that fast",
    );
}

/// Checks the `tls` of an exporter to this endpoint.
pub(super) fn client(config: Option<&ClientTlsConfig>, to: &str, site: &mut Site<'_>) {
    let Some(config) = config else {
        return;
    };
    site.forbid(
        endpoint::is_in_the_clear(to),
        &["tls"],
        "`tls` has no effect here, since the endpoint says http://: write https://, or leave \
         `tls` out",
    );
    for (is_alone, key, needs, what) in [
        (
            config.cert_file.is_some() && config.key_file.is_none(),
            "cert_file",
            "key_file",
            "the private key of the certificate",
        ),
        (
            config.key_file.is_some() && config.cert_file.is_none(),
            "key_file",
            "cert_file",
            "the certificate of the private key",
        ),
    ] {
        let sentence = format!("`{key}` needs `{needs}` beside it: {what}");
        if is_alone {
            site.problem(&["tls", key], &[&["tls", needs]], sentence);
        }
    }
    let name = config.server_name_override.as_deref();
    let is_name = |name: &str| endpoint::is_host(name) || name.parse::<IpAddr>().is_ok();
    site.forbid(
        name.is_some_and(|name| !is_name(name)),
        &["tls", "server_name_override"],
        "`server_name_override` wants a name as certificates have it, such as \
         \"backend.example\", without scheme and port",
    );
    if config.insecure_skip_verify
        && let Some(place) = site.node.place(&["tls", "insecure_skip_verify"])
    {
        site.findings.warning(
            place,
            "`insecure_skip_verify` believes whoever answers: anybody between here and the \
             destination can read and change everything, tokens in headers included; name its CA \
             in `ca_file` instead",
        );
    }
}

/// Reads the files that every `tls` and `auth` names, and says what is wrong with them.
pub(in crate::config) fn files(tree: &Node, config: &Config, findings: &mut Findings) {
    let mut site = Site {
        node: tree,
        findings,
    };
    let mut server = |path: &[&str], tls: Option<&ServerTlsConfig>| {
        if let Some(tls) = tls {
            report(path, tls.check(), &mut site);
        }
    };
    server(&["admin", "tls"], config.admin.tls.as_ref());
    for (name, receiver) in &config.receivers {
        let ReceiverConfig::Otlp(otlp) = receiver else {
            continue;
        };
        let grpc = otlp.grpc.as_ref().and_then(|grpc| grpc.tls.as_ref());
        let http = otlp.http.as_ref().and_then(|http| http.tls.as_ref());
        server(&["receivers", name, "grpc", "tls"], grpc);
        if !otlp.shares_a_port() {
            server(&["receivers", name, "http", "tls"], http);
        }
    }
    for (name, exporter) in &config.exporters {
        let (endpoint, tls) = match &exporter.kind {
            ExporterConfig::OtlpGrpc(config) => (&config.endpoint, &config.tls),
            ExporterConfig::OtlpHttp(config) => (&config.endpoint, &config.tls),
            ExporterConfig::File(_) | ExporterConfig::Debug(_) | ExporterConfig::Discard(_) => {
                continue;
            }
        };
        let default = ClientTlsConfig::default();
        match tls {
            Some(tls) => report(&["exporters", name, "tls"], tls.check(), &mut site),
            None if endpoint::is_encrypted(endpoint) => {
                report(&["exporters", name, "endpoint"], default.check(), &mut site);
            }
            None => {}
        }
    }
    auth::files(config, &mut site);
}

fn report(path: &[&str], found: Result<Option<String>, Fault>, site: &mut Site<'_>) {
    match found {
        Ok(None) => {}
        Ok(Some(warning)) => {
            if let Some(place) = site.node.place(&written(path, "cert_file", site)) {
                site.findings.warning(place, warning);
            }
        }
        Err(fault) => {
            let sentence = match site.node.is_secret(&[path, &[fault.key]].concat()) {
                true => fault.without_file(),
                false => fault.to_string(),
            };
            site.problem(&written(path, fault.key, site), &[], sentence);
        }
    }
}

/// The path of the key where it is written, else that of its table.
fn written<'a>(path: &[&'a str], key: &'a str, site: &Site<'_>) -> Vec<&'a str> {
    let full = [path, &[key]].concat();
    match site.node.states(&full) {
        true => full,
        false => path.to_vec(),
    }
}
