"""Requests of every shape that OTLP allows, put together from a choice in each dimension."""

import math

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
NOW = 1_790_000_000_000_000_000

ATTRIBUTES = (
    "none", "string", "empty_string", "unicode", "bool", "int", "int_extremes", "double",
    "double_special", "bytes", "array", "kvlist", "nested", "empty_value", "same_key_twice",
    "empty_key", "long", "many",
)  # fmt: skip
RESOURCES = ("absent", "empty", "machine", "kubernetes", "function", "process", "entities")
LIBRARIES = ("none", "unnamed", "one", "two", "schema")
HOW_MANY = {"none": 0, "one": 1, "two": 2, "eight": 8}

DIMENSIONS = {
    "traces": {
        "spans": ("none", "one", "two", "eight"),
        "parent": ("root", "child"),
        "tracestate": ("empty", "one", "four"),
        "kind": (0, 1, 2, 3, 4, 5, 99),
        "attributes": ATTRIBUTES,
        "events": tuple(HOW_MANY),
        "links": tuple(HOW_MANY),
        "status": ("absent", "unset", "ok", "error"),
        "flags": (0, 1, 0x301, 0xFFFFFFFF),
        "dropped": (False, True),
    },
    "metrics": {
        "points": ("none", "one", "two", "eight"),
        "type": (
            "nothing", "gauge_int", "gauge_double", "gauge_valueless", "sum_delta",
            "sum_cumulative", "histogram", "histogram_bare", "exponential", "exponential_bare",
            "summary",
        ),
        "attributes": ATTRIBUTES,
        "exemplars": ("none", "one", "two"),
        "flags": (0, 1),
        "times": ("both", "no_start", "neither"),
        "metadata": (False, True),
        "value": ("zero", "small", "negative", "huge"),
    },  # fmt: skip
    "logs": {
        "records": ("none", "one", "two", "eight"),
        "body": (
            "absent", "empty_value", "string", "empty_string", "int", "double", "bool", "bytes",
            "array", "kvlist",
        ),
        "severity": (0, 1, 9, 24, 99),
        "severity_text": ("", "INFO"),
        "ids": ("none", "both", "trace"),
        "attributes": ATTRIBUTES,
        "flags": (0, 1, 0xFFFFFFFF),
        "event": ("", "device.app.lifecycle"),
        "times": ("both", "observed", "neither"),
        "dropped": (False, True),
    },  # fmt: skip
}
# What all three have, and how the JSON is written where it is JSON.
COMMON = {
    "resource": RESOURCES,
    "library": LIBRARIES,
    "style": ("canonical", "javascript", "pretty", "upper_case"),
}


def build(signal, shape, dice):
    """The request of this shape, as Google's message."""
    request = REQUESTS[signal]()
    envelope = {
        "traces": lambda: request.resource_spans.add(),
        "metrics": lambda: request.resource_metrics.add(),
        "logs": lambda: request.resource_logs.add(),
    }[signal]()
    _resource(envelope, shape["resource"])
    for scope in _scopes(signal, envelope, shape["library"]):
        {"traces": _spans, "metrics": _metrics, "logs": _records}[signal](scope, shape, dice)
    return request


def items(signal, request):
    """The spans, data points or log records of a message."""
    if signal == "traces":
        return [s for r in request.resource_spans for x in r.scope_spans for s in x.spans]
    if signal == "logs":
        return [s for r in request.resource_logs for x in r.scope_logs for s in x.log_records]
    metrics = [m for r in request.resource_metrics for x in r.scope_metrics for m in x.metrics]
    return [point for metric in metrics for point in points(metric)]


def points(metric):
    data = metric.WhichOneof("data")
    return getattr(metric, data).data_points if data else []


def scopes(signal, request):
    """The ScopeX messages."""
    if signal == "traces":
        return [x for r in request.resource_spans for x in r.scope_spans]
    if signal == "logs":
        return [x for r in request.resource_logs for x in r.scope_logs]
    return [x for r in request.resource_metrics for x in r.scope_metrics]


def resources(signal, request):
    """The ResourceX messages."""
    return getattr(request, {"traces": "resource_spans", "metrics": "resource_metrics",
                             "logs": "resource_logs"}[signal])  # fmt: skip


def put(attributes, key, value=None):
    """One attribute; None is a value that is there, and empty."""
    attribute = attributes.add(key=key)
    attribute.value.SetInParent()
    if value is not None:
        set_value(attribute.value, value)


