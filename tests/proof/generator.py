"""A client that never gives a request up: what is refused is sent again until it is taken.

    generator.py --index N --log FILE [--grpc HOST:PORT] [--http HOST:PORT] [--threads N] ...

Every request that was answered with success is written to the log before the next one is sent:

    acknowledged FIRST COUNT SIGNAL TENANT TRANSPORT ATTEMPTS SENT ANSWERED

(times in seconds of the machine's monotonic clock). `refused` lines are answers that forbid a
retry, `unanswered` ones are requests that were open when the generator was killed off or told to
stop and could not be delivered in time. It stops with the word "stop" on standard input, or with
its end.
"""

import argparse
import http.client
import itertools
import random
import socket
import sys
import threading
import time

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import books
import items

RETRYABLE = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Refused(Exception):
    """An answer that forbids a retry."""


class Failed(Exception):
    """No success, and another try is allowed."""


class ByGrpc:
    name = "grpc"

    def __init__(self, address, timeout):
        self.timeout = timeout
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
                # Each thread has a connection of its own.
                ("grpc.use_local_subchannel_pool", 1),
                # The generator itself sends again, and counts it.
                ("grpc.enable_retries", 0),
            ],
        )
        self.calls = {
            signal: self.channel.unary_unary(path) for signal, path in items.GRPC_PATHS.items()
        }

    def send(self, signal, body):
        try:
            answer = self.calls[signal](body, timeout=self.timeout)
        except grpc.RpcError as error:
            code = error.code()
            if code in RETRYABLE:
                raise Failed(code.name) from None
            raise Refused(f"{code.name}: {error.details()}") from None
        return rejected(answer)


class ByHttp:
    name = "http"

    def __init__(self, address, timeout):
        self.address, self.timeout = address, timeout
        self.connection = None

    def send(self, signal, body):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address, timeout=self.timeout)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = {"Content-Type": "application/x-protobuf"}
            self.connection.request("POST", items.HTTP_PATHS[signal], body, head)
            response = self.connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            raise Failed(type(error).__name__) from None
        if response.status in (429, 502, 503, 504):
            raise Failed(str(response.status))
        if response.status != 200:
            raise Refused(f"{response.status}: {answer!r}")
        if response.will_close:
            self.connection = None
        return rejected(answer)


def rejected(answer):
    if not answer:
        return 0
    return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans


class Generator:
    def __init__(self, given):
        self.given = given
        self.log = open(given.log, "a")
        self.lock = threading.Lock()
        self.numbers = given.index << books.SHIFT
        self.stopping = threading.Event()
        self.give_up = float("inf")
        self.attempts = {}
        self.writer = items.Writer(given.padding)
        self.due = itertools.count()
        self.begun = time.monotonic()

    def say(self, line):
        with self.lock:
            self.log.write(line + "\n")
            self.log.flush()

    def take_numbers(self, count):
        with self.lock:
            first = self.numbers
            self.numbers += count
            return first

    def pace(self):
        """Waits until the next request is due; none is made up for that came late."""
        if not self.given.rate:
            return
        with self.lock:
            number = next(self.due)
            wait = self.begun + number / self.given.rate - time.monotonic()
            if wait < -0.5:
                self.begun -= wait
        if wait > 0:
            self.stopping.wait(wait)

    def run(self, by, seed):
        luck = random.Random(seed)
        given = self.given
        while not self.stopping.is_set():
            self.pace()
            signal = luck.choice(given.signals)
            count = luck.randint(1, given.most_items)
            tenant = "bad" if luck.random() < given.bad_share else "good"
            first = self.take_numbers(count)
            body = self.writer.request(signal, range(first, first + count), tenant)
            sent = time.monotonic()
            word, attempts, why = self.insist(by, signal, body, luck)
            self.say(
                f"{word} {first} {count} {signal} {tenant} {by.name} {attempts} "
                f"{sent:.6f} {time.monotonic():.6f} {why}"
            )

    def insist(self, by, signal, body, luck):
        """Sends until it is taken."""
        for attempt in itertools.count(1):
            try:
                cut = by.send(signal, body)
                self.count("ok")
                # Nothing that we send is anything but valid.
                return ("refused", attempt, f"{cut} rejected") if cut else ("acknowledged", attempt, "")
            except Refused as refused:
                self.count("refused")
                return "refused", attempt, str(refused).replace("\n", " ")
            except Failed as failed:
                self.count(str(failed))
            if time.monotonic() > self.give_up:
                return "unanswered", attempt, ""
            time.sleep(luck.uniform(0.02, 0.2))

    def count(self, answer):
        with self.lock:
            self.attempts[answer] = self.attempts.get(answer, 0) + 1


def main():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--index", type=int, required=True)
    add("--log", required=True)
    add("--grpc")
    add("--http")
    add("--threads", type=int, default=4, help="of each transport")
    add("--rate", type=float, default=0, help="requests a second, of all threads")
    add("--most-items", type=int, default=40, help="in a request")
    add("--padding", type=int, default=200, help="bytes of an item's attribute")
    add("--signals", default=",".join(items.SIGNALS), type=lambda text: text.split(","))
    add("--bad-share", type=float, default=0, help="of requests are of the tenant `bad`")
    add("--timeout", type=float, default=10)
    add("--give-up", type=float, default=180, help="seconds after `stop`")
    given = parser.parse_args()
    generator = Generator(given)
    threads = []
    for kind, address in ((ByGrpc, given.grpc), (ByHttp, given.http)):
        for number in range(given.threads if address else 0):
            by = kind(address, given.timeout)
            seed = f"{given.index} {kind.__name__} {number}"
            threads.append(threading.Thread(target=generator.run, args=(by, seed)))
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    generator.give_up = time.monotonic() + given.give_up
    generator.stopping.set()
    for thread in threads:
        thread.join()
    for answer, count in sorted(generator.attempts.items()):
        generator.say(f"attempts {count} {answer}")


if __name__ == "__main__":
    main()
