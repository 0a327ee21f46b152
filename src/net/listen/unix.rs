//! Sockets in the file system.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::{BACKLOG, Bound};
use crate::net::inherited::{self, Place, Sockets};

/// `socket_mode = "0660"`: who may connect to a socket, as for `chmod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(u32);

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = u32::from_str_radix(&text, 8).ok();
        let mode = mode.filter(|mode| *mode <= 0o777 && text.len() >= 3);
        let wanted = "wants three or four octal digits, such as \"0660\": its user and group may \
                      connect";
        mode.map(Self)
            .ok_or_else(|| serde::de::Error::custom(wanted))
    }
}

/// A socket's file, to be removed when nobody listens there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    /// Its number and that of its file system: what another process has put there is not ours.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: (found.dev(), found.ino()),
        })
    }

    /// Removes it, if it is still there.
    pub(super) fn remove(self) {
        if Self::of(&self.path).is_ok_and(|found| found == self)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("{} can not be removed: {error}", self.path.display());
        }
    }
}

/// Listens at the path, or takes a socket that was inherited for it. What a process has left
/// behind there that is gone makes room; what anybody listens on does not.
pub(super) fn open(
    path: &Path,
    owner: &str,
    mode: Option<SocketMode>,
    sockets: &mut Sockets,
) -> io::Result<Bound> {
    if let Some(taken) = sockets.take(owner, Place::Unix(path)) {
        let listener = UnixListener::from_std(inherited::prepare(taken.socket)?.into())?;
        let at = path.display();
        tracing::info!("{owner}: listening on {at}, a socket that was inherited");
        // The service manager's own file stays: it listens there before and after us.
        let file = match taken.is_ours {
            // Where somebody has removed it meanwhile, there is none to remove.
            true => SocketFile::of(path).ok(),
            false => None,
        };
        return Ok(Bound::Unix(listener, file));
    }
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        // Before anybody can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
    }
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok(Bound::Unix(listener, Some(SocketFile::of(path)?)))
}

fn make_room(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Ok(_somebody) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(
                "{}: replacing a socket that nobody listens on",
                path.display()
            );
            fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// What to do about it.
pub(super) fn explain(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; stop it or choose another path",
        io::ErrorKind::AlreadyExists => {
            "there is a file that is no socket; remove it or choose another path"
        }
        io::ErrorKind::NotFound => "its folder does not exist; create it",
        io::ErrorKind::PermissionDenied => {
            "permission denied: the user that otlpd runs as must be allowed to write to its folder"
        }
        _ => return error.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::super::Listener;
    use super::*;

    async fn bind(path: &Path) -> Result<Listener, String> {
        let endpoint = format!("unix:{}", path.display());
        let bound = Listener::open(
            &endpoint,
            "test",
            Some(SocketMode(0o600)),
            &mut Sockets::default(),
        )
        .await;
        bound.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("otlp.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = bind(&path).await.unwrap();
        UnixStream::connect(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        listener.duplicate().unwrap().close();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_somebody_listens_on_is_left_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("otlp.sock");
        let _theirs = StdListener::bind(&path).unwrap();
        let problem = bind(&path).await.unwrap_err();
        assert!(
            problem.contains("another process listens there"),
            "{problem}"
        );
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        let problem = bind(&path).await.unwrap_err();
        assert!(problem.contains("a file that is no socket"), "{problem}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let problem = bind(&folder.path().join("none/x.sock")).await.unwrap_err();
        assert!(problem.contains("its folder does not exist"), "{problem}");
    }

    #[tokio::test]
    async fn a_file_that_another_process_has_put_there_is_not_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("otlp.sock");
        let kept = bind(&path).await.unwrap().duplicate().unwrap();
        fs::remove_file(&path).unwrap();
        // So that the number of the old file is not given again.
        fs::write(folder.path().join("other"), "").unwrap();
        let _theirs = StdListener::bind(&path).unwrap();
        kept.close();
        assert!(path.exists());
    }
}