def set_value(into, value):
    if isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    elif isinstance(value, float):
        into.double_value = value
    elif isinstance(value, bytes):
        into.bytes_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, list):
        into.array_value.SetInParent()
        for element in value:
            one = into.array_value.values.add()
            if element is not None:
                set_value(one, element)
    else:
        into.kvlist_value.SetInParent()
        for key, element in value.items():
            put(into.kvlist_value.values, key, element)


def _attributes(into, kind):
    if kind == "many":
        for number in range(128):
            put(into, f"key.{number}", number)
        return
    for key, value in {
        "none": [],
        "string": [("http.route", "/cart"), ("http.request.method", "GET")],
        "empty_string": [("message", "")],
        "unicode": [("gr\u00fc\u00dfe", '\u4f60\u597d \U0001f44b \u0000 \u2028 "\\/\b')],
        "bool": [("yes", True), ("no", False)],
        "int": [("zero", 0), ("n", 42)],
        "int_extremes": [("least", -(1 << 63)), ("most", (1 << 63) - 1), ("above", (1 << 53) + 1)],
        "double": [("pi", math.pi), ("whole", 2.0), ("tiny", 5e-324), ("large", 1.7e308)],
        "double_special": [
            ("nan", math.nan),
            ("inf", math.inf),
            ("less", -math.inf),
            ("minus", -0.0),
        ],
        "bytes": [("raw", bytes(range(256))), ("none", b"")],
        "array": [("list", ["a", 1, True, 0.5]), ("empty", []), ("holes", [None, "b"])],
        "kvlist": [("map", {"a": 1, "b": "x"}), ("empty", {})],
        "nested": [("tree", {"list": [{"deep": [b"bytes", None, {"leaf": 1}]}]})],
        "empty_value": [("nothing", None)],
        "same_key_twice": [("key", "first"), ("key", "second")],
        "empty_key": [("", "anonymous")],
        "long": [("k" * 300, "v" * 5000)],
    }[kind]:
        put(into, key, value)


def _resource(envelope, kind):
    if kind == "absent":
        return
    envelope.resource.SetInParent()
    for key, value in {
        "empty": {},
        "machine": {"service.name": "cart", "host.name": "tc-prod9.internal", "host.cpus": 8},
        "kubernetes": {"service.name": "cart", "k8s.pod.name": "cart-7d9", "k8s.cluster.name": "b"},
        "function": {"faas.name": "resize", "faas.version": "2"},
        "process": {"process.pid": 25, "process.command_args": ["/bin/sh", "-c", "true"]},
        "entities": {"service.name": "cart", "service.instance.id": "1"},
    }[kind].items():
        put(envelope.resource.attributes, key, value)
    if kind == "machine":
        envelope.schema_url = "https://opentelemetry.io/schemas/1.30.0"
    if kind == "process":
        envelope.resource.dropped_attributes_count = 7
    if kind == "entities":
        envelope.resource.entity_refs.add(
            type="service",
            id_keys=["service.name", "service.instance.id"],
            schema_url="https://opentelemetry.io/schemas/1.30.0",
        )


def _scopes(signal, envelope, kind):
    scopes = getattr(envelope, {"traces": "scope_spans", "metrics": "scope_metrics",
                                "logs": "scope_logs"}[signal])  # fmt: skip
    if kind == "none":
        return []
    if kind == "unnamed":
        return [scopes.add()]
    first = scopes.add()
    first.scope.name = "io.opentelemetry.http"
    first.scope.version = "1.0"
    if kind == "schema":
        first.schema_url = "https://opentelemetry.io/schemas/1.21.0"
        put(first.scope.attributes, "short_name", "http")
        first.scope.dropped_attributes_count = 1
    if kind == "two":
        second = scopes.add()
        second.scope.name = "database/sql"
        return [first, second]
    return [first]


def _spans(scope, shape, dice):
    for number in range(HOW_MANY[shape["spans"]]):
        span = scope.spans.add(
            trace_id=dice.randbytes(16),
            span_id=dice.randbytes(8),
            name=f"GET /cart/{number}",
            kind=shape["kind"],
            start_time_unix_nano=NOW,
            end_time_unix_nano=NOW + 1_000_000 * number,
            flags=shape["flags"],
            trace_state={
                "empty": "",
                "one": "lasterror=f39cd56cc44274fd5abd07ef1164246d10ce2955",
                "four": "a=1,b=2,congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
            }[shape["tracestate"]],
        )
        if shape["parent"] == "child":
            span.parent_span_id = dice.randbytes(8)
        _attributes(span.attributes, shape["attributes"])
        for step in range(HOW_MANY[shape["events"]]):
            event = span.events.add(time_unix_nano=NOW + step, name=f"step {step}")
            _attributes(event.attributes, shape["attributes"])
        for step in range(HOW_MANY[shape["links"]]):
            link = span.links.add(trace_id=dice.randbytes(16), span_id=dice.randbytes(8))
            link.trace_state, link.flags = "a=1", step
            _attributes(link.attributes, shape["attributes"])
        if shape["status"] != "absent":
            span.status.SetInParent()
            span.status.code = {"unset": 0, "ok": 1, "error": 2}[shape["status"]]
            span.status.message = "out of stock" if shape["status"] == "error" else ""
        if shape["dropped"]:
            span.dropped_attributes_count = 1
            span.dropped_events_count = 2
            span.dropped_links_count = 0xFFFFFFFF


