//! What a file holds: one request a line, one kind of data a file, every line as good as the
//! request that it was; nothing that was called delivered is lost, whatever becomes of the
//! process, the disk or the file, and at most the last line is ever broken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/files.rs"]
mod files;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/process.rs"]
mod process;
#[path = "support/texts.rs"]
mod texts;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daemon::{Daemon, assert_balances};
use files::{Disk, lines, lines_so_far, numbered, numbers, post, proto, through};
use oracle::decode;
use otlpd::batch::{Batch, Context};
use otlpd::component::Exporter as _;
use otlpd::exporters::Compression;
use otlpd::exporters::file::{File as FileExporter, FileConfig, RotationConfig};
use otlpd::otlp::{Format, Signal};
use otlpd::units::ByteSize;
use process::{load, until};
use serde_json::Value;

/// A daemon that writes to `path` with these keys besides.
fn daemon(path: &Path, keys: &str) -> Daemon {
    Daemon::start(&sections(
        &format!("path = \"{}\"\n{keys}", path.display()),
        "",
    ))
}

/// One exporter `file` with these keys, in one pipeline with those.
fn sections(exporter: &str, pipeline: &str) -> String {
    format!(
        "[exporters.file]\ntype = \"file\"\n{exporter}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"file\"]\n{pipeline}\n"
    )
}

const LOGS: &str = "\n[pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"file\"]\n\
                    signals = [\"logs\"]\n";

/// The same for logs alone, into one file.
fn logs_to(path: &Path, keys: &str) -> Daemon {
    let exporter = format!(
        "[exporters.file]\ntype = \"file\"\npath = \"{}\"",
        path.display()
    );
    Daemon::start(&format!("{exporter}\n{keys}\n{LOGS}"))
}

fn send(daemon: &Daemon, signal: Signal, request: &[u8]) {
    let code = post(daemon.address("http"), signal, Format::Protobuf, request);
    assert_eq!(code, 200);
}

fn send_numbers(daemon: &Daemon, range: std::ops::Range<u64>) {
    for number in range {
        send(daemon, Signal::Logs, &numbered(number));
    }
}

/// Waits until so many items of the signal are delivered.
fn delivered(daemon: &Daemon, signal: Signal, items: u64) {
    until("all of it is delivered", || {
        daemon.account(signal.name(), "file")["delivered"] == items
    });
}

/// Requests of every signal, in binary protobuf.
fn requests() -> Vec<(Signal, Vec<u8>)> {
    let texts = texts::whole();
    let profile = (Signal::Profiles, PROFILE.to_owned());
    let requests = texts.iter().chain([&profile]);
    requests
        .map(|(signal, text)| (*signal, proto(*signal, text)))
        .collect()
}

const PROFILE: &str = r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"timeUnixNano":"1","profileId":"000102030405060708090a0b0c0d0e0f"}]}]}],"dictionary":{"stringTable":["","cpu"]}}"#;

const KEYS: [&str; 4] = [
    "resourceSpans",
    "resourceMetrics",
    "resourceLogs",
    "resourceProfiles",
];

#[test]
fn each_signal_has_a_file_and_each_request_is_a_line_that_is_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = daemon(&folder.path().join("{signal}.jsonl"), "");
    let requests = requests();
    for (signal, request) in &requests {
        send(&first, *signal, request);
    }
    let (_, ledger) = first.stop();
    assert_balances(&ledger);
    let mut second = daemon(&folder.path().join("again-{signal}.jsonl"), "");
    for signal in Signal::ALL {
        let path = folder.path().join(format!("{}.jsonl", signal.name()));
        let text = fs::read(&path).unwrap();
        assert!(!text.contains(&b'\r') && text.ends_with(b"\n"));
        let sent = requests.iter().filter(|(of, _)| *of == signal);
        let mut sent: Vec<_> = sent
            .map(|(_, request)| decode(signal, request).unwrap())
            .collect();
        let lines = lines(&path);
        assert_eq!(lines.len(), sent.len(), "{}", signal.name());
        for line in &lines {
            let value: Value = serde_json::from_str(line).unwrap();
            let keys: BTreeSet<&str> = value
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let known = BTreeSet::from([KEYS[signal as usize], "dictionary"]);
            assert!(keys.is_subset(&known), "{keys:?}");
            let read = decode(signal, &proto(signal, line)).unwrap();
            let at = sent
                .iter()
                .position(|one| *one == read)
                .expect("it was sent");
            sent.remove(at);
            let code = post(
                second.address("http"),
                signal,
                Format::Json,
                line.as_bytes(),
            );
            assert_eq!(code, 200, "{line}");
        }
    }
    second.stop();
    for signal in Signal::ALL {
        let sorted = |name: String| {
            let mut lines = lines_so_far(&folder.path().join(name));
            lines.sort();
            lines
        };
        let (once, twice) = (
            signal.name().to_owned() + ".jsonl",
            format!("again-{}.jsonl", signal.name()),
        );
        assert_eq!(sorted(once), sorted(twice));
    }
}

