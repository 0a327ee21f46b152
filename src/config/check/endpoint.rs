//! Addresses to listen on and to send to. No sentence holds the address, which may have come
//! from a secret; the line that it stands in is shown.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use crate::net::dial::unix_path;

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(Address),
    Unix(PathBuf),
}

impl Place {
    /// Whether two listeners can not have both.
    pub(super) fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => one.collides(other),
            (one, other) => one == other,
        }
    }
}

impl Place {
    /// Whether only this machine can reach it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// `HOST:PORT`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
}

/// The longest path that a socket may have, in bytes (unix(7)).
const MAX_PATH: usize = 107;

/// Reads `unix:PATH`; `None` if it is none.
fn unix(text: &str) -> Option<Result<PathBuf, String>> {
    let path = unix_path(text)?;
    Some(match path.as_os_str().len() {
        0 => Err("names no path: write unix:/run/otlpd/otlp.sock".to_owned()),
        1..=MAX_PATH => Ok(path),
        _ => Err(format!(
            "has a path of more than {MAX_PATH} bytes, which no unix socket can have"
        )),
    })
}

impl Address {
    /// A name is somebody else's but for `localhost`, which stands here as an address.
    fn is_loopback(&self) -> bool {
        let address: Result<IpAddr, _> = self.host.parse();
        address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether two listeners can not have both: the same port on the same address, or on every
    /// address. Port 0 is a free one, each time another.
    fn collides(&self, other: &Self) -> bool {
        let every = |host: &str| matches!(host, "0.0.0.0" | "::");
        self.port == other.port
            && self.port != 0
            && (self.host == other.host || every(&self.host) || every(&other.host))
    }
}

/// Reads the address of a listener; `port` is the usual one, for the example in the sentence.
pub(super) fn listener(text: &str, port: u16) -> Result<Place, String> {
    if let Some(path) = unix(text) {
        return path.map(Place::Unix);
    }
    if text.contains("://") {
        return Err(format!(
            "wants HOST:PORT without a scheme, such as \"127.0.0.1:{port}\""
        ));
    }
    if text.starts_with(':') && text.matches(':').count() == 1 {
        return Err(format!(
            "names no host: write 127.0.0.1:{port} for this host only, 0.0.0.0:{port} for every \
             network"
        ));
    }
    address(text, port).map(Place::Tcp)
}

/// Whether a destination is said to be reached without TLS.
pub(super) fn is_in_the_clear(text: &str) -> bool {
    scheme(text).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
}

/// Whether it is said to be reached with TLS.
pub(super) fn is_encrypted(text: &str) -> bool {
    scheme(text).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

/// Whether it could be the name of a host.
pub(super) fn is_host(text: &str) -> bool {
    host_name(text).is_ok()
}

/// What a destination's URL may have beside its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `http://HOST:PORT`, `https://HOST[:PORT]`, `HOST:PORT` or `unix:PATH`.
    Grpc,
    /// `http://HOST:PORT[/PATH]`, `https://HOST[:PORT][/PATH]` or `unix:PATH`.
    Http,
}

/// Checks the address of a destination.
pub(super) fn destination(text: &str, form: Form) -> Result<(), String> {
    let (port, wanted) = match form {
        Form::Grpc => (
            4317,
            "wants http://HOST:PORT or https://HOST:PORT, such as \"http://127.0.0.1:4317\"",
        ),
        Form::Http => (
            4318,
            "wants http://HOST:PORT[/PATH] or https://HOST:PORT[/PATH], such as \
             \"http://127.0.0.1:4318\"",
        ),
    };
    if let Some(path) = unix(text) {
        return path.map(drop);
    }
    let is_known = is_in_the_clear(text) || is_encrypted(text);
    let rest = match (text.split_once("://"), form) {
        (Some((_, rest)), _) if is_known => rest,
        (None, Form::Grpc) => text,
        (Some(_) | None, _) => return Err(wanted.to_owned()),
    };
    if rest.contains(['?', '#', ' ']) {
        return Err(wanted.to_owned());
    }
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err("takes no user or password: put them into `headers`".to_owned());
    }
    if form == Form::Grpc && !matches!(path, "" | "/") {
        return Err("takes no path: gRPC has its own".to_owned());
    }
    // The port of https is known.
    let with_port = match is_encrypted(text) && !has_port(authority) {
        true => format!("{authority}:443"),
        false => authority.to_owned(),
    };
    let address = address(&with_port, port)?;
    match address.port {
        0 => Err("wants a port from 1 to 65535".to_owned()),
        _ => Ok(()),
    }
}

