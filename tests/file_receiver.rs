//! What is read out of files: every whole request, once while nothing crashes; whatever grows, is
//! rotated, is compressed, or stands between broken lines; and no more of it than there is room
//! for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/calls.rs"]
mod calls;
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

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use calls::Capture;
use daemon::{Daemon, assert_balances};
use files::{numbered, numbers, post, proto};
use oracle::decode;
use otlpd::otlp::{Format, Signal, json};
use process::until;

/// A daemon that reads `include` of the folder, with these keys besides, and sends it to `sink`.
fn reader(folder: &Path, keys: &str, sink: &Capture, sections: &str) -> Daemon {
    let folder = folder.display();
    Daemon::start(&format!(
        "[receivers.files]\ntype = \"file\"\ninclude = [\"{folder}/**/*.data*\"]\n\
         poll_interval = \"5ms\"\n{keys}\n\
         [exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\nbatch = {{ max_items = 1 }}\n{sections}\n\
         [pipelines.main]\nreceivers = [\"files\"]\nexporters = [\"out\"]\n",
        sink.address
    ))
}

fn stored(folder: &Path) -> String {
    format!(
        "[storage]\ndirectory = \"{}\"",
        folder.join("storage").display()
    )
}

/// The request of this number, as a line without its break.
fn line(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    json::write(Signal::Logs, &numbered(number), &mut out).unwrap();
    out
}