/// Google's own parser, which `tests/sdks/install.sh python` installs.
#[test]
fn googles_parser_reads_every_line() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("sdks/python/bin/python");
    if !python.is_file() {
        let line = b"SKIPPED: Google's JSON parser: run tests/sdks/install.sh python\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(&folder.path().join("{signal}.jsonl"), "");
    for (signal, request) in &requests() {
        send(&daemon, *signal, request);
    }
    daemon.stop();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/read_lines.py");
    for signal in Signal::ALL {
        let path = folder.path().join(format!("{}.jsonl", signal.name()));
        let lines = lines(&path);
        let output = Command::new(&python)
            .arg(&script)
            .args([signal.name(), path.to_str().unwrap()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // It writes what it read in binary, behind lengths.
        let mut rest = &output.stdout[..];
        for line in &lines {
            let (message, after) = message(rest);
            let read = decode(signal, message).unwrap();
            assert_eq!(
                read,
                decode(signal, &proto(signal, line)).unwrap(),
                "{line}"
            );
            rest = after;
        }
        assert!(rest.is_empty() && !lines.is_empty());
    }
}

/// The first message behind its length, and what follows.
fn message(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_first_chunk::<4>().unwrap();
    rest.split_at(u32::from_be_bytes(*length) as usize)
}

#[test]
fn binary_files_hold_the_very_bytes_behind_their_length() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(&folder.path().join("{signal}.bin"), "format = \"proto\"");
    let requests = requests();
    for (signal, request) in &requests {
        send(&daemon, *signal, request);
    }
    daemon.stop();
    for signal in Signal::ALL {
        let bytes = fs::read(folder.path().join(format!("{}.bin", signal.name()))).unwrap();
        let mut found = BTreeSet::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (message, after) = message(rest);
            found.insert(message.to_vec());
            rest = after;
        }
        let sent = requests.iter().filter(|(of, _)| *of == signal);
        assert_eq!(found, sent.map(|(_, request)| request.clone()).collect());
    }
}

#[test]
fn without_a_path_it_is_standard_output() {
    for path in ["", "path = \"-\""] {
        let out = tempfile::NamedTempFile::new().unwrap();
        let mut daemon = Daemon::start_by(&sections(path, ""), |command| {
            command.stdout(Stdio::from(out.reopen().unwrap()));
        });
        for (signal, request) in &requests() {
            send(&daemon, *signal, request);
        }
        daemon.stop();
        let lines = lines(out.path());
        assert_eq!(lines.len(), requests().len());
        for key in KEYS {
            assert!(lines.iter().any(|line| line.contains(key)), "{key}");
        }
    }
}

#[test]
fn compressed_files_are_read_by_everybodys_tools_up_to_where_a_crash_came() {
    for (compression, command) in [("gzip", "zcat"), ("zstd", "zstdcat")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("logs.jsonl.{compression}"));
        let path = path.with_extension(if compression == "gzip" { "gz" } else { "zst" });
        let keys = format!("compression = \"{compression}\"");
        let mut first = logs_to(&path, &keys);
        send_numbers(&first, 0..20);
        first.stop();
        let Some((true, text)) = through(command, &path) else {
            continue;
        };
        let text = String::from_utf8(text).unwrap();
        assert_eq!(numbers(text.lines()), (0..20).collect::<Vec<_>>());
        // What a crash leaves of a write: all before it can be read.
        let whole = fs::read(&path).unwrap();
        let cut = &whole[..whole.len() - 7];
        fs::write(&path, cut).unwrap();
        let (_, text) = through(command, &path).unwrap();
        let text = String::from_utf8(text).unwrap();
        let before = numbers(
            text.lines()
                .filter(|line| line.ends_with(']') || line.ends_with("}]}")),
        );
        assert!(!before.is_empty() || text.is_empty());
        // It is cut off by the next, which goes on in the same file.
        let mut second = logs_to(&path, &keys);
        send_numbers(&second, 20..30);
        second.stop();
        assert!(second.log().contains("cut short"), "{}", second.log());
        let (whole, text) = through(command, &path).unwrap();
        assert!(whole, "{compression}");
        let text = String::from_utf8(text).unwrap();
        let found = numbers(text.lines());
        assert!(found.ends_with(&(20..30).collect::<Vec<_>>()), "{found:?}");
        assert!(found.len() < 30, "a member was cut");
    }
}

