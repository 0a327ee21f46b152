//! `type = "mtls"`: the names of the certificate that a client has shown in the TLS handshake.

use std::net::IpAddr;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Identity;
use super::config::MtlsConfig;
use super::denied::{Denied, Reason, Scheme};
use crate::net::peer::Peer;

/// The names that may send; any, if there are none.
#[derive(Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn new(config: &MtlsConfig) -> Self {
        Self(config.allowed_names.clone())
    }

    pub(super) fn check(&self, peer: &Peer) -> Result<Identity, Denied> {
        let denied = |reason, detail: &str| Denied::new(Scheme::Certificate, reason, detail);
        let leaf = peer.certificates.as_ref().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| denied(Reason::Missing, "no client certificate"))?;
        let names = names_of(leaf).ok_or_else(|| denied(Reason::Malformed, ""))?;
        let allowed = match self.0.is_empty() {
            true => names.first(),
            false => names.iter().find(|name| self.allow(name)),
        };
        match (allowed, self.0.is_empty()) {
            (Some(name), _) => Ok(Identity::named(name)),
            (None, true) => Ok(Identity::named("")),
            (None, false) => {
                let detail = format!("its certificate has the names {names:?}");
                Err(denied(Reason::NotAllowed, &detail))
            }
        }
    }

    fn allow(&self, name: &str) -> bool {
        self.0.iter().any(|allowed| fits(allowed, name))
    }
}

/// Names of hosts are compared without regard to case, and `*.` stands for exactly one label of
/// them, as in certificates; URIs are compared as they are.
fn fits(allowed: &str, name: &str) -> bool {
    if name.contains("://") {
        return allowed == name;
    }
    match allowed.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| is_label(label) && rest.eq_ignore_ascii_case(parent)),
        None => allowed.eq_ignore_ascii_case(name),
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.chars().all(allowed)
}

/// Every name of the certificate: those of its subjectAltName (DNS names, URIs, mail and IP
/// addresses), then the common name of its subject. `None` if it can not be read.
fn names_of(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = Vec::new();
    if let Some(alternative) = certificate.subject_alternative_name().ok()? {
        let found = alternative.value.general_names.iter();
        names.extend(found.filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        }));
    }
    let common = certificate.subject().iter_common_name();
    names.extend(common.filter_map(|name| name.as_str().ok().map(str::to_owned)));
    Some(names)
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (allowed, name, expected) in [
            ("a.example", "A.Example", true),
            ("a.example", "b.a.example", false),
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "c.b.a.example", false),
            ("*.a.example", "a.example", false),
            ("*.a.example", ".a.example", false),
            ("spiffe://mesh/shop", "spiffe://mesh/shop", true),
            ("spiffe://mesh/shop", "spiffe://mesh/Shop", false),
            ("*.a.example", "spiffe://b.a.example", false),
            ("*.a.example", "me@b.a.example", false),
            ("*.a.example", "*.a.example", false),
        ] {
            assert_eq!(fits(allowed, name), expected, "{allowed} {name}");
        }
    }

    #[test]
    fn alternative_names_come_before_the_common_name() {
        let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        let uri = "spiffe://mesh/shop".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let address = SanType::IpAddress("10.0.0.7".parse().unwrap());
        params.subject_alt_names.push(address);
        params.distinguished_name.push(DnType::CommonName, "shop");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let names = names_of(certificate.der()).unwrap();
        let expected = ["shop.example", "spiffe://mesh/shop", "10.0.0.7", "shop"];
        assert_eq!(names, expected);
        assert_eq!(names_of(b"nonsense"), None);
    }
}
