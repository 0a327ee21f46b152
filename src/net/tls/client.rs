//! The side of whoever connects.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore,
};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use super::config::{ClientTlsConfig, Named};
use super::files::{Contents, Fault};
use super::leaf::Leaf;
use super::live::{Live, Material};
use super::provider;
use super::record::Register;
use super::verify::{Anybody, Servers};
use crate::net::stream::{ReadAhead, Socket, Stream};

/// The protocols that are spoken within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// gRPC's.
    Http2,
    /// HTTP/1.1.
    Http1,
    /// Either; HTTP/2 rather.
    Any,
}

impl Alpn {
    pub(super) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&str] = match self {
            Self::Http2 => &["h2"],
            Self::Http1 => &["http/1.1"],
            Self::Any => &["h2", "http/1.1"],
        };
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }
}

/// What servers are believed by, and what they are shown.
#[derive(Debug)]
pub struct Client {
    live: Arc<Live<Side>>,
    server_name: Option<ServerName<'static>>,
    alpn: Alpn,
}

#[derive(Clone, Debug)]
struct Side {
    config: ClientTlsConfig,
    alpn: Alpn,
}

/// The longest that a server may take to greet us.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl ClientTlsConfig {
    /// Reads the files as whoever connects would: what is to be said of a certificate that will
    /// not last for long.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<Option<String>, Fault> {
        let side = Side {
            config: self.clone(),
            alpn: Alpn::Any,
        };
        side.check()
    }
}

impl Client {
    /// Reads the files, and reads them again when they change. `component` is what the
    /// configuration calls whoever connects. To be called within a runtime.
    ///
    /// # Errors
    /// A sentence that names the key and the file.
    pub fn open(
        config: &ClientTlsConfig,
        alpn: Alpn,
        component: &str,
        register: &Register,
    ) -> Result<Arc<Self>, String> {
        let server_name = config.server_name_override.as_deref().map(server_name);
        let side = Side {
            config: config.clone(),
            alpn,
        };
        let live = Live::open(side, component, register).map_err(|fault| fault.to_string())?;
        Ok(Arc::new(Self {
            live,
            server_name: server_name.transpose()?,
            alpn,
        }))
    }

    /// Greets the server at `host`.
    ///
    /// # Errors
    /// Why it is not believed, or does not believe us, and what may help.
    pub(in crate::net) async fn connect(&self, socket: Socket, host: &str) -> io::Result<Stream> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(self.live.current());
        let greeted = connector.connect(name, ReadAhead::new(socket));
        let stream = match timeout(HANDSHAKE_TIMEOUT, greeted).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(explained(error, self.alpn)),
            Err(_elapsed) => {
                let what = format!("no TLS handshake within {HANDSHAKE_TIMEOUT:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        };
        let stream = Stream::Tls(Box::new(TlsStream::Client(stream)));
        if self.alpn == Alpn::Http2 && stream.protocol() != Some(b"h2") {
            return Err(io::Error::other(
                "the server speaks TLS but did not agree to HTTP/2 (ALPN h2), which gRPC needs: \
                 is this its gRPC port?",
            ));
        }
        Ok(stream)
    }
}

/// # Errors
/// A sentence.
fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("{host:?} is not a name that a certificate can have"))
}

/// The error with what may help, where that is not said.
fn explained(error: io::Error, alpn: Alpn) -> io::Error {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    let advice = match tls {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "it is of no CA that is trusted here: name its CA in `ca_file`"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "dial it by a name that it has, or say which in `server_name_override`",
        Some(Error::InvalidCertificate(CertificateError::Other(_))) => {
            "a certificate that is signed by itself is believed where `ca_file` holds it"
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS here: use http://, or another port"
        }
        Some(
            Error::NoApplicationProtocol
            | Error::AlertReceived(AlertDescription::NoApplicationProtocol),
        ) => match alpn {
            Alpn::Http1 => "the server does not speak HTTP/1.1 here: is this its port for gRPC?",
            Alpn::Http2 | Alpn::Any => "the server does not speak HTTP/2 here, which gRPC needs",
        },
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server hung up: does it speak TLS here?"
        }
        Some(_) | None => return io::Error::new(error.kind(), format!("TLS: {error}")),
    };
    io::Error::new(error.kind(), format!("TLS: {error}; {advice}"))
}

impl Material for Side {
    type Ready = ClientConfig;
    const IS_SERVER: bool = false;

    fn files(&self) -> Named<'_> {
        self.config.files()
    }

    fn reload_interval(&self) -> Duration {
        self.config.reload_interval
    }

    fn build(&self, contents: &Contents) -> Result<(ClientConfig, Option<Leaf>), Fault> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(self.config.min_version.versions())
            .map_err(|error| Fault::new("min_version", Path::new(""), error.to_string()))?;
        let verifier = self.verifier(contents)?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let (mut client, leaf) = if contents.has("cert_file") || contents.has("key_file") {
            let chain = contents.certificates("cert_file")?;
            let key = contents.private_key("key_file")?;
            let leaf = chain.first().and_then(Leaf::read);
            let client = builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| contents.mismatch(&error))?;
            (client, leaf)
        } else {
            (builder.with_no_client_auth(), None)
        };
        client.alpn_protocols = self.alpn.protocols();
        Ok((client, leaf))
    }
}

impl Side {
    fn verifier(&self, contents: &Contents) -> Result<Arc<dyn ServerCertVerifier>, Fault> {
        if self.config.insecure_skip_verify {
            return Ok(Arc::new(Anybody::default()));
        }
        let (roots, listed) = match contents.has("ca_file") {
            true => (
                Arc::new(contents.roots("ca_file")?),
                contents.certificates("ca_file")?,
            ),
            false => (system_roots()?, Vec::new()),
        };
        let servers = Servers::new(roots, listed);
        let servers = servers.map_err(|error| contents.unusable("ca_file", &error))?;
        Ok(Arc::new(servers))
    }
}

/// The CAs of the system, read once.
fn system_roots() -> Result<Arc<RootCertStore>, Fault> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    });
    match roots.is_empty() {
        false => Ok(Arc::clone(roots)),
        true => Err(Fault::new(
            "ca_file",
            Path::new(""),
            "is needed here: this system has no CAs of its own (package ca-certificates)",
        )),
    }
}
