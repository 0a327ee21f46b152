"""`kill -9` at random moments, under load; what was acknowledged must arrive all the same.

    survives_kill.py [--kills 50] [--acknowledge stored] [--fsync interval] [--power none]

The destination is healthy, slow, refusing, hanging or away, by chance, and may change while a run
lasts. After the last kill it is healthy, everything drains, and every item that was acknowledged
must have arrived. What arrives twice may not be more than what was in flight when it was killed.

--power recorded   after each kill, files are cut back to what was synced (tests/proof/power.c)
--power journal    the same, where a sync of anything makes all earlier names last (ext4, XFS)
--power image      storage lies on a file system of its own, whose image is copied when it is
                   killed, before the kernel writes back what nobody synced; needs root
"""

import bisect
import json
import random
import time

import parts

MOODS = [
    ("healthy", {}),
    ("healthy", {}),
    ("slow", {"delay": 0.3}),
    ("refusing", {"answer": "unavailable"}),
    ("busy", {"answer": "exhausted", "retry_after": 0.3}),
    ("hanging", {"answer": "hang"}),
    ("away", {"line": "closed"}),
    ("cut", {"line": "reset"}),
]

SECTIONS = """
[intake]
memory_budget = "64MiB"
acknowledge = "{acknowledge}"
{storage}
[exporters.backend]
type = "otlp_grpc"
endpoint = "http://{sink}"
compression = "none"
timeout = "10s"
{queue}
[exporters.backend.retry_on_failure]
initial_interval = "100ms"
max_interval = "1s"

[pipelines.main]
receivers = ["apps"]
exporters = ["backend"]
"""


def sections(given, sink, directory):
    if given.acknowledge == "stored":
        storage = f'[storage]\ndirectory = "{directory}"\n'
        queue = (
            'queue = { kind = "disk", max_bytes = "20GiB", '
            f'fsync = "{given.fsync}", when_full = "refuse" }}\n'
        )
    else:
        storage, queue = "", ""
    return SECTIONS.format(
        acknowledge=given.acknowledge, sink=sink.at["grpc"], storage=storage, queue=queue
    )


