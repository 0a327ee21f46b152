"""A second OTLP endpoint, none of otlpd's own: it reads requests with Google's parser and counts
what arrives by the number that every item carries in its attribute "n".

    sink.py COUNT

It takes two ports but refuses connections on them at first, and says where they are:

    {"grpc": "127.0.0.1:40001", "http": "127.0.0.1:40002"}

Then it does what it is told on standard input, a line at a time, and answers with a line of JSON.
"open" opens both ports. "counts" answers with a list of what arrived, each with its service,
signal, protocol, items, unique (different numbers) and strange (items without a number below
COUNT). It ends with its standard input.
"""

import gzip
import http.server
import json
import socket
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

GRPC_PATHS = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
}
HTTP_PATHS = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}


def spans(body):
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield resource.resource, span


def points(body):
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    yield resource.resource, point


def records(body):
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield resource.resource, record


ITEMS = {"traces": spans, "metrics": points, "logs": records}


def attribute(attributes, key):
    for attribute in attributes:
        if attribute.key == key:
            kind = attribute.value.WhichOneof("value")
            return getattr(attribute.value, kind) if kind else None
    return None


class Account:
    """What arrived of one service and signal over one protocol."""

    def __init__(self):
        self.items = 0
        self.strange = 0
        self.numbers = set()

    def add(self, number, count):
        self.items += 1
        # JavaScript's numbers come as doubles when they like.
        if isinstance(number, (int, float)) and number in range(count):
            self.numbers.add(int(number))
        else:
            self.strange += 1


class Ledger:
    def __init__(self, count):
        self.count = count
        self.lock = threading.Lock()
        self.accounts = {}

    def take(self, protocol, signal, body):
        """Raises DecodeError, and counts nothing, where `body` is not a request."""
        found = list(ITEMS[signal](body))
        with self.lock:
            for resource, item in found:
                service = attribute(resource.attributes, "service.name") or "(none)"
                account = self.accounts.setdefault((service, signal, protocol), Account())
                account.add(attribute(item.attributes, "n"), self.count)

    def counts(self):
        with self.lock:
            return [
                {
                    "service": service,
                    "signal": signal,
                    "protocol": protocol,
                    "items": account.items,
                    "unique": len(account.numbers),
                    "strange": account.strange,
                }
                for (service, signal, protocol), account in sorted(self.accounts.items())
            ]


class Grpc(grpc.GenericRpcHandler):
    def __init__(self, ledger):
        self.ledger = ledger

    def service(self, call):
        signal = GRPC_PATHS.get(call.method)
        if signal is None:
            return None

        def export(body, _context):
            self.ledger.take("grpc", signal, body)
            return b""

        return grpc.unary_unary_rpc_method_handler(export)


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ledger = None

    def do_POST(self):
        body = self.read_body()
        if self.headers.get("Content-Encoding", "identity") == "gzip":
            body = gzip.decompress(body)
        signal = HTTP_PATHS.get(self.path)
        if signal is None:
            return self.answer(404)
        self.ledger.take("http", signal, body)
        self.answer(200)

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def reserve():
    """A socket that holds its port without listening: whoever connects is refused."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def say(value):
    print(json.dumps(value), flush=True)


def address(reserved):
    return "%s:%d" % reserved.getsockname()


def open_grpc(ledger, endpoint):
    limits = [("grpc.max_receive_message_length", 64 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(8), [Grpc(ledger)], options=limits)
    server.add_insecure_port(endpoint)
    server.start()
    return server


def open_http(ledger, reserved):
    Http.ledger = ledger
    server = http.server.ThreadingHTTPServer(reserved.getsockname(), Http, False)
    server.socket.close()
    server.socket = reserved
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    ledger = Ledger(int(sys.argv[1]))
    for_grpc, for_http = reserve(), reserve()
    say({"grpc": address(for_grpc), "http": address(for_http)})
    server = None
    for line in sys.stdin:
        if line.strip() == "open":
            server = open_grpc(ledger, address(for_grpc))
            open_http(ledger, for_http)
            say({})
        elif line.strip() == "counts":
            say(ledger.counts())
    if server is not None:
        server.stop(None)


main()
