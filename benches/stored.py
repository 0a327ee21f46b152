#!/usr/bin/env python3
"""What it costs that a success answer means "on disk": `stored` beside `queued`.

    benches/stored.py                     # release build, both in turn, 5 rounds
    benches/stored.py --fsync always      # with a sync before each answer

The same load and sink as benches/passthrough.py, one after the other on the same CPUs: a healthy
destination, everything acknowledged must arrive. Fails where the median of the rounds' ratios is
above --most-cpu (CPU seconds for a million items) or below --least-throughput. Memory is printed
for both. Python 3's standard library is enough.
"""

import pathlib
import shutil
import signal
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import passthrough  # noqa: E402

STORED = """
[storage]
directory = "{directory}"

[exporters.backend.queue]
kind = "disk"
max_bytes = "20GiB"
fsync = "{fsync}"
when_full = "refuse"
"""


class Bench(passthrough.Bench):
    """Knows two contenders: otlpd that acknowledges what is `queued`, and what is `stored`."""

    def command(self, name, places, protocol):
        template = passthrough.OTLPD.replace('acknowledge = "queued"', f'acknowledge = "{name}"')
        if name == "stored":
            directory = self.given.folder / "storage"
            shutil.rmtree(directory, ignore_errors=True)
            more = STORED.format(directory=directory, fsync=self.given.fsync)
            # The exporter's table has to be closed before its queue's is opened.
            template = template.replace("[pipelines.main]", more + "\n[pipelines.main]")
        return [self.given.otlpd, "--config", self.config(template, places, "toml")]


def options():
    import argparse
    import os

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    release = passthrough.ROOT / "target/release/otlpd"
    add("--bench", default=release, help="the otlpd that loads and sinks")
    add("--otlpd", default=release, help="the otlpd to measure")
    add("--scenarios", default="grpc", help="of benches/passthrough.py")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=5)
    add("--rate", type=float, default=100_000, help="items a second in scenario small")
    two = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
    add("--cpus", default=two, help="the CPUs on which everything runs (default: the first two)")
    add("--fsync", default="interval", choices=["interval", "always", "never"])
    add("--folder", type=pathlib.Path, default=passthrough.ROOT / "target", help="the disk that is used")
    add("--most-cpu", type=float, default=1.6)
    add("--least-throughput", type=float, default=0.5)
    given = parser.parse_args()
    given.command = []
    return given


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = options()
    failures = []
    words = []
    with tempfile.TemporaryDirectory(prefix="otlpd-stored-", dir=given.folder) as folder:
        given.folder = pathlib.Path(folder)
        bench = Bench(given, given.folder)
        print(passthrough.HEAD, flush=True)
        for scenario in given.scenarios.split(","):
            pairs = []
            for _ in range(given.rounds):
                pair = [bench.measure(scenario, name) for name in ("queued", "stored")]
                queued, stored = (row["cpu_seconds_per_million"] for row in pair)
                pair[1]["ratio"] = stored / queued
                for row in pair:
                    print(passthrough.line(row), flush=True)
                    if row["missing"] or row["failed"]:
                        failures.append(
                            f"{scenario}, {row['contender']}: {row['missing']} missing, "
                            f"{row['failed']} failed"
                        )
                pairs.append(pair)
            cpu = statistics.median(pair[1]["ratio"] for pair in pairs)
            rate = statistics.median(
                pair[1]["items_per_second"] / pair[0]["items_per_second"] for pair in pairs
            )
            peaks = [statistics.median(pair[n]["peak_mib"] for pair in pairs) for n in (0, 1)]
            words.append(
                f"{scenario}: {cpu:.2f} x the CPU, {rate:.2f} x the throughput, peak "
                f"{peaks[1]:.0f} MiB beside {peaks[0]:.0f}"
            )
            if cpu > given.most_cpu:
                failures.append(f"{scenario}: {cpu:.2f} x the CPU time; {given.most_cpu} is allowed")
            if rate < given.least_throughput:
                failures.append(f"{scenario}: {rate:.2f} x the throughput")
    for failure in failures:
        print(f"  {failure}")
    said = f"fsync {given.fsync}: " + "; ".join(words)
    print(f"stored: {'FAILED' if failures else 'PASSED'}: {said}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