class Proof:
    def __init__(self, given, folder):
        import power

        self.given = given
        self.folder = folder
        self.luck = random.Random(given.seed)
        self.directory = folder / "storage"
        self.directory.mkdir()
        self.power = power.of(given.power, folder, self.directory)
        self.sink = parts.Sink(folder)
        self.daemon = parts.Daemon(
            given.otlpd, folder, sections(given, self.sink, self.directory), self.power.environment()
        )
        self.generators = None
        # (when, how many items were on their way to the destination then)
        self.killed = []
        # The largest request that may be on its way is bounded by bytes; this is what was seen.
        self.moods = {}
        # When connections were cut off, and answers on their way with them.
        self.cuts = []

    def run(self):
        given = self.given
        self.daemon.start()
        self.generators = parts.Generators(
            self.folder,
            self.daemon,
            processes=given.processes,
            threads=given.threads,
            rate=given.rate / given.processes,
            most_items=given.most_items,
        )
        for number in range(given.kills):
            self.let_run()
            self.kill(number)
        self.sink.mode(grpc={})
        self.generators.stop()
        ledger = parts.drained(self.daemon)
        code, last = self.daemon.stop()
        self.sink.dump()
        return self.judge(ledger, code, last)

    def let_run(self):
        """A while, in which the destination's mood may change."""
        left = self.luck.uniform(self.given.shortest, self.given.longest)
        for _ in range(self.luck.randint(1, 2)):
            name, mode = self.luck.choice(MOODS)
            self.moods[name] = self.moods.get(name, 0) + 1
            self.sink.mode(grpc=mode)
            if "line" in mode:
                self.cuts.append(time.monotonic())
            part = left * self.luck.random()
            time.sleep(part)
            left -= part
            self.daemon.alive()
        time.sleep(left)

    def kill(self, number):
        self.daemon.kill()
        at = time.monotonic()
        self.power.lose()
        # What was still under way to the sink is taken by it before the next start, if at all.
        self.killed.append((at, self.sink.state()["grpc"]))
        self.daemon.start()
        if number % 10 == 9:
            print(f"  {number + 1} kills; slowest start {self.daemon.slowest_start:.2f} s", flush=True)

    def judge(self, ledger, code, last):
        import books

        failures = parts.imbalances(ledger) + parts.imbalances(last) + self.daemon.panics()
        if code != 0:
            failures.append(f"SIGTERM with an empty queue: exit code {code}")
        gone = parts.dropped(last)
        if gone:
            failures.append(f"the last run dropped {gone}")
        told = books.Told(self.generators.logs)
        for request, why in told.refused:
            failures.append(f"request {request.first} was refused for good: {why}")
        for request in told.unanswered:
            failures.append(f"request {request.first} was never answered")
        account = books.Account(told, self.sink.folder, "grpc")
        failures += self.power.judge(account, self.killed, self.given)
        twice = account.twice + account.twice_by_clients
        most = self.most_twice()
        if self.given.power == "none" and twice > most:
            failures.append(f"{twice} items arrived twice; {most} could be in flight in all")
        answered = self.answered_before(told)
        # An answer may lie there for as long as the machine stands still.
        if self.given.power == "none" and answered > 5:
            failures.append(
                f"items arrived again that the destination had taken {answered:.3f} s before the kill"
            )
        print(f"  {account.words()}")
        print(f"  attempts of clients: {told.attempts}; moods: {self.moods}")
        seconds = f"slowest start {self.daemon.slowest_start:.2f} s, peak {self.daemon.peak >> 20} MiB"
        if self.power.words():
            print(f"  {self.power.words()}")
        return failures, (
            f"{self.given.kills} kills, acknowledge {self.given.acknowledge}, fsync "
            f"{self.given.fsync}, power {self.given.power}: {account.acknowledged} acknowledged, "
            f"{account.missing_items()} missing, {twice} twice (at most {most}; "
            f"taken {answered * 1000:.0f} ms before the kill at most), {seconds}"
        )

    def answered_before(self, told):
        """How long before a kill the destination had taken what it was sent again after it: about
        none, if only what was in flight comes again. Connections that are cut off before the kill
        take the answer with them: what was in flight then comes again after the kill, too."""
        once = {request.first for request in told.acknowledged if request.attempts == 1}
        kills = [at for at, _ in self.killed]
        seen, longest = {}, 0.0
        with open(self.sink.folder / "grpc.log") as log:
            for line in log:
                words = line.split(" ", 4)
                if words[1] != "took":
                    continue
                now = int(words[0]) / 1e9
                for first, _ in json.loads(words[4]):
                    # Requests are not split here: what is sent again begins where it began.
                    if first in once and first in seen:
                        kill = bisect.bisect(kills, seen[first])
                        if kill < len(kills) and kills[kill] < now:
                            cut = bisect.bisect(self.cuts, seen[first])
                            ends = [kills[kill]] + self.cuts[cut : cut + 1]
                            longest = max(longest, min(ends) - seen[first])
                    seen[first] = now
        return longest

    def most_twice(self):
        """At each kill: eight requests under way, as large as the largest that was seen, and what
        clients had sent and not heard of."""
        given = self.given
        clients = given.processes * 2 * given.threads * given.most_items
        return sum(8 * state["largest"] + clients for _, state in self.killed)

    def end(self):
        for part in (self.generators, self.daemon, self.sink):
            if part is not None:
                part.end()
        self.power.end()


def more(add):
    add("--kills", type=int, default=50)
    add("--sync-interval", type=float, default=None, help="seconds; what counts as the last ones")
    add("--power", default="none", choices=["none", "recorded", "journal", "image"])
    add("--rate", type=float, default=300, help="requests a second")
    add("--most-items", type=int, default=40)
    add("--shortest", type=float, default=0.2)
    add("--longest", type=float, default=3.0)


def main():
    if not parts.python_is_ready():
        return
    given = parts.options(__doc__, more)
    folder = parts.workplace(given)
    proof = Proof(given, folder)
    try:
        failures, words = proof.run()
    except parts.Failure as failure:
        failures, words = [str(failure)], f"after {len(proof.killed)} kills"
    finally:
        proof.end()
    parts.leave(given, folder, "survives_kill", failures, words)


if __name__ == "__main__":
    main()