/// Whether what is sent to this destination can be read on the way: without TLS, and not within
/// this machine.
pub(super) fn is_exposed(text: &str) -> bool {
    if is_encrypted(text) || unix_path(text).is_some() {
        return false;
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let with_port = match has_port(authority) {
        true => authority.to_owned(),
        false => format!("{authority}:80"),
    };
    address(&with_port, 80).is_ok_and(|address| !address.is_loopback())
}

/// Checks the URL of something that is fetched, which may have a path and a query.
pub(super) fn url(text: &str) -> Result<(), String> {
    let wanted = || "wants https://HOST[:PORT]/PATH, or http://".to_owned();
    if !is_in_the_clear(text) && !is_encrypted(text) {
        return Err(wanted());
    }
    let (_, rest) = text.split_once("://").ok_or_else(wanted)?;
    if rest.contains(['#', ' ']) {
        return Err(wanted());
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("takes no user or password".to_owned());
    }
    let with_port = match has_port(authority) {
        true => authority.to_owned(),
        false => format!("{authority}:443"),
    };
    address(&with_port, 443).map(drop)
}

fn has_port(authority: &str) -> bool {
    let behind = authority
        .rsplit_once(']')
        .map_or(authority, |(_, rest)| rest);
    behind.contains(':')
}

fn address(text: &str, usual_port: u16) -> Result<Address, String> {
    let no_port = || format!("needs a port, such as :{usual_port} after the host");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest
                .split_once(']')
                .ok_or("has a bracket that is not closed, as in [::1]:4317")?;
            let host: Ipv6Addr = host
                .parse()
                .map_err(|_| "has no IPv6 address in its brackets")?;
            (
                host.to_string(),
                port.strip_prefix(':').ok_or_else(no_port)?,
            )
        }
        None => {
            if text.matches(':').count() > 1 {
                return Err(format!(
                    "wants an IPv6 address in brackets, such as [::1]:{usual_port}"
                ));
            }
            let (host, port) = text.split_once(':').ok_or_else(no_port)?;
            (host_name(host)?, port)
        }
    };
    if port.is_empty() {
        return Err(no_port());
    }
    let port = match port.bytes().all(|b| b.is_ascii_digit()) {
        true => port.parse().ok(),
        false => None,
    };
    let port = port.ok_or("wants a port from 0 to 65535")?;
    Ok(Address { host, port })
}

