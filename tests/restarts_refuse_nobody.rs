//! Upgrades in place and restarts under socket activation, under full load: no connection is
//! refused and nothing is lost. An upgrade that fails changes nothing.
//!
//! Three of each; with `OTLPD_RESTARTS=20` as many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and say how it went"
)]

#[path = "support/process.rs"]
mod process;
#[path = "support/sdks.rs"]
mod sdks;
#[path = "support/service.rs"]
mod service;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, SystemTime};

use process::{Running, finish, load, start_load, until};
use sdks::{COUNT, Clients, Sink, expected, languages};
use serde_json::Value;
use service::Service;

fn rounds() -> usize {
    let rounds = std::env::var("OTLPD_RESTARTS");
    rounds.map_or(3, |rounds| rounds.parse().expect("a number"))
}

/// Everything goes to the sink.
fn to(sink: &Running) -> String {
    format!(
        "[exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
         compression = \"none\"\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n",
        sink.address("grpc")
    )
}

/// As fast as it goes, over both protocols.
struct Load(Vec<Child>);

impl Load {
    fn start(service: &Service, sink: &Running) -> Self {
        let loads = ["grpc", "http"].map(|protocol| {
            let endpoint = service.endpoint(protocol);
            let flags = [
                ["--protocol", protocol],
                ["--endpoint", &endpoint],
                ["--check", sink.address("control")],
                ["--connections", "4"],
                ["--in-flight", "4"],
                ["--items", "20"],
                ["--duration", "4s"],
                ["--timeout", "60s"],
            ];
            start_load(flags.as_flattened())
        });
        let before = sink.stats()["unique"].as_u64().unwrap();
        until("the load is on", || {
            sink.stats()["unique"].as_u64().unwrap() > before + 200
        });
        Self(loads.into())
    }

    /// Waits for the end, asserts that every attempt was answered with success, and that the sink
    /// has everything; how many items that were.
    fn finish(self) -> u64 {
        let mut items = 0;
        for (load, success) in self.0.into_iter().zip(["grpc-status 0", "http 200"]) {
            let report = finish(load);
            let answers = report["answers"].as_object().unwrap();
            assert_eq!(answers.keys().collect::<Vec<_>>(), [success], "{report}");
            assert_eq!(report["check"]["missing"], 0, "{report}");
            items += report["acknowledged_items"].as_u64().unwrap();
        }
        items
    }
}

/// Asserts that the processes that have served, so many, all said that they lost nothing, and that
/// together they delivered what was acknowledged.
fn assert_nothing_lost(service: &Service, sink: &Running, processes: usize, items: u64) {
    let log = service.log();
    let ledgers: Vec<Value> = log
        .lines()
        .filter_map(|line| line.split_once("nothing was lost; ledger: "))
        .map(|(_, ledger)| serde_json::from_str(ledger).unwrap())
        .collect();
    assert_eq!(ledgers.len(), processes, "{log}");
    let delivered: u64 = ledgers
        .iter()
        .map(|ledger| &ledger["traces"]["exporters"]["backend"]["delivered"])
        .map(|delivered| delivered.as_u64().unwrap())
        .sum();
    let stats = sink.stats();
    assert_eq!(stats["unique"], items, "{stats}");
    assert_eq!(stats["duplicate"], 0, "{stats}");
    assert_eq!(delivered, items, "{stats}");
}

#[test]
fn upgrades_under_full_load_refuse_nobody_and_lose_nothing() {
    let sink = Running::sink(&[]);
    let mut service = Service::start(&to(&sink));
    let mut items = 0;
    for _ in 0..rounds() {
        let load = Load::start(&service, &sink);
        let old = service.pid();
        let (code, said) = service.upgrade();
        assert_eq!(code, Some(0), "{said}");
        let new = service.pid();
        assert_eq!(said, format!("{old} -> {new}\n"));
        assert_ne!(old, new);
        items += load.finish();
    }
    service.stop();
    assert_nothing_lost(&service, &sink, rounds() + 1, items);
    println!("{} upgrades, {items} items", rounds());
}

