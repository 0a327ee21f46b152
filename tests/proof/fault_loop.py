"""A loop of faults under load: the ledger must balance, and nothing acknowledged may be missing.

    fault_loop.py [--minutes 10] [--acknowledge stored]

Two destinations, gRPC and HTTP, each with a queue on disk. In turn, in an order of chance: the
destinations refuse connections, hang, reset, stall, are slow, answer 429 and 503 with a delay,
refuse one tenant for good, take some items of each request only; the disk is full; the daemon gets
SIGTERM and is started again, SIGHUP, SIGKILL. After each fault traffic must flow again. In the end
everything drains; each item that was acknowledged must be at both destinations, but for those that
a destination itself rejected.

The disk that is full is a tmpfs of its own; where none can be mounted, that fault is left out.
"""

import random
import signal
import subprocess
import time

import books
import parts

SECTIONS = """
[intake]
memory_budget = "64MiB"
acknowledge = "{acknowledge}"
max_wait = "2s"
[shutdown]
deadline = "3s"
{storage}
[exporters.backend]
type = "otlp_grpc"
endpoint = "http://{grpc}"
compression = "none"
timeout = "2s"
{queue}
retry_on_failure = {{ initial_interval = "100ms", max_interval = "1s" }}

[exporters.web]
type = "otlp_http"
endpoint = "http://{http}"
compression = "gzip"
timeout = "2s"
{queue}
retry_on_failure = {{ initial_interval = "100ms", max_interval = "1s" }}

[pipelines.main]
receivers = ["apps"]
exporters = ["backend", "web"]
"""

# What one destination, or both, may do for a while.
MISDEEDS = {
    "closed": {"line": "closed"},
    "hang": {"answer": "hang"},
    "reset": {"line": "reset"},
    "stalled": {"line": "stalled"},
    "slow": {"delay": 0.5},
    "exhausted": {"answer": "exhausted", "retry_after": 1},
    "unavailable": {"answer": "unavailable"},
    "unavailable with a delay": {"answer": "unavailable", "retry_after": 1},
    "one tenant refused": {"refuse_tenant": "bad"},
    "partial success": {"partial": 7},
}


