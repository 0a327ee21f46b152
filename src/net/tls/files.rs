//! The files that one use of TLS is made of, as they were read at one moment.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::config::Named;

/// No file is read further than this, in bytes. The CAs of a whole system are a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// What is wrong with the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key that it is about.
    pub key: &'static str,
    /// The file that the key names.
    file: PathBuf,
    /// What is wrong, and what to do: stands behind "`key` FILE ".
    what: String,
}

impl Fault {
    pub(super) fn new(key: &'static str, file: &Path, what: impl Into<String>) -> Self {
        let (file, what) = (file.to_owned(), what.into());
        Self { key, file, what }
    }

    /// The same without the file's name, which may be secret.
    pub fn without_file(&self) -> String {
        format!("`{}` {}", self.key, self.what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, file, what } = self;
        match file.as_os_str().is_empty() {
            true => write!(f, "`{key}` {what}"),
            false => write!(f, "`{key}` {}: {what}", file.display()),
        }
    }
}

/// What the files held.
pub(super) struct Contents(Vec<Content>);

struct Content {
    key: &'static str,
    file: PathBuf,
    read: Result<Vec<u8>, io::Error>,
}

/// Tells contents apart without keeping them, which hold private keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<u8>);

impl Contents {
    /// Reads the files. May block.
    pub(super) fn read(files: Named<'_>) -> Self {
        let content = |(key, file): (&'static str, &Path)| Content {
            key,
            file: file.to_owned(),
            read: read(file),
        };
        Self(files.into_iter().map(content).collect())
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut all = Sha256::new();
        for content in &self.0 {
            match &content.read {
                Ok(bytes) => all.update(Sha256::digest(bytes)),
                Err(error) => all.update(format!("{:?}", error.kind())),
            }
        }
        Fingerprint(all.finalize().to_vec())
    }

    /// Whether this key names a file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|content| content.key == key)
    }

    fn bytes(&self, key: &'static str) -> Result<(&Path, &[u8]), Fault> {
        let content = self.0.iter().find(|content| content.key == key);
        let content = content.ok_or_else(|| Fault::new(key, Path::new(""), "is missing"))?;
        match &content.read {
            Ok(bytes) => Ok((&content.file, bytes)),
            Err(error) => Err(Fault::new(key, &content.file, unreadable(error))),
        }
    }

    /// Every certificate of the file; at least one.
    pub(super) fn certificates(
        &self,
        key: &'static str,
    ) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let (file, bytes) = self.bytes(key)?;
        let fault = |what: String| Fault::new(key, file, what);
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
        let found = found.map_err(|error| fault(not_pem(&error)))?;
        match found.is_empty() {
            false => Ok(found),
            true if PrivateKeyDer::from_pem_slice(bytes).is_ok() => Err(fault(
                "holds a private key and no certificate: are the two files exchanged?".to_owned(),
            )),
            true => Err(fault(NO_CERTIFICATE.to_owned())),
        }
    }

    /// The certificates of the file as those that others are believed by.
    pub(super) fn roots(&self, key: &'static str) -> Result<RootCertStore, Fault> {
        let (file, _) = self.bytes(key)?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates(key)?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                let what = format!(
                    "certificate {} of it can not be used: {error}; wants certificates of CAs, \
                     X.509 version 3",
                    index + 1
                );
                Fault::new(key, file, what)
            })?;
        }
        Ok(roots)
    }

    /// The private key of the file.
    pub(super) fn private_key(&self, key: &'static str) -> Result<PrivateKeyDer<'static>, Fault> {
        let (file, bytes) = self.bytes(key)?;
        PrivateKeyDer::from_pem_slice(bytes).map_err(|error| {
            let what = match error {
                _ if is_encrypted(bytes) => ENCRYPTED.to_owned(),
                pem::Error::NoItemsFound => NO_KEY.to_owned(),
                error => not_pem(&error),
            };
            Fault::new(key, file, what)
        })
    }

    /// The fault of CAs by which nobody could be believed.
    pub(super) fn unusable(&self, key: &'static str, error: &dyn fmt::Display) -> Fault {
        let file = self.bytes(key).map(|(file, _)| file);
        let what = format!("can not be used: {error}");
        Fault::new(key, file.unwrap_or(Path::new("")), what)
    }

    /// The fault of a certificate and key that are no pair, or not usable.
    pub(super) fn mismatch(&self, error: &rustls::Error) -> Fault {
        let file = self.bytes("key_file").map(|(file, _)| file);
        let what = match error {
            rustls::Error::InconsistentKeys(_) => "is not the private key of the first \
                certificate in `cert_file`: there one's own certificate comes first, then those \
                between it and its CA"
                .to_owned(),
            error => format!("can not be used with `cert_file`: {error}"),
        };
        Fault::new("key_file", file.unwrap_or(Path::new("")), what)
    }
}

const NO_CERTIFICATE: &str = "holds no certificate: wants PEM, with -----BEGIN CERTIFICATE-----";
const NO_KEY: &str = "holds no private key: wants PEM, with -----BEGIN PRIVATE KEY-----, \
                      RSA PRIVATE KEY or EC PRIVATE KEY";
const ENCRYPTED: &str = "is encrypted with a password, which is not supported: decrypt it \
                         (openssl pkey) and let only otlpd read it";

fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn not_pem(error: &pem::Error) -> String {
    let problem = match error {
        pem::Error::MissingSectionEnd { .. } => "a section of it has no end",
        pem::Error::IllegalSectionStart { .. } => "a section of it has no proper beginning",
        pem::Error::Base64Decode(_) => "a section of it is not base64",
        _ => "it is not",
    };
    format!("is not PEM: {problem}")
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such file: write where it is, or put it there".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "can not be read: permission denied; let the user that otlpd runs as read it".to_owned()
        }
        _ => format!("can not be read: {error}"),
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_FILE} bytes"
        )));
    }
    Ok(bytes)
}
