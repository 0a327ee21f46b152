//! `otlpd health`: asks a running otlpd how it is, for health checks in images without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::ConfigArgs;

/// The longest that connecting, and each wait for bytes, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of an answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

#[derive(Args, Debug)]
pub(super) struct Health {
    /// Ask whether clients should send to it (/readyz), not just whether it runs (/livez)
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Health {
    /// Code 0 where the answer is yes, 1 where it is no or there is none.
    pub(super) fn run(&self) -> ExitCode {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(problems) => {
                super::complain(&format!("{problems}\n"));
                return ExitCode::FAILURE;
            }
        };
        if !config.admin.enabled {
            super::complain("there is nobody to ask: the admin listener is switched off\n");
            return ExitCode::FAILURE;
        }
        let path = if self.ready { "/readyz" } else { "/livez" };
        match ask(&config.admin.endpoint, path) {
            Ok(answer) if answer.is_yes => {
                super::print(&format!("{}\n", answer.body));
                ExitCode::SUCCESS
            }
            Ok(answer) => {
                super::complain(&format!("{}\n", answer.body));
                ExitCode::FAILURE
            }
            Err(error) => {
                let endpoint = &config.admin.endpoint;
                super::complain(&format!("cannot ask http://{endpoint}{path}: {error}\n"));
                ExitCode::FAILURE
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) is_yes: bool,
    pub(super) body: String,
}

/// One request by HTTP/1.0, whose answer ends with the connection.
pub(super) fn ask(endpoint: &str, path: &str) -> io::Result<Answer> {
    let mut stream = connect(endpoint)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {endpoint}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    read(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn connect(endpoint: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in endpoint.to_socket_addrs()? {
        match TcpStream::connect_timeout(&reachable(address), PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where a listener on this address is reached from the same machine: one on all interfaces,
/// on the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let (version, rest) = head.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    Some(Answer {
        is_yes: rest.starts_with("200"),
        body: body.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Asks a listener that gives this answer; returns what it was asked, too.
    fn ask_one_that_says(answer: &'static str) -> (io::Result<Answer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let got = ask(&endpoint, "/readyz");
        (got, server.join().unwrap())
    }

    #[test]
    fn a_healthy_one_says_two_hundred() {
        let (answer, request) =
            ask_one_that_says("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"ready\":true}");
        let answer = answer.unwrap();
        assert!(answer.is_yes);
        assert_eq!(answer.body, "{\"ready\":true}");
        assert!(request.starts_with("GET /readyz HTTP/1.0\r\nHost: 127.0.0.1:"));
    }

    #[test]
    fn anything_else_is_no_and_its_reasons_are_kept() {
        let (answer, _) =
            ask_one_that_says("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"reasons\":[]}\n");
        let expected = Answer {
            is_yes: false,
            body: "{\"reasons\":[]}".to_owned(),
        };
        assert_eq!(answer.unwrap(), expected);
    }

    #[test]
    fn what_is_not_http_and_nobody_at_all_are_errors() {
        let (answer, _) = ask_one_that_says("220 mail.example.com ESMTP\r\n\r\n");
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = free.local_addr().unwrap().to_string();
        drop(free);
        let refused = ask(&endpoint, "/livez").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_listener_on_all_interfaces_is_asked_on_the_loopback() {
        for (endpoint, expected) in [
            ("0.0.0.0:13133", "127.0.0.1:13133"),
            ("[::]:13133", "[::1]:13133"),
            ("10.0.0.7:13133", "10.0.0.7:13133"),
        ] {
            let reached = reachable(endpoint.parse().unwrap());
            assert_eq!(reached.to_string(), expected);
        }
    }
}
