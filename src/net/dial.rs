//! Dialling: names are looked up anew for every connection.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::stream::{Socket, Stream};
use super::tls::{Alpn, Client, ClientTlsConfig, Register};

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST:PORT`, as it stands in the request.
    pub authority: String,
    /// What stands before the paths of requests; empty or `/something`, without a last slash.
    pub path: String,
    /// The socket in the file system, where it is not the authority that is dialled.
    socket: Option<PathBuf>,
    /// Whether the scheme is `https`.
    is_secure: bool,
}

/// The longest that one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The host of requests that travel through a unix socket.
const LOCAL: &str = "localhost";

impl Target {
    /// Reads `http://HOST:PORT/PATH`, `https://HOST:PORT/PATH`, the same without the scheme, or
    /// `unix:PATH`; `port` is what an address without one means, but for `https`.
    pub fn parse(endpoint: &str, port: u16) -> Result<Self, String> {
        if let Some(path) = unix_path(endpoint) {
            return Ok(Self {
                authority: LOCAL.to_owned(),
                path: String::new(),
                socket: Some(path),
                is_secure: false,
            });
        }
        let (rest, port, is_secure) = match endpoint.split_once("://") {
            None => (endpoint, port, false),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest, port, false),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (rest, 443, true),
            Some((scheme, _)) => {
                return Err(format!(
                    "unknown scheme {scheme:?}: use http://HOST:PORT or https://HOST:PORT"
                ));
            }
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority: http::uri::Authority = authority
            .parse()
            .map_err(|_| format!("{endpoint:?} is not an address: use http://HOST:PORT"))?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(format!("{endpoint:?} names no host: use http://HOST:PORT"));
        }
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:{port}"),
        };
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            authority,
            path,
            socket: None,
            is_secure,
        })
    }

    /// The host without its port.
    fn host(&self) -> &str {
        self.authority
            .rsplit_once(':')
            .map_or(self.authority.as_str(), |(host, _)| host)
    }
}

/// The path of `unix:PATH` or `unix:///PATH`.
pub fn unix_path(endpoint: &str) -> Option<PathBuf> {
    let path = endpoint.strip_prefix("unix:")?;
    Some(path.strip_prefix("//").unwrap_or(path).into())
}

/// Whether an endpoint without a scheme, or through a unix socket, is what `tls` is written for.
fn is_bare(endpoint: &str) -> bool {
    !endpoint.contains("://") || endpoint.starts_with("unix:")
}

/// A target, and how connections to it are made.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Whom to dial.
    pub target: Target,
    tls: Option<Arc<Client>>,
}

impl Dialler {
    /// Connections to the endpoint of this component of the configuration: encrypted where its
    /// scheme is `https`, or where it has none and there is a `tls`. To be called within a runtime.
    ///
    /// # Errors
    /// A sentence, where the endpoint or a file cannot be read.
    pub fn new(
        endpoint: (&str, u16),
        tls: Option<&ClientTlsConfig>,
        alpn: Alpn,
        (component, register): (&str, &Register),
    ) -> Result<Self, String> {
        let (endpoint, port) = endpoint;
        let target = Target::parse(endpoint, port)?;
        let encrypted = target.is_secure || tls.is_some() && is_bare(endpoint);
        let default = ClientTlsConfig::default();
        let tls = tls.unwrap_or(&default);
        let client = encrypted.then(|| Client::open(tls, alpn, component, register));
        Ok(Self {
            target,
            tls: client.transpose()?,
        })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Connects to the first of the target's addresses that answers.
    ///
    /// # Errors
    /// None does, or TLS is not agreed on; the target is named.
    pub async fn dial(&self) -> io::Result<Stream> {
        self.try_dial().await.map_err(|error| {
            let whom = match &self.target.socket {
                Some(path) => path.display().to_string(),
                None => self.target.authority.clone(),
            };
            io::Error::new(error.kind(), format!("cannot connect to {whom}: {error}"))
        })
    }

    async fn try_dial(&self) -> io::Result<Stream> {
        let socket = match &self.target.socket {
            Some(path) => Socket::Unix(UnixStream::connect(path).await?),
            None => Socket::Tcp(connect(&self.target.authority).await?),
        };
        match &self.tls {
            Some(tls) => tls.connect(socket, self.target.host()).await,
            None => Ok(Stream::Plain {
                socket,
                is_new: false,
            }),
        }
    }
}

async fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(authority).await? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_elapsed) => {
                let problem = format!("no answer from {address} within {CONNECT_TIMEOUT:?}");
                last = io::Error::new(io::ErrorKind::TimedOut, problem);
            }
        }
    }
    Err(last)
}

/// When a connection that is opened now is to be replaced: `age` with 10 % jitter, so that
/// connections opened together do not go together. `None` if it may live for ever.
pub fn replace_at(age: Duration) -> Option<Instant> {
    let jitter = rand::rng().random_range(0.9..1.1);
    (age > Duration::ZERO).then(|| Instant::now() + age.mul_f64(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_with_and_without_scheme_port_and_path() {
        let target = |authority: &str, path: &str| {
            Ok(Target {
                authority: authority.to_owned(),
                path: path.to_owned(),
                socket: None,
                is_secure: false,
            })
        };
        assert_eq!(Target::parse("http://h:5317", 1), target("h:5317", ""));
        assert_eq!(Target::parse("h", 4317), target("h:4317", ""));
        assert_eq!(Target::parse("[::1]:9", 1), target("[::1]:9", ""));
        assert_eq!(Target::parse("http://h:1/otlp/", 1), target("h:1", "/otlp"));
        assert!(Target::parse("ftp://h", 1).is_err());
        assert!(Target::parse("http://", 1).is_err());
    }

    #[test]
    fn https_has_its_own_port_where_none_is_said() {
        for (endpoint, authority) in [
            ("https://h", "h:443"),
            ("HTTPS://h:4317", "h:4317"),
            ("https://[::1]/otlp", "[::1]:443"),
        ] {
            let target = Target::parse(endpoint, 4318).unwrap();
            assert_eq!(
                (target.authority.as_str(), target.is_secure),
                (authority, true)
            );
        }
        assert_eq!(Target::parse("https://[::1]", 1).unwrap().host(), "[::1]");
    }

    #[test]
    fn unix_sockets_are_dialled_by_their_path() {
        for endpoint in ["unix:/run/otlp.sock", "unix:///run/otlp.sock"] {
            let target = Target::parse(endpoint, 1).unwrap();
            assert_eq!(target.socket, Some("/run/otlp.sock".into()));
            assert_eq!(target.authority, "localhost");
        }
    }
}
