//! Certificates as an operator has them: CAs, what they have signed, and files to put them in.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub(crate) certificate: String,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self {
            issuer,
            certificate,
        }
    }

    /// A certificate for this machine, of this serial number, valid for a year.
    pub(crate) fn issue(&self, serial: u64) -> Pair {
        self.issue_until(serial, SystemTime::now() + 365 * DAY)
    }

    /// The same, valid until then.
    pub(crate) fn issue_until(&self, serial: u64, until: SystemTime) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        // Verifiers that are strict want it.
        params.use_authority_key_identifier_extension = true;
        let name = format!("number {serial}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = until.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate of this common name, with these alternative names: hosts, or URIs.
    pub(crate) fn issue_to(&self, common: &str, names: &[&str]) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.contains("://") {
                true => SanType::URI((*name).try_into().unwrap()),
                false => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// One that is over.
    pub(crate) fn issue_expired(&self, serial: u64) -> Pair {
        self.issue_until(serial, SystemTime::now() - DAY)
    }
}

/// Puts a certificate and its key into these files.
pub(crate) fn put(folder: &Path, name: &str, pair: &Pair) -> (PathBuf, PathBuf) {
    let files = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    fs::write(&files.0, &pair.certificate).unwrap();
    fs::write(&files.1, &pair.key).unwrap();
    files
}

/// A folder with the files of a CA (`ca.crt`), a server (`tls.crt`, `tls.key`, serial 1) and a
/// client (`client.crt`, `client.key`, serial 2) of it.
pub(crate) fn folder(authority: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.crt"), &authority.certificate).unwrap();
    put(folder.path(), "tls", &authority.issue(1));
    put(folder.path(), "client", &authority.issue(2));
    folder
}