#[test]
fn a_file_that_is_full_is_rotated_and_the_oldest_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.jsonl");
    let keys = "batch = { max_bytes = \"1KiB\" }\n[exporters.file.rotation]\n\
                max_bytes = \"2KiB\"\nmax_backups = 0";
    let mut daemon = logs_to(&path, keys);
    send_numbers(&daemon, 0..100);
    daemon.stop();
    let files = files::files(folder.path());
    assert!(files.len() > 10, "{files:?}");
    assert_eq!(files.last(), Some(&path), "the newest has the name itself");
    let all: Vec<String> = files.iter().flat_map(|file| lines(file)).collect();
    assert_eq!(numbers(&all), (0..100).collect::<Vec<_>>());
    for file in &files {
        assert!(
            fs::metadata(file).unwrap().len() <= 2048,
            "{}",
            file.display()
        );
    }

    let mut daemon = logs_to(&path, &keys.replace("= 0", "= 3"));
    send_numbers(&daemon, 100..140);
    daemon.stop();
    let files = files::files(folder.path());
    assert_eq!(files.len(), 4, "{files:?}");
    let kept: Vec<String> = files.iter().flat_map(|file| lines(file)).collect();
    let kept = numbers(&kept);
    assert!(kept.ends_with(&[137, 138, 139]), "{kept:?}");
}