fn host_name(host: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match host {
        "" => Err("names no host".to_owned()),
        _ if !host.chars().all(allowed) => {
            Err("has a character in its host that no host name has".to_owned())
        }
        _ if host.eq_ignore_ascii_case("localhost") => Ok("127.0.0.1".to_owned()),
        _ => Ok(host.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_take_names_and_addresses_of_both_families() {
        for text in [
            "127.0.0.1:4317",
            "localhost:0",
            "[::1]:4317",
            "0.0.0.0:65535",
            "my-host_1.example:1",
            "unix:/run/otlpd/otlp.sock",
            "unix:///run/otlpd/otlp.sock",
        ] {
            assert!(listener(text, 4317).is_ok(), "{text}");
        }
        for (text, part) in [
            ("127.0.0.1", "needs a port"),
            ("127.0.0.1:", "needs a port"),
            ("[::1]", "needs a port"),
            (":4317", "names no host"),
            ("::1:4317", "brackets"),
            ("[::1:4317", "not closed"),
            ("[nonsense]:1", "no IPv6"),
            ("http://127.0.0.1:4317", "without a scheme"),
            ("h:65536", "from 0 to 65535"),
            ("h:+1", "from 0 to 65535"),
            ("a b:1", "no host name has"),
            ("", "needs a port"),
            ("unix:", "names no path"),
            (&format!("unix:/{}", "x".repeat(107)), "107 bytes"),
        ] {
            let problem = listener(text, 4317).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_sent_in_the_clear_to_another_machine_is_exposed() {
        for (text, expected) in [
            ("http://h:4318/otlp", true),
            ("h:4317", true),
            ("http://10.0.0.7", true),
            ("https://h", false),
            ("http://localhost:1", false),
            ("http://127.0.0.7", false),
            ("http://[::1]:1/x", false),
            ("unix:/run/x", false),
        ] {
            assert_eq!(is_exposed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_fetched_has_a_whole_url() {
        for text in ["https://h", "http://h:1/keys?a=b", "https://[::1]/keys"] {
            assert_eq!(url(text), Ok(()), "{text}");
        }
        for (text, part) in [
            ("h/keys", "wants https://"),
            ("ftp://h/keys", "wants https://"),
            ("https://u:p@h/", "no user"),
            ("https:///keys", "names no host"),
            ("https://h:x/", "wants a port"),
        ] {
            let problem = url(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn listeners_collide_on_the_same_port_of_an_overlapping_address() {
        let collide = |a: &str, b: &str| {
            let (a, b) = (listener(a, 1).unwrap(), listener(b, 1).unwrap());
            assert_eq!(a.collides(&b), b.collides(&a));
            a.collides(&b)
        };
        assert!(collide("127.0.0.1:1", "127.0.0.1:1"));
        assert!(collide("127.0.0.1:1", "localhost:1"));
        assert!(collide("0.0.0.0:1", "127.0.0.1:1"));
        assert!(collide("[::]:1", "127.0.0.1:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(collide("unix:/run/x.sock", "unix:///run/x.sock"));
        assert!(!collide("unix:/run/x.sock", "127.0.0.1:1"));
    }

    #[test]
    fn destinations_say_what_is_wrong_with_their_url() {
        assert_eq!(destination("http://h:4317", Form::Grpc), Ok(()));
        assert_eq!(destination("h:4317", Form::Grpc), Ok(()));
        assert_eq!(destination("HTTP://h:4317/", Form::Grpc), Ok(()));
        assert_eq!(destination("http://[::1]:4318/otlp", Form::Http), Ok(()));
        assert_eq!(destination("https://h/otlp", Form::Http), Ok(()));
        assert_eq!(destination("https://[::1]", Form::Grpc), Ok(()));
        assert_eq!(destination("unix:/run/x.sock", Form::Grpc), Ok(()));
        assert_eq!(destination("unix:///run/x.sock", Form::Http), Ok(()));
        for (text, form, part) in [
            ("https://h:x", Form::Grpc, "from 0 to 65535"),
            ("https://h:4317/path", Form::Grpc, "takes no path"),
            ("https://", Form::Http, "names no host"),
            ("unix:", Form::Grpc, "names no path"),
            ("h:4318", Form::Http, "wants http://"),
            ("http://h", Form::Http, "needs a port, such as :4318"),
            ("http://h/v1", Form::Http, "needs a port, such as :4318"),
            ("h", Form::Grpc, "needs a port, such as :4317"),
            ("http://h:0", Form::Grpc, "from 1 to 65535"),
            ("http://h:1/path", Form::Grpc, "takes no path"),
            ("http://u:p@h:1", Form::Http, "`headers`"),
            ("http://h:1/?q=1", Form::Http, "wants http://"),
            ("http://:1", Form::Http, "names no host"),
        ] {
            let problem = destination(text, form).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
