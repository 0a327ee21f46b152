//! `otlpd replay`: dead letters are sent again, those that are meant, as they were.

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
#[path = "support/letters.rs"]
mod letters;
#[path = "support/process.rs"]
mod process;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use calls::Capture;
use letters::{MARKER, daemon, holds, leave, merged, replay, request, row, send, squeamish};
use process::until;

/// What arrived, as the bodies of its log records were made.
fn arrived(capture: &Capture, of: &[&str]) -> Vec<String> {
    let requests: Vec<_> = of
        .iter()
        .map(|body| request(&format!("{MARKER} {body}")))
        .collect();
    let name = |body: &[u8]| {
        let index = requests.iter().position(|request| request == body);
        of[index.expect("it arrives byte for byte")].to_owned()
    };
    let calls = capture.take();
    calls.iter().map(|(_, body)| name(body)).collect()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_sends_nothing_and_lists_what_would_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &["a", "b"]).await;
    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    for args in [&["--dry-run"][..], &["--dry-run", "--to", &to]] {
        let output = replay(folder.path(), args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(row(&output, "chosen"), (2, 2));
        assert_eq!(row(&output, "sent"), (0, 0));
        let text = String::from_utf8(output.stdout).unwrap();
        let listed = text
            .lines()
            .filter(|line| line.contains(" backend permanent logs 1 items "));
        assert_eq!(listed.count(), 2, "{text}");
    }
    assert_eq!(healthy.calls(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_chosen_is_sent_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["a", "b", "c", "d"];
    leave(folder.path(), &all).await;
    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    for (args, sent) in [
        ("", &all[..]),
        ("--limit 3", &["a", "b", "c"]),
        ("--limit 0", &[]),
        ("--since 1h", &all),
        ("--since 2100-01-01", &[]),
        ("--reason permanent", &all),
        ("--reason too_old", &[]),
        ("--exporter backend --signal logs", &all),
        ("--exporter other", &[]),
        ("--signal traces --signal metrics", &[]),
        ("--rate 1000000 --protocol http", &all),
    ] {
        let more = ["--to", &to, "--compression", "none"];
        let args: Vec<_> = more.into_iter().chain(args.split_whitespace()).collect();
        let output = replay(folder.path(), &args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(arrived(&healthy, &all), sent, "{args:?}");
        let count = sent.len() as u64;
        assert_eq!(row(&output, "delivered"), (count, count), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_is_removed_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["a", "b", "c"];
    leave(folder.path(), &all).await;
    // It takes one of them.
    let picky = Capture::judging(|(_, body)| match letters::holds(body, "marked b") {
        true => 0,
        false => 3,
    })
    .await;
    let to = format!("http://{}", picky.address);
    let output = replay(
        folder.path(),
        &["--to", &to, "--compression", "none", "--remove"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for (name, count) in [
        ("read", 3),
        ("delivered", 1),
        ("refused", 2),
        ("removed", 1),
    ] {
        assert_eq!(row(&output, name), (count, count), "{output:?}");
    }
    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    let args = ["--to", &to, "--compression", "none"];
    let output = replay(folder.path(), &args);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(arrived(&healthy, &all), ["a", "c"]);
    let remove = [&args[..], &["--remove"]].concat();
    assert_eq!(row(&replay(folder.path(), &remove), "removed"), (2, 2));
    assert_eq!(row(&replay(folder.path(), &args), "read"), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_running_daemon_letters_are_read_and_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = squeamish().await;
    let daemon = daemon(
        folder.path(),
        "otlp_grpc",
        refusing.address,
        "batch.max_items = 1",
    );
    send(&daemon, &[request(&format!("{MARKER} a"))]).await;
    until("it is a dead letter", || {
        daemon.account("logs", "backend")["dead_lettered"] == 1
    });
    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    let args = ["--to", &to, "--compression", "none"];
    let output = replay(folder.path(), &args);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(arrived(&healthy, &["a"]), ["a"]);
    let output = replay(folder.path(), &[&args[..], &["--remove"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stderr(&output);
    assert!(
        said.contains("--remove needs the folder for itself"),
        "{said}"
    );
    assert!(said.contains(&daemon.pid().to_string()), "{said}");
    assert_eq!(healthy.calls(), []);
    assert_eq!(daemon.status()["dead_letters"]["letters"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_may_pass_are_tried_again_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &["a"]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let recovering = Capture::judging(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => 14,
        _ => 0,
    })
    .await;
    let to = format!("http://{}", recovering.address);
    let output = replay(folder.path(), &["--to", &to, "--compression", "none"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(arrived(&recovering, &["a"]), ["a"]);
    assert_eq!(calls.load(Ordering::Relaxed), 3);

    let never = Capture::judging(|_| 14).await;
    let to = format!("http://{}", never.address);
    let args = [
        "--to",
        &to,
        "--compression",
        "none",
        "--retry-for",
        "50ms",
        "--remove",
    ];
    let output = replay(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(row(&output, "failed"), (1, 1));
    assert_eq!(row(&output, "removed"), (0, 0));
    assert!(stderr(&output).contains("UNAVAILABLE"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_letter_that_is_refused_only_what_is_at_fault_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = squeamish().await;
    let mut daemon = daemon(folder.path(), "otlp_grpc", refusing.address, "");
    let marked = format!("{MARKER} b");
    send(&daemon, &[merged(&["a", &marked, "c", "d"])]).await;
    until("it is a dead letter", || {
        daemon.account("logs", "backend")["dead_lettered"] == 4
    });
    assert!(daemon.stop().0.success());
    refusing.take();
    let to = format!("http://{}", refusing.address);
    let args = ["--to", &to, "--compression", "none", "--remove"];
    let output = replay(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(row(&output, "delivered"), (1, 3));
    assert_eq!(row(&output, "rejected"), (0, 1));
    assert_eq!(row(&output, "removed"), (0, 0));
    assert!(stderr(&output).contains("1 of 4 items"), "{output:?}");
    let bodies: Vec<_> = refusing.take().into_iter().map(|(_, body)| body).collect();
    let taken = bodies.iter().filter(|body| !holds(body, MARKER));
    let taken: Vec<u8> = taken.flat_map(|body| body.to_vec()).collect();
    assert_eq!(taken, merged(&["a", "c", "d"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_where_the_destination_is_away() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &["a", "b", "c", "d", "e"]).await;
    let args = ["--to", "http://127.0.0.1:1", "--retry-for", "50ms"];
    let output = replay(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(row(&output, "failed"), (3, 3));
    assert!(stderr(&output).contains("is away"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exporter_that_no_letter_is_for_is_told() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &["a"]).await;
    let output = replay(folder.path(), &["--dry-run", "--exporter", "nosuch"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).contains("nosuch"), "{output:?}");
    assert!(stderr(&output).contains("backend"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_spreads_the_requests() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &["a", "b", "c"]).await;
    let healthy = Capture::start().await;
    let to = format!("http://{}", healthy.address);
    let begun = SystemTime::now();
    let args = ["--to", &to, "--compression", "none", "--rate", "5"];
    assert!(replay(folder.path(), &args).status.success());
    // One item each, so the third waits for two fifths of a second.
    assert!(begun.elapsed().unwrap() >= Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_after_the_request_under_way() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &["a", "b"]).await;
    let (asked, answer) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (ask, wait) = (Arc::clone(&asked), Arc::clone(&answer));
    let slow = Capture::judging(move |_| {
        ask.store(true, Ordering::Release);
        tokio::task::block_in_place(|| {
            until("the test lets it go", || wait.load(Ordering::Acquire));
        });
        0
    })
    .await;
    let to = format!("http://{}", slow.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_otlpd"));
    command.args([
        "replay",
        "--to",
        &to,
        "--compression",
        "none",
        "--timeout",
        "10m",
    ]);
    command.arg("--directory").arg(folder.path());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the first request is under way", || {
        asked.load(Ordering::Acquire)
    });
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    until("the signal is taken", || is_taken(&pid));
    answer.store(true, Ordering::Release);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(row(&output, "delivered"), (1, 1));
    assert_eq!(arrived(&slow, &["a", "b"]), ["a"]);
    assert!(
        stderr(&output).contains("what was not sent is left"),
        "{output:?}"
    );
}

/// Whether no signal is pending for the process.
fn is_taken(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let pending = status
        .lines()
        .filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"));
    pending.clone().count() == 2
        && pending
            .into_iter()
            .all(|line| line.trim_end().ends_with("0000000000000000"))
}

#[test]
fn a_folder_without_dead_letters_and_a_line_without_a_destination_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = replay(folder.path(), &["--to", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("holds no dead letters"),
        "{output:?}"
    );
    let is_empty = |folder: &Path| folder.read_dir().unwrap().next().is_none();
    assert!(is_empty(folder.path()), "nothing is created");
    let idle = replay(folder.path(), &[]);
    assert_eq!(idle.status.code(), Some(2));
    assert!(!stderr(&idle).contains("--directory"), "{idle:?}");
    assert!(stderr(&idle).contains("--dry-run"), "{idle:?}");
    let both = ["--to", "http://127.0.0.1:1", "--dry-run", "--remove"];
    assert_eq!(replay(folder.path(), &both).status.code(), Some(2));
}
