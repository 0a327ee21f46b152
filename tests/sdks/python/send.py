"""Sends COUNT spans, COUNT log records and COUNT data points six times: over gRPC, over
HTTP/protobuf and over HTTP/JSON, plain and gzipped, all at once, with the stock exporters and
processors.

    send.py GRPC_URL HTTP_URL COUNT

Every item carries its number, from 0 up, in the attribute "n"; service.name tells which of the
six it belongs to. Certificates and headers are those of the SDK's own environment variables. It
says "ready" when all is set up, and begins when it reads a line.
"""

import sys
import threading

import grpc
from opentelemetry.exporter.otlp.common.http import Compression as JsonCompression
from opentelemetry.exporter.otlp.json.http import (
    OTLPMetricExporter as JsonMetrics,
    OTLPSpanExporter as JsonSpans,
)
from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter as JsonLogs
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetrics,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpMetrics,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# Long enough for shutdown to be the only export of metrics, so that every point is sent once.
NEVER_MS = 1e9


GRPC_COMPRESSIONS = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


def over_grpc(endpoint, compression):
    how = dict(
        endpoint=endpoint,
        insecure=endpoint.startswith("http:"),
        compression=GRPC_COMPRESSIONS[compression],
    )
    return GrpcSpans(**how), GrpcLogs(**how), GrpcMetrics(**how)


def over_http(endpoint, compression):
    how = dict(compression=Compression(compression))
    base = f"{endpoint}/v1/"
    return (
        HttpSpans(base + "traces", **how),
        HttpLogs(base + "logs", **how),
        HttpMetrics(base + "metrics", **how),
    )


def over_json(endpoint, compression):
    how = dict(compression=JsonCompression(compression))
    base = f"{endpoint}/v1/"
    return (
        JsonSpans(base + "traces", **how),
        JsonLogs(base + "logs", **how),
        JsonMetrics(base + "metrics", **how),
    )


def send_spans(resource, exporter, count):
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("send", "1.0")
    with tracer.start_as_current_span("parent", attributes={"n": 0}):
        for n in range(1, count):
            with tracer.start_as_current_span(f"child {n}", attributes={"n": n}) as span:
                span.add_event("reached", {"step": n})
    provider.shutdown()


def send_logs(resource, exporter, count):
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("send")
    for n in range(count):
        logger.emit(
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body=f"message {n}, with an umlaut: \u00e4",
            attributes={"n": n},
        )
    provider.shutdown()


def send_points(resource, exporter, count):
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=NEVER_MS)
    provider = MeterProvider(metric_readers=[reader], resource=resource)
    meter = provider.get_meter("send")
    counter = meter.create_counter("requests", unit="{request}")
    histogram = meter.create_histogram("duration", unit="s")
    for n in range(count):
        if n % 2 == 0:
            counter.add(n, {"n": n})
        else:
            histogram.record(n / 7, {"n": n})
    provider.shutdown()


def main():
    grpc_endpoint, http_endpoint, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    threads = []
    for compression in GRPC_COMPRESSIONS:
        for protocol, exporters in (
            ("grpc", over_grpc(grpc_endpoint, compression)),
            ("http", over_http(http_endpoint, compression)),
            ("json", over_json(http_endpoint, compression)),
        ):
            resource = Resource.create({"service.name": f"python/{protocol}/{compression}"})
            for send, exporter in zip((send_spans, send_logs, send_points), exporters):
                threads.append(threading.Thread(target=send, args=(resource, exporter, count)))
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
