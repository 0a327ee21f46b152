"""The two collectors that are compared, each with a destination of its own behind it, and a client
before it that says how each request was answered and what came out behind."""

import gzip
import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import cases

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "proof"))
from parts import Daemon, free_port

GRPC_PATHS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
RESPONSES = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
REJECTED = {
    "traces": "rejected_spans",
    "metrics": "rejected_data_points",
    "logs": "rejected_log_records",
}
# What both take, so that neither is asked for much of it.
LARGEST = 1 << 20
LIMITS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
CODES = grpc.StatusCode
# By OTLP's table; RESOURCE_EXHAUSTED is one only with RetryInfo.
RETRYABLE = {
    CODES.CANCELLED, CODES.DEADLINE_EXCEEDED, CODES.ABORTED, CODES.OUT_OF_RANGE,
    CODES.UNAVAILABLE, CODES.DATA_LOSS,
}  # fmt: skip
RETRYABLE_HTTP = {429, 502, 503, 504}


class Answer:
    """`kind`: taken, partial, permanent, retryable or broken (there was none); `code` as the
    protocol says it; `rejected` items."""

    def __init__(self, kind, code, rejected=0, said=""):
        self.kind, self.code, self.rejected, self.said = kind, code, rejected, said

    def __str__(self):
        rejected = f" {self.rejected}" if self.rejected else ""
        return f"{self.kind}{rejected} ({self.code}{': ' if self.said else ''}{self.said[:120]})"


class Destination(grpc.GenericRpcHandler):
    """Takes everything over gRPC, and as JSON over HTTP, and keeps it until it is asked."""

    def __init__(self):
        self.taken = []
        self.texts = []
        self.says = ""
        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Json)
        self.web.destination = self
        self.web.daemon_threads = True
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        self.web_address = f"127.0.0.1:{self.web.server_port}"
        self.server = grpc.server(futures.ThreadPoolExecutor(2), [self], options=LIMITS)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, call):
        signal = next((name for name, path in GRPC_PATHS.items() if path == call.method), None)
        if signal is None:
            return None

        def export(body, context):
            if self.says == "destination_refuses":
                context.abort(CODES.INVALID_ARGUMENT, "not wanted here")
            self.taken.append(body)
            response = RESPONSES[signal]()
            if self.says == "destination_partial":
                setattr(response.partial_success, REJECTED[signal], 1)
                response.partial_success.error_message = "one is not wanted here"
            return response.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(export)

    def collect(self):
        """What came over gRPC, and what came as JSON, since the last time."""
        taken, self.taken = self.taken, []
        texts, self.texts = self.texts, []
        return taken, texts


