//! Dialling: names are looked up anew for every connection.

use std::io;
use std::time::Duration;

use rand::Rng;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST:PORT`, as it stands in the request.
    pub authority: String,
    /// What stands before the paths of requests; empty or `/something`, without a last slash.
    pub path: String,
}

/// The longest that one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Target {
    /// Reads `http://HOST:PORT/PATH`, or without the scheme; `port` is what an address without
    /// one means.
    pub fn parse(endpoint: &str, port: u16) -> Result<Self, String> {
        let rest = match endpoint.split_once("://") {
            None => endpoint,
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err("https is not built in yet: use http:// on a trusted network".into());
            }
            Some((scheme, _)) => {
                return Err(format!("unknown scheme {scheme:?}: use http://HOST:PORT"));
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
        Ok(Self { authority, path })
    }
}

/// Connects to the first of the target's addresses that answers.
pub async fn dial(target: &Target) -> io::Result<TcpStream> {
    let describe = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot connect to {}: {error}", target.authority),
        )
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(&target.authority).await.map_err(describe)? {
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
    Err(describe(last))
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
            })
        };
        assert_eq!(Target::parse("http://h:5317", 1), target("h:5317", ""));
        assert_eq!(Target::parse("h", 4317), target("h:4317", ""));
        assert_eq!(Target::parse("[::1]:9", 1), target("[::1]:9", ""));
        assert_eq!(Target::parse("http://h:1/otlp/", 1), target("h:1", "/otlp"));
        assert!(Target::parse("https://h", 1).is_err());
        assert!(Target::parse("ftp://h", 1).is_err());
        assert!(Target::parse("http://", 1).is_err());
    }
}
