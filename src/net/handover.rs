//! A handover: one process starts the next and gives it the listening sockets that it has, so
//! that no client finds them closed.
//!
//! The new process inherits the sockets and one end of a stream, on which the two speak in lines
//! of JSON. They belong to two versions of otlpd, so these words are not to be changed:
//!
//! | word | who says it | what it means |
//! |---|---|---|
//! | `"prepared"` | the new one | my configuration is good, I have the sockets; I accept nothing yet and have opened no file that is yours |
//! | `"yours"` | the old one | I accept nothing any more, and what is on disk is closed |
//! | `"ready"` | the new one | I accept; you may go |
//! | `{"failed":"..."}` | the new one | I cannot go on, for this reason |
//!
//! Before `ready` the end of either process is its failure: the old one goes on, or starts again.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::inherited::{self, ACTIVATION, Sockets};
use super::listen::Kept;

/// Tells the new process which descriptors it has: the stream, then the sockets, as `3,4,5`.
const VARIABLE: &str = "OTLPD_HANDOVER";

/// Tells it which of the sockets have a file that it is to remove in the end, in the same way.
const FILES: &str = "OTLPD_HANDOVER_FILES";

/// How long a process that has said its last word may take to end.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// What the two say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The new process could take over.
    Prepared,
    /// It shall.
    Yours,
    /// It has.
    Ready,
    /// It could not.
    Failed(String),
}

impl Word {
    fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// The process that is to replace this one.
#[derive(Debug)]
pub struct Successor {
    process: Child,
    id: u32,
    stream: BufReader<UnixStream>,
}

impl Successor {
    /// Starts the program that is now where this one was started from, with the same arguments
    /// and environment and second descriptors of these sockets.
    ///
    /// # Errors
    /// A sentence that names the program.
    pub fn start(sockets: Vec<Kept>) -> Result<Self, String> {
        let program = program();
        let failed = |error: &io::Error| format!("cannot start {}: {error}", program.display());
        Self::spawn(&program, sockets).map_err(|error| failed(&error))
    }

    fn spawn(program: &PathBuf, sockets: Vec<Kept>) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        let with_files = sockets.iter().filter(|kept| kept.file.is_some());
        let files = numbers(with_files.map(|kept| &kept.socket));
        let mut passed = vec![OwnedFd::from(theirs)];
        passed.extend(sockets.into_iter().map(|kept| kept.socket));
        for descriptor in &passed {
            // No other program is started meanwhile.
            SockRef::from(descriptor).set_cloexec(false)?;
        }
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1));
        for name in ACTIVATION {
            command.env_remove(name);
        }
        command.env(VARIABLE, numbers(passed.iter()));
        command.env(FILES, files);
        let process = command.spawn()?;
        drop(passed);
        ours.set_nonblocking(true)?;
        Ok(Self {
            id: process.id().unwrap_or_default(),
            process,
            stream: BufReader::new(UnixStream::from_std(ours)?),
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for it to say this word. Cancel-safe only if it is then dropped.
    ///
    /// # Errors
    /// Why it will not: it failed, it ended, or `within` is over.
    pub async fn hear(&mut self, expected: &Word, within: Duration) -> Result<(), String> {
        let Ok(heard) = timeout(within, self.listen()).await else {
            return Err(format!("it did not say {expected:?} within {within:?}"));
        };
        match heard {
            Some(word) if word == *expected => Ok(()),
            Some(Word::Failed(reason)) => Err(reason),
            Some(word) => Err(format!("it said {word:?} instead of {expected:?}")),
            None => Err(self.ended().await),
        }
    }

    async fn listen(&mut self) -> Option<Word> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await;
        match read {
            Ok(1..) => serde_json::from_str(&line).ok(),
            Ok(0) | Err(_) => None,
        }
    }

    async fn ended(&mut self) -> String {
        match timeout(LAST_BREATH, self.process.wait()).await {
            Ok(Ok(status)) => end(status),
            Ok(Err(error)) => format!("it could not be waited for: {error}"),
            Err(_running) => "it closed the stream to this process".to_owned(),
        }
    }

    /// Says a word to it.
    ///
    /// # Errors
    /// It does not listen any more, and why.
    pub async fn say(&mut self, word: &Word) -> Result<(), String> {
        match self.stream.write_all(word.line().as_bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    /// Ends it, and returns when it is gone with all that it held.
    pub async fn end(mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::warn!(pid = self.id, %error, "the new process could not be ended");
        }
    }
}

/// What a process's end says, for a person.
fn end(status: ExitStatus) -> String {
    format!("it ended ({status}); what it said is in the log, if it said anything")
}

/// What is started: the path that this process was started by, which may lead to another file
/// by now; where that is not known, the file that it was started from, or the one that took its
/// place.
fn program() -> PathBuf {
    let called = std::env::args_os().next().filter(|path| !path.is_empty());
    called.map_or_else(own_file, PathBuf::from)
}

fn own_file() -> PathBuf {
    let file = std::env::current_exe().unwrap_or_default();
    // proc(5): so the kernel marks a file that was replaced.
    let name = file.to_string_lossy();
    name.strip_suffix(" (deleted)")
        .map_or_else(|| file.clone(), PathBuf::from)
}

fn numbers<'a>(descriptors: impl Iterator<Item = &'a OwnedFd>) -> OsString {
    let numbers = descriptors.map(|fd| fd.as_raw_fd().to_string());
    numbers.collect::<Vec<_>>().join(",").into()
}

