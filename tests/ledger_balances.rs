//! Whatever the destinations do, in any order, under load: the ledger balances at every look,
//! and nothing that was acknowledged is missing at the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;

use daemon::{Daemon, accounts, assert_balances, dropped, free_port};
use process::{Running, finish, start_load, until};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// What a destination may be told to do, all of it worth another try.
const MODES: [&str; 7] = [
    "mode=ok",
    "mode=delay&ms=20",
    "mode=fail&code=14",
    "mode=fail&code=14&rate=0.5",
    "mode=fail&code=8&retry_after_ms=100",
    "mode=hang",
    "mode=refuse",
];

/// What only the one may be told that nobody is promised anything about.
const REJECT: &str = "mode=ok&partial=1";

/// How often the destinations change their ways.
const CHANGES: usize = 30;

fn sink() -> Running {
    let grpc = format!("127.0.0.1:{}", free_port());
    Running::start(&["sink", "--grpc", &grpc, "--control", "127.0.0.1:0"])
}

fn daemon(required: &Running, lossy: &Running) -> Daemon {
    let lane = "compression = \"none\"\ntimeout = \"1s\"\n\
                retry_on_failure = { initial_interval = \"20ms\", max_interval = \"100ms\" }\n\
                breaker = { open_time = \"50ms\", max_open_time = \"200ms\" }\n\
                batch = { max_bytes = \"256KiB\" }\n";
    Daemon::start(&format!(
        "[intake]\nmemory_budget = \"32MiB\"\nmax_wait = \"1s\"\n\
         [exporters.required]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n{lane}\
         queue = {{ max_bytes = \"4MiB\" }}\n\
         [exporters.lossy]\ntype = \"otlp_grpc\"\nendpoint = \"http://{}\"\n{lane}\
         required = false\nqueue = {{ max_bytes = \"1MiB\" }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"required\", \"lossy\"]\n",
        required.address("grpc"),
        lossy.address("grpc")
    ))
}

/// What all signals of an exporter add up to, by a column of their accounts.
fn sum(ledger: &Value, exporter: &str, column: impl Fn(&Value) -> u64) -> u64 {
    let all = accounts(ledger).into_iter();
    let of = all.filter(|(name, _)| name.ends_with(exporter));
    of.map(|(_, account)| column(&account)).sum()
}

#[test]
fn through_every_change_of_the_destinations() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut dice = SmallRng::seed_from_u64(seed);
    let (required, lossy) = (sink(), sink());
    let mut daemon = daemon(&required, &lossy);
    let loads = [("traces", "grpc"), ("metrics", "http"), ("logs", "grpc")];
    let mut loads = loads.map(|(signal, protocol)| {
        let endpoint = daemon.endpoint(protocol);
        let flags = [
            ["--signal", signal],
            ["--protocol", protocol],
            ["--endpoint", &endpoint],
            ["--check", required.address("control")],
            ["--connections", "2"],
            ["--in-flight", "2"],
            ["--items", "50"],
            ["--rate", "10000"],
            ["--duration", "10s"],
            ["--settle", "60s"],
        ];
        start_load(&[flags.as_flattened(), &["--retry"]].concat())
    });
    let mut looks = 0;
    for _ in 0..CHANGES {
        required.control(MODES[dice.random_range(0..MODES.len())]);
        lossy.control(match dice.random_range(0..=MODES.len()) {
            mode if mode < MODES.len() => MODES[mode],
            _ => REJECT,
        });
        let attempts = |name| daemon.lane(name)["attempts"].as_u64().unwrap();
        let before = attempts("required");
        until("it was felt", || {
            looks += 1;
            assert_balances(&daemon.status()["ledger"]);
            let is_over = loads
                .each_mut()
                .map(|load| load.try_wait().unwrap().is_some());
            attempts("required") > before + 2 || is_over == [true; 3]
        });
    }
    required.control("mode=ok");
    lossy.control("mode=ok");
    for report in loads.map(finish) {
        assert_ne!(report["acknowledged_items"], 0, "{report}");
        assert_eq!(report["check"]["missing"], 0, "{report}");
    }
    let (_, ledger) = daemon.stop();
    assert_balances(&ledger);
    let column = |name: &'static str| move |account: &Value| account[name].as_u64().unwrap();
    for (name, sink) in [("required", &required), ("lossy", &lossy)] {
        assert_eq!(sum(&ledger, name, column("in_process")), 0);
        // What a destination got twice it has once; what it took and we did not hear of, twice.
        let stats = sink.stats();
        let arrived = stats["unique"].as_u64().unwrap() + stats["duplicate"].as_u64().unwrap();
        assert!(
            sum(&ledger, name, column("delivered")) <= arrived,
            "{stats}"
        );
    }
    assert_eq!(sum(&ledger, "required", dropped), 0, "{ledger}");
    assert!(looks > CHANGES, "the ledger was looked at while it moved");
}