/// Nothing is lost while the disk takes nothing, and no line is broken when it does again.
#[test]
fn a_full_disk_holds_what_comes_and_is_named() {
    let place = tempfile::tempdir().unwrap();
    let Some(_disk) = Disk::mount(place.path(), "256k") else {
        return;
    };
    let ballast = place.path().join("ballast");
    fs::write(&ballast, vec![0; 200 << 10]).unwrap();
    let path = place.path().join("logs.jsonl");
    let mut daemon = logs_to(&path, "");
    let mut sent = 0;
    until("the disk is full", || {
        send_numbers(&daemon, sent..sent + 10);
        sent += 10;
        daemon
            .status()
            .to_string()
            .contains("free space on that disk")
    });
    let said = daemon.lane("file").to_string();
    assert!(said.contains("logs.jsonl"), "{said}");
    lines(&path);
    fs::remove_file(&ballast).unwrap();
    delivered(&daemon, Signal::Logs, sent);
    assert_eq!(numbers(lines(&path)), (0..sent).collect::<Vec<_>>());
    let (_, ledger) = daemon.stop();
    assert_balances(&ledger);
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_lost_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let is_folder = folder.path().join("folder");
    fs::create_dir(&is_folder).unwrap();
    let mend_missing = |path: &Path| fs::create_dir(path.parent().unwrap()).unwrap();
    let mend_folder = |path: &Path| fs::remove_dir(path).unwrap();
    type Case<'a> = (PathBuf, &'a str, &'a dyn Fn(&Path));
    let cases: [Case<'_>; 2] = [
        (
            missing.join("logs.jsonl"),
            "create_directory = true",
            &mend_missing,
        ),
        (is_folder, "name a file in it", &mend_folder),
    ];
    for (path, advice, mend) in cases {
        let daemon = logs_to(&path, "");
        send_numbers(&daemon, 0..5);
        until("the cause is told", || {
            daemon.lane("file").to_string().contains(advice)
        });
        mend(&path);
        delivered(&daemon, Signal::Logs, 5);
        assert_eq!(numbers(lines(&path)), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn folders_are_made_where_that_is_asked_for_and_files_have_the_permissions_that_were_set() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/logs.jsonl");
    let keys =
        "create_directory = true\ndirectory_permissions = \"0700\"\nfile_permissions = \"0600\"";
    let daemon = logs_to(&path, keys);
    send_numbers(&daemon, 0..1);
    delivered(&daemon, Signal::Logs, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // Deleted below it, all is made again.
    fs::remove_dir_all(folder.path().join("a")).unwrap();
    send_numbers(&daemon, 1..2);
    delivered(&daemon, Signal::Logs, 2);
    assert_eq!(numbers(lines(&path)), [1]);
}

#[test]
fn a_file_that_was_moved_away_is_left_whole_and_another_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (
        folder.path().join("logs.jsonl"),
        folder.path().join("moved"),
    );
    let daemon = logs_to(&path, "");
    send_numbers(&daemon, 0..10);
    delivered(&daemon, Signal::Logs, 10);
    fs::rename(&path, &moved).unwrap();
    send_numbers(&daemon, 10..20);
    delivered(&daemon, Signal::Logs, 20);
    assert_eq!(numbers(lines(&moved)), (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(lines(&path)), (10..20).collect::<Vec<_>>());
}

#[test]
fn what_is_there_is_kept_unless_it_is_to_be_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.jsonl");
    let run = |keys: &str, range| {
        let mut daemon = logs_to(&path, keys);
        send_numbers(&daemon, range);
        daemon.stop();
        numbers(lines(&path))
    };
    assert_eq!(run("", 0..2), [0, 1]);
    assert_eq!(run("fsync = \"always\"", 2..4), [0, 1, 2, 3]);
    assert_eq!(
        run(
            "append = false\nfsync = \"interval\"\nflush_interval = \"5ms\"",
            4..6
        ),
        [4, 5]
    );
    // A file of something else is never cut, nor written into.
    fs::write(&path, "{\"resourceLogs\": no").unwrap();
    assert_eq!(run("", 6..7), [6], "a line of ours that was cut short goes");
    fs::write(&path, "a note without an end").unwrap();
    let mut daemon = logs_to(&path, "");
    send_numbers(&daemon, 7..8);
    daemon.stop();
    let lines = lines(&path);
    assert_eq!(
        (lines.len(), lines[0].as_str()),
        (2, "a note without an end")
    );
    let mut daemon = logs_to(&path, "compression = \"gzip\"");
    send_numbers(&daemon, 8..9);
    daemon.stop();
    let files = files::files(folder.path());
    assert_eq!(files.len(), 2, "what is no gzip is set aside");
    assert!(fs::read_to_string(&files[0]).unwrap().starts_with("a note"));
}

/// Killed in the middle of its writes, over and over: only the last line can ever be broken, and
/// what the next process finds broken it cuts off.
#[test]
fn a_kill_leaves_at_most_one_broken_line_and_the_next_start_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.jsonl");
    let signals = "signals = [\"traces\"]";
    let exporter = format!("path = \"{}\"", path.display());
    for round in 0..6 {
        let daemon = Daemon::start(&sections(&exporter, signals));
        let before = fs::metadata(&path).map_or(0, |file| file.len());
        let endpoint = daemon.endpoint("grpc");
        let mut load = Command::new(env!("CARGO_BIN_EXE_otlpd"))
            .args(["bench", "load", "--endpoint", &endpoint, "--items", "500"])
            .args(["--duration", "60s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("it writes", || {
            fs::metadata(&path).map_or(0, |file| file.len()) > before + (round << 18)
        });
        daemon.signal("KILL");
        load.kill().unwrap();
        load.wait().unwrap();
        drop(daemon);
        let text = fs::read(&path).unwrap();
        let lines = text.split(|byte| *byte == b'\n').collect::<Vec<_>>();
        let (_last, whole) = lines.split_last().unwrap();
        for line in whole {
            serde_json::from_slice::<Value>(line).expect("a whole line");
        }
    }
    let mut last = Daemon::start(&sections(&exporter, signals));
    load(&[
        "--endpoint",
        &last.endpoint("grpc"),
        "--items",
        "10",
        "--duration",
        "100ms",
    ]);
    last.stop();
    for line in lines(&path) {
        serde_json::from_str::<Value>(&line).expect("a whole line");
    }
}

/// As while one process takes over from another: whoever writes has the file to himself, cuts back
/// nothing of the other's, and finds the file again that the other has rotated away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_write_to_one_file_break_no_line_and_lose_none() {
    for compression in [Compression::None, Compression::Gzip] {
        let folder = tempfile::tempdir().unwrap();
        let config = FileConfig {
            path: Some(folder.path().join("logs.data")),
            compression,
            rotation: Some(RotationConfig {
                max_bytes: ByteSize(20_000),
                max_backups: 0,
                ..RotationConfig::default()
            }),
            ..FileConfig::default()
        };
        let writers = [0, 1].map(|_| FileExporter::new(&config).unwrap());
        let writes = (0..400).map(|number| {
            let writer = &writers[number as usize % 2];
            let batch = batch(&numbered(number));
            async move { writer.export(&batch).await }
        });
        for written in futures_util::future::join_all(writes).await {
            written.unwrap();
        }
        let mut found = Vec::new();
        for file in files::files(folder.path()) {
            let bytes = fs::read(&file).unwrap();
            let text = match compression {
                Compression::None => bytes,
                _ => {
                    let mut text = Vec::new();
                    let mut inflated = flate2::read::MultiGzDecoder::new(&bytes[..]);
                    inflated.read_to_end(&mut text).unwrap();
                    text
                }
            };
            found.extend(numbers(String::from_utf8(text).unwrap().lines()));
        }
        found.sort_unstable();
        assert_eq!(found, (0..400).collect::<Vec<_>>());
        assert!(files::files(folder.path()).len() > 2);
    }
}

fn batch(request: &[u8]) -> Batch {
    Batch {
        signal: Signal::Logs,
        chunks: [bytes::Bytes::copy_from_slice(request)]
            .into_iter()
            .collect(),
        items: 1,
        received: tokio::time::Instant::now(),
        context: Context::default(),
        deadline: None,
        encoded: None,
        reservations: Default::default(),
    }
}
