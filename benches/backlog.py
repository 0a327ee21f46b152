#!/usr/bin/env python3
"""A backlog on disk, built while the destination refuses, and drained while live traffic flows.

    target/sdks/python/bin/python benches/backlog.py --gigabytes 5      # by hand
    target/sdks/python/bin/python benches/backlog.py --gigabytes 0.3    # the short form

First it measures live throughput with nothing waiting; then the destination refuses until so much
lies on disk; then it takes again, and the backlog drains beside live traffic. Prints resident
memory, the disk's use, the drain's rate beside the live one, and how old fresh data was when it
arrived. Fails where memory is above --most-mib, the disk is not given back as it drains, the drain
is below --least-share of the live throughput, fresh data is late, or anything acknowledged is
missing. `tests/sdks/install.sh python` installs what it needs.
"""

import argparse
import array
import http.client
import http.server
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/proof"))

import parts  # noqa: E402

SECTIONS = """
[intake]
memory_budget = "64MiB"
acknowledge = "stored"

[storage]
directory = "{directory}"

[exporters.backend]
type = "otlp_grpc"
endpoint = "http://{sink}"
compression = "none"

[exporters.backend.queue]
kind = "disk"
max_bytes = "20GiB"
fsync = "interval"
when_full = "refuse"
{order}
[pipelines.main]
receivers = ["apps"]
exporters = ["backend"]
"""

# What must fail: to show that this can.
IN_MEMORY = """
[intake]
memory_budget = "8GiB"
acknowledge = "queued"

[exporters.backend]
type = "otlp_grpc"
endpoint = "http://{sink}"
compression = "none"
queue = {{ max_bytes = "7GiB", when_full = "refuse" }}

[pipelines.main]
receivers = ["apps"]
exporters = ["backend"]
"""

DIGITS = 20


class Bodies:
    """Requests that differ in two numbers of fixed width: which one it is, and when it was sent."""

    def __init__(self, spans):
        import items

        writer = items.Writer(400)
        scope = items.field(2, writer.items("traces", range(spans)))
        self.mark = b"N" * DIGITS
        resource = b"".join(
            items.field(1, items.field(1, key) + items.field(2, items.field(1, self.mark)))
            for key in (b"request", b"sent")
        )
        self.body = items.field(1, items.field(1, resource) + scope)
        self.at = [self.body.index(self.mark)]
        self.at.append(self.body.index(self.mark, self.at[0] + DIGITS))
        self.prefix_length = self.at[1] + DIGITS
        self.tail = memoryview(self.body)[self.prefix_length :]
        self.head = (
            b"POST /v1/traces HTTP/1.1\r\nhost: otlpd\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: %d\r\n\r\n" % len(self.body)
        )

    def pieces(self, number):
        prefix = bytearray(self.body[: self.prefix_length])
        for at, value in zip(self.at, (number, time.monotonic_ns())):
            prefix[at : at + DIGITS] = b"%020d" % value
        return [self.head, bytes(prefix), self.tail]


class Load:
    """Connections that send one request after another; of each, when it was acknowledged."""

    def __init__(self, address, bodies):
        self.address, self.bodies = address, bodies
        self.lock = threading.Lock()
        self.next = 0
        self.acknowledged = array.array("Q")
        self.refusals = 0

    def run(self, connections, until, rate=0):
        """Until the function says so; returns the threads, already started."""
        begun, first = time.monotonic(), self.next

        def one():
            stream = None
            while not until():
                with self.lock:
                    number = self.next
                    self.next += 1
                if rate:
                    wait = begun + (number - first) / rate - time.monotonic()
                    if wait > 0:
                        time.sleep(wait)
                stream = self.insist(stream, number)
            if stream:
                stream.close()

        threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
        for thread in threads:
            thread.start()
        return threads

    def insist(self, stream, number):
        while True:
            try:
                if stream is None:
                    host, port = self.address.split(":")
                    stream = socket.create_connection((host, int(port)), 30)
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                code = self.once(stream, number)
            except OSError:
                stream, code = None, 0
            if code == 200:
                with self.lock:
                    self.acknowledged.append(number)
                return stream
            self.refusals += 1
            time.sleep(0.05)

    def once(self, stream, number):
        pieces = self.bodies.pieces(number)
        sent = stream.sendmsg(pieces)
        left = memoryview(b"".join(pieces))[sent:] if sent < sum(map(len, pieces)) else b""
        if left:
            stream.sendall(left)
        answer = b""
        while b"\r\n\r\n" not in answer:
            some = stream.recv(1 << 16)
            if not some:
                raise OSError("closed")
            answer += some
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(rest) < length:
            rest += stream.recv(1 << 16)
        return int(head.split(b" ")[1])


