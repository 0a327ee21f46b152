"""A destination that misbehaves when told to, and remembers every item that it took.

    sink.py --folder FOLDER [--grpc-port PORT] [--http-port PORT]

It prints one line of JSON with its addresses: `grpc`, `http` (for the collector's exporters) and
`control`. On `control`:

    POST /mode   {"grpc": {...}, "http": {...}}   how each of the two behaves from now on
    GET  /state                                   counts, and what is under way now
    POST /dump                                    writes FOLDER/grpc.counts and so on

A way of behaving has the keys
  answer        "ok" | "unavailable" | "exhausted" (429 / RESOURCE_EXHAUSTED with RetryInfo) |
                "hang" (no answer while it lasts, then a failure)
  retry_after   seconds, sent as RetryInfo or Retry-After with a refusal
  delay         seconds before each answer
  refuse_tenant a request that holds anything of this tenant is refused for good
  partial       every item whose number is a multiple of this is rejected by partial_success
  line          "open" | "closed" (connections are refused) | "reset" (each is cut soon after it
                opened) | "stalled" (nothing is read)
What a request that was refused held is not counted as taken.
"""

import argparse
import asyncio
import gzip
import http.server
import json
import pathlib
import random
import socket
import struct
import threading
import time
from concurrent import futures

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import books
import items

BEHAVED = {
    "answer": "ok",
    "retry_after": None,
    "delay": 0,
    "refuse_tenant": None,
    "partial": 0,
    "line": "open",
}


class Refusal(Exception):
    def __init__(self, kind, retry_after=None):
        super().__init__(kind)
        self.kind = kind
        self.retry_after = retry_after


class Lane:
    """What one exporter of the collector talks to."""

    def __init__(self, name, folder):
        self.name = name
        self.mode = dict(BEHAVED)
        self.lock = threading.Lock()
        self.taken = books.Counts()
        self.rejected = books.Counts()
        self.refused = books.Counts()
        self.under_way = 0
        self.requests = 0
        self.bytes = 0
        self.items = 0
        self.again = 0
        self.largest = 0
        self.log = open(folder / f"{name}.log", "w", buffering=1 << 16)

    def take(self, signal, body, wanted):
        """Answers how many items were rejected; raises Refusal. `wanted` says whether whoever
        asked still waits."""
        mode = dict(self.mode)
        if mode["answer"] == "hang":
            while self.mode["answer"] == "hang" and wanted():
                time.sleep(0.02)
            raise Refusal("unavailable")
        if mode["answer"] in ("unavailable", "exhausted"):
            raise Refusal(mode["answer"], mode["retry_after"])
        found = items.read(signal, body)
        count = sum(len(numbers) for _, _, numbers in found)
        with self.lock:
            self.under_way += count
        try:
            if mode["delay"]:
                time.sleep(mode["delay"] * random.uniform(0.5, 1.5))
            if not wanted():
                raise Refusal("unavailable")
            if mode["refuse_tenant"] in [tenant for tenant, _, _ in found]:
                self.count(self.refused, "refused", found)
                raise Refusal("invalid")
            return self.keep(found, mode["partial"], len(body))
        finally:
            with self.lock:
                self.under_way -= count

    def keep(self, found, partial, size):
        now = time.monotonic_ns()
        rejected = 0
        count = 0
        again = 0
        with self.lock:
            for tenant, sent, numbers in found:
                if partial:
                    for number in numbers:
                        if number % partial == 0:
                            self.rejected.add(number)
                            rejected += 1
                    numbers = [number for number in numbers if number % partial]
                for number in numbers:
                    again += self.taken.add(number) > 1
                count += len(numbers)
                late = (now - sent) // 1000 if sent else -1
                self.log.write(f"{now} took {late} {tenant} {items.stretches(numbers)}\n")
            self.requests += 1
            self.bytes += size
            self.items += count
            self.again += again
            self.largest = max(self.largest, count + rejected)
            if again:
                self.log.write(f"{now} again {again}\n")
        return rejected

    def count(self, where, word, found):
        now = time.monotonic_ns()
        with self.lock:
            for tenant, _, numbers in found:
                for number in numbers:
                    where.add(number)
                self.log.write(f"{now} {word} 0 {tenant} {items.stretches(numbers)}\n")

    def state(self):
        with self.lock:
            keys = ("mode", "under_way", "requests", "bytes", "items", "again", "largest")
            return {key: getattr(self, key) for key in keys}

    def dump(self, folder):
        with self.lock:
            self.log.flush()
            self.taken.write(folder / f"{self.name}.taken")
            self.rejected.write(folder / f"{self.name}.rejected")
            self.refused.write(folder / f"{self.name}.refused")


def partial_success(rejected):
    if not rejected:
        return b""
    # The three responses are alike in their first field.
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = "as it was told to"
    return answer.SerializeToString()


