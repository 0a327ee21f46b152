//! Listening sockets that were open before this process was: from a service manager (socket
//! activation, `sd_listen_fds(3)`) or from the process that this one is to replace.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use socket2::{SockRef, Socket};

use super::listen::Kept;

/// The first descriptor that a service manager passes.
const FIRST: RawFd = 3;

/// What the variables of socket activation are, all of which begin so.
pub(super) const ACTIVATION: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Sockets that wait to be taken by the listeners that the configuration names.
#[derive(Debug, Default)]
pub struct Sockets(Vec<Inherited>);

#[derive(Debug)]
struct Inherited {
    socket: OwnedFd,
    /// What the service manager calls it; empty if it has no name of its own.
    name: String,
    /// Whether otlpd made it, and not a service manager.
    is_ours: bool,
}

/// Where a socket is wanted.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// At one of these addresses.
    Tcp(&'a [SocketAddr]),
    /// At this path.
    Unix(&'a Path),
}

/// Where a socket listens.
#[derive(Debug, PartialEq, Eq)]
enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl At {
    fn is_of_the_kind_of(&self, place: Place<'_>) -> bool {
        matches!(self, Self::Unix(_)) == matches!(place, Place::Unix(_))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that was taken.
pub(super) struct Taken {
    pub(super) socket: OwnedFd,
    /// Whether otlpd made it: a file that belongs to it is then otlpd's to remove.
    pub(super) is_ours: bool,
}

impl Sockets {
    /// Takes over what a service manager passed to this process, if one did. To be called once,
    /// at the start of the process: descriptors are owned by whoever takes them.
    pub fn from_service_manager() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(count) = passed(&variable, std::process::id()) else {
            return Self::default();
        };
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = Self::default();
        for fd in (FIRST..).take(count) {
            let name = names.next().unwrap_or_default();
            match own(fd) {
                Ok(socket) => sockets.push(socket, name),
                Err(error) => {
                    tracing::warn!(fd, name, %error, "descriptor from the service manager: not used");
                }
            }
        }
        sockets
    }

    /// Those that another process of ours handed over or kept.
    pub(crate) fn kept(sockets: Vec<Kept>) -> Self {
        let pairs = sockets.into_iter();
        Self::given(pairs.map(|kept| (kept.socket, kept.file.is_some())))
    }

    /// Sockets, and of each whether its file is otlpd's to remove, if it has one.
    pub(super) fn given(sockets: impl Iterator<Item = (OwnedFd, bool)>) -> Self {
        let unnamed = |(socket, is_ours)| Inherited {
            socket,
            name: String::new(),
            is_ours,
        };
        Self(sockets.map(unnamed).collect())
    }

    fn push(&mut self, socket: OwnedFd, name: &str) {
        let name = name.to_owned();
        let is_ours = false;
        self.0.push(Inherited {
            socket,
            name,
            is_ours,
        });
    }

    /// The socket for the endpoint that the configuration calls `key`, which is at this place: the
    /// one that has the key as its name, else one that listens there.
    pub(super) fn take(&mut self, key: &str, place: Place<'_>) -> Option<Taken> {
        let named = |inherited: &Inherited| {
            let listens = inherited.listens();
            inherited.name == key && listens.is_ok_and(|at| at.is_of_the_kind_of(place))
        };
        let there = |inherited: &Inherited| {
            let listens = inherited.listens();
            listens.is_ok_and(|at| inherited.serves(&at, place))
        };
        let index = self.0.iter().position(named);
        let index = index.or_else(|| self.0.iter().position(there))?;
        let Inherited {
            socket, is_ours, ..
        } = self.0.remove(index);
        Some(Taken { socket, is_ours })
    }

    /// Says which were not taken, and closes them.
    pub fn warn_of_the_rest(&mut self) {
        for inherited in self.0.drain(..) {
            let name = &inherited.name;
            match inherited.listens() {
                Ok(at) => tracing::warn!(
                    name,
                    "an inherited socket listens on {at}, and no endpoint of the configuration is \
                     there: nobody will answer on it; configure an endpoint {at}, or stop passing \
                     the socket"
                ),
                Err(problem) => tracing::warn!(
                    name,
                    "an inherited descriptor is not used: {problem}; pass sockets that listen on \
                     TCP or at a path only"
                ),
            }
        }
    }
}

impl Inherited {
    /// Where it listens; the error is a sentence.
    fn listens(&self) -> Result<At, String> {
        let socket = SockRef::from(&self.socket);
        if !socket.is_listener().unwrap_or(false) {
            return Err("it is not a socket that listens".to_owned());
        }
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let tcp = address.as_socket().map(At::Tcp);
        let unix = || address.as_pathname().map(|path| At::Unix(path.to_owned()));
        tcp.or_else(unix)
            .ok_or_else(|| "it is neither a TCP socket nor one with a path".to_owned())
    }

    /// Whether a socket that listens `at` an address takes what is sent to this place.
    fn serves(&self, at: &At, place: Place<'_>) -> bool {
        match (at, place) {
            (At::Tcp(at), Place::Tcp(wanted)) => {
                wanted.iter().any(|wanted| self.serves_tcp(*at, *wanted))
            }
            (At::Unix(at), Place::Unix(wanted)) => at == wanted,
            (At::Tcp(_), Place::Unix(_)) | (At::Unix(_), Place::Tcp(_)) => false,
        }
    }

    /// One on all addresses of IPv6 takes those of IPv4 as well, unless it is told not to.
    fn serves_tcp(&self, at: SocketAddr, wanted: SocketAddr) -> bool {
        let all_v4 = matches!(wanted.ip(), IpAddr::V4(ip) if ip.is_unspecified());
        let both = |ip: IpAddr| ip.is_ipv6() && ip.is_unspecified();
        at == wanted
            || at.port() == wanted.port()
                && all_v4
                && both(at.ip())
                && !SockRef::from(&self.socket).only_v6().unwrap_or(true)
    }
}

/// Makes an inherited socket ours: it does not block, and no program that we start has it unless
/// it is meant to.
pub(super) fn prepare(socket: OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(socket);
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How many descriptors were passed to the process `own_id`.
fn passed(variable: &dyn Fn(&str) -> Option<String>, own_id: u32) -> Option<usize> {
    let receiver: u32 = variable("LISTEN_PID")?.parse().ok()?;
    let count: u16 = variable("LISTEN_FDS")?.parse().ok()?;
    // Programs that a service starts inherit the variables, but not the descriptors.
    (receiver == own_id).then_some(count.into())
}

/// Takes over a descriptor of this number that whoever started this process left open for it.
///
/// # Errors
/// There is none, or it is not a socket.
pub(super) fn own(fd: RawFd) -> io::Result<OwnedFd> {
    let is = std::fs::read_link(format!("/proc/self/fd/{fd}"))
        .map_err(|_| io::Error::other("no such descriptor is open"))?;
    if !is.to_string_lossy().starts_with("socket:") {
        return Err(io::Error::other(format!("it is {}", is.display())));
    }
    #[expect(
        unsafe_code,
        reason = "a number becomes an owned descriptor; there is no other way to inherit one"
    )]
    // SAFETY: it is open, as was just seen, and by the protocol (sd_listen_fds(3), or our own)
    // it was opened for us to own; each number is taken once, before anything else could be.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // Not for programs that we start.
    SockRef::from(&socket).set_cloexec(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn listener(address: &str) -> (OwnedFd, SocketAddr) {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        (listener.into(), address)
    }

    #[test]
    fn descriptors_are_for_the_process_that_is_named() {
        let passed_to = |pairs: &[(&str, &str)]| {
            let variables: BTreeMap<_, _> = pairs.iter().copied().collect();
            passed(
                &|name| variables.get(name).map(|value| (*value).to_owned()),
                7,
            )
        };
        let both = [("LISTEN_PID", "7"), ("LISTEN_FDS", "3")];
        assert_eq!(passed_to(&both), Some(3));
        assert_eq!(passed_to(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "3")]), None);
        assert_eq!(passed_to(&both[1..]), None);
        assert_eq!(passed_to(&both[..1]), None);
        assert_eq!(
            passed_to(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "-1")]),
            None
        );
        assert_eq!(passed_to(&[]), None);
    }

    #[test]
    fn a_socket_is_taken_by_its_address_and_only_once() {
        let (socket, address) = listener("127.0.0.1:0");
        let mut sockets = Sockets::given([(socket, true)].into_iter());
        let other = "127.0.0.1:1".parse().unwrap();
        assert!(sockets.take("admin", Place::Tcp(&[other])).is_none());
        assert!(
            sockets
                .take("receivers.apps.grpc", Place::Tcp(&[other, address]))
                .is_some()
        );
        assert!(
            sockets
                .take("receivers.apps.grpc", Place::Tcp(&[address]))
                .is_none()
        );
    }

    #[test]
    fn a_name_goes_before_an_address() {
        let (first, address) = listener("127.0.0.1:0");
        let (second, elsewhere) = listener("127.0.0.1:0");
        let mut sockets = Sockets::default();
        sockets.push(first, "unknown");
        sockets.push(second, "receivers.apps.http");
        let taken = sockets
            .take("receivers.apps.http", Place::Tcp(&[address]))
            .unwrap()
            .socket;
        let taken = SockRef::from(&taken).local_addr().unwrap();
        assert_eq!(taken.as_socket(), Some(elsewhere));
        assert_eq!(sockets.0.len(), 1);
    }

    #[test]
    fn a_socket_for_all_of_ipv6_serves_all_of_ipv4() {
        let Ok(both) = TcpListener::bind("[::]:0") else {
            // A machine without IPv6 has no such sockets.
            return;
        };
        let port = both.local_addr().unwrap().port();
        let mut sockets = Sockets::given([(both.into(), true)].into_iter());
        let v4 = |ip: [u8; 4]| SocketAddr::from((ip, port));
        assert!(
            sockets
                .take("admin", Place::Tcp(&[v4([127, 0, 0, 1])]))
                .is_none()
        );
        assert!(
            sockets
                .take("admin", Place::Tcp(&[v4([0, 0, 0, 0])]))
                .is_some()
        );
    }

    #[test]
    fn a_socket_at_a_path_is_taken_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("otlp.sock");
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (tcp, address) = listener("127.0.0.1:0");
        let mut sockets = Sockets::default();
        // Its name does not make a socket one of another kind.
        sockets.push(tcp, "receivers.apps.grpc");
        sockets.push(socket.into(), "unknown");
        let key = "receivers.apps.grpc";
        assert!(
            sockets
                .take(key, Place::Unix(Path::new("/other")))
                .is_none()
        );
        assert!(!sockets.take(key, Place::Unix(&path)).unwrap().is_ours);
        assert!(sockets.take(key, Place::Tcp(&[address])).is_some());
    }

    #[test]
    fn what_does_not_listen_is_never_taken() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let mut sockets = Sockets::default();
        sockets.push(udp.into(), "admin");
        assert!(sockets.take("admin", Place::Tcp(&[address])).is_none());
        let problem = sockets.0[0].listens().unwrap_err();
        assert_eq!(problem, "it is not a socket that listens");
    }

    #[test]
    fn numbers_that_are_not_open_sockets_are_refused() {
        let missing = own(1 << 20).unwrap_err().to_string();
        assert_eq!(missing, "no such descriptor is open");
        let file = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(own(number).unwrap_err().to_string().starts_with("it is /"));
    }
}
