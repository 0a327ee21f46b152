//! Listeners on TCP and unix sockets, and an accept loop that nothing ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener, lookup_host};
use tokio::time::sleep;
use tracing::warn;

use super::accepted::{Accepted, Front};
use super::dial::unix_path;
use super::inherited::{self, Place, Sockets};
use super::peer::PeerAddress;
use super::stream;
use super::tls::Server;
use crate::failures::Failures;

mod unix;

pub use unix::{SocketFile, SocketMode};

/// Connections that the kernel holds while we are busy. It takes no more than
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;
/// How long to wait where accepting failed for want of descriptors or memory: time for some
/// connections to end. Those that come meanwhile wait in the backlog.
const PAUSE: Duration = Duration::from_millis(100);
/// A peer that is silent for a minute is asked whether it is still there; one that is not costs
/// its connection after another.
const PROBES: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
    /// What in the config it belongs to.
    owner: String,
    failures: Failures,
    front: Arc<Front>,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    /// With the file, where it is ours to remove.
    Unix(UnixListener, Option<SocketFile>),
}

/// Why there is no listener.
#[derive(Debug)]
pub struct ListenError {
    endpoint: String,
    owner: String,
    source: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            owner,
            source,
        } = self;
        write!(f, "cannot listen on {endpoint} ({owner}): ")?;
        if unix_path(endpoint).is_some() {
            return f.write_str(&unix::explain(source));
        }
        match source.kind() {
            io::ErrorKind::AddrInUse => f.write_str(
                "the address is in use: another process listens there; stop it or choose \
                 another endpoint",
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher \
                 port or grant it",
            ),
            io::ErrorKind::AddrNotAvailable => f.write_str(
                "this machine has no such address; use one of its own, or 0.0.0.0 for all",
            ),
            io::ErrorKind::InvalidInput => f.write_str(
                "it is not HOST:PORT, as in 127.0.0.1:4317, [::1]:4317 or localhost:4317",
            ),
            _ => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Listener {
    /// Listens on `HOST:PORT` or `unix:PATH`. A name is looked up, and its first address that can
    /// be bound is taken, IPv4 before IPv6. `owner` is what the config calls it, for errors and
    /// logs.
    ///
    /// # Errors
    /// The endpoint cannot be read, looked up or bound; see [`ListenError`].
    pub async fn bind(endpoint: &str, owner: &str) -> Result<Self, ListenError> {
        Self::open(endpoint, owner, None, &mut Sockets::default()).await
    }

    /// The same, but a socket that was inherited for this endpoint is used instead: clients have
    /// found it open all the time. `mode` is who may connect to a unix socket.
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    pub async fn open(
        endpoint: &str,
        owner: &str,
        mode: Option<SocketMode>,
        sockets: &mut Sockets,
    ) -> Result<Self, ListenError> {
        let opened = match unix_path(endpoint) {
            Some(path) => unix::open(&path, owner, mode, sockets),
            None => open(endpoint, owner, sockets).await.map(Bound::Tcp),
        };
        match opened {
            Ok(bound) => Ok(Self {
                bound,
                owner: owner.to_owned(),
                failures: Failures::default(),
                front: Arc::new(Front::new(owner)),
            }),
            Err(source) => Err(ListenError {
                endpoint: endpoint.to_owned(),
                owner: owner.to_owned(),
                source,
            }),
        }
    }

    /// The same, greeting its clients by TLS.
    #[must_use]
    pub fn with_tls(self, tls: Option<Server>) -> Self {
        let front = Arc::new(Front::new(&self.owner).with_tls(tls));
        Self { front, ..self }
    }

    /// Where it listens; with port 0 in the endpoint, the port that it was given.
    ///
    /// # Errors
    /// The kernel's; or it is a unix socket, which has no such address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.bound {
            Bound::Tcp(tcp) => tcp.local_addr(),
            Bound::Unix(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A second descriptor of the same socket: as long as it is open, clients are not refused.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn duplicate(&self) -> io::Result<Kept> {
        let (socket, file) = match &self.bound {
            Bound::Tcp(tcp) => (tcp.as_fd(), None),
            Bound::Unix(unix, file) => (unix.as_fd(), file.clone()),
        };
        Ok(Kept {
            socket: socket.try_clone_to_owned()?,
            file,
        })
    }

    /// The next connection, with Nagle's algorithm switched off, and with the kernel looking
    /// after peers that went away without a word. Whatever fails is tried again:
    /// at once where a connection was lost before we came to it, else after a pause, with a log
    /// line now and then. Dropping the future loses no connection.
    pub async fn accept(&mut self) -> Accepted {
        let (bound, front) = (&self.bound, &self.front);
        let accept = || async {
            Ok(match bound {
                Bound::Tcp(tcp) => {
                    let (stream, peer) = tcp.accept().await?;
                    // Fails only on a connection that is gone already, as the first read will tell.
                    stream.set_nodelay(true).ok();
                    SockRef::from(&stream).set_tcp_keepalive(&PROBES).ok();
                    (stream::Socket::Tcp(stream), PeerAddress::Tcp(peer))
                }
                Bound::Unix(unix, _) => {
                    let (stream, _unnamed) = unix.accept().await?;
                    (stream::Socket::Unix(stream), PeerAddress::Unix)
                }
            })
        };
        let (socket, address) = accept_with(accept, &self.failures, &self.owner).await;
        Accepted::new(socket, address, Arc::clone(front))
    }
}

/// A second descriptor of a listening socket.
#[derive(Debug)]
pub struct Kept {
    /// The descriptor.
    pub socket: OwnedFd,
    /// The file that is to be removed when nobody listens any more.
    pub file: Option<SocketFile>,
}

impl Kept {
    /// A third one.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            file: self.file.clone(),
        })
    }

    /// Nobody listens here any more.
    pub fn close(self) {
        if let Some(file) = self.file {
            file.remove();
        }
    }
}