#[test]
fn restarts_under_socket_activation_refuse_nobody_and_lose_nothing() {
    let sink = Running::sink(&[]);
    let mut service = Service::activated(&to(&sink));
    let mut items = 0;
    for _ in 0..rounds() {
        let load = Load::start(&service, &sink);
        service.restart();
        items += load.finish();
    }
    service.stop();
    assert_nothing_lost(&service, &sink, rounds() + 1, items);
    let log = service.log();
    let adopted = log.lines().filter(|line| line.contains("inherited"));
    assert_eq!(adopted.count(), 3 * (rounds() + 1), "{log}");
    println!("{} restarts, {items} items", rounds());
}

/// The SDKs for which one refused connection is lost data: Go over HTTP, JavaScript over gRPC.
#[test]
fn stock_sdks_lose_nothing_while_the_daemon_is_upgraded_and_restarted() {
    let all = languages();
    let sensitive = |language: &&sdks::Language| ["go", "javascript"].contains(&language.name);
    let languages: Vec<_> = all.into_iter().filter(sensitive).collect();
    if languages.is_empty() {
        return;
    }
    for activated in [false, true] {
        let mut sink = Sink::closed();
        sink.open();
        let sections = format!(
            "[exporters.grpc]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"grpc\"]\n",
            sink.grpc
        );
        let mut service = match activated {
            true => Service::activated(&sections),
            false => Service::start(&sections),
        };
        let addresses = ["grpc", "http"].map(|protocol| service.endpoint(protocol));
        // Enough for all rounds, on a machine that is not too slow; on others less is tried.
        let seconds = 4 + 2 * rounds() as u64;
        let mut clients = Clients::start(&languages, &addresses, Some(seconds));
        let mut during = 0;
        for _ in 0..rounds() {
            let before: usize = sink.counts().iter().map(|count| count.items).sum();
            until("more is sent", || {
                let now: usize = sink.counts().iter().map(|count| count.items).sum();
                now > before + COUNT / 10 || !clients.ended().is_empty()
            });
            during += usize::from(clients.ended().is_empty());
            if activated {
                service.restart();
            } else {
                let (code, said) = service.upgrade();
                assert_eq!(code, Some(0), "{said}");
            }
        }
        clients.wait();
        sink.wait(&languages, &["grpc"]);
        service.stop();
        assert_eq!(sink.counts(), expected(&languages, &["grpc"]));
        println!(
            "activated: {activated}; {during} of {} while they sent",
            rounds()
        );
    }
}

