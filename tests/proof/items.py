"""Requests in which every item has a number of its own, and the reading of them.

A span and a log record carry their number as span id, a data point as its value. The resource says
who sent it (`tenant`) and when (`sent`, nanoseconds of the machine's monotonic clock). Requests are
put together from bytes, so that a generator in Python keeps up; they are read back with Google's
parser.
"""

import os
import struct
import time

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SIGNALS = ("traces", "logs", "metrics")
GRPC_PATHS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
HTTP_PATHS = {signal: "/v1/" + signal for signal in SIGNALS}
REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _string_attribute(tag, key, value):
    return field(tag, field(1, key.encode()) + field(2, field(1, value)))


class Writer:
    """Writes requests; `padding` is the size of an attribute that makes items as large as real
    ones."""

    def __init__(self, padding=200):
        now = struct.pack("<Q", 1_790_000_000_000_000_000)
        noise = os.urandom(padding // 2 + 1).hex()[:padding].encode()
        pad = lambda tag: _string_attribute(tag, "padding", noise) if padding else b""
        # Everything of an item behind its number.
        self.tails = {
            "traces": field(5, b"GET /cart") + b"\x39" + now + b"\x41" + now + pad(9),
            "logs": b"\x09" + now + b"\x10\x09" + field(5, field(1, b"a line")) + pad(6),
            "metrics": b"\x19" + now + pad(7),
        }

    def request(self, signal, numbers, tenant="good"):
        sent = time.monotonic_ns()
        resource = Resource()
        resource.attributes.add(key="service.name").value.string_value = "proof"
        resource.attributes.add(key="tenant").value.string_value = tenant
        resource.attributes.add(key="sent").value.int_value = sent
        items = self.items(signal, numbers)
        return field(1, field(1, resource.SerializeToString()) + field(2, items))

    def items(self, signal, numbers):
        """What a scope holds."""
        tail = self.tails[signal]
        if signal == "metrics":
            # NumberDataPoint.as_int is an sfixed64.
            points = b"".join(
                field(1, b"\x31" + struct.pack("<q", number + 1) + tail) for number in numbers
            )
            return field(2, field(1, b"proof") + field(5, points))
        if signal == "logs":
            head = field(9, os.urandom(16)) + b"\x52\x08"
        else:
            head = field(1, os.urandom(16)) + b"\x12\x08"
        length = varint(len(head) + 8 + len(tail))
        # Span and LogRecord are both the second field of their scope.
        return b"".join(
            b"\x12" + length + head + struct.pack(">Q", number + 1) + tail for number in numbers
        )


def _attributes(resource):
    found = {}
    for attribute in resource.attributes:
        kind = attribute.value.WhichOneof("value")
        found[attribute.key] = getattr(attribute.value, kind) if kind else None
    return found


def read(signal, body):
    """[(tenant, sent, numbers)], one for each resource of a request."""
    request = REQUESTS[signal].FromString(body)
    found = []
    if signal == "traces":
        for one in request.resource_spans:
            numbers = [
                int.from_bytes(item.span_id, "big") - 1
                for scope in one.scope_spans
                for item in scope.spans
            ]
            found.append((one.resource, numbers))
    elif signal == "logs":
        for one in request.resource_logs:
            numbers = [
                int.from_bytes(item.span_id, "big") - 1
                for scope in one.scope_logs
                for item in scope.log_records
            ]
            found.append((one.resource, numbers))
    else:
        for one in request.resource_metrics:
            numbers = [
                point.as_int - 1
                for scope in one.scope_metrics
                for metric in scope.metrics
                for point in metric.gauge.data_points
            ]
            found.append((one.resource, numbers))
    out = []
    for resource, numbers in found:
        known = _attributes(resource)
        out.append((known.get("tenant"), known.get("sent"), numbers))
    return out


def stretches(numbers):
    """[(first, count)] of neighbours."""
    out = []
    for number in numbers:
        if out and out[-1][0] + out[-1][1] == number:
            out[-1][1] += 1
        else:
            out.append([number, 1])
    return out
