#!/usr/bin/env python3
"""What a collector costs to carry OTLP from a client to a backend, beside a bare TCP proxy.

In turn, round after round, on the same CPUs: bench load -> CONTENDER -> bench sink. For each
contender it prints items a second, CPU seconds of its process per million items, the ratio of
that to the proxy's in the same round, resident memory idle and at its peak, and latencies. Every
item that was acknowledged must arrive at the sink; what is missing is in the table, and with the
proxy or otlpd makes the exit code 1.

    benches/passthrough.py                                  # proxy and otlpd, scenario grpc
    benches/passthrough.py --contenders proxy,otlpd,collector,rotel --scenarios all
    benches/passthrough.py --contenders proxy,mine --command 'mine=./mine --in {grpc} --out {out}'

`benches/peers.sh` gets the collector and rotel. Python 3's standard library is enough.
"""

import argparse
import json
import os
import pathlib
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")

# load, sink: flags of bench load and bench sink. out: how contenders compress what they send.
# floor: the flags for the proxy's load where they differ; it cannot compress, so with gzip it
# carries the plain bytes. frames16k: client and backend like grpc-go, whose frames are never
# larger (-in, -out: only one of them); elsewhere frames are as large as the contender allows, and
# the sink allows 1 MiB.
SCENARIOS = {
    "grpc": {"load": ["--signal", "traces"], "out": "none"},
    "frames16k": {
        "load": ["--signal", "traces", "--frame-kib", "16"],
        "out": "none",
        "sink": ["--frame-kib", "16"],
    },
    "frames16k-in": {"load": ["--signal", "traces", "--frame-kib", "16"], "out": "none"},
    "frames16k-out": {
        "load": ["--signal", "traces"],
        "out": "none",
        "sink": ["--frame-kib", "16"],
    },
    "http": {"load": ["--signal", "traces", "--protocol", "http"], "out": "none"},
    "small": {"load": ["--signal", "traces", "--items", "20", "--rate", "{rate}"], "out": "none"},
    "gzip": {
        "load": ["--signal", "traces", "--compression", "gzip"],
        "out": "gzip",
        "floor": ["--signal", "traces"],
    },
    "gzip-in": {
        "load": ["--signal", "traces", "--compression", "gzip"],
        "out": "none",
        "floor": ["--signal", "traces"],
    },
    "logs": {"load": ["--signal", "logs"], "out": "none"},
    "metrics": {"load": ["--signal", "metrics"], "out": "none"},
}

OTLPD = """
[intake]
memory_budget = "auto"
acknowledge = "queued"

[admin]
endpoint = "{admin}"

[receivers.apps]
type = "otlp"
grpc = {{ endpoint = "{grpc}" }}
http = {{ endpoint = "{http}" }}

[exporters.backend]
type = "otlp_grpc"
endpoint = "http://{out}"
compression = "{compression}"

[pipelines.main]
receivers = ["apps"]
exporters = ["backend"]
"""

COLLECTOR = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "{grpc}", max_recv_msg_size_mib: 64}}
      http: {{endpoint: "{http}"}}
exporters:
  otlp_grpc:
    endpoint: "{out}"
    tls: {{insecure: true}}
    compression: {compression}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc]}}
    metrics: {{receivers: [otlp], exporters: [otlp_grpc]}}
    logs: {{receivers: [otlp], exporters: [otlp_grpc]}}
