//! Requests that are sent to a daemon, and the files that hold them.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use otlpd::otlp::{Format, Signal, json};

/// Posts a body; the status.
pub(crate) fn post(address: SocketAddr, signal: Signal, format: Format, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    let (path, kind, length) = (signal.http_path(), format.media_type(), body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: otlpd\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The lines of a file, all of which must be whole.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "{}",
        path.display()
    );
    text.lines().map(str::to_owned).collect()
}

/// The lines that are there by now, whole ones only.
pub(crate) fn lines_so_far(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    text[..whole].lines().map(str::to_owned).collect()
}

/// Every file of a folder, sorted by name.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A line in binary protobuf.
pub(crate) fn proto(signal: Signal, line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::read(signal, line.as_bytes(), &mut out).unwrap_or_else(|error| panic!("{error}: {line}"));
    out
}

/// What a command makes of a file; nothing where there is no such command.
pub(crate) fn through(command: &str, path: &Path) -> Option<(bool, Vec<u8>)> {
    let output = Command::new(command)
        .arg(path)
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) => Some((output.status.success(), output.stdout)),
        Err(_) => {
            let line = format!("SKIPPED: {command} is not on this machine\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

/// A log record that is told from all others by its number, in a request of its own.
pub(crate) fn numbered(number: u64) -> Vec<u8> {
    let line = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{number}","body":{{"stringValue":"{}"}}}}]}}]}}]}}"#,
        "x".repeat(200)
    );
    proto(Signal::Logs, &line)
}

/// The numbers of the records in these lines, in order.
pub(crate) fn numbers<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Vec<u64> {
    let mut found = Vec::new();
    for line in lines {
        let line = line.as_ref();
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("{error}: {line}");
        });
        let resources = value["resourceLogs"].as_array().unwrap();
        let scopes = resources
            .iter()
            .flat_map(|one| one["scopeLogs"].as_array().unwrap());
        let records = scopes.flat_map(|one| one["logRecords"].as_array().unwrap());
        found.extend(records.map(|record| {
            // 0 is the default, and left out.
            let number = record["timeUnixNano"].as_str().unwrap_or("0");
            number.parse::<u64>().unwrap()
        }));
    }
    found.sort_unstable();
    found
}

/// A file system of its own; `None` where this user may not mount one.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn mount(place: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "otlpd-test"])
            .arg(place)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(place.to_owned()));
        }
        let line = b"SKIPPED: a small tmpfs cannot be mounted here\n";
        std::io::stderr().write_all(line).unwrap();
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
