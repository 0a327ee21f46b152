//! What the service manager is told: the protocol of `sd_notify(3)`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A change that a service manager wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Requests are taken.
    Ready,
    /// Another process is to take over; it will say that it is ready.
    Reloading,
    /// The service ends.
    Stopping,
    /// The service is another process from now on.
    MainProcess(u32),
}

impl Change {
    fn text(self) -> String {
        match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Reloading => "RELOADING=1".to_owned(),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::MainProcess(id) => format!("MAINPID={id}"),
        }
    }
}

/// Tells the service manager, if one started us and wants to hear.
pub fn notify(change: Change) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(socket.as_bytes(), &change.text()) {
        tracing::warn!(?socket, %error, "the service manager could not be told: {}", change.text());
    }
}

/// `@` stands for the zero byte of an abstract name.
fn send(socket: &[u8], text: &str) -> io::Result<()> {
    let address = match socket {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_service_manager_hears_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_bytes(), &Change::Ready.text()).unwrap();
        assert_eq!(heard(&by_path), "READY=1");

        let name = format!("otlpd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let text = Change::MainProcess(4711).text();
        send(format!("@{name}").as_bytes(), &text).unwrap();
        assert_eq!(heard(&by_name), "MAINPID=4711");
    }

    #[test]
    fn a_service_manager_that_is_not_there_is_an_error() {
        assert!(send(b"/nowhere/notify", "READY=1").is_err());
    }
}