"""

ROTEL = (
    "{program} start --otlp-grpc-endpoint {grpc} --otlp-http-endpoint {http} --exporter otlp"
    " --otlp-exporter-endpoint http://{out} --otlp-exporter-protocol grpc"
    " --otlp-exporter-compression {compression}"
)


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bench", default=ROOT / "target/release/otlpd", help="the otlpd that loads and sinks")
    add("--otlpd", default=None, help="the otlpd to measure (default: the same)")
    add("--otlpd-config", type=pathlib.Path, help="a TOML file with {grpc} {http} {out} {admin}")
    add("--collector", default=ROOT / "target/peers/collector")
    add("--rotel", default=ROOT / "target/peers/rotel")
    add("--command", action="append", default=[], help="NAME=COMMAND with {grpc} {http} {out}")
    add("--contenders", default="proxy,otlpd")
    add("--scenarios", default="grpc", help="of " + ", ".join(SCENARIOS) + ", or all")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=5)
    add("--rate", type=float, default=100_000, help="items a second in scenario small")
    two = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
    add("--cpus", default=two, help="the CPUs on which everything runs (default: the first two)")
    add("--json", type=pathlib.Path, help="write all results here as well")
    return parser.parse_args()


class Process:
    """A child on the chosen CPUs, and what /proc says of it."""

    def __init__(self, command, cpus, log, **extra):
        self.name = pathlib.Path(command[0]).name
        self.log = open(log, "w+")
        self.child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
            **{"stdout": self.log, **extra},
        )

    def cpu_seconds(self):
        stat = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self, key):
        for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()

    def last_words(self):
        self.log.seek(0)
        return self.log.read()[-2000:]


def free_addresses(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ["127.0.0.1:%d" % one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return addresses


def wait_until_open(process, address, seconds=20):
    host, port = address.split(":")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.child.poll() is not None:
            break
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"{process.name} does not listen on {address}:\n{process.last_words()}")


class Bench:
    def __init__(self, given, folder):
        self.given = given
        self.folder = folder
        self.cpus = {int(cpu) for cpu in given.cpus.split(",")}
        self.commands = dict(pair.split("=", 1) for pair in given.command)

    def command(self, name, places, protocol):
        """The command of a contender; writes its config file where it has one."""
        given = self.given
        if name == "proxy":
            to = places["sink_http"] if protocol == "http" else places["out"]
            return [given.bench, "bench", "proxy", "--listen", places[protocol], "--to", to]
        if name == "otlpd":
            template = given.otlpd_config.read_text() if given.otlpd_config else OTLPD
            return [given.otlpd or given.bench, "--config", self.config(template, places, "toml")]
        if name == "collector":
            return [given.collector, "--config", self.config(COLLECTOR, places, "yaml")]
        if name == "rotel":
            return shlex.split(ROTEL.format(program=given.rotel, **places))
        if name in self.commands:
            return shlex.split(self.commands[name].format(**places))
        sys.exit(f"there is no contender `{name}`: name it with --command '{name}=...'")

    def config(self, template, places, suffix):
        path = self.folder / f"contender.{suffix}"
        path.write_text(template.format(**places))
        return path

    def load(self, flags, address, sink, seconds):
        command = [self.given.bench, "bench", "load", "--json", "--endpoint", address]
        command += ["--duration", f"{seconds}s", "--check", sink]
        command += [flag.format(rate=self.given.rate) for flag in flags]
        done = subprocess.run(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus),
        )
        if done.returncode != 0:
            sys.exit("bench load failed: " + shlex.join(str(part) for part in command))
        return json.loads(done.stdout)

    def measure(self, scenario, name):
        setting = SCENARIOS[scenario]
        flags = setting.get("floor", setting["load"]) if name == "proxy" else setting["load"]
        protocol = "http" if "http" in flags else "grpc"
        keys = ["grpc", "http", "admin", "out", "sink_http"]
        places = dict(zip(keys, free_addresses(len(keys))), compression=setting["out"])
        sink_command = [self.given.bench, "bench", "sink", "--grpc", places["out"]]
        sink_command += ["--http", places["sink_http"], *setting.get("sink", [])]
        sink = Process(sink_command, self.cpus, self.folder / "sink.log")
        contender = None
        try:
            wait_until_open(sink, places["sink_http"])
            command = self.command(name, places, protocol)
            contender = Process(command, self.cpus, self.folder / "contender.log")
            wait_until_open(contender, places[protocol])
            time.sleep(1)
            idle = contender.memory_mib("VmRSS")
            # The first second fills pools and windows and is not what is asked.
            self.load(flags, places[protocol], places["sink_http"], 1)
            before = contender.cpu_seconds()
            report = self.load(flags, places[protocol], places["sink_http"], self.given.seconds)
            cpu = contender.cpu_seconds() - before
            peak = contender.memory_mib("VmHWM")
        finally:
            for process in (contender, sink):
                if process:
                    process.stop()
        return result(scenario, name, report, cpu, idle, peak)


def result(scenario, name, report, cpu, idle, peak):
    items = report["acknowledged_items"]
    ok = sum(n for answer, n in report["answers"].items() if answer in ("grpc-status 0", "http 200"))
    return {
        "scenario": scenario,
        "contender": name,
        "items_per_second": report["items_per_second"],
        "cpu_seconds_per_million": cpu / items * 1e6 if items else float("nan"),
        "idle_mib": idle,
        "peak_mib": peak,
        "p50_ms": report["latency_ms"]["p50"],
        "p99_ms": report["latency_ms"]["p99"],
        "failed": report["attempts"] - ok,
        "missing": report["check"]["missing"],
    }


HEAD = (
    f"{'scenario':15}{'contender':11}{'items/s':>11}{'CPU s/M':>9}{'x proxy':>9}"
    f"{'idle MiB':>10}{'peak MiB':>10}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}{'missing':>9}"
)


def line(row):
    ratio = f"{row['ratio']:.2f}" if row.get("ratio") else "-"
    return (
        f"{row['scenario']:15}{row['contender']:11}{row['items_per_second']:>11,.0f}"
        f"{row['cpu_seconds_per_million']:>9.3f}{ratio:>9}{row['idle_mib']:>10.1f}"
        f"{row['peak_mib']:>10.1f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
        f"{row['failed']:>8}{row['missing']:>9}"
    )


def medians(rows):
    """One row for each scenario and contender; the ratio is the median of the rounds' ratios."""
    together = {}
    for row in rows:
        together.setdefault((row["scenario"], row["contender"]), []).append(row)
    for (scenario, contender), same in together.items():
        middle = {"scenario": scenario, "contender": contender}
        for key in same[0]:
            values = [row[key] for row in same if row.get(key) is not None]
            if key in ("failed", "missing"):
                middle[key] = sum(values)
            elif key not in middle and key != "round":
                middle[key] = statistics.median(values) if values else None
        yield middle


def main():
    # As Ctrl-C does: whatever was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = options()
    scenarios = list(SCENARIOS) if given.scenarios == "all" else given.scenarios.split(",")
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            sys.exit(f"there is no scenario `{scenario}`: {', '.join(SCENARIOS)}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given, pathlib.Path(folder))
        print(HEAD, flush=True)
        for scenario in scenarios:
            for number in range(given.rounds):
                floor = None
                for name in given.contenders.split(","):
                    row = bench.measure(scenario, name)
                    row["round"] = number
                    if name == "proxy":
                        floor = row["cpu_seconds_per_million"]
                    row["ratio"] = row["cpu_seconds_per_million"] / floor if floor else None
                    rows.append(row)
                    print(line(row), flush=True)
    table = list(medians(rows))
    print(f"\nmedian of {given.rounds} rounds of {given.seconds:g} s (failed, missing: sums)\n{HEAD}")
    for row in table:
        print(line(row))
    if given.json:
        given.json.write_text(json.dumps({"rounds": rows, "medians": table}, indent=1) + "\n")
    if any(row["missing"] for row in table if row["contender"] in ("proxy", "otlpd")):
        sys.exit("acknowledged items are missing")


if __name__ == "__main__":
    main()