fn text(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers
        .into_iter()
        .flat_map(|number| [line(number), b"\n".to_vec()].concat())
        .collect()
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

/// The numbers that have arrived, in order, repeated ones included.
fn arrived(sink: &Capture) -> Vec<u64> {
    let calls = sink.calls();
    numbers(calls.iter().map(|(signal, message)| {
        let mut out = Vec::new();
        json::write(*signal, message, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }))
}

fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Waits until just these numbers have arrived.
fn arrive(sink: &Capture, expected: &[u64]) {
    until("all of it has arrived", || {
        arrived(sink).len() >= expected.len()
    });
    assert_eq!(arrived(sink), expected);
}

/// The count of requests that were at fault for this reason.
fn faulty(daemon: &Daemon, reason: &str) -> u64 {
    let series = format!(
        "otlpd_receiver_faulty_requests_total{{receiver=\"files\",transport=\"file\",\
         reason=\"{reason}\"}} "
    );
    let page = daemon.get("/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_grows_is_read_as_it_grows_and_a_line_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    fs::write(&path, text(0..3)).unwrap();
    let sink = Capture::start().await;
    let mut daemon = reader(folder.path(), "", &sink, "");
    arrive(&sink, &all(3));
    let next = text(3..4);
    let (first, second) = next.split_at(next.len() / 2);
    append(&path, first);
    // What stands behind it in another file comes meanwhile.
    fs::write(folder.path().join("b.data"), text(4..5)).unwrap();
    arrive(&sink, &[0, 1, 2, 4]);
    append(&path, second);
    arrive(&sink, &all(5));
    // A line that is whole but for its break is taken, and its break is nothing by itself.
    append(&path, &line(5));
    arrive(&sink, &all(6));
    append(&path, b"\n\n");
    append(&path, &text(6..7));
    arrive(&sink, &all(7));
    assert_eq!(faulty(&daemon, "malformed"), 0);
    let accepted =
        "otelcol_receiver_accepted_log_records_total{receiver=\"files\",transport=\"file\"} 7";
    until("it is counted", || {
        daemon.get("/metrics").body.contains(accepted)
    });
    let (_, ledger) = daemon.stop();
    assert_balances(&ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_away_is_read_to_its_end_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    fs::write(&path, text(0..2)).unwrap();
    let sink = Capture::start().await;
    let daemon = reader(folder.path(), "", &sink, "");
    arrive(&sink, &all(2));
    // To a name that is found, and to one that is not; who has it open writes on.
    for (round, moved) in ["a.data.1", "away"].into_iter().enumerate() {
        let from = 2 + 3 * round as u64;
        let moved = folder.path().join(moved);
        fs::rename(&path, &moved).unwrap();
        append(&moved, &text(from..from + 1));
        fs::write(&path, text(from + 1..from + 3)).unwrap();
        arrive(&sink, &all(from + 3));
    }
    // Cut, and written anew in its place.
    fs::write(&path, text(8..9)).unwrap();
    arrive(&sink, &all(9));
    assert_eq!(faulty(&daemon, "malformed"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_the_last_run_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    fs::write(&path, text(0..10)).unwrap();
    let sink = Capture::start().await;
    let sections = stored(folder.path());
    for round in 1..4 {
        let mut daemon = reader(folder.path(), "", &sink, &sections);
        arrive(&sink, &all(round * 10));
        daemon.stop();
        append(&path, &text(round * 10..round * 10 + 10));
        if round == 2 {
            fs::rename(&path, folder.path().join("renamed.data")).unwrap();
            fs::rename(folder.path().join("renamed.data"), &path).unwrap();
        }
    }
    let daemon = reader(folder.path(), "", &sink, &sections);
    arrive(&sink, &all(40));
    drop(daemon);
    // Positions that are damaged are named, and files read anew.
    let positions = folder.path().join("storage/receivers/files.positions");
    fs::write(&positions, "no").unwrap();
    sink.take();
    let daemon = reader(folder.path(), "", &sink, &sections);
    arrive(&sink, &all(40));
    assert!(
        daemon.log().contains("positions are damaged"),
        "{}",
        daemon.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_of_what_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    let sink = Capture::start().await;
    let sections = stored(folder.path()) + "\n[intake]\nacknowledge = \"delivered\"\n";
    let mut written = 0;
    for _ in 0..4 {
        append(&path, &text(written..written + 300));
        let daemon = reader(folder.path(), "", &sink, &sections);
        written += 300;
        let some = arrived(&sink).len() as u64 + 50;
        until("some have arrived", || {
            arrived(&sink).len() as u64 >= some.min(written)
        });
        daemon.signal("KILL");
    }
    let _last = reader(folder.path(), "", &sink, &sections);
    until("each has arrived", || {
        let mut arrived = arrived(&sink);
        arrived.dedup();
        arrived == all(written)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_lines_are_counted_and_named_and_harm_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    let broken: [&[u8]; 6] = [
        b"not JSON at all",
        b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"x\"}]}]}]}",
        b"{\"resourceLogs\":[",
        b"{\"resourceThings\":[]}",
        b"[1,2]",
        b"\xff\xfe{\"resourceLogs\":[]}",
    ];
    let mut bytes = Vec::new();
    for (number, broken) in broken.iter().enumerate() {
        bytes.extend(text([number as u64]));
        bytes.extend([broken, &b"\r\n \n{}\n"[..]].concat());
    }
    bytes.extend(text([6]));
    fs::write(&path, &bytes).unwrap();
    let sink = Capture::start().await;
    let daemon = reader(folder.path(), "", &sink, "");
    arrive(&sink, &all(7));
    assert_eq!(faulty(&daemon, "malformed"), 6);
    let log = daemon.log();
    let said = log
        .lines()
        .find(|line| line.contains("passed over"))
        .unwrap();
    assert!(said.contains("a.data") && said.contains("line=2"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lines_are_taken_up_to_the_limit_and_counted_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    let long = |number: u64, bytes: usize| {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{number}","body":{{"stringValue":"{}"}}}}]}}]}}]}}"#,
            "y".repeat(bytes)
        )
    };
    let mut bytes = text([0]);
    for line in [
        long(1, 200_000),
        long(99, 2_000_000),
        long(2, 900_000),
        long(98, 1 << 20),
    ] {
        bytes.extend(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend(text([3]));
    fs::write(&path, &bytes).unwrap();
    let sink = Capture::start().await;
    let daemon = reader(folder.path(), "max_log_size = \"1MiB\"", &sink, "");
    arrive(&sink, &all(4));
    assert_eq!(faulty(&daemon, "too_large"), 2);
    // One that is not finished is passed over when it is.
    append(&path, long(97, 2_000_000).as_bytes());
    until("it is counted", || faulty(&daemon, "too_large") == 3);
    append(&path, b"more of it\n");
    append(&path, &text([4]));
    arrive(&sink, &all(5));
    assert_eq!(
        (faulty(&daemon, "too_large"), faulty(&daemon, "malformed")),
        (3, 0)
    );
}

/// While a destination takes nothing, no more is read than its queue holds; then all of it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_door_is_shut_nothing_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    fs::write(&path, text(0..2000)).unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&open);
    let sink = Capture::judging(move |_| match seen.load(Ordering::Relaxed) {
        true => 0,
        false => 14,
    })
    .await;
    let sections = "queue = { max_bytes = \"64KiB\" }\nbatch = { max_bytes = \"16KiB\" }\n\
                    [intake]\nmax_wait = \"20ms\"\nmemory_budget = \"8MiB\"";
    let folder_text = folder.path().display();
    let mut daemon = Daemon::start(&format!(
        "[receivers.files]\ntype = \"file\"\ninclude = [\"{folder_text}/*.data\"]\n\
         poll_interval = \"5ms\"\nmax_log_size = \"1MiB\"\n\
         [exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\n{sections}\n\
         [pipelines.main]\nreceivers = [\"files\"]\nexporters = [\"out\"]\n",
        sink.address
    ));
    let refused = "otlpd_receiver_refused_requests_total{receiver=\"files\",transport=\"file\",\
                   reason=\"queue_full\"} ";
    until("it was refused more than once", || {
        let page = daemon.get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(refused));
        line.unwrap().parse::<u64>().unwrap() > 2
    });
    let received = daemon.account("logs", "out")["received"].as_u64().unwrap();
    assert!((1..1000).contains(&received), "{received}");
    let used = daemon.status()["budget"]["used_bytes"].as_u64().unwrap();
    assert!(used < 8 << 20, "{used}");
    open.store(true, Ordering::Relaxed);
    arrive(&sink, &all(2000));
    let (_, ledger) = daemon.stop();
    assert_balances(&ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_files_are_read_and_read_on_when_they_have_grown() {
    let folder = tempfile::tempdir().unwrap();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).unwrap();
    let (gz, zst) = (
        folder.path().join("a.data.gz"),
        folder.path().join("b.data.zst"),
    );
    fs::write(&gz, gzip(&text(0..50))).unwrap();
    fs::write(&zst, zstd(&text(50..100))).unwrap();
    let sink = Capture::start().await;
    let daemon = reader(folder.path(), "", &sink, "");
    arrive(&sink, &all(100));
    append(&gz, &gzip(&text(100..110)));
    append(&zst, &zstd(&text(110..120)));
    arrive(&sink, &all(120));
    // Cut short: what there is of it comes, and the rest when it is there.
    let next = gzip(&text(120..130));
    append(&gz, &next[..next.len() - 5]);
    arrive(&sink, &all(130));
    append(&gz, &next[next.len() - 5..]);
    append(&gz, &gzip(&text(130..131)));
    arrive(&sink, &all(131));
    assert_eq!(faulty(&daemon, "compression"), 0);
    // Damaged.
    append(&zst, b"this is no zstd frame");
    until("it is counted", || faulty(&daemon, "compression") == 1);
    assert_eq!(arrived(&sink), all(131));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_at_end_takes_only_what_comes_whole_lines_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.data");
    let next = text([0]);
    let (first, second) = next.split_at(40);
    fs::write(&path, [&text(90..99), first].concat()).unwrap();
    let sink = Capture::start().await;
    let daemon = reader(folder.path(), "start_at = \"end\"", &sink, "");
    // It has looked once a file is read that came later, and is read from its beginning.
    let mut tried = 0;
    until("a new file is read", || {
        fs::write(folder.path().join(format!("new{tried}.data")), text([1])).unwrap();
        tried += 1;
        !arrived(&sink).is_empty()
    });
    append(&path, second);
    until("the line that was under way comes", || {
        arrived(&sink).contains(&0)
    });
    assert!(!arrived(&sink).contains(&98), "{:?}", arrived(&sink));
    assert_eq!(faulty(&daemon, "malformed"), 0);
}

/// From an application through files to a backend: in binary every byte, in JSON all that is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_by_otlpd_arrives_as_it_was() {
    let requests: Vec<(Signal, Vec<u8>)> = texts::whole()
        .iter()
        .map(|(signal, text)| (*signal, proto(*signal, text)))
        .collect();
    for (format, compression, signal) in [
        ("json", "none", None),
        ("json", "zstd", None),
        ("proto", "none", Some(Signal::Traces)),
        ("proto", "gzip", Some(Signal::Metrics)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let requests: Vec<&(Signal, Vec<u8>)> = requests
            .iter()
            .filter(|(of, _)| signal.is_none_or(|signal| signal == *of))
            .collect();
        let signals = signal.map(|signal| format!("signals = [\"{}\"]", signal.name()));
        let mut writer = Daemon::start(&format!(
            "[exporters.file]\ntype = \"file\"\npath = \"{}/{{signal}}.data\"\n\
             format = \"{format}\"\ncompression = \"{compression}\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"file\"]\n{}\n",
            folder.path().display(),
            signals.unwrap_or_default()
        ));
        for (signal, request) in &requests {
            let code = post(writer.address("http"), *signal, Format::Protobuf, request);
            assert_eq!(code, 200);
        }
        writer.stop();
        let sink = Capture::start().await;
        let of = signal.map(|signal| format!("signal = \"{}\"", signal.name()));
        let keys = format!("format = \"{format}\"\n{}", of.unwrap_or_default());
        let _reader = Daemon::start(&format!(
            "[receivers.files]\ntype = \"file\"\ninclude = [\"{}/*.data\"]\n\
             poll_interval = \"5ms\"\n{keys}\n\
             [exporters.out]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
             compression = \"none\"\n\
             [pipelines.main]\nreceivers = [\"files\"]\nexporters = [\"out\"]\n",
            folder.path().display(),
            sink.address
        ));
        until("all of it has arrived", || {
            let calls = sink.calls();
            let whole = |signal: Signal| {
                let of = calls.iter().filter(|(of, _)| *of == signal);
                let joined: Vec<u8> = of.flat_map(|(_, message)| message.to_vec()).collect();
                decode(signal, &joined).unwrap().items().len()
            };
            let sent = |signal: Signal| {
                let of = requests.iter().filter(|(of, _)| *of == signal);
                let joined: Vec<u8> = of.flat_map(|(_, request)| request.clone()).collect();
                decode(signal, &joined).unwrap().items().len()
            };
            Signal::ALL
                .into_iter()
                .all(|signal| whole(signal) >= sent(signal))
        });
        for (signal, request) in &requests {
            let sent = decode(*signal, request).unwrap();
            let calls = sink.calls();
            let of = calls.iter().filter(|(of, _)| of == signal);
            let joined: Vec<u8> = of.flat_map(|(_, message)| message.to_vec()).collect();
            let arrived = decode(*signal, &joined).unwrap().items();
            assert!(sent.items().iter().all(|item| arrived.contains(item)));
            if format == "proto" {
                assert!(
                    joined
                        .windows(request.len())
                        .any(|window| window == request)
                );
            }
        }
    }
}
