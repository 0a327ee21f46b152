//! What an operator writes about TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::version::TLS13;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};
use serde::Deserialize;

use crate::units;

/// `tls = { cert_file, key_file, ... }` of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsConfig {
    /// The certificate that clients are shown, and behind it those between it and their CA; PEM.
    pub cert_file: PathBuf,
    /// Its private key; PEM, not encrypted.
    pub key_file: PathBuf,
    /// The CAs of clients: with it, every client must show a certificate of one of them. PEM.
    pub client_ca_file: Option<PathBuf>,
    /// The oldest version of TLS that is spoken.
    #[serde(default)]
    pub min_version: MinVersion,
    /// How often it is looked whether the files have changed; 0 is never.
    #[serde(default = "default_reload_interval", with = "units::duration")]
    pub reload_interval: Duration,
    /// The longest that a client may take from connecting until it is known to speak TLS with us.
    #[serde(default = "default_handshake_timeout", with = "units::duration")]
    pub handshake_timeout: Duration,
}

/// `tls = { ca_file, ... }` of what connects to others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTlsConfig {
    /// The CAs that servers are believed by, in place of those of the system; PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to servers that ask for one; PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key; PEM, not encrypted.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, in place of the endpoint's host.
    pub server_name_override: Option<String>,
    /// The oldest version of TLS that is spoken.
    pub min_version: MinVersion,
    /// Believe whoever answers. For trying things out.
    pub insecure_skip_verify: bool,
    /// How often it is looked whether the files have changed; 0 is never.
    #[serde(with = "units::duration")]
    pub reload_interval: Duration,
}

impl Default for ClientTlsConfig {
    fn default() -> Self {
        Self {
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name_override: None,
            min_version: MinVersion::default(),
            insecure_skip_verify: false,
            reload_interval: default_reload_interval(),
        }
    }
}

/// `min_version = "1.2" | "1.3"`. Older versions are broken, and not built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}

impl MinVersion {
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static ONLY_NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            Self::Tls12 => ALL_VERSIONS,
            Self::Tls13 => &ONLY_NEW,
        }
    }
}

/// The keys of files, with the files.
pub(super) type Named<'a> = Vec<(&'static str, &'a Path)>;

impl ServerTlsConfig {
    pub(super) fn files(&self) -> Named<'_> {
        let mut files = vec![
            ("cert_file", self.cert_file.as_path()),
            ("key_file", self.key_file.as_path()),
        ];
        files.extend(
            self.client_ca_file
                .iter()
                .map(|f| ("client_ca_file", f.as_path())),
        );
        files
    }
}

impl ClientTlsConfig {
    pub(super) fn files(&self) -> Named<'_> {
        let keys = ["ca_file", "cert_file", "key_file"];
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        let named = keys.into_iter().zip(files);
        named
            .filter_map(|(key, file)| Some((key, file.as_deref()?)))
            .collect()
    }
}

/// Often enough for a certificate that is replaced in its last minutes.
fn default_reload_interval() -> Duration {
    Duration::from_secs(10)
}

fn default_handshake_timeout() -> Duration {
    Duration::from_secs(10)
}