def sink():
    """The destination, in a process of its own: counts the spans of each request."""
    from concurrent import futures

    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    refuses = threading.Event()
    lock = threading.Lock()
    counts = array.array("I")
    # [when, request, age in ms] of each part of a request, and bytes in all.
    arrivals = []
    taken = [0]

    def export(body, context):
        if refuses.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "as it was told to")
        request = ExportTraceServiceRequest.FromString(body)
        now = time.monotonic_ns()
        with lock:
            taken[0] += len(body)
            for resource in request.resource_spans:
                known = {one.key: one.value.string_value for one in resource.resource.attributes}
                number = int(known["request"])
                if number >= len(counts):
                    counts.extend([0] * (number + 1024 - len(counts)))
                counts[number] += sum(len(scope.spans) for scope in resource.scope_spans)
                arrivals.append((now, number, (now - int(known["sent"])) // 1_000_000))
        return b""

    class Service(grpc.GenericRpcHandler):
        def service(self, call):
            return grpc.unary_unary_rpc_method_handler(export)

    class Control(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with lock:
                if self.path == "/refuse":
                    refuses.set()
                elif self.path == "/take":
                    refuses.clear()
                what = {"bytes": taken[0], "requests": len(arrivals)}
                if self.path == "/all":
                    what.update(counts=counts.tolist(), arrivals=arrivals)
            text = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = grpc.server(
        futures.ThreadPoolExecutor(16),
        [Service()],
        options=[
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.http2.max_frame_size", 1 << 20),
        ],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
    say = {"grpc": f"127.0.0.1:{port}", "control": "127.0.0.1:%d" % control.server_address[1]}
    print(json.dumps(say), flush=True)
    control.serve_forever()


class Sink:
    def __init__(self):
        self.child = subprocess.Popen(
            [sys.executable, __file__, "--sink"], stdout=subprocess.PIPE
        )
        self.at = json.loads(self.child.stdout.readline())

    def ask(self, path):
        host, port = self.at["control"].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=120)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def end(self):
        self.child.kill()
        self.child.wait()


def used(directory):
    """The bytes on disk below a directory."""
    found = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                found += os.stat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                pass
    return found


class Watch:
    """Samples of memory and disk, five a second."""

    def __init__(self, daemon, directory, sink):
        self.daemon, self.directory, self.sink = daemon, directory, sink
        self.samples = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.2):
            delivered = self.sink.ask("/")["bytes"]
            self.samples.append(
                (time.monotonic(), self.daemon.rss(), used(self.directory), delivered)
            )

    def end(self):
        self.ended.set()
        self.thread.join()


class Run:
    def __init__(self, given, folder):
        self.given = given
        self.directory = folder / "storage"
        self.sink = Sink()
        order = f'order = "{given.order}"\n' if given.order else ""
        sections = SECTIONS.format(
            directory=self.directory, sink=self.sink.at["grpc"], order=order
        )
        if given.in_memory:
            sections = IN_MEMORY.format(sink=self.sink.at["grpc"])
        self.daemon = parts.Daemon(given.otlpd, folder, sections)
        self.bodies = Bodies(given.spans)
        self.size = len(self.bodies.body)

    def run(self):
        given, failures = self.given, []
        self.daemon.start()
        load = Load(self.daemon.address("http"), self.bodies)
        watch = Watch(self.daemon, self.directory, self.sink)
        live = self.live(load)
        print(f"  live, nothing waiting: {live / 1e6:.0f} MB/s", flush=True)

        build = self.build(load)
        backlog = used(self.directory)
        peak = max(rss for _, rss, _, _ in watch.samples)
        print(
            f"  backlog: {backlog / 1e9:.2f} GB on disk, built at {build / 1e6:.0f} MB/s; peak so "
            f"far {peak >> 20} MiB",
            flush=True,
        )
        first_live = load.next
        begun, seconds, through = self.drain(load, live)
        watch.end()
        waited = [sample for sample in watch.samples if sample[0] >= begun]
        failures += self.disk_falls(waited, backlog)
        report = self.sink.ask("/all")
        failures += self.missing(load, report)
        late = sorted(
            age for when, number, age in report["arrivals"] if number >= first_live
            and when <= (begun + seconds) * 1e9
        )
        code, ledger = self.daemon.stop()
        failures += parts.imbalances(ledger)
        if code != 0:
            failures.append(f"exit code {code}: {ledger}")
        drain = backlog / seconds
        memory = max(self.daemon.peak, max(rss for _, rss, _, _ in watch.samples))
        if memory > given.most_mib << 20:
            failures.append(f"resident memory reached {memory >> 20} MiB")
        if drain < given.least_share * live:
            failures.append(f"the drain is {drain / live:.2f} of the live throughput")
        fresh = "no fresh data arrived"
        if late:
            p99 = late[len(late) * 99 // 100]
            fresh = f"fresh data p50 {statistics.median(late):.0f} ms, p99 {p99} ms"
            if given.order == "fresh_first" and p99 > given.latest * 1000:
                failures.append(f"{fresh}: stuck behind old")
        elif given.order == "fresh_first":
            failures.append(fresh)
        after = used(self.directory)
        return failures, (
            f"{backlog / 1e9:.2f} GB drained in {seconds:.1f} s: {drain / 1e6:.0f} MB/s, "
            f"{drain / live:.2f} of live ({through / 1e6:.0f} MB/s with the live traffic beside "
            f"it); peak {memory >> 20} MiB; {fresh}; {after >> 20} MiB left on disk"
        )

    def live(self, load):
        """Bytes a second at the destination, with nothing waiting."""
        end = time.monotonic() + 1
        self.join(load.run(self.given.connections, lambda: time.monotonic() > end))
        self.settle(load)
        before, begun = self.sink.ask("/")["bytes"], time.monotonic()
        end = begun + self.given.seconds
        self.join(load.run(self.given.connections, lambda: time.monotonic() > end))
        self.settle(load)
        return (self.sink.ask("/")["bytes"] - before) / (time.monotonic() - begun)

    def settle(self, load):
        parts.drained(self.daemon, 600)

    def build(self, load):
        self.sink.ask("/refuse")
        begun, target = time.monotonic(), self.given.gigabytes * 1e9
        before = len(load.acknowledged)
        full = lambda: (len(load.acknowledged) - before) * self.size >= target
        self.join(load.run(self.given.connections, full))
        return (len(load.acknowledged) - before) * self.size / (time.monotonic() - begun)

    def drain(self, load, live):
        """When it began, how long until what had waited was gone, bytes a second meanwhile."""
        old = load.next
        status = self.daemon.status()
        waiting = parts.total(status["ledger"], "in_process")
        print(f"  draining {waiting} items", flush=True)
        before, begun = self.sink.ask("/")["bytes"], time.monotonic()
        self.sink.ask("/take")
        done = threading.Event()
        rate = max(1, live * self.given.live_share / self.size)
        threads = load.run(4, done.is_set, rate)

        def gone():
            # All that is in process is live by now: a few requests.
            status = self.daemon.status()
            few = 8 * 2**20 // self.size * self.given.spans + 16 * self.given.spans
            return status and parts.total(status["ledger"], "in_process") <= few

        parts.wait_until("the backlog to drain", gone, 1800, self.daemon)
        seconds = time.monotonic() - begun
        through = (self.sink.ask("/")["bytes"] - before) / seconds
        done.set()
        self.join(threads)
        self.settle(load)
        assert load.next >= old
        return begun, seconds, through

    def join(self, threads):
        for thread in threads:
            while thread.is_alive():
                thread.join(1)
                self.daemon.alive()

    def disk_falls(self, samples, backlog):
        """What has been delivered is given back soon: a few segments may linger."""
        start = samples[0][3]
        slack = 256 << 20
        worst = max(
            disk - max(0, backlog - (delivered - start) * (1 - self.given.live_share / 0.6) * 0.8)
            for _, _, disk, delivered in samples
        )
        print(
            "  disk, MB, at tenths of the drain: "
            + " ".join(f"{samples[len(samples) * n // 10][2] / 1e6:.0f}" for n in range(10))
            + f" {samples[-1][2] / 1e6:.0f}; resident, MiB: "
            + " ".join(f"{samples[len(samples) * n // 10][1] >> 20}" for n in range(10)),
            flush=True,
        )
        if worst > slack:
            return [f"the disk holds {worst >> 20} MiB more than what is left to deliver"]
        return []

    def missing(self, load, report):
        counts = report["counts"]
        found = []
        twice = 0
        for number in load.acknowledged:
            had = counts[number] if number < len(counts) else 0
            if had < self.given.spans:
                found.append(f"request {number}: {had} of {self.given.spans} spans arrived")
            twice += max(0, had - self.given.spans)
        print(f"  {len(load.acknowledged)} requests acknowledged, {len(found)} incomplete, {twice} spans twice")
        return found[:10]

    def end(self):
        self.daemon.end()
        self.sink.end()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--otlpd", type=pathlib.Path, default=ROOT / "target/release/otlpd")
    add("--folder", type=pathlib.Path, help="where the backlog is built (default: a new one)")
    add("--gigabytes", type=float, default=0.3)
    add("--seconds", type=float, default=5, help="of live traffic before")
    add("--spans", type=int, default=1000, help="in a request")
    add("--connections", type=int, default=8)
    add("--live-share", type=float, default=0.1, help="of the live throughput, beside the drain")
    add("--order", default="fresh_first", help="of the queue; empty for the default")
    add("--most-mib", type=int, default=128)
    add("--least-share", type=float, default=0.6)
    add("--latest", type=float, default=5, help="seconds; the 99th percentile of fresh data")
    add("--in-memory", action="store_true", help="a queue in memory, on which this must fail")
    add("--sink", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sink:
        return sink()
    if not parts.python_is_ready():
        return
    with tempfile.TemporaryDirectory(prefix="otlpd-backlog-", dir=given.folder) as folder:
        run = Run(given, pathlib.Path(folder))
        try:
            failures, words = run.run()
        except parts.Failure as failure:
            failures, words = [str(failure)], "not finished"
        finally:
            run.end()
    parts.verdict("backlog", failures, words)


if __name__ == "__main__":
    main()