/// The process that this one is to replace.
#[derive(Debug)]
pub struct Predecessor {
    stream: StdStream,
}

impl Predecessor {
    /// The process that started this one to be replaced by it, if there is one, and the sockets
    /// that it gave. To be called once, at the start of the process.
    ///
    /// # Errors
    /// A sentence: what it passed is not there.
    pub fn find() -> Result<Option<(Self, Sockets)>, String> {
        let Ok(numbers) = std::env::var(VARIABLE) else {
            return Ok(None);
        };
        let failed = |cause: String| {
            format!(
                "{VARIABLE}={numbers} is set, but not by an otlpd that this one replaces: {cause}"
            )
        };
        let numbers: Vec<RawFd> = numbers
            .split(',')
            .map(str::parse)
            .collect::<Result<_, std::num::ParseIntError>>()
            .map_err(|error| failed(error.to_string()))?;
        let owned = numbers.iter().map(|fd| inherited::own(*fd));
        let mut owned: Vec<OwnedFd> = owned
            .collect::<io::Result<_>>()
            .map_err(|error| failed(error.to_string()))?;
        let sockets = owned.split_off(1.min(owned.len()));
        let stream = owned
            .pop()
            .ok_or_else(|| failed("it is empty".to_owned()))?;
        let stream = StdStream::from(stream);
        let files = std::env::var(FILES).unwrap_or_default();
        let sockets = sockets.into_iter().map(|socket| {
            let number = socket.as_raw_fd().to_string();
            let is_ours = files.split(',').any(|file| file == number);
            (socket, is_ours)
        });
        Ok(Some((Self { stream }, Sockets::given(sockets))))
    }

    /// Says that this process cannot take over. Nobody is told who is not there any more.
    pub fn fail(&self, reason: &str) {
        self.say(&Word::Failed(reason.to_owned())).ok();
    }

    /// Says that this process could take over, and waits until it shall.
    ///
    /// # Errors
    /// A sentence: the old process is gone, or would not.
    pub async fn take_over(&self) -> Result<(), String> {
        self.say(&Word::Prepared).map_err(|error| gone(&error))?;
        let stream = self.stream.try_clone().map_err(|error| gone(&error))?;
        stream.set_nonblocking(true).map_err(|error| gone(&error))?;
        let stream = UnixStream::from_std(stream).map_err(|error| gone(&error))?;
        let mut line = String::new();
        let read = BufReader::new(stream).read_line(&mut line).await;
        match read.map(|_length| serde_json::from_str(&line)) {
            Ok(Ok(Word::Yours)) => Ok(()),
            Ok(_) => Err(gone(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(gone(&error)),
        }
    }

    /// Says that this process has taken over.
    pub fn ready(&self) {
        // If the old one is gone, it has nothing to hear.
        self.say(&Word::Ready).ok();
    }

    /// A word fits into the stream's buffer: nobody is waited for.
    fn say(&self, word: &Word) -> io::Result<()> {
        (&self.stream).write_all(word.line().as_bytes())
    }
}

fn gone(error: &io::Error) -> String {
    format!("the process that was to be replaced is gone, or gave up: {error}")
}