class Disk:
    """A small file system for the queues, which can be filled up."""

    def __init__(self, folder, megabytes):
        self.directory = folder / "storage"
        self.directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.directory]
        mounted = subprocess.run(command, stderr=subprocess.DEVNULL)
        self.mounted = mounted.returncode == 0
        if not self.mounted:
            print("  SKIPPED: no tmpfs can be mounted here (not root?): the disk is never full")
        self.filler = self.directory / "filler"

    def fill(self):
        """What was given back since the last time is taken too."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self):
        self.filler.unlink(missing_ok=True)

    def end(self):
        if self.mounted:
            subprocess.run(["umount", self.directory], check=False)


class Loop:
    def __init__(self, given, folder):
        self.given, self.folder = given, folder
        self.luck = random.Random(given.seed)
        self.disk = Disk(folder, given.disk)
        self.sink = parts.Sink(folder)
        self.daemon = parts.Daemon(given.otlpd, folder, self.sections())
        self.generators = None
        self.done = {}
        self.failures = []
        self.ledgers = 0
        # How often the log spoke of a full disk.
        self.noticed = 0
        # How much the clients had been answered after each fault, and how long that took.
        self.slowest_recovery = (0.0, "none")

    def sections(self):
        given = self.given
        if given.acknowledge == "stored":
            storage = f'[storage]\ndirectory = "{self.disk.directory}/otlpd"\n'
            queue = (
                'queue = { kind = "disk", max_bytes = "1GiB", '
                f'fsync = "{given.fsync}", when_full = "refuse" }}'
            )
        else:
            storage, queue = "", ""
        return SECTIONS.format(
            acknowledge=given.acknowledge,
            storage=storage,
            queue=queue,
            grpc=self.sink.at["grpc"],
            http=self.sink.at["http"],
        )

    def run(self):
        given = self.given
        self.daemon.start()
        self.generators = parts.Generators(
            self.folder,
            self.daemon,
            processes=given.processes,
            threads=given.threads,
            rate=given.rate / given.processes,
            bad_share=0.02,
            # So that files are filled within seconds.
            padding=1000,
        )
        end = time.monotonic() + given.minutes * 60
        faults = []
        while time.monotonic() < end:
            if not faults:
                faults = self.faults()
                self.luck.shuffle(faults)
            fault = faults.pop()
            self.commit(fault)
        return self.finish()

    def faults(self):
        faults = list(MISDEEDS) + ["SIGTERM", "SIGHUP"]
        if self.disk.mounted and self.given.acknowledge == "stored":
            faults.append("disk full")
        if self.given.acknowledge != "queued":
            faults.append("SIGKILL")
        return faults

    def commit(self, fault):
        self.done[fault] = self.done.get(fault, 0) + 1
        lasts = self.luck.uniform(0.5, 1) * self.given.lasts
        if fault in MISDEEDS:
            lanes = self.luck.choice([["grpc"], ["http"], ["grpc", "http"]])
            self.sink.mode(**{lane: MISDEEDS[fault] for lane in lanes})
            self.watch(lasts)
        elif fault == "disk full":
            # What is written where nothing is delivered stays; else room comes back now and then.
            mood = self.luck.choice([{}, {"answer": "unavailable"}])
            self.sink.mode(grpc=mood, http=mood)
            self.watch(lasts, each=self.disk.fill)
            # What is delivered leaves its file to what comes next: only what stays needs more disk.
            give_up = time.monotonic() + 60
            while not self.says_full() and time.monotonic() < give_up:
                self.sink.mode(grpc={"answer": "unavailable"}, http={"answer": "unavailable"})
                self.watch(0.5, each=self.disk.fill)
            self.noticed += self.says_full()
            self.disk.free()
        else:
            # As often as not in a bad moment.
            mood = self.luck.choice([{}, {}, {"answer": "unavailable"}, {"answer": "hang"}])
            self.sink.mode(grpc=mood, http=mood)
            self.watch(lasts / 4)
            self.interrupt(fault)
        self.sink.mode(grpc={}, http={})
        self.flows_again(fault)
        print(f"  {fault}: {self.summary()}", flush=True)

    def interrupt(self, fault):
        if fault == "SIGKILL":
            self.daemon.kill()
            self.daemon.start()
        elif fault == "SIGTERM":
            self.stop()
            self.daemon.start()
        elif fault == "SIGHUP":
            self.daemon.signal(signal.SIGHUP)
            time.sleep(0.5)
            if self.daemon.child.poll() is not None:
                self.done["ended by SIGHUP"] = self.done.get("ended by SIGHUP", 0) + 1
                self.daemon.start()

    def stop(self):
        code, ledger = self.daemon.stop()
        self.ledgers += 1
        start = self.daemon.starts
        self.failures += [f"run {start}: {line}" for line in parts.imbalances(ledger)]
        left = parts.total(ledger, "in_process")
        if left:
            self.failures.append(f"run {start} ended with {left} items in process: {ledger}")
        gone = parts.dropped(ledger)
        allowed = {"permanent", "shutdown"} if self.given.acknowledge != "stored" else {"permanent"}
        if set(gone) - allowed:
            self.failures.append(f"run {start} dropped {gone}")
        # An exit code says that something was given up: what a destination refused, and what could
        # not be delivered in time and lay in memory only.
        if code != 0 and not gone:
            self.failures.append(f"run {start}: SIGTERM, exit code {code}, ledger {ledger}")
        return ledger

    def says_full(self):
        """Whether the log has a line for whoever must make room."""
        return int("os error 28" in self.daemon.log.read_text(errors="replace"))

    def watch(self, seconds, each=lambda: None):
        """Lets it run; every ledger that is seen meanwhile must balance."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            each()
            status = self.daemon.status()
            if status is not None:
                self.ledgers += 1
                self.failures += parts.imbalances(status["ledger"])
            time.sleep(0.1)

    def flows_again(self, fault):
        """New requests are taken, and something is delivered to each destination."""
        begun = time.monotonic()
        before = self.sink.state()
        received = None

        def flows():
            nonlocal received
            status = self.daemon.status()
            if status is None:
                return False
            now = parts.total(status["ledger"], "received")
            received = now if received is None else received
            state = self.sink.state()
            grown = all(state[lane]["items"] > before[lane]["items"] for lane in ("grpc", "http"))
            return grown and now > received

        parts.wait_until(f"traffic to flow again after `{fault}`", flows, 300, self.daemon)
        took = time.monotonic() - begun
        self.slowest_recovery = max(self.slowest_recovery, (took, fault))

    def summary(self):
        state = self.sink.state()
        status = self.daemon.status()
        waiting = parts.total(status["ledger"], "in_process") if status else "?"
        rss = self.daemon.rss() >> 20
        return (
            f"{state['grpc']['items']} items at grpc, {state['http']['items']} at http, "
            f"{waiting} in process, {rss} MiB, {len(self.failures)} failures"
        )

    def finish(self):
        self.generators.stop()
        parts.drained(self.daemon)
        self.stop()
        self.sink.dump()
        told = books.Told(self.generators.logs)
        taken = books.Counts.read(self.sink.folder / "grpc.taken")
        dead = []
        for request, why in told.refused:
            # Who waits for delivery hears what the destination said.
            if self.given.acknowledge != "delivered":
                self.failures.append(f"request {request.first} was refused for good: {why}")
        for request in told.unanswered:
            self.failures.append(f"request {request.first} was never answered")
        missing = 0
        for lane in ("grpc", "http"):
            account = books.Account(told, self.sink.folder, lane, bad_tenant="bad")
            print(f"  {account.words()}")
            missing += account.missing_items()
            dead += account.dead
            for request, numbers in account.missing[:10]:
                self.failures.append(
                    f"{lane}: MISSING {len(numbers)} of {request.count} items of request "
                    f"{request.first} ({request.tenant}, {request.signal}, {request.transport}, "
                    f"acknowledged at {request.answered:.3f})"
                )
        if self.given.acknowledge == "stored":
            self.replay(dead, taken)
        self.failures += self.daemon.panics()
        if self.done.get("disk full") and not self.noticed:
            self.failures.append("the disk was full, and the log does not say so")
        print(f"  faults: {self.done}; noticed that the disk was full: {self.noticed}")
        print(f"  attempts of clients: {told.attempts}")
        return (
            f"{self.given.minutes:g} minutes, {sum(self.done.values())} faults, {self.daemon.starts} "
            f"starts, {self.ledgers} ledgers looked at, {told.items()} items acknowledged, "
            f"{missing} missing, slowest recovery {self.slowest_recovery[0]:.1f} s after "
            f"`{self.slowest_recovery[1]}`, peak {self.daemon.peak >> 20} MiB"
        )

    def replay(self, dead, before):
        """What a destination refused for good is in the dead letters: it can be sent again."""
        command = [self.given.otlpd, "replay", "--to", "http://" + self.sink.at["grpc"]]
        command += ["--directory", f"{self.disk.directory}/otlpd"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        said = (done.stdout + done.stderr).strip()
        if done.returncode != 0:
            self.failures.append(f"replay: exit code {done.returncode}: {said[-1000:]}")
        self.sink.dump()
        after = books.Counts.read(self.sink.folder / "grpc.taken")
        wanted = {}
        for number in dead:
            wanted[number] = wanted.get(number, 0) + 1
        lost = [
            number for number, times in wanted.items()
            if after.get(number) - before.get(number) < times
        ]
        print(f"  replay: {len(dead)} items are dead, {len(lost)} of them are no letters")
        if lost:
            self.failures.append(f"{len(lost)} items are neither delivered nor dead letters: {lost[:10]}")

    def end(self):
        for part in (self.generators, self.daemon, self.sink, self.disk):
            if part is not None:
                part.end()


def more(add):
    add("--minutes", type=float, default=10)
    add("--lasts", type=float, default=6, help="seconds that a fault lasts at most")
    add("--disk", type=int, default=512, help="MiB of the disk that gets full")
    add("--rate", type=float, default=200, help="requests a second")


def main():
    if not parts.python_is_ready():
        return
    given = parts.options(__doc__, more)
    folder = parts.workplace(given)
    loop = Loop(given, folder)
    try:
        words = loop.run()
    except parts.Failure as failure:
        loop.failures.append(str(failure))
        words = f"after {loop.done}"
    finally:
        loop.end()
    parts.leave(given, folder, "fault_loop", loop.failures[:40], words)


if __name__ == "__main__":
    main()
