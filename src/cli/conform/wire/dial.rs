//! Where a server is, and a connection to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls::{self, TlsSettings};

/// A connection, of whatever kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The same, to be passed on.
pub(crate) type AnyStream = Box<dyn Stream>;

/// An address that the user gave.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands before the paths of requests: empty, or `/something`.
    pub(crate) base: String,
    /// Present where the connection is TLS.
    pub(crate) tls: Option<Arc<TlsSettings>>,
    /// How long connecting may take.
    pub(crate) timeout: Duration,
}

impl Endpoint {
    /// Reads `HOST:PORT` or `http(s)://HOST[:PORT][/BASE]`. The error is a phrase for the user.
    pub(crate) fn parse(
        text: &str,
        default_port: u16,
        tls: &Arc<TlsSettings>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let (secure, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => {
                return Err(format!("unknown scheme {scheme:?}: use http or https"));
            }
        };
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        let parsed: http::uri::Authority = authority
            .parse()
            .map_err(|_| format!("{text:?} is no address: use HOST:PORT or http://HOST:PORT"))?;
        let host = parsed.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || authority.contains('@') {
            return Err(format!("{text:?} names no host"));
        }
        let base = base.trim_end_matches('/');
        Ok(Self {
            host,
            port: parsed.port_u16().unwrap_or(default_port),
            base: if base.is_empty() {
                String::new()
            } else {
                format!("/{base}")
            },
            tls: secure.then(|| Arc::clone(tls)),
            timeout,
        })
    }

    /// `HOST:PORT`, as it stands in requests.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Connects, by TLS where the address says so, with these protocols on offer.
    pub(crate) async fn connect(&self, alpn: &[&str]) -> Result<AnyStream, String> {
        let stream = self.connect_plain().await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(settings) => {
                let config = settings.config(alpn)?;
                let secured = tls::handshake(&self.host, stream, config, self.timeout).await?;
                Ok(Box::new(secured))
            }
        }
    }

    /// Connects without TLS, whatever the address says.
    pub(crate) async fn connect_plain(&self) -> Result<TcpStream, String> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let connected = match timeout(self.timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {:?}", self.timeout)),
        };
        let stream = connected.map_err(|problem| format!("cannot connect to {self}: {problem}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        Ok(stream)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}
