//! In a control group: as many threads as the CPU quota is worth, and no death by its memory
//! limit under overload.
//!
//! Needs cgroup v1 controllers below which it may make groups; without, it says so on standard
//! error and proves nothing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    reason = "a test tells what it saw, in one place, and lets real time pass where age is the matter"
)]
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

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemon::{Daemon, assert_balances, free_port};
use process::{Running, finish, start_load, until};

/// A group below our own in the hierarchy of one controller; it goes with the test.
struct Group(PathBuf);

impl Group {
    /// `None` where there is no such v1 hierarchy, or nothing may be made in it.
    fn make(controller: &str, name: &str) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let ours = groups.lines().find_map(|line| {
            let (_id, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let found = controllers.split(',').any(|one| one == controller);
            found.then(|| path.trim_start_matches('/').to_owned())
        })?;
        let name = format!("otlpd-test-{}-{name}", std::process::id());
        let path = Path::new("/sys/fs/cgroup").join(controller).join(ours);
        let path = path.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn set(&self, file: &str, value: impl ToString) {
        fs::write(self.0.join(file), value.to_string()).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn procs(&self) -> String {
        self.0.join("cgroup.procs").display().to_string()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has ended may stand in its group for a moment longer.
        until("the group can be removed", || {
            fs::remove_dir(&self.0).is_ok() || !self.0.exists()
        });
    }
}

/// Twenty connections with four requests of 539 kB in flight on each.
fn overload(daemon: &Daemon, sink: &Running, protocol: &str) -> std::process::Child {
    let endpoint = daemon.endpoint(protocol);
    let flags = [
        ["--endpoint", &endpoint],
        ["--connections", "20"],
        ["--in-flight", "4"],
        ["--items", "1000"],
        ["--protocol", protocol],
        ["--duration", "2s"],
        ["--check", sink.address("control")],
        ["--settle", "60s"],
    ];
    start_load(flags.as_flattened())
}

/// The names of the threads of a process.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    names.map(|name| name.trim().to_owned()).collect()
}

fn lives_within(quota: &str, expected: usize, protocol: &str) {
    let groups = ["cpu", "memory"].map(|controller| Group::make(controller, quota));
    let [Some(cpu), Some(memory)] = groups else {
        eprintln!("SKIPPED, NOTHING IS PROVEN: no cgroup v1 in which groups can be made");
        return;
    };
    cpu.set("cpu.cfs_period_us", 100_000);
    cpu.set(
        "cpu.cfs_quota_us",
        quota.parse::<f64>().unwrap() * 100_000.0,
    );
    memory.set("memory.limit_in_bytes", 64 << 20);
    let grpc = format!("127.0.0.1:{}", free_port());
    let sink = Running::start(&["sink", "--grpc", &grpc, "--control", "127.0.0.1:0"]);
    let sections = format!(
        "[intake]\nmax_wait = \"2s\"\n\
         [exporters.backend]\ntype = \"otlp_grpc\"\nendpoint = \"http://{grpc}\"\n\
         compression = \"none\"\nbreaker = {{ max_open_time = \"1s\" }}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"backend\"]\n"
    );
    let mut daemon = Daemon::start_by(&sections, |command| {
        let script = format!(
            "echo $$ > {} && echo $$ > {} && exec \"$0\" \"$@\"",
            cpu.procs(),
            memory.procs()
        );
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(command.get_program());
        shell.args(command.get_args());
        *command = shell;
    });
    let log = daemon.log();
    let plural = if expected == 1 { "" } else { "s" };
    assert!(
        log.contains(&format!(" {expected} thread{plural}")),
        "{log}"
    );
    assert!(log.contains("cpu.cfs_quota_us"), "{log}");
    assert!(
        log.contains("40 % of cgroup v1 memory.limit_in_bytes"),
        "{log}"
    );
    assert_eq!(daemon.status()["cpu"]["threads"], expected);

    sink.control("mode=refuse");
    let down = overload(&daemon, &sink, protocol);
    until("clients are held", || {
        daemon.status()["budget"]["held_requests"] != 0
    });
    let names = threads(daemon.pid());
    let count = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
    assert_eq!(count("worker-"), expected, "{names:?}");
    // One CPU's worth of I/O is done on the main thread.
    let io = if expected == 1 { 0 } else { expected };
    assert_eq!(
        (count("io"), names.len()),
        (io, 1 + io + expected),
        "{names:?}"
    );

    until("something was refused", || {
        let page = daemon.get("/metrics").body;
        page.lines().any(|line| {
            line.starts_with("otlpd_receiver_refused_requests_total") && !line.ends_with(" 0")
        })
    });
    sink.control("mode=delay&ms=200");
    let slow = overload(&daemon, &sink, protocol);
    for load in [down, slow] {
        let report = finish(load);
        assert_eq!(report["check"]["missing"], 0, "{report}");
        assert_ne!(report["acknowledged_items"], 0, "{report}");
    }
    println!(
        "quota {quota}: peak of resident memory {} MiB, of the group {} MiB",
        daemon.memory("VmHWM") >> 20,
        memory
            .read("memory.max_usage_in_bytes")
            .trim()
            .parse::<u64>()
            .unwrap()
            >> 20
    );
    assert!(!daemon.has_ended(), "it is alive");
    let oom = memory.read("memory.oom_control");
    assert!(
        !oom.contains("oom_kill ") || oom.contains("oom_kill 0"),
        "{oom}"
    );
    let (status, ledger) = daemon.stop();
    assert!(status.success(), "{status}: {ledger}");
    assert_balances(&ledger);
}

#[test]
fn half_a_cpu() {
    lives_within("0.5", 1, "grpc");
}

#[test]
fn one_cpu() {
    lives_within("1", 1, "http");
}

#[test]
fn one_and_a_half_cpus() {
    lives_within("1.5", 2, "grpc");
}