/// What is on disk changes hands: nothing is lost, and what the old process has delivered is not
/// the new one's to deliver.
#[test]
fn a_queue_on_disk_changes_hands_under_full_load() {
    let sink = Running::sink(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(&format!(
        "[intake]\nacknowledge = \"stored\"\n[storage]\ndirectory = {:?}\n{}",
        folder.path(),
        to(&sink).replace(
            "[pipelines.main]",
            "queue = { kind = \"disk\", max_bytes = \"1GiB\" }\n[pipelines.main]"
        )
    ));
    let mut items = 0;
    for _ in 0..rounds() {
        let load = Load::start(&service, &sink);
        let (code, said) = service.upgrade();
        assert_eq!(code, Some(0), "{said}");
        items += load.finish();
    }
    // A new one that dies when it should have taken what is on disk: the old one has it again.
    script(&service.program(), &format!("{TAKES_OVER}exit 9"));
    let load = Load::start(&service, &sink);
    let (code, said) = service.upgrade();
    assert_eq!(code, Some(1), "{said}");
    items += load.finish();
    service.stop();
    let stats = sink.stats();
    assert_eq!(stats["unique"], items, "{stats}");
    let log = service.log();
    let ends = log
        .lines()
        .filter(|line| line.contains("nothing was lost; ledger: "));
    assert_eq!(ends.count(), rounds() + 1, "{log}");
    println!(
        "{} upgrades, {items} items, {} twice",
        rounds(),
        stats["duplicate"]
    );
}

/// Puts a script where the program is.
fn script(program: &Path, text: &str) {
    fs::remove_file(program).unwrap();
    fs::write(program, format!("#!/bin/bash\n{text}\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Speaks as a new process does, up to the moment that it is to take over.
const TAKES_OVER: &str = "stream=${OTLPD_HANDOVER%%,*}\n\
     echo '\"prepared\"' >&$stream\n\
     read -r word <&$stream\n";

/// What becomes of the program or the configuration, and what an upgrade then says of it.
type Fault = (&'static str, fn(&Service));

#[test]
fn an_upgrade_that_fails_leaves_the_old_process_serving() {
    fail_to_upgrade(
        "[upgrade]\nprepare_timeout = \"10m\"\nstart_timeout = \"10m\"\n",
        &[
            ("unknown section `mistake`", |service| {
                let good = fs::read_to_string(service.config()).unwrap();
                fs::write(service.config(), format!("{good}\n[mistake]\n")).unwrap();
            }),
            ("exit status: 7", |service| {
                script(&service.program(), "exit 7");
            }),
            ("exit status: 9", |service| {
                script(&service.program(), &format!("{TAKES_OVER}exit 9"));
            }),
        ],
    );
}

/// It has as long as it needs, and what it does not do in time is never done.
#[test]
fn an_upgrade_that_takes_too_long_leaves_the_old_process_serving() {
    fail_to_upgrade(
        "[upgrade]\nprepare_timeout = \"2s\"\nstart_timeout = \"10m\"\n",
        &[("within 2s", |service| {
            script(&service.program(), "exec sleep 600");
        })],
    );
    fail_to_upgrade(
        "[upgrade]\nprepare_timeout = \"10m\"\nstart_timeout = \"2s\"\n",
        &[("within 2s", |service| {
            script(&service.program(), &format!("{TAKES_OVER}exec sleep 600"));
        })],
    );
}

/// With these limits, upgrades fail for these reasons, and nobody notices.
fn fail_to_upgrade(limits: &str, faults: &[Fault]) {
    let sink = Running::sink(&[]);
    let mut service = Service::start(&format!("{limits}{}", to(&sink)));
    let pid = service.pid();
    let config = service.config();
    let good = fs::read_to_string(&config).unwrap();
    let mut items = 0;
    for (reason, damage) in faults {
        let load = Load::start(&service, &sink);
        let before = good_status(&service)["upgrade"]["attempts"].as_u64();
        // The command itself reads a good configuration.
        damage(&service);
        let (code, said) = service.upgrade_by(&good);
        fs::write(&config, &good).unwrap();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(said.contains(&format!("process {pid} serves on")), "{said}");
        until("it is logged", || service.log().contains(reason));
        let status = good_status(&service);
        assert_eq!(status["pid"], pid);
        assert_eq!(
            status["upgrade"]["attempts"].as_u64(),
            before.map(|n| n + 1)
        );
        items += load.finish();
    }
    let mut processes = 1;
    // Where there is time for one.
    if limits.matches("10m").count() == 2 {
        service.restore_program();
        let (code, said) = service.upgrade();
        assert_eq!(code, Some(0), "{said}");
        processes = 2;
    }
    service.stop();
    assert_nothing_lost(&service, &sink, processes, items);
}

fn good_status(service: &Service) -> Value {
    let mut status = Value::Null;
    until("the admin side answers", || {
        status = service.status().unwrap_or_default();
        status["readiness"]["state"] == "running"
    });
    status
}

#[test]
fn a_second_upgrade_at_once_is_refused_and_a_stop_ends_the_first() {
    let sink = Running::sink(&[]);
    let limits = "[upgrade]\nprepare_timeout = \"10m\"\n";
    let mut service = Service::start(&format!("{limits}{}", to(&sink)));
    script(&service.program(), "exec sleep 600");
    let under_way = |service: &Service| good_status(service)["upgrade"]["under_way"] == true;
    service.signal("USR2");
    until("the first is under way", || under_way(&service));
    let (code, said) = service.upgrade();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("under way already"), "{said}");
    service.signal("USR2");
    let refused = "SIGUSR2: refused: an upgrade is under way already";
    until("the second is refused", || service.log().contains(refused));
    assert!(under_way(&service));
    service.stop();
    assert_nothing_lost(&service, &sink, 1, 0);
}

#[test]
fn one_that_cannot_be_found_or_is_another_one_is_not_upgraded() {
    let sink = Running::sink(&[]);
    let mut service = Service::start(&to(&sink));
    let other = std::process::id().to_string();
    let (code, said) = service.upgrade_with(&["--pid", &other]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("not {other}")), "{said}");
    let (code, said) = service.upgrade_with(&["--set", "admin.enabled=false"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("SIGUSR2"), "{said}");
    assert_eq!(good_status(&service)["upgrade"]["attempts"], 0);
    service.stop();
    let (code, said) = service.upgrade();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot ask http://"), "{said}");
}

/// What is acknowledged and cannot be delivered yet is the old process's to deliver: the new one
/// serves, and the old one ends when the destination is back.
#[test]
fn what_is_in_memory_is_delivered_by_the_old_process() {
    let sink = Running::sink(&["--hang"]);
    let mut service = Service::start(&to(&sink));
    let flags = ["--requests", "10", "--items", "50", "--endpoint"];
    let report = load(&[&flags[..], &[&service.endpoint("grpc")]].concat());
    assert_eq!(report["acknowledged_items"], 500, "{report}");
    let (code, said) = service.upgrade();
    assert_eq!(code, Some(0), "{said}");
    assert!(!service.log().contains("ledger: "), "{}", service.log());
    sink.control("mode=ok");
    until("the old process ends", || {
        service.log().contains("ledger: ")
    });
    service.stop();
    assert_nothing_lost(&service, &sink, 2, 500);
}

/// A request without items, by a client that knows nothing of the daemon.
const REQUEST: &str = "POST /v1/traces HTTP/1.1\r\nhost: otlpd\r\n\
     content-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// The head of the next answer.
fn answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// How long such a connection is listened to.
const LAST_CHANCE: Duration = Duration::from_secs(2);

#[test]
fn an_idle_http1_connection_may_speak_once_more_when_the_daemon_stops() {
    let sink = Running::sink(&[]);
    // A machine that stands still for longer than that says nothing about it.
    for _ in 0..20 {
        let mut service = Service::start(&to(&sink));
        let address = service.endpoint("http");
        let mut idle = TcpStream::connect(&address).unwrap();
        idle.write_all(REQUEST.as_bytes()).unwrap();
        let first = answer(&mut idle);
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        assert!(!first.contains("connection: close"), "{first}");
        let begun = SystemTime::now();
        service.signal("TERM");
        until("it listens no more", || {
            TcpStream::connect(&address).is_err()
        });
        idle.write_all(REQUEST.as_bytes()).ok();
        if begun.elapsed().unwrap() > LAST_CHANCE / 2 {
            continue;
        }
        let last = answer(&mut idle);
        assert!(last.starts_with("HTTP/1.1 200"), "{last}");
        assert!(last.contains("connection: close"), "{last}");
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        service.wait();
        return;
    }
    panic!("the machine is never fast enough");
}

#[test]
fn sockets_are_found_by_name_and_those_that_nobody_wants_are_told() {
    let sink = Running::sink(&[]);
    // The names are those of the configuration, one of them of a receiver that is not there.
    let names = ["receivers.apps.grpc", "receivers.apps.http", "other"];
    let mut service = Service::activated_as(&to(&sink), names);
    let log = service.log();
    let inherited = log.lines().filter(|line| line.contains("was inherited"));
    assert_eq!(inherited.count(), 2, "{log}");
    assert!(
        log.contains("no endpoint of the configuration is there"),
        "{log}"
    );
    service.stop();
}