class Grpc(grpc.GenericRpcHandler):
    def __init__(self, lane):
        self.lane = lane
        self.signals = {path: signal for signal, path in items.GRPC_PATHS.items()}

    def service(self, call):
        signal = self.signals.get(call.method)
        if signal is None:
            return None

        def export(body, context):
            try:
                return partial_success(self.lane.take(signal, body, context.is_active))
            except Refusal as refusal:
                self.refuse(context, refusal)

        return grpc.unary_unary_rpc_method_handler(export)

    def refuse(self, context, refusal):
        code = {
            "unavailable": grpc.StatusCode.UNAVAILABLE,
            "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
            "invalid": grpc.StatusCode.INVALID_ARGUMENT,
        }[refusal.kind]
        if refusal.retry_after is not None:
            seconds = int(refusal.retry_after)
            delay = Duration(seconds=seconds, nanos=int((refusal.retry_after - seconds) * 1e9))
            detail = Any()
            detail.Pack(RetryInfo(retry_delay=delay))
            status = Status(code=code.value[0], message="as it was told to", details=[detail])
            context.set_trailing_metadata(
                [("grpc-status-details-bin", status.SerializeToString())]
            )
        context.abort(code, "as it was told to")


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lane = None
    signals = {path: signal for signal, path in items.HTTP_PATHS.items()}

    def do_POST(self):
        body = self.read_body()
        if self.headers.get("Content-Encoding", "identity") == "gzip":
            body = gzip.decompress(body)
        signal = self.signals.get(self.path)
        if signal is None:
            return self.answer(404)
        try:
            rejected = self.lane.take(signal, body, self.wanted)
        except Refusal as refusal:
            code = {"unavailable": 503, "exhausted": 429, "invalid": 400}[refusal.kind]
            return self.answer(code, retry_after=refusal.retry_after)
        self.answer(200, partial_success(rejected))

    def wanted(self):
        """Whether the other side has not closed the connection."""
        try:
            self.connection.setblocking(False)
            return self.connection.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.connection.setblocking(True)

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status, body=b"", retry_after=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            # Whole seconds are all that HTTP knows.
            self.send_header("Retry-After", str(max(1, round(retry_after))))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, ValueError):
            pass


class Line:
    """What stands before a server: passes bytes on, or is closed, or cuts connections."""

    def __init__(self, lane, port, server):
        self.lane = lane
        self.server = server
        self.listener = None
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", port))
        self.address = "%s:%d" % self.reserved.getsockname()
        self.open = set()

    async def run(self):
        while True:
            line = self.lane.mode["line"]
            if line == "closed" and self.listener is not None:
                self.listener.close()
                self.listener = None
                self.cut()
            elif line != "closed" and self.listener is None:
                listening = socket.socket()
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(self.reserved.getsockname())
                listening.listen(128)
                self.listener = await asyncio.start_server(self.connected, sock=listening)
            if line == "reset" and random.random() < 0.2:
                self.cut()
            await asyncio.sleep(0.05)

    def cut(self):
        for writer in list(self.open):
            handle = writer.transport.get_extra_info("socket")
            if handle is not None:
                # Closed without lingering, a connection is reset.
                linger = struct.pack("ii", 1, 0)
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def connected(self, reader, writer):
        host, port = self.server.split(":")
        try:
            to_reader, to_writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
        except OSError:
            writer.transport.abort()
            return
        self.open.add(writer)
        try:
            await asyncio.gather(self.pump(reader, to_writer), self.pump(to_reader, writer))
        finally:
            self.open.discard(writer)
            writer.transport.abort()
            to_writer.transport.abort()

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(1 << 18):
                while self.lane.mode["line"] == "stalled":
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def control(lanes, folder):
    class Control(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.say({lane.name: lane.state() for lane in lanes})

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/mode":
                for name, mode in json.loads(body).items():
                    strange = set(mode) - set(BEHAVED)
                    if strange:
                        return self.say({"error": f"no such keys: {strange}"}, 400)
                    for lane in lanes:
                        if lane.name == name:
                            lane.mode = {**BEHAVED, **mode}
            elif self.path == "/dump":
                for lane in lanes:
                    lane.dump(folder)
            self.say({})

        def say(self, value, status=200):
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)


class HttpServer(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_):
        """A client that goes away is nothing to write home about."""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--direct", action="store_true", help="nothing before the servers: faster")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)

    by_grpc, by_http = Lane("grpc", given.folder), Lane("http", given.folder)
    server = grpc.server(
        futures.ThreadPoolExecutor(64),
        [Grpc(by_grpc)],
        options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0)],
    )
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Http.lane = by_http
    web = HttpServer(("127.0.0.1", 0), Http)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    controls = control([by_grpc, by_http], given.folder)
    threading.Thread(target=controls.serve_forever, daemon=True).start()
    said = {
        "grpc": f"127.0.0.1:{grpc_port}",
        "http": "127.0.0.1:%d" % web.server_address[1],
        "control": "127.0.0.1:%d" % controls.server_address[1],
    }
    if given.direct:
        print(json.dumps(said), flush=True)
        threading.Event().wait()
    lines = [
        Line(by_grpc, given.grpc_port, said["grpc"]),
        Line(by_http, given.http_port, said["http"]),
    ]
    said.update({line.lane.name: line.address for line in lines})
    print(json.dumps(said), flush=True)

    async def run():
        await asyncio.gather(*(line.run() for line in lines))

    asyncio.run(run())


if __name__ == "__main__":
    main()
