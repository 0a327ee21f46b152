//! A daemon as a service: its process changes, its addresses do not.

#![allow(
    dead_code,
    clippy::print_stderr,
    reason = "each test that includes it uses a part; the log of a test that fails is shown"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use socket2::SockRef;
use tempfile::TempDir;

use super::process::ports::free_listener;
use super::process::until;

/// A program that another test starts while sockets are passed to ours would have them too.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// It ends with the test.
pub(crate) struct Service {
    folder: TempDir,
    ports: [u16; 3],
    /// With a service manager: what that holds, and what it calls them.
    sockets: Vec<(OwnedFd, String)>,
    child: Child,
    _alone: MutexGuard<'static, ()>,
}

impl Service {
    /// One with a receiver `apps` and an admin side on ports that are free.
    pub(crate) fn start(sections: &str) -> Self {
        Self::prepare(sections, false, None)
    }

    /// The same, on sockets that a service manager passes.
    pub(crate) fn activated(sections: &str) -> Self {
        Self::prepare(sections, true, None)
    }

    /// The same, and it passes these names. What is not called so in the configuration listens
    /// elsewhere.
    pub(crate) fn activated_as(sections: &str, names: [&str; 3]) -> Self {
        Self::prepare(sections, true, Some(names))
    }

    fn prepare(sections: &str, activated: bool, names: Option<[&str; 3]>) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let listeners = [(); 3].map(|()| free_listener());
        let mut ports = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
        let mut sockets = Vec::new();
        if activated {
            let names = names.unwrap_or_default();
            for (listener, name) in listeners.into_iter().zip(names) {
                sockets.push((high(&listener), name.to_owned()));
            }
        } else {
            drop(listeners);
        }
        if names.is_some() {
            ports[2] = free_listener().local_addr().unwrap().port();
        }
        let [grpc, http, admin] = ports;
        let config = format!(
            "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n\
             [receivers.apps]\ntype = \"otlp\"\n\
             grpc = {{ endpoint = \"127.0.0.1:{grpc}\" }}\n\
             http = {{ endpoint = \"127.0.0.1:{http}\" }}\n{sections}"
        );
        fs::write(folder.path().join("otlpd.toml"), config).unwrap();
        fs::write(folder.path().join("log"), "").unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_otlpd"), folder.path().join("otlpd"))
            .unwrap();
        let child = spawn(&folder, &sockets);
        let service = Self {
            folder,
            ports,
            sockets,
            child,
            _alone: alone,
        };
        service.is_running();
        service
    }

    fn is_running(&self) {
        until("it runs", || {
            let status = self.status().unwrap_or_default();
            status["readiness"]["state"] == "running"
        });
    }

    /// Where `grpc`, `http` or `admin` listens.
    pub(crate) fn endpoint(&self, name: &str) -> String {
        let [grpc, http, admin] = self.ports;
        let port = match name {
            "grpc" => grpc,
            "http" => http,
            _ => admin,
        };
        format!("127.0.0.1:{port}")
    }

    /// Where the program is that the service runs: a link to the built one.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.path().join("otlpd")
    }

    /// The built program is there again.
    pub(crate) fn restore_program(&self) {
        fs::remove_file(self.program()).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_otlpd"), self.program()).unwrap();
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("otlpd.toml")
    }

    /// Everything that all its processes have logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// `/status`, of whichever process answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut stream = TcpStream::connect(self.endpoint("admin")).ok()?;
        write!(stream, "GET /status HTTP/1.0\r\nhost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// The process that serves.
    pub(crate) fn pid(&self) -> u64 {
        let mut pid = None;
        until("it says which process it is", || {
            pid = self.status().and_then(|status| status["pid"].as_u64());
            pid.is_some()
        });
        pid.unwrap()
    }

    /// Sends a signal, such as `TERM`, to the process that serves.
    pub(crate) fn signal(&self, name: &str) {
        kill(name, self.pid());
    }

    /// `otlpd upgrade`: its exit code, and what it said.
    pub(crate) fn upgrade(&self) -> (Option<i32>, String) {
        self.upgrade_with(&[])
    }

    /// The same, with these flags as well.
    pub(crate) fn upgrade_with(&self, flags: &[&str]) -> (Option<i32>, String) {
        upgrade(&self.config(), flags)
    }

    /// The same, by a configuration of this text.
    pub(crate) fn upgrade_by(&self, config: &str) -> (Option<i32>, String) {
        let file = self.folder.path().join("upgrade.toml");
        fs::write(&file, config).unwrap();
        upgrade(&file, &[])
    }

    /// What a service manager does: stops the process, and starts another one on the same sockets.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.folder, &self.sockets);
        self.is_running();
    }

    /// SIGTERM to the process that serves, and its end.
    pub(crate) fn stop(&mut self) {
        let pid = self.pid();
        kill("TERM", pid);
        self.gone(pid);
        self.wait();
    }

    /// Waits for the end of the process that was started first, or last by a restart.
    pub(crate) fn wait(&mut self) {
        until("the process ends", || {
            self.child.try_wait().unwrap().is_some()
        });
    }

    /// Waits until there is no such process, or only what its parent has not looked at.
    fn gone(&mut self, pid: u64) {
        until("the process that serves ends", || {
            self.child.try_wait().unwrap();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')')
                .is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last = log.lines().rev().take(60).collect::<Vec<_>>();
            for line in last.into_iter().rev() {
                eprintln!("otlpd: {line}");
            }
        }
        // Upgrades have made others of it, which are told by what they were started with.
        let config = self.config().into_os_string().into_string().unwrap();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry.file_name().to_string_lossy().parse();
            if let (true, Ok(pid)) = (command.contains(&config), pid) {
                kill("KILL", pid);
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn kill(signal: &str, pid: u64) {
    let mut kill = Command::new("kill");
    kill.args([format!("-{signal}"), pid.to_string()]);
    // A process that has ended meanwhile needs no signal.
    kill.stderr(Stdio::null()).status().unwrap();
}

fn upgrade(config: &std::path::Path, flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_otlpd"))
        .args(["upgrade", "--config"])
        .arg(config)
        .args(flags)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// The same socket by a descriptor above those that are passed.
fn high(listener: &TcpListener) -> OwnedFd {
    let mut low = Vec::new();
    loop {
        let fd = OwnedFd::from(listener.try_clone().unwrap());
        if fd.as_raw_fd() >= 20 {
            return fd;
        }
        low.push(fd);
    }
}

/// Starts the program. A shell puts the sockets where a service manager does, and knows its own
/// process id, which the program keeps.
fn spawn(folder: &TempDir, sockets: &[(OwnedFd, String)]) -> Child {
    let path = |name| folder.path().join(name);
    let log = fs::OpenOptions::new()
        .append(true)
        .open(path("log"))
        .unwrap();
    let mut command = if sockets.is_empty() {
        Command::new(path("otlpd"))
    } else {
        let mut shell = Command::new("bash");
        let numbers = sockets.iter().map(|(fd, _)| fd.as_raw_fd());
        let moves = (3..)
            .zip(numbers)
            .map(|(to, from)| format!("{to}<&{from} {from}<&-"));
        let names = sockets.iter().map(|(_, name)| name.as_str());
        let script = format!(
            "export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}\nexec {} \"$0\" \"$@\"",
            sockets.len(),
            names.collect::<Vec<_>>().join(":"),
            moves.collect::<Vec<_>>().join(" "),
        );
        shell.arg("-c").arg(script).arg(path("otlpd"));
        shell
    };
    for (fd, _) in sockets {
        SockRef::from(fd).set_cloexec(false).unwrap();
    }
    let child = command
        .arg("--config")
        .arg(path("otlpd.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    for (fd, _) in sockets {
        SockRef::from(fd).set_cloexec(true).unwrap();
    }
    child.unwrap()
}