def _metrics(scope, shape, dice):
    metric = scope.metrics.add(name="http.server.duration", description="How long", unit="ms")
    if shape["metadata"]:
        put(metric.metadata, "prometheus.type", "counter")
    kind, _, detail = shape["type"].partition("_")
    if kind == "nothing":
        return
    field = {"exponential": "exponential_histogram"}.get(kind, kind)
    data = getattr(metric, field)
    data.SetInParent()
    if kind == "sum":
        data.is_monotonic = detail == "cumulative"
    if kind not in ("gauge", "summary"):
        # DELTA, CUMULATIVE; and UNSPECIFIED, which senders must not use.
        data.aggregation_temporality = {"delta": 1, "bare": 0}.get(detail, 2)
    for number in range(HOW_MANY[shape["points"]]):
        point = data.data_points.add(flags=shape["flags"])
        if shape["times"] != "neither":
            point.time_unix_nano = NOW + number
        if shape["times"] == "both":
            point.start_time_unix_nano = NOW
        _attributes(point.attributes, shape["attributes"])
        value = {"zero": 0, "small": 7, "negative": -7, "huge": 1 << 62}[shape["value"]]
        _point(point, kind, detail, value)
        if kind != "summary":
            _exemplars(point, {"none": 0, "one": 1, "two": 2}[shape["exemplars"]], dice)


def _point(point, kind, detail, value):
    if kind in ("gauge", "sum"):
        if detail in ("double", "cumulative"):
            point.as_double = value / 3
        elif detail != "valueless":
            point.as_int = value
        return
    point.count = abs(value)
    if kind == "summary":
        point.sum = float(value)
        for quantile in (0.0, 0.5, 1.0):
            point.quantile_values.add(quantile=quantile, value=value * quantile)
        return
    if detail == "bare":
        return
    point.sum, point.min, point.max = float(value), 0.0, float(abs(value))
    if kind == "histogram":
        point.explicit_bounds.extend([0.0, 5.0, 10.5])
        point.bucket_counts.extend([0, 1, 2, abs(value)])
        return
    point.scale, point.zero_count, point.zero_threshold = -3, 2, 1e-9
    point.positive.offset = 4
    point.positive.bucket_counts.extend([1, 0, 3])
    point.negative.offset = -4
    point.negative.bucket_counts.extend([300])


def _exemplars(point, count, dice):
    for number in range(count):
        exemplar = point.exemplars.add(time_unix_nano=NOW, as_double=0.5 * number)
        if number:
            exemplar.trace_id, exemplar.span_id = dice.randbytes(16), dice.randbytes(8)
            put(exemplar.filtered_attributes, "user", 7)


def _records(scope, shape, dice):
    for number in range(HOW_MANY[shape["records"]]):
        record = scope.log_records.add(
            severity_number=shape["severity"],
            severity_text=shape["severity_text"],
            flags=shape["flags"],
            event_name=shape["event"],
        )
        if shape["times"] != "neither":
            record.observed_time_unix_nano = NOW + number
        if shape["times"] == "both":
            record.time_unix_nano = NOW
        if shape["ids"] != "none":
            record.trace_id = dice.randbytes(16)
        if shape["ids"] == "both":
            record.span_id = dice.randbytes(8)
        _attributes(record.attributes, shape["attributes"])
        if shape["dropped"]:
            record.dropped_attributes_count = 3
        if shape["body"] != "absent":
            record.body.SetInParent()
        body = {
            "string": "a line, with an umlaut: \u00e4",
            "empty_string": "",
            "int": -5,
            "double": 0.1,
            "bool": False,
            "bytes": b"\x00\xff",
            "array": ["a", None, 1.5],
            "kvlist": {"a": {"b": [1, 2]}},
        }.get(shape["body"])
        if body is not None:
            set_value(record.body, body)
