//! TLS of the suite's own, in which each part of a handshake can be chosen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What the user said of TLS.
#[derive(Debug, Default)]
pub(crate) struct TlsSettings {
    roots: Option<RootCertStore>,
    own: Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>,
}

/// A client's certificates, its own first, and its key.
pub(crate) type Own = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

impl TlsSettings {
    /// Reads the files. The error is a sentence that names one.
    pub(crate) fn read(
        ca: Option<&Path>,
        own: Option<(&PathBuf, &PathBuf)>,
    ) -> Result<Self, String> {
        let mut settings = Self::default();
        if let Some(path) = ca {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
            settings.roots = Some(roots);
        }
        if let Some((certificate, key)) = own {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{}: {error}", key.display()))?;
            settings.own = Some((chain, Arc::new(key)));
        }
        Ok(settings)
    }

    /// Whether the user gave a client certificate.
    pub(crate) const fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// What the user said, with these protocols on offer.
    pub(crate) fn config(&self, alpn: &[&str]) -> Result<ClientConfig, String> {
        self.config_with(self.own(), rustls::ALL_VERSIONS, alpn)
    }

    /// The client's certificate that the user gave.
    pub(crate) fn own(&self) -> Own {
        let own = self.own.as_ref();
        own.map(|(chain, key)| (chain.clone(), key.clone_key()))
    }

    /// With another client certificate, or none, and only these versions.
    pub(crate) fn config_with(
        &self,
        own: Own,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.trusted());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client certificate: {error}"))?,
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }

    fn trusted(&self) -> RootCertStore {
        self.roots.clone().unwrap_or_else(|| {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            roots
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    let chain: Result<Vec<_>, _> = found.collect();
    let chain = chain.map_err(|error| failed(&error))?;
    if chain.is_empty() {
        return Err(failed(&"no certificate in it"));
    }
    Ok(chain)
}

/// Shakes hands. The error is a phrase.
pub(crate) async fn handshake(
    host: &str,
    stream: TcpStream,
    config: ClientConfig,
    patience: Duration,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match timeout(patience, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("the TLS handshake failed: {error}")),
        Err(_elapsed) => Err(format!("the TLS handshake took longer than {patience:?}")),
    }
}