class Json(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer in two segments would wait for the acknowledgement of the first.
    wbufsize = -1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        destination = self.server.destination
        if destination.says == "destination_refuses":
            return self.answer(400, {"code": 3, "message": "not wanted here"})
        destination.texts.append((self.path, self.headers["Content-Type"], body))
        self.answer(200, {})

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Side:
    """One collector. `start` makes it listen on `grpc` and `http`."""

    def __init__(self):
        self.destination = Destination()
        self.addresses = {}
        self.outcomes = []

    def connect(self):
        self.channel = grpc.insecure_channel(self.addresses["grpc"], options=LIMITS)
        self.http = None

    def run(self, all_cases):
        """Sends one after the other; each outcome is (answer, what came over gRPC, as JSON)."""
        self.connect()
        for case in all_cases:
            self.destination.says = case.trouble
            answer = self.over_grpc(case) if case.protocol == "grpc" else self.over_http(case)
            self.outcomes.append((answer, *self.destination.collect()))
        self.channel.close()

    def over_grpc(self, case):
        call = self.channel.unary_unary(GRPC_PATHS[case.signal])
        pack = grpc.Compression.Gzip if case.gzip else grpc.Compression.NoCompression
        try:
            body = call(case.body, timeout=20, compression=pack, wait_for_ready=True)
        except grpc.RpcError as error:
            return Answer(_grpc_kind(error), error.code().name, said=error.details() or "")
        return _success(RESPONSES[case.signal].FromString(body), "OK", case.signal)

    def over_http(self, case):
        method, path, headers, body = _exchange(case)
        chunked = "Transfer-Encoding" in headers
        try:
            if self.http is None:
                self.http = http.client.HTTPConnection(self.addresses["http"], timeout=20)
            self.http.request(method, path, body, headers, encode_chunked=chunked)
            response = self.http.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.http = None
            return Answer("broken", type(error).__name__, said=str(error))
        if response.will_close:
            self.http = None
        if response.status != 200:
            kind = "retryable" if response.status in RETRYABLE_HTTP else "permanent"
            return Answer(kind, response.status, said=repr(said))
        return _http_success(said, response.headers.get_content_type(), case.signal)


def _exchange(case):
    how = case.http
    packed = how.get("pack") or (gzip.compress if case.gzip else bytes)
    encoding = how.get("encoding", "gzip" if how.get("pack") or case.gzip else None)
    media = cases.TYPES[case.encoding]
    if "other" in how:
        media = next(other for other in cases.TYPES.values() if other != media)
    if "type" in how:
        media = how["type"] and how["type"].format(media)
    headers = {}
    if media:
        headers["Content-Type"] = media.upper() if "upper" in how else media
    if encoding:
        headers["Content-Encoding"] = encoding
    body = packed(case.body)
    if "chunked" in how:
        headers["Transfer-Encoding"] = "chunked"
        body = iter([body[:1], body[1:]] if len(body) > 1 else [body])
    path = how.get("path", "{}").format("/v1/" + case.signal)
    return how.get("method", "POST"), path, headers, body


def _success(response, code, signal):
    partial = response.partial_success
    rejected = getattr(partial, REJECTED[signal])
    return Answer("partial" if rejected else "taken", code, rejected, partial.error_message)


def _http_success(body, media, signal):
    if media != cases.TYPES["json"]:
        return _success(RESPONSES[signal].FromString(body), 200, signal)
    partial = json.loads(body).get("partialSuccess") or {}
    head, *words = REJECTED[signal].split("_")
    rejected = int(partial.get(head + "".join(word.title() for word in words), 0))
    return Answer(
        "partial" if rejected else "taken", 200, rejected, partial.get("errorMessage", "")
    )


def _grpc_kind(error):
    if error.code() in RETRYABLE:
        return "retryable"
    if error.code() is CODES.RESOURCE_EXHAUSTED:
        metadata = {key: value for key, value in error.trailing_metadata() or ()}
        details = Status.FromString(metadata.get("grpc-status-details-bin", b"")).details
        if any(detail.Is(RetryInfo.DESCRIPTOR) for detail in details):
            return "retryable"
    return "permanent"


class Otlpd(Side):
    name = "otlpd"

    def start(self, program, folder):
        self.daemon = Daemon(
            program,
            folder,
            # A success is the destination's word, as it is with the other one's own defaults off.
            '[intake]\nacknowledge = "delivered"\n'
            '[exporters.next]\ntype = "otlp_grpc"\n'
            f'endpoint = "http://{self.destination.address}"\n'
            'compression = "none"\n'
            '[exporters.web]\ntype = "otlp_http"\n'
            f'endpoint = "http://{self.destination.web_address}"\n'
            'compression = "none"\nencoding = "json"\n'
            '[pipelines.main]\nreceivers = ["apps"]\nexporters = ["next", "web"]\n',
        )
        text = self.daemon.config.read_text()
        for protocol, key in (("grpc", "max_recv_msg_size"), ("http", "max_request_body_size")):
            listener = f'endpoint = "{self.daemon.address(protocol)}"'
            text = text.replace(listener, f'{listener}, {key} = "{LARGEST >> 20}MiB"')
            self.addresses[protocol] = self.daemon.address(protocol)
        self.daemon.config.write_text(text)
        self.daemon.start()

    def stop(self):
        self.daemon.stop()

    def end(self):
        self.daemon.end()


class Collector(Side):
    """The OpenTelemetry Collector, with nothing in it that answers before its destination did."""

    name = "collector"

    def start(self, program, folder):
        self.child = None
        for protocol in ("grpc", "http"):
            self.addresses[protocol] = f"127.0.0.1:{free_port()}"
        config = folder / "collector.json"
        config.write_text(json.dumps(self.configuration()))
        self.log = folder / "collector.log"
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                [str(program), "--config", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        for address in self.addresses.values():
            while not _listens(address):
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the Collector did not start:\n{self.log.read_text()}")
                time.sleep(0.02)

    def configuration(self):
        pipeline = {"receivers": ["otlp"], "exporters": ["otlp_grpc", "otlp_http"]}
        at_once = {
            "compression": "none",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }
        return {
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {
                            "endpoint": self.addresses["grpc"],
                            "max_recv_msg_size_mib": LARGEST >> 20,
                        },
                        "http": {
                            "endpoint": self.addresses["http"],
                            "max_request_body_size": LARGEST,
                        },
                    }
                }
            },
            "exporters": {
                "otlp_grpc": {
                    "endpoint": self.destination.address,
                    "tls": {"insecure": True},
                    **at_once,
                },
                "otlp_http": {
                    "endpoint": f"http://{self.destination.web_address}",
                    "encoding": "json",
                    **at_once,
                },
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
                "pipelines": dict.fromkeys(("traces", "metrics", "logs"), pipeline),
            },
        }

    def stop(self):
        self.child.terminate()
        self.child.wait(30)

    def end(self):
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def _listens(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        return True
    except OSError:
        return False


def send_both(sides, all_cases):
    """Each collector is sent all of them by a thread of its own."""
    threads = [threading.Thread(target=side.run, args=(all_cases,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