async fn open(endpoint: &str, owner: &str, sockets: &mut Sockets) -> io::Result<TcpListener> {
    let is_host_and_port = endpoint
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_host_and_port {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut addresses: Vec<SocketAddr> = lookup_host(endpoint).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if let Some(socket) = sockets.take(owner, Place::Tcp(&addresses)) {
        let listener = TcpListener::from_std(inherited::prepare(socket.socket)?.into())?;
        let address = listener.local_addr()?;
        tracing::info!("{owner}: listening on {address}, a socket that was inherited");
        return Ok(listener);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept_with<T, F: Future<Output = io::Result<T>>>(
    mut accept: impl FnMut() -> F,
    failures: &Failures,
    owner: &str,
) -> T {
    loop {
        let error = match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        if is_of_one_connection(&error) {
            continue;
        }
        if let Some(count) = failures.count_one() {
            warn!(owner, %error, count, "cannot accept connections; trying on");
        }
        sleep(PAUSE).await;
    }
}

/// Whether only the connection that was to be accepted is lost (accept(2): pending network
/// errors of a new connection are reported on the listener), and the next may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;
    use crate::net::stream::Stream;

    async fn sentence(endpoint: &str) -> String {
        let error = Listener::bind(endpoint, "receivers.apps.grpc").await;
        error.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn connections_are_accepted_without_delay_on_small_writes() {
        let mut listener = Listener::bind("127.0.0.1:0", "test").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut stream, peer) = listener.accept().await.greet().await.unwrap();
        let called_from = client.local_addr().unwrap();
        assert_eq!(peer.address, PeerAddress::Tcp(called_from));
        assert!(peer.certificates.is_none());
        let Stream::Plain { socket, .. } = &stream else {
            panic!("{stream:?}");
        };
        assert!(matches!(socket, stream::Socket::Tcp(tcp) if tcp.nodelay().unwrap()));
        client.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    }

    #[tokio::test]
    async fn names_are_looked_up_and_ipv4_comes_first() {
        let listener = Listener::bind("localhost:0", "test").await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }

    #[tokio::test]
    async fn an_ipv6_literal_stands_in_brackets() {
        match Listener::bind("[::1]:0", "test").await {
            Ok(listener) => assert!(listener.local_addr().unwrap().is_ipv6()),
            // A machine without IPv6 says so, rather than that the endpoint is malformed.
            Err(error) => assert_ne!(error.source.kind(), io::ErrorKind::InvalidInput),
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named_with_what_wanted_it() {
        let first = Listener::bind("127.0.0.1:0", "test").await.unwrap();
        let endpoint = first.local_addr().unwrap().to_string();
        assert_eq!(
            sentence(&endpoint).await,
            format!(
                "cannot listen on {endpoint} (receivers.apps.grpc): the address is in use: \
                 another process listens there; stop it or choose another endpoint"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_with_advice() {
        // 192.0.2.0/24 is kept for documentation (RFC 5737): no machine has it.
        assert_eq!(
            sentence("192.0.2.1:4317").await,
            "cannot listen on 192.0.2.1:4317 (receivers.apps.grpc): this machine has no such \
             address; use one of its own, or 0.0.0.0 for all"
        );
    }

    #[tokio::test]
    async fn what_is_not_host_and_port_is_refused_with_examples() {
        for endpoint in [
            "",
            "4317",
            ":4317",
            "localhost",
            "localhost:",
            "localhost:otlp",
            "localhost:65536",
        ] {
            let sentence = sentence(endpoint).await;
            assert!(sentence.contains("it is not HOST:PORT"), "{sentence}");
        }
    }

    #[test]
    fn a_port_that_needs_rights_says_which() {
        let error = ListenError {
            endpoint: "0.0.0.0:80".to_owned(),
            owner: "admin".to_owned(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(error.to_string().contains("CAP_NET_BIND_SERVICE"));
    }

    #[tokio::test]
    async fn a_restart_binds_while_old_connections_linger() {
        let mut listener = Listener::bind("127.0.0.1:0", "test").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let stream = listener.accept().await.greet().await;
        // The side that closes first keeps the port in TIME_WAIT.
        drop((stream, listener));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        Listener::bind(&address.to_string(), "test").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn running_out_of_descriptors_pauses_and_goes_on() {
        const EMFILE: i32 = 24;
        let started = Instant::now();
        let mut left = 250;
        let failures = Failures::default();
        let accept = || {
            std::future::ready(match left {
                0 => Ok("connection"),
                _ => {
                    left -= 1;
                    Err(io::Error::from_raw_os_error(EMFILE))
                }
            })
        };
        assert_eq!(accept_with(accept, &failures, "test").await, "connection");
        assert_eq!(started.elapsed(), 250 * PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lost_before_it_was_accepted_costs_no_pause() {
        let started = Instant::now();
        let mut kinds = vec![
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::Interrupted,
        ];
        let accept = || {
            std::future::ready(match kinds.pop() {
                Some(kind) => Err(io::Error::from(kind)),
                None => Ok("connection"),
            })
        };
        let failures = Failures::default();
        assert_eq!(accept_with(accept, &failures, "test").await, "connection");
        assert_eq!(started.elapsed(), Duration::ZERO);
        // None was counted: the next is the first.
        assert_eq!(failures.count_one(), Some(1));
    }
}
