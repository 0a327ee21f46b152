//! The listener's side.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::NoServerSessionStorage;
use rustls::{AlertDescription, Error, ServerConfig};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::config::{Named, ServerTlsConfig};
use super::files::{Contents, Fault};
use super::leaf::Leaf;
use super::live::{Live, Material};
use super::record::{HandshakeFailure, Register};
use super::verify::Clients;
use super::{Alpn, provider};
use crate::net::stream::{ReadAhead, Socket, Stream};

/// What clients of one listener are greeted with.
#[derive(Debug)]
pub struct Server {
    live: Arc<Live<Side>>,
    handshake_timeout: Duration,
}

#[derive(Clone, Debug)]
struct Side {
    config: ServerTlsConfig,
    alpn: Alpn,
}

impl ServerTlsConfig {
    /// Reads the files as a listener would: what is to be said of a certificate that will not last
    /// for long.
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

impl Server {
    /// Reads the files, and reads them again when they change. `component` is what the
    /// configuration calls the listener. To be called within a runtime.
    ///
    /// # Errors
    /// A sentence that names the key and the file.
    pub fn open(
        config: &ServerTlsConfig,
        alpn: Alpn,
        component: &str,
        register: &Register,
    ) -> Result<Self, String> {
        let side = Side {
            config: config.clone(),
            alpn,
        };
        let live = Live::open(side, component, register)
            .map_err(|fault| format!("{component}.tls: {fault}"))?;
        Ok(Self {
            live,
            handshake_timeout: config.handshake_timeout,
        })
    }

    /// Greets a client. Whatever happens is counted.
    ///
    /// # Errors
    /// Why it can not be served, and which kind of reason that is.
    pub(in crate::net) async fn accept(
        &self,
        socket: Socket,
    ) -> Result<Stream, (HandshakeFailure, io::Error)> {
        let acceptor = TlsAcceptor::from(self.live.current());
        let greeted = timeout(
            self.handshake_timeout,
            acceptor.accept(ReadAhead::new(socket)),
        );
        let error = match greeted.await {
            Ok(Ok(stream)) => return Ok(Stream::Tls(Box::new(TlsStream::Server(stream)))),
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                let what = format!("no handshake within {:?}", self.handshake_timeout);
                io::Error::new(io::ErrorKind::TimedOut, what)
            }
        };
        let why = reason(&error);
        self.live.record.handshake_failed(why);
        Err((why, error))
    }

    /// Counts a client that was given up before it was greeted.
    pub(in crate::net) fn gave_up(&self) {
        self.live.record.handshake_failed(HandshakeFailure::Timeout);
    }
}

impl Material for Side {
    type Ready = ServerConfig;
    const IS_SERVER: bool = true;

    fn files(&self) -> Named<'_> {
        self.config.files()
    }

    fn reload_interval(&self) -> Duration {
        self.config.reload_interval
    }

    fn build(&self, contents: &Contents) -> Result<(ServerConfig, Option<Leaf>), Fault> {
        let chain = contents.certificates("cert_file")?;
        let key = contents.private_key("key_file")?;
        let leaf = chain.first().and_then(Leaf::read);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.config.min_version.versions())
            .map_err(|error| contents.mismatch(&error))?;
        let asks = contents.has("client_ca_file");
        let builder = match asks {
            false => builder.with_no_client_auth(),
            true => {
                let roots = Arc::new(contents.roots("client_ca_file")?);
                let listed = contents.certificates("client_ca_file")?;
                let clients = Clients::new(roots, listed)
                    .map_err(|error| contents.unusable("client_ca_file", &error))?;
                builder.with_client_cert_verifier(Arc::new(clients))
            }
        };
        let mut server = builder
            .with_single_cert(chain, key)
            .map_err(|error| contents.mismatch(&error))?;
        server.alpn_protocols = self.alpn.protocols();
        if asks {
            // A session that is taken up again is not verified again: each connection is to show a
            // certificate that is good today.
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok((server, leaf))
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match tls {
        Some(Error::InvalidMessage(_)) => HandshakeFailure::NotTls,
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
            HandshakeFailure::NothingInCommon
        }
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => {
            HandshakeFailure::ClientCertificate
        }
        Some(Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        )) => HandshakeFailure::NothingInCommon,
        Some(Error::AlertReceived(_)) => HandshakeFailure::BrokenOff,
        Some(_) => HandshakeFailure::Other,
        None if error.kind() == io::ErrorKind::TimedOut => HandshakeFailure::Timeout,
        None => HandshakeFailure::BrokenOff,
    }
}
